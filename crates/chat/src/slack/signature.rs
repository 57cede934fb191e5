use chrono::{DateTime, Duration, Utc};
use http::HeaderMap;
use ring::hmac;

/// Older requests are refused, and those from the future
/// (<https://docs.slack.dev/authentication/verifying-requests-from-slack>).
const WINDOW: Duration = Duration::minutes(5);

const SIGNATURE: &str = "x-slack-signature";
const TIMESTAMP: &str = "x-slack-request-timestamp";

/// Why a request is not taken for Slack's. What it was stays with us: the sender is told none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// A header is missing, there twice, or none of its kind.
    #[error("the headers are not Slack's")]
    Headers,
    /// Its time is further than five minutes from ours.
    #[error("its time is more than five minutes from ours")]
    Time,
    /// Another secret, or another body.
    #[error("the signature is not this body's")]
    Signature,
}

/// What a request's headers claim; checked against the body by [`verify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    timestamp: i64,
    mac: [u8; 32],
}

impl Claim {
    /// Reads the headers and looks at the time: before a byte of the body is read.
    pub(crate) fn of(headers: &HeaderMap, now: DateTime<Utc>) -> Result<Self, NotSigned> {
        let timestamp: i64 = only(headers, TIMESTAMP)
            .filter(|text| (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or(NotSigned::Headers)?;
        let hex = only(headers, SIGNATURE).and_then(|text| text.strip_prefix("v0=")).ok_or(NotSigned::Headers)?;
        let mut mac = [0; 32];
        hex::decode_to_slice(hex, &mut mac).map_err(|_| NotSigned::Headers)?;
        let sent = DateTime::from_timestamp(timestamp, 0).ok_or(NotSigned::Headers)?;
        if (now - sent).abs() > WINDOW {
            return Err(NotSigned::Time);
        }
        Ok(Self { timestamp, mac })
    }

    /// Whether one of the secrets signed this body. Each comparison takes as long wherever it fails.
    pub(crate) fn holds(&self, secrets: &[String], body: &[u8]) -> Result<(), NotSigned> {
        let signed = base(self.timestamp, body);
        let fits = |secret: &String| {
            hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), &signed, &self.mac).is_ok()
        };
        // All are tried: how many there are is no secret, which one fits is.
        if secrets.iter().map(fits).fold(false, |any, fits| any | fits) { Ok(()) } else { Err(NotSigned::Signature) }
    }

    /// What makes this request itself: the same signature is the same request, however it is spelt.
    pub(crate) fn key(&self) -> String {
        format!("click.{}", hex::encode(self.mac))
    }
}

fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

fn base(timestamp: i64, body: &[u8]) -> Vec<u8> {
    let mut signed = format!("v0:{timestamp}:").into_bytes();
    signed.extend_from_slice(body);
    signed
}

/// The signature of a request as Slack makes it: `v0=` and lower-case hexadecimal.
pub fn sign(secret: &str, timestamp: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("v0={}", hex::encode(hmac::sign(&key, &base(timestamp, body))))
}

/// Whether Slack signed this body, with one of the secrets, within five minutes of `now`.
///
/// # Errors
/// [`NotSigned`].
pub fn verify(secrets: &[String], headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Result<(), NotSigned> {
    Claim::of(headers, now)?.holds(secrets, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of Slack's documentation.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const AT: i64 = 1_531_420_618;
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
        channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=\
        https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
        trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNED: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn headers(timestamp: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TIMESTAMP, timestamp.parse().unwrap());
        headers.insert(SIGNATURE, signature.parse().unwrap());
        headers
    }

    fn now(after: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(AT + after, 0).unwrap()
    }

    fn check(headers: &HeaderMap, body: &str, after: i64) -> Result<(), NotSigned> {
        verify(&["other".to_owned(), SECRET.to_owned()], headers, body.as_bytes(), now(after))
    }

    #[test]
    fn slacks_own_example_holds() {
        assert_eq!(sign(SECRET, AT, BODY.as_bytes()), SIGNED);
        let headers = headers(&AT.to_string(), SIGNED);
        assert_eq!(check(&headers, BODY, 0), Ok(()));
        assert_eq!(check(&headers, BODY, 300), Ok(()));
        assert_eq!(check(&headers, BODY, -300), Ok(()));
    }

    #[test]
    fn another_body_secret_time_or_spelling_is_refused() {
        let good = headers(&AT.to_string(), SIGNED);
        assert_eq!(check(&good, &format!("{BODY}&x=1"), 0), Err(NotSigned::Signature));
        assert_eq!(check(&good, "", 0), Err(NotSigned::Signature));
        assert_eq!(verify(&["other".to_owned()], &good, BODY.as_bytes(), now(0)), Err(NotSigned::Signature));
        assert_eq!(verify(&[], &good, BODY.as_bytes(), now(0)), Err(NotSigned::Signature));
        assert_eq!(check(&good, BODY, 301), Err(NotSigned::Time));
        assert_eq!(check(&good, BODY, -301), Err(NotSigned::Time));
        // The time is signed, too.
        assert_eq!(check(&headers(&(AT + 1).to_string(), SIGNED), BODY, 0), Err(NotSigned::Signature));
        for timestamp in ["", "+1531420618", "-1", "1531420618.0", "0x5b47a10a", "99999999999999999999", " 1"] {
            assert!(check(&headers(timestamp, SIGNED), BODY, 0).is_err(), "{timestamp:?}");
        }
        for signature in ["", "v0=", "v1=a2", &SIGNED[3..], &SIGNED[..66], &format!("{SIGNED}00"), "v0=zz"] {
            assert_eq!(check(&headers(&AT.to_string(), signature), BODY, 0), Err(NotSigned::Headers), "{signature:?}");
        }
    }

    #[test]
    fn two_signatures_are_none() {
        let mut twice = headers(&AT.to_string(), SIGNED);
        twice.append(SIGNATURE, SIGNED.parse().unwrap());
        assert_eq!(check(&twice, BODY, 0), Err(NotSigned::Headers));
        assert_eq!(check(&HeaderMap::new(), BODY, 0), Err(NotSigned::Headers));
    }

    #[test]
    fn the_same_signature_in_capitals_is_the_same_request() {
        let capitals = format!("v0={}", SIGNED[3..].to_uppercase());
        let one = Claim::of(&headers(&AT.to_string(), SIGNED), now(0)).unwrap();
        let other = Claim::of(&headers(&AT.to_string(), &capitals), now(0)).unwrap();
        assert_eq!(one.key(), other.key());
    }
}

//! Records on their way over the bus. A message is no proof of who wrote it, so each carries a code
//! made with a key that only gateways have.

use bytes::Bytes;
use ring::hmac;

use crate::note::SigningKey;

/// Hexadecimal of HMAC-SHA256.
const CODE_CHARS: usize = 64;

/// What authenticates records on the bus; made of the log's signing key.
#[derive(Clone)]
pub struct MessageKey(hmac::Key);

impl std::fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MessageKey")
    }
}

impl MessageKey {
    /// The key that belongs to a log.
    pub fn of(key: &SigningKey) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.derived("evenkeel audit messages v1").as_ref()))
    }

    /// A record as a message's body.
    pub fn wrap(&self, record: &[u8]) -> Bytes {
        let mut body = hex::encode(hmac::sign(&self.0, record)).into_bytes();
        body.push(b'\n');
        body.extend_from_slice(record);
        body.into()
    }

    /// The record in a message's body, if a gateway of this log wrote it.
    pub fn open(&self, body: &Bytes) -> Option<Bytes> {
        let (code, record) = body.split_at_checked(CODE_CHARS)?;
        let record = record.strip_prefix(b"\n")?;
        hmac::verify(&self.0, record, &hex::decode(code).ok()?).ok()?;
        Some(body.slice_ref(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_gateway_wrote_is_opened() {
        let key = MessageKey::of(&SigningKey::new("prod", [1; 32]).unwrap());
        let body = key.wrap(b"{}");
        assert_eq!(key.open(&body).unwrap(), "{}");
        for place in 0..body.len() {
            let mut changed = body.to_vec();
            changed[place] ^= 1;
            assert!(key.open(&changed.into()).is_none(), "byte {place}");
        }
        let other = MessageKey::of(&SigningKey::new("prod", [2; 32]).unwrap());
        assert!(other.open(&body).is_none());
        assert!(key.open(&Bytes::from_static(b"{}")).is_none());
        assert!(key.open(&Bytes::new()).is_none());
    }
}

use serde::Serialize;
use sha2::{Digest, Sha256};

/// SHA-256, in lower-case hexadecimal, over the canonical JSON of a value: object keys sorted, no
/// white space. serde_json's maps are sorted (its `preserve_order` feature is off), so going
/// through [`serde_json::Value`] is what makes it canonical.
///
/// # Errors
/// When the value can't be written as JSON.
pub fn digest<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let value = serde_json::to_value(value)?;
    Ok(hex::encode(Sha256::digest(serde_json::to_vec(&value)?)))
}

/// SHA-256, in lower-case hexadecimal, over strings, each with its length before it, so that
/// `("ab", "c")` and `("a", "bc")` differ.
pub fn digest_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}

/// The first `n` characters of [`digest_parts`].
pub fn short_digest<'a>(parts: impl IntoIterator<Item = &'a str>, n: usize) -> String {
    let mut all = digest_parts(parts);
    all.truncate(n);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_order_does_not_change_a_digest() {
        let a: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":3}}"#).unwrap();
        let b: serde_json::Value = serde_json::from_str(r#"{"b":{"d":3,"c":2},"a":1}"#).unwrap();
        assert_eq!(digest(&a).unwrap(), digest(&b).unwrap());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(digest_parts(["ab", "c"]), digest_parts(["a", "bc"]));
    }
}

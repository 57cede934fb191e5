//! The hashes by which templates are told apart.

use serde_json::{Value, json};

use crate::value::{at, set, unset};

const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a value as it stands in names and labels: FNV-1a of its canonical form, in letters of which
/// no bad word is made (`rand.SafeEncodeString`). Not the number that Kubernetes would give, which hashes
/// Go's own printing of the types.
pub(super) fn of(value: &Value) -> String {
    let mut hash = 0x811c_9dc5;
    walk(value, &mut |bytes| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    });
    let letter = |digit: u8| LETTERS.get(usize::from(digit) % LETTERS.len()).copied().map_or('x', char::from);
    hash.to_string().bytes().map(letter).collect()
}

fn walk(value: &Value, feed: &mut impl FnMut(&[u8])) {
    match value {
        Value::Object(map) => {
            // Whatever order the fields came in.
            let mut fields: Vec<_> = map.iter().filter(|(_, value)| !value.is_null()).collect();
            fields.sort_by_key(|(name, _)| *name);
            feed(b"{");
            for (name, value) in fields {
                feed(name.as_bytes());
                feed(b":");
                walk(value, feed);
                feed(b",");
            }
            feed(b"}");
        }
        Value::Array(list) => {
            feed(b"[");
            for value in list {
                walk(value, feed);
                feed(b",");
            }
            feed(b"]");
        }
        other => feed(other.to_string().as_bytes()),
    }
}

/// Whether two pod templates are the same but for that label.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    // The spec is most of it, and need not be copied.
    let metadata = |template: &Value| without_hash(&json!({"metadata": at(template, "/metadata")}));
    at(one, "/spec") == at(other, "/spec") && metadata(one) == metadata(other)
}

/// A pod template without the label by which a Deployment tells it from others.
pub(super) fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    unset(&mut template, "/metadata/labels/pod-template-hash");
    unset(&mut template, "/metadata/creationTimestamp");
    if at(&template, "/metadata/labels").as_object().is_some_and(serde_json::Map::is_empty) {
        unset(&mut template, "/metadata/labels");
    }
    if template.get("metadata").is_none() {
        set(&mut template, "/metadata", Value::Object(serde_json::Map::new()));
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_fields_does_not_matter_their_values_do() {
        let one: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":[1,2]}"#).unwrap();
        let two: serde_json::Value = serde_json::from_str(r#"{"b":[1,2],"a":1,"c":null}"#).unwrap();
        assert_eq!(of(&one), of(&two));
        assert_ne!(of(&one), of(&json!({"a": 1, "b": [2, 1]})));
    }
}

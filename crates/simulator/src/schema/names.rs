//! What names, labels and keys may look like, and what is said when they don't
//! (k8s.io/apimachinery/pkg/util/validation).

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn wrong(what: &str, format: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{what} (e.g. {}regex used for validation is '{format}')", examples.join(" or "))
}

/// Letters, digits and what `inner` allows, beginning and ending with what `outer` allows.
fn is_made_of(text: &str, outer: fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    outer(first) && outer(last) && bytes.iter().all(|byte| outer(*byte) || inner.contains(byte))
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn letter_or_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// An RFC 1123 label: namespaces, containers, volumes, Services.
pub(crate) fn label(name: &str) -> Vec<String> {
    let mut wrongs = Vec::new();
    if name.len() > 63 {
        wrongs.push(too_long(63));
    }
    if !is_made_of(name, lower, b"-") {
        let dotted = name.split('.').all(|part| is_made_of(part, lower, b"-"));
        if dotted && name.contains('.') && name.len() <= 253 {
            wrongs.push("must not contain dots".to_owned());
        } else {
            let what = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                        start and end with an alphanumeric character";
            wrongs.push(wrong(what, LABEL, &["my-name", "123-abc"]));
        }
    }
    wrongs
}

/// An RFC 1123 subdomain: most names.
pub(crate) fn subdomain(name: &str) -> Vec<String> {
    let mut wrongs = Vec::new();
    if name.len() > 253 {
        wrongs.push(too_long(253));
    }
    if !name.split('.').all(|part| is_made_of(part, lower, b"-")) {
        let what = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
                    must start and end with an alphanumeric character";
        wrongs.push(wrong(what, &format!("{LABEL}(\\.{LABEL})*"), &["example.com"]));
    }
    wrongs
}

/// The part of a name that stands before what is generated: it may end with a hyphen.
pub(crate) fn prefix(name: &str) -> &str {
    name.strip_suffix('-').unwrap_or(name)
}

/// The key of a label, an annotation or a finalizer: `example.com/name`.
pub(crate) fn qualified(key: &str) -> Vec<String> {
    let mut wrongs = Vec::new();
    let what = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                alphanumeric character";
    let examples = ["MyName", "my.name", "123-abc"];
    let name = match key.split('/').collect::<Vec<_>>().as_slice() {
        [name] => (*name).to_owned(),
        [prefix, name] => {
            if prefix.is_empty() {
                wrongs.push("prefix part must be non-empty".to_owned());
            } else {
                wrongs.extend(subdomain(prefix).into_iter().map(|wrong| format!("prefix part {wrong}")));
            }
            (*name).to_owned()
        }
        _ => {
            let what = "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and \
                        end with an alphanumeric character";
            let wrong = wrong(what, QUALIFIED, &examples);
            return vec![format!("{wrong} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")];
        }
    };
    if name.is_empty() {
        wrongs.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrongs.push(format!("name part {}", too_long(63)));
    }
    if !is_made_of(&name, letter_or_digit, b"-_.") {
        wrongs.push(wrong(what, QUALIFIED, &examples));
    }
    wrongs
}

/// The value of a label.
pub(crate) fn label_value(value: &str) -> Vec<String> {
    let mut wrongs = Vec::new();
    if value.len() > 63 {
        wrongs.push(too_long(63));
    }
    if !value.is_empty() && !is_made_of(value, letter_or_digit, b"-_.") {
        let what = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                    must start and end with an alphanumeric character";
        wrongs.push(wrong(what, &format!("({QUALIFIED})?"), &["MyValue", "my_value", "12345"]));
    }
    wrongs
}

/// A key of a ConfigMap or Secret.
pub(crate) fn config_key(key: &str) -> Vec<String> {
    let mut wrongs = Vec::new();
    if key.len() > 253 {
        wrongs.push(too_long(253));
    }
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        let what = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        wrongs.push(wrong(what, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    wrongs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_the_api_server_judges_them() {
        assert!(label("my-name").is_empty());
        assert_eq!(label("1.cart"), ["must not contain dots"]);
        assert_eq!(label("").len(), 1);
        assert!(subdomain("example.com").is_empty());
        assert_eq!(subdomain("a..b").len(), 1);
        assert!(qualified("app.kubernetes.io/Name_1").is_empty());
        assert_eq!(qualified("/name"), ["prefix part must be non-empty"]);
        assert_eq!(qualified("a/b/c").len(), 1);
        assert!(label_value("").is_empty());
        assert!(label_value(&"a".repeat(63)).is_empty());
        assert_eq!(label_value(&"a".repeat(64)), ["must be no more than 63 bytes"]);
    }
}

//! Strips what must not leave the process from text that people and machines will read: log lines
//! of pods, Events, alert annotations, errors of servers.

use std::sync::LazyLock;

use regex::Regex;

const MARK: &str = "[redacted]";

/// Each with what it is replaced by. In order: whole blocks first, then what looks like a secret
/// by its name, then by its shape.
const PATTERNS: &[(&str, &str)] = &[
    // PEM: keys and certificates alike, also those cut off or with escaped line ends.
    (r"-----BEGIN [A-Z0-9 ]{1,64}-----(?s:.*?)(?:-----END [A-Z0-9 ]{1,64}-----|\z)", MARK),
    // The rest of one that began before the text does, as the end of a log may.
    (r"\A(?s:.*)-----END [A-Z0-9 ]{1,64}-----", MARK),
    // User information in URLs.
    (r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]{0,31}://)[^\s/?#@'\x22]+@", "${scheme}[redacted]@"),
    // Authorization headers and what follows the scheme's name.
    (r"(?i)\b(?P<scheme>bearer|basic|digest|negotiate)\s+[A-Za-z0-9._~+/=-]{8,}", "${scheme} [redacted]"),
    // name=value, name: value, "name": "value", --name value, where the name speaks of a secret.
    (
        r#"(?ix)(?P<name>[\w.-]*(?:passw(?:or)?d|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|
           credential|authorization|cookie|client[_-]?key)[\w.-]*\\?["']?\s*(?:=|:)\s*)
           (?:\[redacted\]|\\?"(?:[^"\\]|\\[^"])*\\?"?|'[^']*'?|(?:bearer|basic)\s+\S+|[^\s,;&"'}\])]+)"#,
        "${name}[redacted]",
    ),
    (
        r#"(?ix)(?P<name>--[\w-]*(?:passw(?:or)?d|passphrase|secret|token|api-?key|access-?key|private-?key|credential)[\w-]*\s+)
           [^\s-]\S*"#,
        "${name}[redacted]",
    ),
    // JSON Web Tokens.
    (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?", MARK),
    // Tokens of well-known issuers, by their prefix.
    (
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abposr]-[\w-]{10,}|xapp-[\w-]{10,})",
        MARK,
    ),
    (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", MARK),
    (r"\b(?:sk|pk|rk)[_-](?:live|test|ant|proj)[_-][\w-]{12,}", MARK),
    (r"\bAIza[\w-]{30,}", MARK),
    // NATS seeds.
    (r"\bS[UANOCX][A-Z2-7]{54,}\b", MARK),
];

/// Constant once compiled; a test holds that every pattern compiles.
static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    PATTERNS.iter().filter_map(|(pattern, with)| Regex::new(pattern).ok().map(|regex| (regex, *with))).collect()
});

/// The text without tokens, passwords, authorization headers, user information in URLs and PEM
/// blocks. Linear in the text's length. What has no name and no known shape can't be told from an
/// ordinary word and stays.
pub fn text(text: &str) -> String {
    let mut text = text.to_owned();
    for (regex, with) in COMPILED.iter() {
        if let std::borrow::Cow::Owned(replaced) = regex.replace_all(&text, *with) {
            text = replaced;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(COMPILED.len(), PATTERNS.len());
    }

    #[test]
    fn what_is_redacted_stays_as_it_is() {
        for secret in [
            "password=hunter2hunter2",
            "token: [x]",
            "https://user:pw@host/",
            "Authorization: Bearer abcdefgh1234",
            "--token abc",
        ] {
            let once = text(secret);
            assert_eq!(text(&once), once);
        }
    }

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let aws = ["AKIA", "IOSFODNN7EXAMPLE"].concat();
        for (found, expected) in [
            ("connect postgres://app:hunter2@db:5432/shop failed", "connect postgres://[redacted]@db:5432/shop failed"),
            ("Authorization: Bearer abcdef0123456789", "Authorization: [redacted]"),
            ("sent bearer abcdef0123456789 to api", "sent bearer [redacted] to api"),
            ("DB_PASSWORD=hunter2 PORT=80", "DB_PASSWORD=[redacted] PORT=80"),
            (r#"{"clientSecret": "x y", "port": 80}"#, r#"{"clientSecret": [redacted], "port": 80}"#),
            (r#"msg="{\"token\":\"abc\",\"n\":1}""#, r#"msg="{\"token\":[redacted],\"n\":1}""#),
            ("api_key: 'abc', rest", "api_key: [redacted], rest"),
            ("run --token abc --port 80", "run --token [redacted] --port 80"),
            ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end", "got [redacted] end"),
            (&format!("id {aws} used"), "id [redacted] used"),
            ("a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b", "a [redacted] b"),
            ("a -----BEGIN PRIVATE KEY-----\nMIIE cut off", "a [redacted]"),
            ("MIIEv\nQIBAD\n-----END PRIVATE KEY-----\nstarting", "[redacted]\nstarting"),
        ] {
            assert_eq!(text(found), expected);
        }
    }

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for ordinary in [
            "Back-off pulling image \"registry:5000/web:2\": ErrImagePull",
            "0/3 nodes are available: 3 Insufficient cpu.",
            "pod cart-5d9f7c8b6-x2x4z restarted 5 times",
            "MountVolume.SetUp failed for volume \"config\": configmap \"web\" not found",
            "https://prometheus:9090/api/v1/query?query=up",
            "mail ops@example.org",
        ] {
            assert_eq!(text(ordinary), ordinary);
        }
    }
}

//! Label sets, as Prometheus and Alertmanager order, print and fingerprint them.

use std::fmt;
use std::sync::Arc;

/// A label's name or value.
pub(crate) type Text = Arc<str>;

/// The label that holds a series' name.
pub(crate) const NAME: &str = "__name__";

/// Labels sorted by name; an empty value is no label. Clones share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labels(Arc<[(Text, Text)]>);

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl Labels {
    /// Of pairs in any order; of two with one name the later counts.
    pub(crate) fn of<N: Into<Text>, V: Into<Text>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut all: Vec<(Text, Text)> = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        // Stable, so that the later of two stays behind the earlier.
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let mut kept: Vec<(Text, Text)> = Vec::with_capacity(all.len());
        for pair in all {
            if kept.last().is_some_and(|last| last.0 == pair.0) {
                kept.pop();
            }
            kept.push(pair);
        }
        kept.retain(|(_, value)| !value.is_empty());
        Self(kept.into())
    }

    /// A label's value; empty where there is none, as matchers see it.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| &**key == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| &**key == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Text, Text)> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Without the series' name.
    pub(crate) fn nameless(&self) -> Self {
        if self.has(NAME) { self.filtered(|name| name != NAME) } else { self.clone() }
    }

    /// Those whose name the condition lets pass.
    pub(crate) fn filtered(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// With a label set; an empty value takes it away.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        Self::of(self.0.iter().cloned().chain([(Text::from(name), Text::from(value))]))
    }

    /// prometheus/common `LabelSet.Fingerprint`: FNV-1a of 64 bits, 0xFF after each name and value.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hash: u64 = 14_695_981_039_346_656_037;
        let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211);
        for (name, value) in self.iter() {
            name.bytes().for_each(&mut add);
            add(0xFF);
            value.bytes().for_each(&mut add);
            add(0xFF);
        }
        hash
    }

    /// As a JSON object.
    pub(crate) fn json(&self) -> serde_json::Value {
        self.iter().map(|(name, value)| (name.to_string(), serde_json::Value::from(&**value))).collect()
    }
}

/// `{a="b", c="d"}`, as prometheus/common writes a label set.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (place, (name, value)) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={}", quoted(value))?;
        }
        f.write_str("}")
    }
}

/// As Go's `%q` writes a text without unprintable characters.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_and_texts_are_those_of_prometheus() {
        assert_eq!(format!("{:016x}", Labels::default().fingerprint()), "cbf29ce484222325");
        let labels = Labels::of([("name", "garland, briggs"), ("fear", "love is not enough"), ("none", "")]);
        assert_eq!(format!("{:016x}", labels.fingerprint()), "507a62d79ee76c9a");
        assert_eq!(labels.to_string(), r#"{fear="love is not enough", name="garland, briggs"}"#);
        assert_eq!(labels.with("name", "").with("a", "\"").to_string(), r#"{a="\"", fear="love is not enough"}"#);
    }
}

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// At most so many labels or annotations of one alert are read; Prometheus' own default limit is lower.
pub(crate) const MAX_PAIRS: usize = 256;

/// Text that stays in the request's buffer unless it holds escapes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_string<E>(self, text: String) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Labels or annotations, sorted by name; an empty value is the same as none, as in Prometheus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'a> Labels<'a> {
    /// Borrows pairs; a name that comes twice keeps its last value.
    pub(crate) fn from_pairs(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (Text(Cow::Borrowed(name)), Text(Cow::Borrowed(value))));
        Self::sorted(pairs.collect())
    }

    fn sorted(mut pairs: Vec<(Text<'a>, Text<'a>)>) -> Self {
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        // Of equal names the last one wins, as in a Go map: keep it in the place of the first.
        pairs.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(&mut earlier.1, &mut later.1);
            }
            same
        });
        Self(pairs)
    }

    /// The value of a label, unless it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(found, _)| found.as_str().cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// All pairs, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LabelsVisitor;
        impl<'de> Visitor<'de> for LabelsVisitor {
            type Value = Labels<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_unit<E>(self) -> Result<Labels<'de>, E> {
                Ok(Labels::default())
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Labels<'de>, M::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(16).min(MAX_PAIRS));
                while let Some(pair) = map.next_entry()? {
                    if pairs.len() == MAX_PAIRS {
                        return Err(M::Error::custom(format_args!(
                            "expected at most {MAX_PAIRS} labels or annotations of an alert"
                        )));
                    }
                    pairs.push(pair);
                }
                Ok(Labels::sorted(pairs))
            }
        }
        deserializer.deserialize_any(LabelsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_borrow_from_the_body_unless_escaped() {
        let labels: Labels = serde_json::from_str(r#"{"b":"plain","a":"with \"quotes\""}"#).unwrap();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "with \"quotes\""), ("b", "plain")]);
        assert!(matches!(labels.0[1].1.0, Cow::Borrowed(_)));
    }

    #[test]
    fn the_last_of_equal_names_wins_and_an_empty_value_is_none() {
        let labels: Labels = serde_json::from_str(r#"{"a":"1","b":"","a":"2"}"#).unwrap();
        assert_eq!((labels.get("a"), labels.get("b"), labels.get("c")), (Some("2"), None, None));
        assert_eq!(serde_json::from_str::<Labels>("null").unwrap(), Labels::default());
    }

    #[test]
    fn too_many_labels_are_refused() {
        let many: std::collections::BTreeMap<_, _> = (0..=MAX_PAIRS).map(|i| (format!("l{i}"), "x")).collect();
        let error = serde_json::from_str::<Labels>(&serde_json::to_string(&many).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("expected at most 256 labels"), "{error}");
    }
}

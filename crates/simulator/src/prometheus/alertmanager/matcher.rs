//! Label matchers of routes, inhibitions and silences.

use regex::Regex;
use serde_json::{Value, json};

use super::super::labels::Labels;
use crate::patterns::compiled;

/// One condition on a label.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    name: String,
    value: String,
    pattern: Option<Regex>,
    is_equal: bool,
}

impl Matcher {
    pub(super) fn equal(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned(), pattern: None, is_equal: true }
    }

    /// A pattern of our own; one that can't be read matches only itself.
    pub(super) fn like(name: &str, value: &str) -> Self {
        Self::new(name, value, true, true).unwrap_or_else(|_| Self::equal(name, value))
    }

    pub(super) fn new(name: &str, value: &str, is_regex: bool, is_equal: bool) -> Result<Self, String> {
        let pattern = if is_regex {
            Some(compiled(&format!("^(?s:{value})$")).map_err(|error| error.to_string())?)
        } else {
            None
        };
        Ok(Self { name: name.to_owned(), value: value.to_owned(), pattern, is_equal })
    }

    /// `severity="critical"`, `pod=~"cart-.*"`, quotes as one likes.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("bad matcher format: {text}");
        let end = text.find(['=', '!']).ok_or_else(bad)?;
        let (name, rest) = text.split_at(end);
        let (is_regex, is_equal, value) = if let Some(value) = rest.strip_prefix("=~") {
            (true, true, value)
        } else if let Some(value) = rest.strip_prefix("!~") {
            (true, false, value)
        } else if let Some(value) = rest.strip_prefix("!=") {
            (false, false, value)
        } else {
            (false, true, rest.strip_prefix('=').ok_or_else(bad)?)
        };
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        Self::new(name.trim(), value, is_regex, is_equal)
    }

    pub(super) fn from_json(value: &Value) -> Result<Self, String> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let flag = |name: &str, or: bool| value.get(name).and_then(Value::as_bool).unwrap_or(or);
        Self::new(text("name"), text("value"), flag("isRegex", false), flag("isEqual", true))
    }

    pub(super) fn json(&self) -> Value {
        let is_regex = self.pattern.is_some();
        json!({"isEqual": self.is_equal, "isRegex": is_regex, "name": self.name, "value": self.value})
    }

    fn matches(&self, labels: &Labels) -> bool {
        let found = labels.get(&self.name);
        let same = match &self.pattern {
            Some(pattern) => pattern.is_match(found),
            None => self.value == found,
        };
        same == self.is_equal
    }

    pub(super) fn match_all(matchers: &[Self], labels: &Labels) -> bool {
        matchers.iter().all(|matcher| matcher.matches(labels))
    }

    /// As group keys write a route's matchers.
    pub(super) fn all(matchers: &[Self]) -> String {
        let one = |matcher: &Self| {
            let op = match (matcher.pattern.is_some(), matcher.is_equal) {
                (false, true) => "=",
                (false, false) => "!=",
                (true, true) => "=~",
                (true, false) => "!~",
            };
            format!("{}{op}\"{}\"", matcher.name, matcher.value)
        };
        format!("{{{}}}", matchers.iter().map(one).collect::<Vec<String>>().join(","))
    }
}

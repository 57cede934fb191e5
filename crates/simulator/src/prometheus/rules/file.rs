//! Rule files as they are written.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::RuleError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    pub(super) groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    #[expect(dead_code, reason = "every group has one")]
    name: String,
    pub(super) rules: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    alert: Option<String>,
    record: Option<String>,
    pub(super) expr: String,
    #[serde(default, rename = "for", deserialize_with = "duration")]
    pub(super) hold: Duration,
    #[serde(default, deserialize_with = "duration")]
    pub(super) keep_firing_for: Duration,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

/// What a rule makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Alert,
    Record,
}

impl Written {
    pub(super) fn kind_and_name(&self, file: &str) -> Result<(Kind, String), RuleError> {
        match (&self.alert, &self.record) {
            (Some(name), None) => Ok((Kind::Alert, name.clone())),
            (None, Some(name)) if self.annotations.is_empty() => Ok((Kind::Record, name.clone())),
            _ => Err(RuleError::Rule {
                file: file.to_owned(),
                rule: self.expr.clone(),
                reason: "expected either alert, or record without annotations".to_owned(),
            }),
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "0s" || text == "0" {
        return Ok(Duration::ZERO);
    }
    promql_parser::util::parse_duration(&text).map_err(serde::de::Error::custom)
}

//! Recordings, and how an answer differs from one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::case::home;

/// What was observed, by group and behaviour.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Golden(pub BTreeMap<String, BTreeMap<String, Value>>);

fn file(group: &str) -> PathBuf {
    home().join("golden").join(format!("{group}.json"))
}

impl Golden {
    /// What was recorded of these groups.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn load<'a>(groups: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut golden = Self::default();
        for group in groups {
            let path = file(group);
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            golden.0.insert(group.to_owned(), serde_json::from_str(&text)?);
        }
        Ok(golden)
    }

    /// Writes it down, over what was recorded of the same groups.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn save(&self) -> Result<()> {
        std::fs::create_dir_all(home().join("golden"))?;
        for (group, behaviours) in &self.0 {
            std::fs::write(file(group), format!("{}\n", serde_json::to_string_pretty(behaviours)?))?;
        }
        Ok(())
    }
}

/// What is not as it was recorded, for a person to read; nothing if all is.
pub fn differences(recorded: &Golden, found: &Golden) -> Vec<String> {
    let mut told = Vec::new();
    for (group, behaviours) in &found.0 {
        let empty = BTreeMap::new();
        let golden = recorded.0.get(group).unwrap_or(&empty);
        for (name, transcript) in behaviours {
            let mut lines = Vec::new();
            match golden.get(name) {
                None => lines.push("  was never recorded".to_owned()),
                Some(expected) => compare("", expected, transcript, &mut lines),
            }
            if !lines.is_empty() {
                told.push(format!("{group}: {name}\n{}", lines.join("\n")));
            }
        }
        for name in golden.keys().filter(|name| !behaviours.contains_key(*name)) {
            told.push(format!("{group}: {name}\n  is recorded, but there is no such behaviour"));
        }
    }
    told
}

fn compare(at: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            let fields: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for field in fields {
                let at = format!("{at}/{field}");
                match (a.get(field), b.get(field)) {
                    (Some(a), Some(b)) => compare(&at, a, b, lines),
                    (Some(a), None) => lines.push(format!("  - {at}: {a}")),
                    (None, Some(b)) => lines.push(format!("  + {at}: {b}")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (number, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{at}/{number}"), a, b, lines);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            lines.push(format!("  - {at}: {a}"));
            lines.push(format!("  + {at}: {b}"));
        }
    }
}

//! What two sets of playbooks and policies differ in.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::rules::Rules;

/// So many fields of one object are named.
const MAX_FIELDS: usize = 6;
/// Longer values are cut.
const MAX_VALUE: usize = 60;

/// One playbook or policy that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// `Playbook` or `ActionPolicy`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What of it: `settle: 2m → 5m`.
    pub what: Vec<String>,
}

impl Change {
    pub(super) fn is_playbook(&self, name: &str) -> bool {
        self.kind == "Playbook" && self.name == name
    }

    pub(super) fn is_policy(&self, name: &str) -> bool {
        self.kind == "ActionPolicy" && self.name == name
    }

    /// Whether it is new or gone as a whole.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.what.as_slice(), [what] if what == "added" || what == "removed")
    }

    /// What of it can have mattered to an incident that this signal opened; all where that can't be told.
    pub(super) fn for_signal(&self, signal: &str) -> Self {
        let other = |what: &&String| {
            let named = ["match.signals + ", "match.signals − "].iter().find_map(|prefix| what.strip_prefix(prefix));
            named.is_some_and(|named| named != signal)
        };
        let mine = |what: &&String| {
            ["match.signals + ", "match.signals − "].iter().any(|prefix| what.strip_prefix(prefix) == Some(signal))
        };
        let own: Vec<String> = self.what.iter().filter(mine).cloned().collect();
        let rest: Vec<String> = self.what.iter().filter(|what| !other(what)).cloned().collect();
        let what = if !own.is_empty() {
            own
        } else if rest.is_empty() {
            self.what.clone()
        } else {
            rest
        };
        Self { what, ..self.clone() }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.kind == "Playbook" { "playbook" } else { "policy" };
        write!(f, "{kind} {}: {}", self.name, self.what.join(", "))
    }
}

/// What is new, gone or changed.
pub fn changes(before: &Rules, after: &Rules) -> Vec<Change> {
    let playbooks = |rules: &Rules| {
        let specs = rules.playbooks.iter();
        specs.map(|it| (it.name.clone(), serde_json::to_value(&it.spec).unwrap_or_default())).collect()
    };
    let policies = |rules: &Rules| {
        let specs = rules.policies.iter();
        specs.map(|(name, spec)| (name.clone(), serde_json::to_value(spec).unwrap_or_default())).collect()
    };
    let mut all = between("Playbook", &playbooks(before), &playbooks(after));
    all.extend(between("ActionPolicy", &policies(before), &policies(after)));
    all
}

fn between(kind: &'static str, before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut all = Vec::new();
    for name in names {
        let what = match (before.get(name), after.get(name)) {
            (Some(_), None) => vec!["removed".to_owned()],
            (None, Some(_)) => vec!["added".to_owned()],
            (Some(a), Some(b)) if a != b => {
                let mut what = Vec::new();
                fields("", a, b, &mut what);
                let more = what.len().saturating_sub(MAX_FIELDS);
                what.truncate(MAX_FIELDS);
                if more > 0 {
                    what.push(format!("and {more} more"));
                }
                what
            }
            _ => continue,
        };
        all.push(Change { kind, name: name.clone(), what });
    }
    all
}

fn fields(path: &str, before: &Value, after: &Value, into: &mut Vec<String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (before, after) {
        (a, b) if a == b => {}
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => fields(&below(key), a, b, into),
                    (Some(a), None) => into.push(format!("{} removed ({})", below(key), show(a))),
                    (None, Some(b)) => into.push(format!("{} added ({})", below(key), show(b))),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => entries(path, a, b, into),
        (a, b) => into.push(format!("{path}: {} → {}", show(a), show(b))),
    }
}

/// Entries that have a name are compared by it; others are there or not.
fn entries(path: &str, before: &[Value], after: &[Value], into: &mut Vec<String>) {
    let name = |value: &Value| {
        let named = ["name", "do"].into_iter().find_map(|key| value.get(key)?.as_str().map(str::to_owned));
        named.unwrap_or_else(|| show(value))
    };
    let find = |values: &[Value], wanted: &str| values.iter().find(|value| name(value) == wanted).cloned();
    for value in before {
        let at = name(value);
        match find(after, &at) {
            Some(other) => fields(&format!("{path}[{at}]"), value, &other, into),
            None => into.push(format!("{path} − {at}")),
        }
    }
    for value in after {
        let at = name(value);
        if find(before, &at).is_none() {
            into.push(format!("{path} + {at}"));
        }
    }
}

fn show(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(object) if object.contains_key("fact") => {
            let part = |key: &str| object.get(key).map(show).unwrap_or_default();
            format!("{} {} {}", part("fact"), part("op"), part("value")).trim_end().to_owned()
        }
        other => other.to_string(),
    };
    if text.chars().count() <= MAX_VALUE {
        return text;
    }
    let cut: String = text.chars().take(MAX_VALUE - 1).collect();
    format!("{cut}…")
}

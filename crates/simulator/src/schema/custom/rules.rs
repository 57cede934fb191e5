//! The rules of `x-kubernetes-validations` that are known. CEL is not spoken: each text has its function, and a
//! CRD with any other is refused.

use serde_json::Value;

use super::child;
use super::structural::Structural;
use crate::failure::Failure;
use crate::schema::problem::{Problem, Problems};

/// Whether a rule holds for what is, and what was.
type Holds = fn(now: &Value, before: &Value) -> bool;

/// A rule of a schema.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    message: String,
    /// A rule on `oldSelf` is looked at only when there was something.
    holds: Holds,
}

/// What each text means.
const KNOWN: &[(&str, Holds)] = &[("self == oldSelf", |now, before| now == before)];

/// Reads a rule.
///
/// # Errors
/// 501 when it is not known, or asks for more than a message.
pub(super) fn parse(rule: &Value, field: &str) -> Result<Rule, Failure> {
    let part = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
    let plain = rule.as_object().is_some_and(|map| map.keys().all(|key| ["rule", "message"].contains(&key.as_str())));
    let found = KNOWN.iter().find(|(text, _)| plain && *text == part("rule"));
    let (text, holds) = found.ok_or_else(|| Failure::not_modelled(format!("the rule {rule}, at {field}")))?;
    let message = if part("message").is_empty() { format!("failed rule: {text}") } else { part("message").to_owned() };
    Ok(Rule { message, holds: *holds })
}

/// Holds an object and what it was against the rules.
pub(super) fn check(schema: &Structural, value: &Value, old: Option<&Value>, field: &str, problems: &mut Problems) {
    if let Some(old) = old {
        for rule in schema.rules.iter().filter(|rule| !(rule.holds)(value, old)) {
            problems.push(Problem::unshown(field, &rule.message));
        }
    }
    // Items of a list are not told apart from one write to the next: no CRD of ours has rules there.
    for (name, value) in value.as_object().into_iter().flatten() {
        if let Some(schema) = schema.field(name) {
            let old = old.and_then(|old| old.get(name));
            check(schema, value, old, &child(field, name), problems);
        }
    }
}

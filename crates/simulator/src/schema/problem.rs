//! What is wrong with an object, field by field, worded as `field.Error` of k8s.io/apimachinery words it.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::kinds::Kind;

/// A cause of a 422.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    reason: &'static str,
    field: String,
    body: String,
}

/// What is wrong with an object; nothing when it is empty.
pub(crate) type Problems = Vec<Problem>;

impl Problem {
    fn new(reason: &'static str, field: impl Into<String>, what: &str, value: Option<&Value>, detail: &str) -> Self {
        let mut body = what.to_owned();
        if let Some(value) = value {
            body.push_str(": ");
            body.push_str(&shown(value));
        }
        if !detail.is_empty() {
            body.push_str(": ");
            body.push_str(detail);
        }
        Self { reason, field: field.into(), body }
    }

    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueRequired", field, "Required value", None, detail)
    }

    pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new("FieldValueInvalid", field, "Invalid value", Some(value), detail)
    }

    /// An invalid value that is not shown, as a failed rule of a CRD is reported.
    pub(crate) fn unshown(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueInvalid", field, "Invalid value", None, detail)
    }

    /// An invalid value that is given as it is to be shown.
    pub(crate) fn invalid_raw(field: impl Into<String>, shown: &str, detail: &str) -> Self {
        Self::new("FieldValueInvalid", field, &format!("Invalid value: {shown}"), None, detail)
    }

    pub(crate) fn type_invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new("FieldValueTypeInvalid", field, "Invalid value", Some(value), detail)
    }

    pub(crate) fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let detail =
            if supported.is_empty() { String::new() } else { format!("supported values: {}", supported.join(", ")) };
        Self::new("FieldValueNotSupported", field, "Unsupported value", Some(value), &detail)
    }

    /// An unsupported value that is given as it is to be shown.
    pub(crate) fn not_supported_raw(field: impl Into<String>, shown: &str, supported: &[&str]) -> Self {
        let problem = Self::not_supported(field, &Value::Null, supported);
        Self { body: problem.body.replacen("null", shown, 1), ..problem }
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new("FieldValueForbidden", field, "Forbidden", None, detail)
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new("FieldValueDuplicate", field, "Duplicate value", Some(value), "")
    }

    pub(crate) fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::new("FieldValueNotFound", field, "Not found", Some(value), "")
    }

    pub(crate) fn too_long(field: impl Into<String>, limit: u64) -> Self {
        Self::new("FieldValueTooLong", field, "Too long", None, &format!("may not be more than {limit} bytes"))
    }

    pub(crate) fn too_many(field: impl Into<String>, found: u64, limit: u64) -> Self {
        Self::new(
            "FieldValueTooMany",
            field,
            "Too many",
            Some(&json!(found)),
            &format!("must have at most {limit} items"),
        )
    }

    /// The same problem, of what stands at a field.
    pub(crate) fn below(self, field: &str) -> Self {
        let field = if self.field == "<nil>" { field.to_owned() } else { format!("{field}.{}", self.field) };
        Self { field, ..self }
    }

    /// Whether rules are not looked at when an object has this problem.
    pub(crate) fn blocks_rules(&self) -> bool {
        ["FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"].contains(&self.reason)
    }
}

/// A value as Go prints it in messages: texts with `%q`, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e21 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// The 422 that tells them all, or nothing when there are none.
pub(crate) fn refuse(kind: &Kind, name: &str, problems: &[Problem]) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let what = if kind.group.is_empty() { kind.kind.clone() } else { format!("{}.{}", kind.kind, kind.group) };
    let mut lines: Vec<String> = Vec::new();
    for problem in problems {
        let line = format!("{}: {}", problem.field, problem.body);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let all = lines.join(", ");
    let all = if lines.len() == 1 { all } else { format!("[{all}]") };
    let causes: Vec<Value> = problems
        .iter()
        .map(|problem| json!({"reason": problem.reason, "message": problem.body, "field": problem.field}))
        .collect();
    let mut details = json!({"name": name, "kind": kind.kind, "causes": causes});
    if let (false, Some(map)) = (kind.group.is_empty(), details.as_object_mut()) {
        map.insert("group".to_owned(), json!(kind.group));
    }
    if let (true, Some(map)) = (name.is_empty(), details.as_object_mut()) {
        map.remove("name");
    }
    Err(Failure::new(422, "Invalid", format!("{what} {name:?} is invalid: {all}"), details))
}

/// The 403 of an admission plugin.
pub(crate) fn forbid(kind: &Kind, name: &str, why: &str) -> Failure {
    let resource = kind.resource();
    let message = format!("{resource} {name:?} is forbidden: {why}");
    let mut details = json!({"name": name, "kind": kind.plural});
    if let (false, Some(map)) = (kind.group.is_empty(), details.as_object_mut()) {
        map.insert("group".to_owned(), json!(kind.group));
    }
    Failure::new(403, "Forbidden", message, details)
}

//! What the API server answers when it refuses: `Status` objects, worded as the real one words them.

use serde_json::{Value, json};

use crate::store::Key;

/// A refused request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {}", .code, .status.get("message").and_then(Value::as_str).unwrap_or_default())]
pub struct Failure {
    /// The HTTP status.
    pub code: u16,
    /// The body: a `Status` object.
    pub status: Value,
}

impl Failure {
    /// A refusal with a reason of `metav1.StatusReason`.
    pub fn new(code: u16, reason: &str, message: impl Into<String>, details: Value) -> Self {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message.into(), "reason": reason, "code": code,
        });
        if let (false, Some(map)) = (details.is_null(), status.as_object_mut()) {
            map.insert("details".to_owned(), details);
        }
        Self { code, status }
    }

    /// 404: no such object.
    pub fn not_found(key: &Key) -> Self {
        let message = format!("{} \"{}\" not found", key.resource, key.name);
        Self::new(404, "NotFound", message, details(key))
    }

    /// 409: an object of this name exists.
    pub fn already_exists(key: &Key) -> Self {
        let message = format!("{} \"{}\" already exists", key.resource, key.name);
        Self::new(409, "AlreadyExists", message, details(key))
    }

    /// 409: the object is not what the request takes it for.
    pub fn conflict(key: &Key, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{}\": {why}", key.resource, key.name);
        Self::new(409, "Conflict", message, details(key))
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message, Value::Null)
    }

    /// 410: the asked resourceVersion is forgotten.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message, Value::Null)
    }

    /// 501: the simulation has no such thing. Names the request.
    pub fn not_modelled(what: impl Into<String>) -> Self {
        Self::new(501, "NotImplemented", format!("not simulated: {}", what.into()), Value::Null)
    }
}

fn details(key: &Key) -> Value {
    let (plural, group) = key.resource.as_str().split_once('.').unwrap_or((key.resource.as_str(), ""));
    if group.is_empty() {
        json!({"name": key.name, "kind": plural})
    } else {
        json!({"name": key.name, "group": group, "kind": plural})
    }
}

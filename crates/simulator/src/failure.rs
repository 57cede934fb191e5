//! What the API server answers when it refuses: `Status` objects, worded as the real one words them.

use serde_json::{Value, json};

use crate::kinds::Resource;
use crate::store::Key;

/// A refused request.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The HTTP status.
    pub code: u16,
    /// The body: a `Status` object.
    pub status: Value,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message())
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// A refusal with a reason of `metav1.StatusReason`.
    pub fn new(code: u16, reason: &str, message: impl Into<String>, details: Value) -> Self {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message.into(), "code": code,
        });
        if let Some(map) = status.as_object_mut() {
            if !reason.is_empty() {
                map.insert("reason".to_owned(), json!(reason));
            }
            if !details.is_null() {
                map.insert("details".to_owned(), details);
            }
        }
        Self { code, status }
    }

    /// Its words.
    pub fn message(&self) -> &str {
        self.status.get("message").and_then(Value::as_str).unwrap_or_default()
    }

    /// Its reason: `NotFound`, `Conflict` …; empty where it has none.
    pub fn reason(&self) -> &str {
        self.status.get("reason").and_then(Value::as_str).unwrap_or_default()
    }

    /// 404: no such object.
    pub fn not_found(key: &Key) -> Self {
        let message = format!("{} \"{}\" not found", key.resource, key.name);
        Self::new(404, "NotFound", message, details(key))
    }

    /// 404: no such resource, or not with this subresource.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource", json!({}))
    }

    /// 405: the resource is there, but not with this verb.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message, json!({}))
    }

    /// 415: a patch of a sort that this resource does not take.
    pub fn unsupported_media_type() -> Self {
        Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type", json!({}))
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

    /// 409: somebody wrote since the object was read.
    pub fn modified(key: &Key) -> Self {
        Self::conflict(
            key,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message, Value::Null)
    }

    /// 403 by an admission plugin: `pods "cart-1" is forbidden: <why>`.
    pub fn forbidden(key: &Key, why: &str) -> Self {
        let message = format!("{} \"{}\" is forbidden: {why}", key.resource, key.name);
        Self::new(403, "Forbidden", message, details(key))
    }

    /// 422 for one field: `Deployment.apps "cart" is invalid: spec.replicas: Invalid value: …`. The reason is
    /// a cause's: `FieldValueInvalid`, `FieldValueRequired`, `FieldValueForbidden`.
    pub fn invalid(kind: &str, group: &str, name: &str, (reason, field, message): (&str, &str, &str)) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let causes = json!([{"reason": reason, "message": message, "field": field}]);
        let mut details = json!({"kind": kind, "causes": causes});
        if let Some(map) = details.as_object_mut() {
            if !name.is_empty() {
                map.insert("name".to_owned(), json!(name));
            }
            if !group.is_empty() {
                map.insert("group".to_owned(), json!(group));
            }
        }
        Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {field}: {message}"), details)
    }

    /// 422 of a patch that does not apply; the server says no more than this.
    pub fn patch_does_not_apply() -> Self {
        Self::new(422, "Invalid", "the server rejected our request due to an error in our request", json!({}))
    }

    /// 410: the asked resourceVersion is forgotten.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message, Value::Null)
    }

    /// 504: a resourceVersion was asked for that is yet to come.
    pub fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let causes = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        Self::new(504, "Timeout", message, json!({"causes": causes, "retryAfterSeconds": 1}))
    }

    /// 501: the simulation has no such thing. Names the request.
    pub fn not_modelled(what: impl Into<String>) -> Self {
        Self::new(501, "NotImplemented", format!("not simulated: {}", what.into()), Value::Null)
    }
}

/// Plural and group.
pub(crate) fn split(resource: &Resource) -> (&str, &str) {
    resource.as_str().split_once('.').unwrap_or((resource.as_str(), ""))
}

pub(crate) fn details(key: &Key) -> Value {
    let (plural, group) = split(&key.resource);
    let mut details = json!({"kind": plural});
    if let Some(map) = details.as_object_mut() {
        if !key.name.is_empty() {
            map.insert("name".to_owned(), json!(key.name));
        }
        if !group.is_empty() {
            map.insert("group".to_owned(), json!(group));
        }
    }
    details
}

//! What admission policies over our own objects have in common. Fields are written out also where they have a default,
//! so that what is installed can be compared with this.

use serde_json::{Value, json};

/// Holds of whatever does not change what an object says.
pub(super) const UNCHANGED: &str = "!variables.updates || object.spec == oldObject.spec";

/// The variable that tells a change from a new object.
pub(super) fn updates() -> Value {
    json!({ "name": "updates", "expression": "request.operation == 'UPDATE'" })
}

/// An expression, a chain of `||` at the outermost, that is to hold of new objects alone.
pub(super) fn of_new(expression: &str) -> String {
    format!("variables.updates || {expression}")
}

/// Kinds of ours, when they are created or updated.
pub(super) fn resources(names: &[&str], scope: &str) -> Value {
    json!({
        "apiGroups": ["evenkeel.dev"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": names,
        "scope": scope,
    })
}

/// All of these, whatever their labels and their namespaces'.
pub(super) fn constraints(rules: &[Value]) -> Value {
    json!({
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "resourceRules": rules,
    })
}

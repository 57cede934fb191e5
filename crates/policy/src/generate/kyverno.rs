use serde_json::{Value, json};

use super::admission::{Admission, GATEWAY_WRITES, admission};
use crate::{PolicySource, Protected};

/// What [`admission`] makes, as a Kyverno `ValidatingPolicy` (policies.kyverno.io/v1: Kyverno 1.17 and later). It is
/// in Audit: Kyverno reports what it would refuse, and refuses nothing.
///
/// Kyverno evaluates the same CEL over the same request. It is told not to judge what lies in the cluster already
/// (there is no request then, and nobody who makes it), and to make no further rules of it for pods' controllers.
pub fn kyverno(policies: &[PolicySource], engine: &str, protected: &Protected) -> Value {
    let [policy, _] = admission(policies, engine, protected, Admission::Audit);
    let part = |name: &str| policy.pointer(&format!("/spec/{name}")).cloned().unwrap_or_default();
    json!({
        "apiVersion": "policies.kyverno.io/v1",
        "kind": "ValidatingPolicy",
        "metadata": { "name": GATEWAY_WRITES },
        "spec": {
            "validationActions": ["Audit"],
            "failurePolicy": part("failurePolicy"),
            "evaluation": { "admission": { "enabled": true }, "background": { "enabled": false } },
            "autogen": {
                "podControllers": { "controllers": [] },
                "validatingAdmissionPolicy": { "enabled": false },
            },
            "matchConstraints": part("matchConstraints"),
            "matchConditions": part("matchConditions"),
            "variables": part("variables"),
            "validations": part("validations"),
        },
    })
}

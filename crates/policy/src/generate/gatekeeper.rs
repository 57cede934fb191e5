use serde_json::{Value, json};

use super::admission::{Admission, GATEWAY_WRITES, admission};
use crate::{PolicySource, Protected};

/// The constraint's kind; Gatekeeper names its template after it, in lower case.
const KIND: &str = "EvenkeelGateway";

/// What [`admission`] makes, as a Gatekeeper `ConstraintTemplate` (engine `K8sNativeValidation`: Gatekeeper 3.18 and
/// later) and its constraint. Its enforcement action is `dryrun`: Gatekeeper reports what it would refuse, and refuses
/// nothing.
///
/// Gatekeeper evaluates the same CEL over the same request. It is told to make no ValidatingAdmissionPolicy of it:
/// that one there is already. In its audit of what lies in the cluster there is nobody who makes a request, and so
/// nothing is found.
pub fn gatekeeper(policies: &[PolicySource], engine: &str, protected: &Protected) -> [Value; 2] {
    let [policy, _] = admission(policies, engine, protected, Admission::Audit);
    let part = |name: &str| policy.pointer(&format!("/spec/{name}")).cloned().unwrap_or_default();
    let mut validations = part("validations");
    for validation in validations.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        // Gatekeeper knows one reason, its own.
        validation.remove("reason");
    }
    let template = json!({
        "apiVersion": "templates.gatekeeper.sh/v1",
        "kind": "ConstraintTemplate",
        "metadata": { "name": KIND.to_lowercase() },
        "spec": {
            "crd": { "spec": { "names": { "kind": KIND } } },
            "targets": [{
                "target": "admission.k8s.gatekeeper.sh",
                "code": [{
                    "engine": "K8sNativeValidation",
                    "source": {
                        "failurePolicy": part("failurePolicy"),
                        "generateVAP": false,
                        // Singular, as Gatekeeper reads it.
                        "matchCondition": part("matchConditions"),
                        "variables": part("variables"),
                        "validations": validations,
                    },
                }],
            }],
        },
    });
    let constraint = json!({
        "apiVersion": "constraints.gatekeeper.sh/v1beta1",
        "kind": KIND,
        "metadata": { "name": GATEWAY_WRITES },
        "spec": {
            "enforcementAction": "dryrun",
            "match": {
                "kinds": [
                    { "apiGroups": [""], "kinds": ["Pod", "Node"] },
                    { "apiGroups": ["apps"], "kinds": ["Deployment", "StatefulSet", "DaemonSet"] },
                    { "apiGroups": ["batch"], "kinds": ["Job"] },
                    // What is sent to evict a pod.
                    { "apiGroups": ["policy"], "kinds": ["Eviction"] },
                ],
            },
        },
    });
    [template, constraint]
}

//! The admission policy for what people write: it is they who wrote it, and they may.

use serde_json::{Value, json};

/// Name of the policy and its binding.
const NAME: &str = "evenkeel-people";

/// What the API server says when `by` is somebody else. Gateways look for it when they try whether the policy holds.
pub const NOT_YOURSELF: &str = "by has to be whoever sends it";

/// A ValidatingAdmissionPolicy over Freezes and Requests, and its binding. It holds `spec.by` against the user who
/// sends them, and asks the API server's own authorizer whether that user has the verb that a Request needs: `run` on
/// `remediations` in the target's namespace; `cancel`, `ack`, `rearm` on `requests` in the Request's.
pub fn people() -> [Value; 2] {
    let api = "admissionregistration.k8s.io/v1";
    let rule = |resource: &str, scope: &str| {
        json!({
            "apiGroups": ["evenkeel.dev"],
            "apiVersions": ["*"],
            "operations": ["CREATE"],
            "resources": [resource],
            "scope": scope,
        })
    };
    let of_request = |expression: &str| format!("!variables.isRequest || ({expression})");
    // 422: a refusal, and no sign of a right that is missing.
    let validation = |expression: String, message: &str| json!({ "expression": expression, "message": format!("evenkeel: {message}"), "reason": "Invalid" });
    let may = |check: &str| format!("authorizer.group('evenkeel.dev').{check}.allowed()");
    let policy = json!({
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": NAME },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [rule("requests", "Namespaced"), rule("freezes", "Cluster")] },
            "variables": [
                { "name": "isRequest", "expression": "request.resource.resource == 'requests'" },
                { "name": "verb", "expression": "!variables.isRequest ? '' : has(object.spec.do.run) ? 'run' : \
                    has(object.spec.do.cancel) ? 'cancel' : has(object.spec.do.ack) ? 'ack' : 'rearm'" },
            ],
            "validations": [
                validation("object.spec.by == request.userInfo.username".to_owned(), NOT_YOURSELF),
                validation(
                    of_request("!request.userInfo.username.startsWith('system:serviceaccount:')"),
                    "a ServiceAccount is nobody who could ask",
                ),
                validation(
                    format!(
                        "variables.verb != 'run' || {}",
                        may("resource('remediations').namespace(object.spec.do.run.target.?namespace.orValue('')).check('run')")
                    ),
                    "run needs the verb run on remediations.evenkeel.dev in the target's namespace",
                ),
                validation(
                    format!(
                        "!(variables.verb in ['cancel', 'ack', 'rearm']) || {}",
                        may("resource('requests').namespace(request.namespace).check(variables.verb)")
                    ),
                    "it needs the verb cancel, ack or rearm on requests.evenkeel.dev in the engine's namespace",
                ),
            ],
        },
    });
    let binding = json!({
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": NAME },
        "spec": { "policyName": NAME, "validationActions": ["Deny"] },
    });
    [policy, binding]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_may_write_is_as_reviewed() {
        let documents: Vec<String> = people().iter().map(|it| serde_saphyr::to_string(it).unwrap()).collect();
        insta::assert_snapshot!(documents.join("---\n"));
    }
}

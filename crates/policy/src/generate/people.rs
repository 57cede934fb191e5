//! The admission policy for what people write: it is they who wrote it, and they may.

use serde_json::{Value, json};

use super::written::{UNCHANGED, constraints, of_new, resources, updates};

/// Name of the admission policy over Freezes and Requests, and of its binding.
pub const PEOPLE: &str = "evenkeel-people";

/// A ValidatingAdmissionPolicy over Freezes and Requests, and its binding. It holds `spec.by` against the user who
/// sends them, and asks the API server's own authorizer whether that user has the verb that a Request needs: `run` on
/// `remediations` in the target's namespace; `cancel`, `ack`, `rearm` on `requests` in the Request's. What they say is
/// never changed.
pub fn people() -> [Value; 2] {
    let api = "admissionregistration.k8s.io/v1";
    // 422: a refusal, and no sign of a right that is missing.
    let validation = |expression: &str, message: &str| json!({ "expression": expression, "message": format!("evenkeel: {message}"), "reason": "Invalid" });
    let new = |expression: &str, message: &str| validation(&of_new(expression), message);
    let of_request = |expression: &str| format!("!variables.isRequest || {expression}");
    let may = |check: &str| format!("authorizer.group('evenkeel.dev').{check}.allowed()");
    let policy = json!({
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": PEOPLE },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": constraints(&[
                resources(&["requests"], "Namespaced"),
                resources(&["freezes"], "Cluster"),
            ]),
            "variables": [
                updates(),
                { "name": "isRequest", "expression": "request.resource.resource == 'requests'" },
                { "name": "verb", "expression": "!variables.isRequest ? '' : has(object.spec.do.run) ? 'run' : \
                    has(object.spec.do.cancel) ? 'cancel' : has(object.spec.do.ack) ? 'ack' : 'rearm'" },
            ],
            "validations": [
                // The definitions say so, too; but those nobody compares.
                validation(UNCHANGED, "what is asked for can't be changed; make another"),
                new("object.spec.by == request.userInfo.username", "by has to be whoever sends it"),
                new(
                    &of_request("!request.userInfo.username.startsWith('system:serviceaccount:')"),
                    "a ServiceAccount is nobody who could ask",
                ),
                new(
                    &format!(
                        "variables.verb != 'run' || {}",
                        may("resource('remediations').namespace(object.spec.do.run.target.?namespace.orValue('')).check('run')")
                    ),
                    "run needs the verb run on remediations.evenkeel.dev in the target's namespace",
                ),
                new(
                    &format!(
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
        "metadata": { "name": PEOPLE },
        "spec": { "policyName": PEOPLE, "validationActions": ["Deny"] },
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

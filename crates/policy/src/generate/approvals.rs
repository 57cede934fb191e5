use evenkeel_model::{APPROVE_GROUP, APPROVE_RESOURCE, APPROVE_VERB, SLACK_APPROVER};
use serde_json::{Value, json};

use super::admission::{ACCOUNT, rule, text};
use super::written::{UNCHANGED, constraints, of_new, resources, updates};

/// Name of the admission policy over Approvals, and of its binding.
pub const APPROVALS: &str = "evenkeel-approvals";

/// A ValidatingAdmissionPolicy over the Approvals that are created, and its binding: an Approval says who its author
/// is and nothing else, its author is a person, and that person may approve the tier that it names in the namespace
/// that it names. What it says is never changed. `engine` is the namespace of the gateway's ServiceAccount, which alone
/// may write for people of Slack.
///
/// The API server can't read the Remediation: that tier and namespace are its, the gateway checks. Fields are written
/// out also where they have a default, so that what is installed can be compared with this.
pub fn approvals(engine: &str) -> [Value; 2] {
    let api = "admissionregistration.k8s.io/v1";
    let account = text(&format!("system:serviceaccount:{engine}:{ACCOUNT}"));
    let variable = |name: &str, expression: &str| json!({ "name": name, "expression": expression });
    let new = |expression: &str, message: &str| rule(&of_new(expression), message);
    let person = |expression: &str| format!("variables.gateway || {expression}");
    let may = format!(
        "authorizer.group({}).resource({}).namespace(object.spec.?namespace.orValue(''))
  .name(object.spec.tier.lowerAscii()).check({}).allowed()",
        text(APPROVE_GROUP),
        text(APPROVE_RESOURCE),
        text(APPROVE_VERB)
    );
    let may_not = format!(
        "may not approve this tier there: expected verb {APPROVE_VERB} on resource {APPROVE_RESOURCE}.{APPROVE_GROUP}, \
         named as the tier, in the target's namespace"
    );
    let policy = json!({
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": APPROVALS },
        "spec": {
            // What can't be judged is refused.
            "failurePolicy": "Fail",
            "matchConstraints": constraints(&[resources(&["approvals"], "*")]),
            "variables": [
                updates(),
                variable("gateway", &format!("request.userInfo.username == {account}")),
                variable("groups", "request.userInfo.?groups.orValue([])"),
                variable("slack", &format!("object.spec.approver.startsWith({})", text(SLACK_APPROVER))),
            ],
            "validations": [
                // The definition says so, too; but that nobody compares.
                rule(UNCHANGED, "an Approval can't be changed"),
                new("!variables.gateway || variables.slack", "a gateway approves nothing itself"),
                new(&person("!variables.slack"), "only a gateway says what people answered in Slack"),
                new(
                    &person(
                        "!(request.userInfo.username.startsWith('system:serviceaccount:') \
                         || 'system:serviceaccounts' in variables.groups)",
                    ),
                    "a ServiceAccount is no person",
                ),
                new(&person("object.spec.approver == request.userInfo.username"), "the approver is not its author"),
                new(
                    &person("object.spec.groups.all(group, group in variables.groups)"),
                    "its author is not in all of its groups",
                ),
                new(&person(&may), &may_not),
            ],
        },
    });
    let binding = json!({
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": APPROVALS },
        "spec": { "policyName": APPROVALS, "validationActions": ["Deny"] },
    });
    [policy, binding]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admission_policy_over_approvals_is_as_reviewed() {
        insta::assert_json_snapshot!(approvals("evenkeel"));
    }
}

//! The admission policy for what the gateway alone writes: the authority over what was done, and may be done.

use serde_json::{Value, json};

use super::admission::{ACCOUNT, rule, text};
use super::written::{constraints, resources};

/// Name of the admission policy over what gateways alone write, and of its binding.
pub const RECORDS: &str = "evenkeel-records";

/// A ValidatingAdmissionPolicy over Remediations, the Ledger and the answers to Requests, and its binding: they are
/// written by the gateway's ServiceAccount in namespace `engine`, and by nobody else whatever RBAC says. Labels,
/// finalizers and the like stay everybody's who may: the garbage collector writes them, and nothing goes by them. So
/// does deleting, which a namespace's end needs; the gateway makes a Ledger that is lost anew.
pub fn records(engine: &str) -> [Value; 2] {
    let api = "admissionregistration.k8s.io/v1";
    let account = text(&format!("system:serviceaccount:{engine}:{ACCOUNT}"));
    let written = ["remediations", "remediations/status", "requests/status", "ledgers"];
    let policy = json!({
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": RECORDS },
        "spec": {
            // What can't be judged is refused.
            "failurePolicy": "Fail",
            "matchConstraints": constraints(&[resources(&written, "*")]),
            "validations": [rule(
                &format!(
                    "request.userInfo.username == {account} || (request.operation == 'UPDATE'
    && object.?spec == oldObject.?spec && object.?status == oldObject.?status)"
                ),
                "only the gateway writes this",
            )],
        },
    });
    let binding = json!({
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": RECORDS },
        "spec": { "policyName": RECORDS, "validationActions": ["Deny"] },
    });
    [policy, binding]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gateways_alone_write_is_as_reviewed() {
        let documents: Vec<String> =
            records("evenkeel").iter().map(|it| serde_saphyr::to_string(it).unwrap()).collect();
        insta::assert_snapshot!(documents.join("---\n"));
    }
}

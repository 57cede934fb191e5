use chrono::{DateTime, Utc};
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::object::ObjectRef;
use crate::policy::{Spoken, Tier};

/// Before the Kubernetes user for whom a gateway says what that person answered in Slack. Admission lets gateways
/// alone write it.
pub const SLACK_APPROVER: &str = "slack:";
/// API group of the right to approve.
pub const APPROVE_GROUP: &str = "evenkeel.dev";
/// Resource of the right to approve; it is in RBAC alone and serves no objects.
pub const APPROVE_RESOURCE: &str = "tiers";
/// Verb of the right to approve; it covers denying.
pub const APPROVE_VERB: &str = "approve";
/// At most so many refused approvals are told in a Remediation's status; all are in Events.
pub const MAX_REFUSED_APPROVALS: usize = 16;

/// One person's yes or no to one digest. Who wrote it is checked by admission when it is created; it never changes,
/// and has no status: what became of it stands in the Remediation's.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    crates(kube_core = "::kube_core", k8s_openapi = "::k8s_openapi"),
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Approval",
    plural = "approvals",
    namespaced,
    shortname = "appr",
    category = "evenkeel",
    selectable = ".spec.remediation",
    printcolumn = r#"{"name":"Remediation","type":"string","jsonPath":".spec.remediation"}"#,
    printcolumn = r#"{"name":"Decision","type":"string","jsonPath":".spec.decision"}"#,
    printcolumn = r#"{"name":"Approver","type":"string","jsonPath":".spec.approver"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".spec.reason"}"#,
    printcolumn = r#"{"name":"Digest","type":"string","jsonPath":".spec.digest","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "an Approval can't be changed"}]))]
pub struct ApprovalSpec {
    /// The Remediation's name.
    #[schemars(length(min = 1, max = 63))]
    pub remediation: String,
    /// What is signed: `status.approval.digest` of the Remediation, 64 hexadecimal digits.
    #[schemars(length(min = 64, max = 64), pattern(r"^[0-9a-f]{64}$"))]
    pub digest: String,
    /// Yes or no.
    pub decision: ApprovalDecision,
    /// The tier it is asked for: `status.approval.tier`. Admission asks whether the approver may approve it.
    pub tier: Tier,
    /// The target's namespace, in which the approver needs the right; absent for cluster-scoped targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The Kubernetes user who says so: whoever creates it.
    #[schemars(length(min = 1, max = 256))]
    pub approver: String,
    /// Groups of that user, as many as the right hangs on.
    #[serde(default)]
    #[schemars(length(max = 256), inner(length(max = 256)))]
    pub groups: Vec<String>,
    /// Why, for the record.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}

impl ApprovalSpec {
    /// The Kubernetes user behind it, whichever way the answer came: one person counts once.
    pub fn person(&self) -> &str {
        self.approver.strip_prefix(SLACK_APPROVER).unwrap_or(&self.approver)
    }
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalDecision {
    /// It may be done.
    Approve,
    /// It must not be done; one is enough.
    Deny,
}

/// What people are asked, and what they have answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Of all that is signed: [`Signed::digest`]. Another one asks anew.
    pub digest: String,
    /// When it was asked.
    pub since: DateTime<Utc>,
    /// The tier it came to.
    pub tier: Tier,
    /// How many persons have to approve.
    pub approvers: u32,
    /// What changes, line by line.
    pub changes: Vec<String>,
    /// The admission policy that answers for approvers' identity; absent while none is known to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<ApprovalGuard>,
    /// Why no approval can be counted now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Answers that count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<GivenApproval>,
    /// Answers that don't, the last [`MAX_REFUSED_APPROVALS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedApproval>,
}

/// An admission policy with its binding, as it was when it was seen to refuse a forgery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalGuard {
    /// Uid and generation of both.
    pub version: String,
    /// Since when it is known to hold. Older approvals don't count.
    pub since: DateTime<Utc>,
}

/// An answer that counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GivenApproval {
    /// The Approval's name.
    pub name: String,
    /// Who.
    pub approver: String,
    /// Yes or no.
    pub decision: ApprovalDecision,
    /// Why.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// An answer that does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedApproval {
    /// The Approval's name.
    pub name: String,
    /// Who.
    pub approver: String,
    /// Why it does not count.
    pub reason: String,
}

/// Everything a person signs. A change of any of it is another digest.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Signed<'a> {
    /// The Remediation's name.
    pub remediation: &'a str,
    /// Its uid.
    pub uid: Option<&'a str>,
    /// What is done, with its parameters.
    pub action: &'a Action,
    /// To which object, with its uid.
    pub target: &'a ObjectRef,
    /// Digest of what is written, of the values it replaces, and of what else was read of the target.
    pub content: &'a str,
    /// The rules of policies that matched.
    pub rules: &'a [&'a Spoken],
    /// The tier.
    pub tier: Tier,
    /// How many persons have to approve.
    pub approvers: u32,
    /// Nothing is begun after this.
    pub expires_at: DateTime<Utc>,
}

impl Signed<'_> {
    /// What an Approval names.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn digest(&self) -> Result<String, serde_json::Error> {
        crate::digest(self)
    }
}

impl Tier {
    /// The name under which RBAC gives the right to approve it.
    pub fn resource_name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Forbidden => "forbidden",
        }
    }

    /// What the API server's authorizer is asked about: to approve this tier in the target's namespace, or cluster-wide.
    pub fn right_to_approve(self, namespace: Option<&str>) -> ResourceAttributes {
        ResourceAttributes {
            group: Some(APPROVE_GROUP.to_owned()),
            version: Some("*".to_owned()),
            resource: Some(APPROVE_RESOURCE.to_owned()),
            name: Some(self.resource_name().to_owned()),
            verb: Some(APPROVE_VERB.to_owned()),
            namespace: namespace.map(str::to_owned),
            ..ResourceAttributes::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Empty, Kind};

    #[test]
    fn whatever_is_changed_of_what_is_signed_is_another_digest() {
        let target = |uid: &str| ObjectRef::namespaced(Kind::Deployment, "shop", "cart").with_uid(uid);
        let rule = |said: &str| Spoken { policy: "shop".to_owned(), said: said.to_owned() };
        let (target, other_target) = (target("4b1d"), target("4b1e"));
        let (rule, other_rule) = (rule("allowed when a person approves"), rule("allowed automatically"));
        let (action, other_action) = (Action::RestartWorkload(Empty {}), Action::EvictPod(Empty {}));
        let (rules, other_rules) = ([&rule], [&other_rule]);
        let before = Signed {
            remediation: "r-1",
            uid: Some("u-1"),
            action: &action,
            target: &target,
            content: "c",
            rules: &rules,
            tier: Tier::Medium,
            approvers: 1,
            expires_at: DateTime::from_timestamp(1_767_600_000, 0).unwrap(),
        };
        let changed = [
            Signed { remediation: "r-2", ..before.clone() },
            Signed { uid: None, ..before.clone() },
            Signed { action: &other_action, ..before.clone() },
            Signed { target: &other_target, ..before.clone() },
            Signed { content: "d", ..before.clone() },
            Signed { rules: &[], ..before.clone() },
            Signed { rules: &other_rules, ..before.clone() },
            Signed { tier: Tier::High, ..before.clone() },
            Signed { approvers: 2, ..before.clone() },
            Signed { expires_at: before.expires_at + chrono::Duration::seconds(1), ..before.clone() },
        ];
        let digest = before.digest().unwrap();
        assert_eq!(digest.len(), 64);
        for signed in changed {
            assert_ne!(signed.digest().unwrap(), digest, "{signed:?}");
        }
    }
}

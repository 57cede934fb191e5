use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::ActionName;
use crate::object::Kind;
use crate::policy_status::ActionPolicyStatus;
use crate::span::Rate;
use crate::windows::Windows;

/// What may be done to which objects. Matching policies intersect: any deny wins, the strictest
/// tier, rate and maximum count. What no policy allows is denied.
///
/// The API server drops misspelt fields of custom resources, so every field whose absence would
/// permit more is required, and "all" is written out.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    crates(kube_core = "::kube_core", k8s_openapi = "::k8s_openapi"),
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "ActionPolicy",
    plural = "actionpolicies",
    status = "ActionPolicyStatus",
    shortname = "ap",
    category = "evenkeel",
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Namespaces","type":"string","jsonPath":".spec.match.namespaces"}"#,
    printcolumn = r#"{"name":"Enforceable","type":"string","jsonPath":".status.conditions[?(@.type==\"Enforceable\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionPolicySpec {
    /// Audit: say what would be done. Enforce: do it. The installation's mode is the ceiling.
    pub mode: Mode,
    /// Which objects it speaks about.
    #[serde(rename = "match")]
    pub matches: PolicyMatch,
    /// What may be done to them.
    #[schemars(length(max = 32))]
    pub actions: Vec<ActionRule>,
    /// When.
    pub windows: Windows,
    /// How much at once.
    pub limits: Limits,
    /// What may be done to objects that a GitOps tool tracks.
    pub git_ops: GitOpsRule,
}

/// Whether actions are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Say what would be done.
    Audit,
    /// Do it.
    Enforce,
}

/// Which objects a policy speaks about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyMatch {
    /// Namespaces by name; `"*"` is all, and cluster-scoped objects need it.
    #[schemars(length(min = 1, max = 256))]
    pub namespaces: Vec<String>,
    /// Kinds.
    #[schemars(length(min = 1))]
    pub kinds: Vec<Kind>,
    /// Labels the object must have; `{}` is all, said aloud.
    pub selector: BTreeMap<String, String>,
}

/// One action that may be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionRule {
    /// Which.
    #[serde(rename = "do")]
    pub action: ActionName,
    /// Who decides.
    pub tier: Tier,
    /// How many persons have to approve; required for the tiers Medium and High, and for them only. Context can
    /// raise a tier: Medium takes one person at least, High two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub approvers: Option<u32>,
    /// Who may ask for it.
    #[schemars(length(min = 1))]
    pub origins: Vec<Origin>,
    /// How often.
    pub rate: Rates,
    /// Maxima; required for scaleWorkload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Maxima>,
}

/// How much risk an action carries, and so who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Tier {
    /// Automatic.
    Low,
    /// One person or more.
    Medium,
    /// More persons.
    High,
    /// Nobody: never done.
    Forbidden,
}

/// Who asks for an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Origin {
    /// A playbook's step.
    Playbook,
    /// A person, with `evenkeel run`.
    Person,
}

/// How often an action may be done, in any window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rates {
    /// To one target.
    pub target: Rate,
    /// In one namespace (for cluster-scoped objects: over all of them).
    pub namespace: Rate,
    /// By one playbook, over all namespaces; not less than `namespace` lets through, which it is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook: Option<Rate>,
    /// In the cluster.
    pub cluster: Rate,
}

/// Upper bounds of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Maxima {
    /// Replicas a workload may be set to.
    pub replicas: u32,
    /// By how many replicas it may change at once.
    pub change: u32,
}

/// How much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Remediations under way at the same time among the objects this policy matches.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrent: u32,
    /// How many pods of one workload may be unavailable, whoever took them away, once an action has taken its share.
    pub unavailable: Unavailable,
}

/// So many of a workload's pods; of the two the smaller counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unavailable {
    /// Pods.
    #[schemars(range(min = 0, max = 100_000))]
    pub count: u32,
    /// Percent of the replicas asked for, rounded up as a PodDisruptionBudget's are.
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,
}

impl Unavailable {
    /// Pods that may be unavailable of so many.
    pub fn of(self, desired: u32) -> u32 {
        let share = (u64::from(desired) * u64::from(self.percent)).div_ceil(100);
        self.count.min(u32::try_from(share).unwrap_or(u32::MAX))
    }
}

/// What may be done to objects that a GitOps tool tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum GitOpsRule {
    /// Nothing.
    Never,
    /// What writes no field that the tool sets.
    UnownedFields,
}

/// What the policies say about one proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The decision.
    pub decision: Decision,
    /// Every rule that spoke, in order of policy name.
    pub rules: Vec<Spoken>,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Do it; in Audit mode, say so only.
    Allow {
        /// Whether it is carried out.
        mode: Mode,
    },
    /// People decide.
    NeedsApproval {
        /// The tier that asks for them.
        tier: Tier,
    },
    /// Not before.
    Defer {
        /// When to ask again.
        until: DateTime<Utc>,
    },
    /// No.
    Deny {},
}

/// One rule that spoke.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spoken {
    /// Name of the ActionPolicy, or `built-in`.
    pub policy: String,
    /// What it said, for people.
    pub said: String,
}

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a gateway found of an ActionPolicy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionPolicyStatus {
    /// `Enforceable`: whether RBAC and admission in the cluster are what the policies need.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub conditions: Vec<StatusCondition>,
}

/// One thing that was found, as Kubernetes' own `metav1.Condition` says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusCondition {
    /// What it is about.
    #[serde(rename = "type")]
    pub about: String,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// The object's generation that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Since when the status is this one.
    pub last_transition_time: DateTime<Utc>,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

/// Whether something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It is.
    True,
    /// It is not.
    False,
    /// It could not be found out.
    Unknown,
}

impl StatusCondition {
    /// Type of the condition that says whether an ActionPolicy can be enforced in the cluster as it is.
    pub const ENFORCEABLE: &'static str = "Enforceable";
}

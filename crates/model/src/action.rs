use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::Kind;

/// What may be done, with its parameters; a closed set. What the gateway can derive from the
/// cluster (which revision, which uid) is not a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// Put a workload's pod template back to an earlier revision.
    RollbackWorkload(RollbackWorkload),
    /// Replace a workload's pods one by one, as `kubectl rollout restart` does.
    RestartWorkload(Empty),
    /// Set a workload's replicas.
    ScaleWorkload(ScaleWorkload),
    /// Delete a pod, so that its controller makes a new one.
    DeletePod(Empty),
    /// Evict a pod, minding disruption budgets.
    EvictPod(Empty),
    /// Keep new pods off a node.
    CordonNode(Empty),
    /// Let pods onto a node again that we cordoned.
    UncordonNode(Empty),
    /// Delete a failed Job.
    DeleteJob(Empty),
    /// Tell people; changes nothing.
    Notify(Notify),
    /// Hand the incident to people; changes nothing.
    Escalate(Escalate),
}

/// No parameters, written `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
// Kubernetes refuses the `additionalProperties: false` that an empty struct would get.
#[schemars(transform = |schema: &mut schemars::Schema| { schema.remove("additionalProperties"); })]
pub struct Empty {}

/// Parameters of [`Action::RollbackWorkload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackWorkload {
    /// Which earlier revision; the gateway finds its number.
    pub to: RollbackTo,
}

/// Which revision to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RollbackTo {
    /// The newest earlier one that is, or is known to have been, available.
    LastAvailable,
}

/// Parameters of [`Action::ScaleWorkload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleWorkload {
    /// Replicas to set, within the policy's maxima.
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: u32,
}

/// Parameters of [`Action::Notify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notify {
    /// What to say: a handlebars template in a playbook, the rendered text in a proposal.
    pub message: String,
}

/// Parameters of [`Action::Escalate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Escalate {
    /// How loud.
    pub severity: EscalationSeverity,
}

/// How loud an escalation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum EscalationSeverity {
    /// To be looked at in working hours.
    Ticket,
    /// Wake somebody.
    Page,
}

/// The name of an action, as policies and metrics use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ActionName {
    /// See [`Action::RollbackWorkload`].
    RollbackWorkload,
    /// See [`Action::RestartWorkload`].
    RestartWorkload,
    /// See [`Action::ScaleWorkload`].
    ScaleWorkload,
    /// See [`Action::DeletePod`].
    DeletePod,
    /// See [`Action::EvictPod`].
    EvictPod,
    /// See [`Action::CordonNode`].
    CordonNode,
    /// See [`Action::UncordonNode`].
    UncordonNode,
    /// See [`Action::DeleteJob`].
    DeleteJob,
    /// See [`Action::Notify`].
    Notify,
    /// See [`Action::Escalate`].
    Escalate,
}

impl ActionName {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::RollbackWorkload,
        Self::RestartWorkload,
        Self::ScaleWorkload,
        Self::DeletePod,
        Self::EvictPod,
        Self::CordonNode,
        Self::UncordonNode,
        Self::DeleteJob,
        Self::Notify,
        Self::Escalate,
    ];

    /// The name as YAML writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RollbackWorkload => "rollbackWorkload",
            Self::RestartWorkload => "restartWorkload",
            Self::ScaleWorkload => "scaleWorkload",
            Self::DeletePod => "deletePod",
            Self::EvictPod => "evictPod",
            Self::CordonNode => "cordonNode",
            Self::UncordonNode => "uncordonNode",
            Self::DeleteJob => "deleteJob",
            Self::Notify => "notify",
            Self::Escalate => "escalate",
        }
    }

    /// Whether it writes to the object it is about. Notify and escalate do not, and need no policy.
    pub fn is_mutating(self) -> bool {
        !matches!(self, Self::Notify | Self::Escalate)
    }

    /// The kinds it can be done to.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::RollbackWorkload | Self::RestartWorkload => &[Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet],
            Self::ScaleWorkload => &[Kind::Deployment, Kind::StatefulSet],
            Self::DeletePod | Self::EvictPod => &[Kind::Pod],
            Self::CordonNode | Self::UncordonNode => &[Kind::Node],
            Self::DeleteJob => &[Kind::Job],
            Self::Notify | Self::Escalate => Kind::ALL,
        }
    }
}

impl std::fmt::Display for ActionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Action {
    /// Its name.
    pub fn name(&self) -> ActionName {
        match self {
            Self::RollbackWorkload(_) => ActionName::RollbackWorkload,
            Self::RestartWorkload(_) => ActionName::RestartWorkload,
            Self::ScaleWorkload(_) => ActionName::ScaleWorkload,
            Self::DeletePod(_) => ActionName::DeletePod,
            Self::EvictPod(_) => ActionName::EvictPod,
            Self::CordonNode(_) => ActionName::CordonNode,
            Self::UncordonNode(_) => ActionName::UncordonNode,
            Self::DeleteJob(_) => ActionName::DeleteJob,
            Self::Notify(_) => ActionName::Notify,
            Self::Escalate(_) => ActionName::Escalate,
        }
    }
}

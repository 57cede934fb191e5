use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::object::ObjectRef;
use crate::policy::Origin;

/// One action on one target for one incident. What the gateway makes a [`crate::Remediation`] of;
/// nothing in it is believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proposal {
    /// The incident, an opaque id of at most 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub incident: String,
    /// The how-manieth proposal of the incident it is, from 1. (incident, number) names the Remediation.
    #[schemars(range(min = 1, max = 1000))]
    pub number: u32,
    /// The cluster's name.
    pub cluster: String,
    /// The object to be acted on, with its uid where the reasoner knows it.
    pub target: ObjectRef,
    /// The object the incident is about: the target itself, or what owns it.
    pub root: ObjectRef,
    /// What is to be done.
    pub action: Action,
    /// The playbook step that says so.
    pub playbook: PlaybookStep,
    /// Who asks.
    pub origin: Origin,
    /// Names of the signals that led to it, sorted, at most 16.
    #[schemars(length(max = 16))]
    pub signals: Vec<String>,
    /// Why, in one or two sentences, for people. At most 1 KiB.
    #[schemars(length(max = 1024))]
    pub rationale: String,
    /// The Remediation that seemed to have helped and did not: the same signal came again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence_of: Option<String>,
    /// When it was made.
    pub proposed_at: DateTime<Utc>,
    /// Nothing is begun after this; at most one hour after `proposed_at`.
    pub expires_at: DateTime<Utc>,
    /// W3C trace context of the incident's trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// One step of one version of a playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaybookStep {
    /// The playbook's name.
    pub name: String,
    /// Its version: [`crate::PlaybookSpec::version`].
    pub version: String,
    /// The step's name.
    pub step: String,
}

/// A playbook as a reasoner names it when no playbook told it to escalate: nothing matched, or
/// the ladder had no further step.
pub const BUILT_IN_PLAYBOOK: &str = "built-in";

impl Proposal {
    /// The name of the Remediation it becomes, and the message's id on the bus: the same proposal
    /// delivered again is the same object.
    pub fn name(&self) -> String {
        Self::name_of(&self.cluster, &self.incident, self.number)
    }

    /// The name of the Remediation of the how-manieth proposal of an incident.
    pub fn name_of(cluster: &str, incident: &str, number: u32) -> String {
        let number = number.to_string();
        format!("r-{}", crate::short_digest([cluster, incident, &number], 20))
    }
}

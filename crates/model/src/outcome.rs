use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::ActionName;
use crate::lifecycle::Phase;
use crate::object::ObjectRef;
use crate::proposal::PlaybookStep;

/// How a proposal ended. Published at least once for each; consumers go by its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The Remediation's name, also when the proposal never became one.
    pub remediation: String,
    /// The incident it was for.
    pub incident: String,
    /// Which of the incident's proposals it was.
    pub number: u32,
    /// The object acted on.
    pub target: ObjectRef,
    /// The incident's root.
    pub root: ObjectRef,
    /// What was to be done.
    pub action: ActionName,
    /// The playbook step.
    pub playbook: PlaybookStep,
    /// How it ended; always [`Phase::is_final`], or Regressed after Succeeded.
    pub phase: Phase,
    /// Why, for people.
    pub reason: String,
    /// Whether the target was well when it ended; absent where that was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_well: Option<bool>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

impl Outcome {
    /// Identity on the bus.
    pub fn id(&self) -> String {
        format!("{}/{}", self.remediation, self.phase)
    }
}

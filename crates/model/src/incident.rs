use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::{ActionName, EscalationSeverity};
use crate::lifecycle::Phase;
use crate::object::ObjectRef;
use crate::proposal::PlaybookStep;
use crate::signal::{Severity, SignalState, Source};

/// At most so many distinct signals (name and target) of an incident are kept; more are counted.
pub const MAX_SIGNALS: usize = 64;
/// At most so many instances of one signal are told apart; more are counted.
pub const MAX_INSTANCES: usize = 16;
/// At most so many ids of signals already folded are remembered.
pub const MAX_SEEN: usize = 256;
/// At most so many members of a wave are kept; more are counted.
pub const MAX_MEMBERS: usize = 256;
/// At most so many causes of an incident are kept.
pub const MAX_CAUSES: usize = 8;
/// At most so many attempts of earlier incidents on the root are remembered.
pub const MAX_EARLIER: usize = 16;

/// Signals about one root, or one wave with one cause, over one open interval. Kept in the
/// `incidents` bucket under [`ObjectRef::key`] of the root; replaced by compare-and-set only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// Its id: `i-` and hexadecimal.
    pub id: String,
    /// The cluster's name.
    pub cluster: String,
    /// What it is about. Absent for signals that name no object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<ObjectRef>,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When everything had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<DateTime<Utc>>,
    /// Distinct signals by [`Incident::signal_key`], at most [`MAX_SIGNALS`].
    pub signals: BTreeMap<String, FoldedSignal>,
    /// How many signals beyond those kept are firing.
    #[serde(default)]
    pub signals_beyond: u64,
    /// Short digests of signal ids already folded, oldest first, at most [`MAX_SEEN`].
    #[serde(default)]
    pub seen: Vec<String>,
    /// What was proposed for it, in order.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// What was proposed for earlier incidents on this root, oldest first, at most [`MAX_EARLIER`].
    #[serde(default)]
    pub earlier: Vec<Attempt>,
    /// Set once: the incident whose cause this one is an effect of. Only parents propose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ObjectRef>,
    /// What it may be one of many effects of, as its signals said; at most [`MAX_CAUSES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<ObjectRef>,
    /// For a cause: keys of the roots that may be its effects, with when they were last heard of; at most [`MAX_MEMBERS`].
    #[serde(default)]
    pub members: BTreeMap<String, Member>,
    /// Members beyond that, counted only.
    #[serde(default)]
    pub members_beyond: u64,
    /// When it is to be looked at again without news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<DateTime<Utc>>,
    /// What was decided last, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decided>,
    /// Why a person is needed, once one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_human: Option<String>,
    /// How loud people were called last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<EscalationSeverity>,
    /// W3C trace context of its trace: the first signal's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// One root that may be an effect of a cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The root.
    pub root: ObjectRef,
    /// When a signal about it came last.
    pub last_at: DateTime<Utc>,
}

/// All signals of one name about one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FoldedSignal {
    /// Its name.
    pub name: String,
    /// Where it was seen last.
    pub source: Source,
    /// Whether any instance of it is so now.
    pub state: SignalState,
    /// Its instances, by a digest of their labels: one alert may fire for two containers of a pod, and
    /// the end of one is not the end of the other. At most [`MAX_INSTANCES`].
    #[serde(default)]
    pub instances: BTreeMap<String, Instance>,
    /// How many instances beyond those kept are so now.
    #[serde(default)]
    pub instances_beyond: u64,
    /// The worst severity.
    pub severity: Severity,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ObjectRef>,
    /// When this firing began.
    pub starts_at: DateTime<Utc>,
    /// When it was last heard of.
    pub last_at: DateTime<Utc>,
    /// Distinct transitions folded.
    pub count: u64,
    /// The newest line for people.
    #[serde(default)]
    pub summary: String,
    /// Why no automatic action may follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<String>,
    /// Whether that holds for the object and not for this signal alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds_object: bool,
}

/// One instance of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// When it began last.
    pub starts_at: DateTime<Utc>,
    /// When it ended, if it has since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// One proposal made for an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its number within the incident.
    pub number: u32,
    /// The Remediation's name.
    pub remediation: String,
    /// The playbook step.
    pub playbook: PlaybookStep,
    /// What was proposed.
    pub action: ActionName,
    /// To which object.
    pub target: ObjectRef,
    /// When.
    pub proposed_at: DateTime<Utc>,
    /// Nothing is begun after this.
    pub expires_at: DateTime<Utc>,
    /// The whole proposal, until it is known to be on the bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Box<crate::Proposal>>,
    /// Names of the signals it was for.
    pub signals: Vec<String>,
    /// For how long the same signal coming again means that it did not help.
    pub recur_within: crate::Span,
    /// How it ended; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// What was decided last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// When.
    pub at: DateTime<Utc>,
    /// `Propose`, `NeedEvidence`, `WaitUntil`, `Escalate` or `Ignore`.
    pub what: String,
    /// Why.
    pub reason: String,
}

impl Incident {
    /// The key of one signal within its incident: name and target.
    pub fn signal_key(name: &str, target: Option<&ObjectRef>) -> String {
        let target = target.map(ToString::to_string).unwrap_or_default();
        crate::short_digest([name, &target], 16)
    }

    /// The signals that are so now.
    pub fn firing(&self) -> impl Iterator<Item = &FoldedSignal> {
        self.signals.values().filter(|signal| signal.state == SignalState::Firing)
    }

    /// The proposal whose outcome is not known yet.
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.phase.is_none())
    }
}

use chrono::{DateTime, Utc};
use evenkeel_model::{ObjectRef, Proposal, Span};

/// What to do next about an incident, and why.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Publish this proposal.
    Propose {
        /// The proposal.
        proposal: Box<Proposal>,
        /// For how long the same signal coming again means that it did not help.
        recur_within: Span,
    },
    /// Hand the incident to people: publish this proposal, whose action is an escalation.
    Escalate {
        /// The proposal.
        proposal: Box<Proposal>,
        /// Why a person is needed.
        reason: String,
    },
    /// Ask what this playbook wants to know about this object, then plan again.
    NeedEvidence {
        /// Name of the playbook.
        playbook: String,
        /// The object.
        target: ObjectRef,
        /// Why.
        reason: String,
    },
    /// Look again then, if nothing is heard before.
    WaitUntil {
        /// When.
        at: DateTime<Utc>,
        /// What for.
        reason: String,
    },
    /// Nothing to do until there is news.
    Ignore {
        /// Why.
        reason: String,
    },
}

impl Decision {
    /// `Propose`, `Escalate`, `NeedEvidence`, `WaitUntil` or `Ignore`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Propose { .. } => "Propose",
            Self::Escalate { .. } => "Escalate",
            Self::NeedEvidence { .. } => "NeedEvidence",
            Self::WaitUntil { .. } => "WaitUntil",
            Self::Ignore { .. } => "Ignore",
        }
    }

    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Self::Propose { proposal, .. } => &proposal.rationale,
            Self::Escalate { reason, .. }
            | Self::NeedEvidence { reason, .. }
            | Self::WaitUntil { reason, .. }
            | Self::Ignore { reason } => reason,
        }
    }
}

/// How patient the planner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanLimits {
    /// How long a proposal may wait before it is begun; at most an hour.
    pub expiry: Span,
    /// How often an incident is looked at again while a playbook's conditions do not hold.
    pub recheck: Span,
    /// How long after the settle time conditions may take to hold or become known; then people are told.
    pub patience: Span,
    /// How long signals may take to end after a step succeeded; then it counts as not having helped.
    pub resolve_within: Span,
    /// How long an outcome may be missing after a proposal's expiry; then people are told.
    pub outcome_within: Span,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self {
            expiry: Span::minutes(15),
            recheck: Span::seconds(30),
            patience: Span::minutes(10),
            resolve_within: Span::minutes(15),
            outcome_within: Span::hours(2),
        }
    }
}

use chrono::{DateTime, Utc};
use evenkeel_model::{ActionName, Kind, Phase, Spoken, Tier};
use serde::Serialize;

/// What an incident is like: those of one class are told as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Class {
    /// The signal that opened it.
    pub signal: String,
    /// The kind of its root; absent for incidents about no object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The root's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.signal)?;
        match (self.kind, &self.namespace) {
            (Some(kind), Some(namespace)) => write!(f, " on {kind} in {namespace}"),
            (Some(kind), None) => write!(f, " on {kind}"),
            (None, _) => f.write_str(" about no object"),
        }
    }
}

/// What the policies said to one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Said {
    /// To be carried out.
    Allow,
    /// To be said only: Audit mode.
    Audit,
    /// People decide.
    NeedsApproval(Tier),
    /// Not at this time.
    Defer,
    /// No.
    Deny,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Allow => f.write_str("Allow"),
            Self::Audit => f.write_str("Allow (Audit)"),
            Self::NeedsApproval(tier) => write!(f, "NeedsApproval ({tier:?})"),
            Self::Defer => f.write_str("Defer"),
            Self::Deny => f.write_str("Deny"),
        }
    }
}

/// One proposal and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTaken {
    /// The playbook, or `built-in`.
    pub playbook: String,
    /// Its step.
    pub step: String,
    /// What is proposed.
    pub action: ActionName,
    /// When.
    pub proposed_at: DateTime<Utc>,
    /// Why, for people.
    pub why: String,
    /// What the policies said.
    pub verdict: Said,
    /// Every rule that spoke.
    pub rules: Vec<Spoken>,
    /// Why it had to wait, if it had to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deferred: Option<String>,
    /// How it ended; absent where the recording ends first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Phase>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
}

impl StepTaken {
    /// Whether both propose the same.
    pub(crate) fn is_same_step(&self, other: &Self) -> bool {
        self.playbook == other.playbook && self.step == other.step && self.action == other.action
    }
}

impl std::fmt::Display for StepTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.playbook, self.step)?;
        if !self.action.is_mutating() {
            return Ok(());
        }
        write!(f, " ({}): {}", self.action, self.verdict)?;
        if self.deferred.is_some() {
            f.write_str(", Defer")?;
        }
        match self.end {
            // The verdict says it already.
            Some(Phase::Denied | Phase::WouldExecute) => Ok(()),
            Some(end) => write!(f, ", {end}"),
            None => f.write_str(", under way when the recording ends"),
        }
    }
}

/// What one incident came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Course {
    /// The incident's id: the same on both sides when it was opened by the same signal.
    pub incident: String,
    /// What it is like.
    pub class: Class,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When everything had ended; absent where the recording ends first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<DateTime<Utc>>,
    /// What was proposed, in order.
    pub steps: Vec<StepTaken>,
    /// What would have been asked where facts are not assumed, and what would have followed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<String>,
    /// The cause in whose wave it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// What was decided last.
    pub decided: String,
}

impl Course {
    /// Whether both came to the same; how long it took apart.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let like = |a: &StepTaken, b: &StepTaken| {
            a.is_same_step(b)
                && a.verdict == b.verdict
                && a.deferred.is_some() == b.deferred.is_some()
                && a.end == b.end
        };
        self.asks == other.asks
            && self.part_of.is_some() == other.part_of.is_some()
            && self.steps.len() == other.steps.len()
            && self.steps.iter().zip(&other.steps).all(|(a, b)| like(a, b))
    }
}

impl std::fmt::Display for Course {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts: Vec<String> = self.steps.iter().map(ToString::to_string).collect();
        parts.extend(self.asks.iter().cloned());
        if !parts.is_empty() {
            return f.write_str(&parts.join("; then "));
        }
        match (&self.part_of, self.closed_at) {
            (Some(_), _) => f.write_str("part of a wave: its cause's incident proposes"),
            (None, Some(_)) => f.write_str("nothing: over before anything was proposed"),
            (None, None) => write!(f, "nothing yet when the recording ends: {}", self.decided),
        }
    }
}

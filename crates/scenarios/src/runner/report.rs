use chrono::{DateTime, Utc};
use evenkeel_model::{ActionName, ApprovalDecision, Phase, SignalState, Source};
use serde::Serialize;

use crate::audit_log::AuditSeen;
use crate::engine::Call;
use crate::file::Uses;

/// What came of one run of one scenario.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// The scenario's name.
    pub scenario: String,
    /// Its file.
    pub file: String,
    /// What it shows.
    pub summary: String,
    /// The seed.
    pub seed: u64,
    /// Whether random trouble was added.
    pub engine_faults: bool,
    /// The playbooks, policies and rules it was run with.
    #[serde(rename = "use")]
    pub uses: Uses,
    /// Whether everything came as expected: there are no violations.
    pub passed: bool,
    /// When it began, in virtual time.
    pub start: DateTime<Utc>,
    /// When it ended.
    pub end: DateTime<Utc>,
    /// Signals, as they came to the bus.
    pub signals: Vec<SignalSeen>,
    /// What the reasoner proposed.
    pub proposals: Vec<Proposed>,
    /// Every Remediation, with its phases.
    pub remediations: Vec<RemediationSeen>,
    /// What people answered, and what others answered in their names.
    pub approvals: Vec<ApprovalSeen>,
    /// Freezes that people made and ended.
    pub freezes: Vec<FreezeSeen>,
    /// The engine's changes of the cluster.
    pub writes: Vec<WriteSeen>,
    /// What happened: the timeline, and processes that died.
    pub events: Vec<EventSeen>,
    /// How targets were.
    pub health: Vec<HealthSeries>,
    /// Since when something was wrong.
    pub broken_at: Option<DateTime<Utc>>,
    /// Since when all was well for good; none while something is not.
    pub repaired_at: Option<DateTime<Utc>>,
    /// Requests to the API server that the engine made.
    pub requests: u64,
    /// The calls that its gateways made, for making one die at each.
    #[serde(skip)]
    pub calls: Vec<Call>,
    /// The audit log, where one was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditSeen>,
    /// What must not be.
    pub violations: Vec<Violation>,
    /// One line for each thing that happened, in order of time.
    pub trace: Vec<String>,
}

impl RunReport {
    /// From the first trouble until all was well for good.
    pub fn time_to_repair(&self) -> Option<chrono::Duration> {
        Some(self.repaired_at? - self.broken_at?)
    }
}

/// A signal on the bus.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalSeen {
    /// When the bus had it.
    pub at: DateTime<Utc>,
    /// Its name.
    pub name: String,
    /// Who saw it.
    pub source: Source,
    /// Whether it fires.
    pub state: SignalState,
    /// What it is about.
    pub target: Option<String>,
    /// The object a person would act on.
    pub root: Option<String>,
    /// In words.
    pub summary: String,
}

/// A proposal on the bus.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposed {
    /// When the bus had it.
    pub at: DateTime<Utc>,
    /// The Remediation it becomes.
    pub remediation: String,
    /// The incident it is for.
    pub incident: String,
    /// The action.
    pub action: ActionName,
    /// Its target.
    pub target: String,
    /// Whose step it is: `bad-rollout/roll-back`.
    pub step: String,
    /// Why.
    pub rationale: String,
}

/// A Remediation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RemediationSeen {
    /// Its name.
    pub name: String,
    /// The incident it is for.
    pub incident: String,
    /// The action.
    pub action: ActionName,
    /// Its target.
    pub target: String,
    /// What the incident is about.
    pub root: String,
    /// Whose step it is: `bad-rollout/roll-back`.
    pub step: String,
    /// Why it was proposed.
    pub rationale: String,
    /// What the rules said, one line a rule.
    pub rules: Vec<String>,
    /// Its phases with their times and reasons.
    pub phases: Vec<PhaseSeen>,
    /// When the change was made.
    pub acted_at: Option<DateTime<Utc>>,
    /// What it changes, for people: `spec.template.spec.containers[web].image: web:2 → web:1`.
    pub changes: Vec<String>,
    /// What people were asked to sign, in the same words; empty where nobody was asked.
    pub asked: Vec<String>,
    /// What its verification saw last.
    pub checks: Vec<String>,
}

impl RemediationSeen {
    /// The phase it is in.
    pub fn phase(&self) -> Phase {
        self.phases.last().map_or(Phase::Proposed, |last| last.phase)
    }
}

/// A phase of a Remediation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseSeen {
    /// Since when.
    pub at: DateTime<Utc>,
    /// Which.
    pub phase: Phase,
    /// Why.
    pub reason: String,
}

/// An Approval that somebody sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalSeen {
    /// When.
    pub at: DateTime<Utc>,
    /// Who sent it, as the API server knows them.
    pub by: String,
    /// Who it says has approved or denied.
    pub approver: String,
    /// The Remediation it is for.
    pub remediation: String,
    /// Yes or no.
    pub decision: ApprovalDecision,
    /// Why the API server refused it; none where it took it.
    pub refused: Option<String>,
}

/// A Freeze that somebody made or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FreezeSeen {
    /// When.
    pub at: DateTime<Utc>,
    /// Who, as the API server knows them.
    pub by: String,
    /// Its name.
    pub name: String,
    /// Whether it was ended.
    pub ends: bool,
    /// Why it is there.
    pub reason: String,
}

/// A change of the cluster by the engine.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WriteSeen {
    /// When the API server was asked.
    pub at: DateTime<Utc>,
    /// The action it was; none for a change that is no action of ours.
    pub action: Option<ActionName>,
    /// The object.
    pub object: String,
    /// `patch`, `delete`, `create` …, and the subresource.
    pub verb: String,
    /// The HTTP status it was answered with.
    pub code: u16,
    /// The Remediation, where the change is stamped or it can be told otherwise.
    pub remediation: Option<String>,
    /// Whether it takes an earlier one back.
    pub undo: bool,
    /// The object's uid before.
    pub uid: Option<String>,
}

impl WriteSeen {
    /// Whether it was carried out.
    pub fn is_effect(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventSeen {
    /// When.
    pub at: DateTime<Utc>,
    /// In words.
    pub what: String,
}

/// How one target was over time.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthSeries {
    /// The object.
    pub object: String,
    /// Each change of it, in order of time; it stays so until the next.
    pub points: Vec<HealthPoint>,
}

impl HealthSeries {
    /// How it was at a time.
    pub fn at(&self, at: DateTime<Utc>) -> Option<&HealthPoint> {
        self.points.iter().rev().find(|point| point.at <= at)
    }
}

/// How a target was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthPoint {
    /// Since when.
    pub at: DateTime<Utc>,
    /// How many pods it is to have; 1 for a node.
    pub desired: i64,
    /// How many are available; 1 for a node that is ready.
    pub available: i64,
    /// Whether all is as it is to be: pods of the newest revision, all available.
    pub well: bool,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// The rule: `writes`, `finally`, `policy`, `one effect` …
    pub rule: String,
    /// What was found.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(rule: &str, what: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), what: what.into() }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

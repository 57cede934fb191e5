//! What a run's page shows: filled by the runner, one [`ScenarioPage`] a scenario.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A run of scenarios.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunPage {
    /// What was run: `evenkeel simulate simulations/`.
    pub title: String,
    /// Runs in all.
    pub runs: usize,
    /// Runs with violations.
    pub failed: usize,
    /// Those that are shown, in order: one of each scenario, and some of those that failed.
    pub scenarios: Vec<ScenarioPage>,
}

/// One scenario of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScenarioPage {
    /// Its name.
    pub name: String,
    /// One line: what breaks.
    #[serde(default)]
    pub summary: String,
    /// The seed it ran with.
    pub seed: u64,
    /// When its time began.
    pub start: DateTime<Utc>,
    /// When its time ended.
    pub end: DateTime<Utc>,
    /// What was expected and did not come, and invariants that did not hold. Empty: it passed.
    #[serde(default)]
    pub violations: Vec<String>,
    /// Whether what broke was well at the end; absent where nothing was to be repaired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repaired: Option<bool>,
    /// When everything was well again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repaired_at: Option<DateTime<Utc>>,
    /// When it broke: repair is counted from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<DateTime<Utc>>,
    /// Signals, and how long each was firing.
    #[serde(default)]
    pub signals: Vec<SignalBar>,
    /// What happened, in order of time.
    #[serde(default)]
    pub events: Vec<Event>,
    /// How objects were.
    #[serde(default)]
    pub health: Vec<Health>,
    /// The command that repeats it.
    #[serde(default)]
    pub repeat: String,
}

/// One signal on one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalBar {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub object: String,
    /// From when to when it was firing; without an end, to the end of the run.
    pub firing: Vec<(DateTime<Utc>, Option<DateTime<Utc>>)>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: DateTime<Utc>,
    /// What sort of thing.
    pub kind: EventKind,
    /// What it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What happened, for people.
    pub text: String,
}

/// What sort of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// The scenario changed something: a person, CI, a fault.
    Change,
    /// Trouble for the engine itself: a crash, a lost reply.
    Fault,
    /// The reasoner decided.
    Decision,
    /// The gateway judged.
    Verdict,
    /// The gateway wrote to the cluster.
    Action,
    /// How it ended.
    Outcome,
}

/// How one object was over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The object.
    pub object: String,
    /// From when on it was so.
    pub points: Vec<HealthPoint>,
}

/// How an object was from one moment on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthPoint {
    /// From when on.
    pub at: DateTime<Utc>,
    /// How much of it was well, from 0 to 1: ready replicas of those wanted.
    pub well: f64,
}

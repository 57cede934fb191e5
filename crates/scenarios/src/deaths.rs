//! Gateways that die at each call they make for a Remediation, with others running: never two effects, never stuck,
//! always one Outcome. The oracle is the API server's request log.

use std::ops::RangeInclusive;

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::Phase;

use crate::engine::{Crash, Moment};
use crate::file::Scenario;
use crate::runner::{RunError, RunOptions, RunReport, run};

/// How many gateways run: the one that dies, and two that may take over.
const GATEWAYS: u32 = 3;
/// A proposal becomes a Remediation within so long before the Remediation's first phase.
const BEFORE: Duration = Duration::milliseconds(500);
/// What follows the last phase: the Outcome, and the note that it was published.
const AFTER: Duration = Duration::seconds(2);

/// One death to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The run's seed.
    pub seed: u64,
    /// Where.
    pub crash: Crash,
    /// Whether the call may change something.
    pub writes: bool,
    /// In words: `after-commit of PATCH …/deployments/cart by gateway-2`.
    pub what: String,
}

/// The scenario with three gateways.
pub fn with_gateways(mut scenario: Scenario) -> Scenario {
    scenario.spec.engine.gateway = GATEWAYS;
    scenario
}

/// Every call that the gateways make for a Remediation in a run of this seed without deaths, three times: for each of
/// the [`Moment`]s.
///
/// # Errors
/// [`RunError`] when the run could not begin.
pub fn deaths(scenario: &Scenario, seed: u64) -> Result<Vec<Death>, RunError> {
    let whole = run(scenario, RunOptions { seed, ..RunOptions::default() })?;
    let lives = lives(&whole);
    let calls = whole.calls.iter().enumerate().filter(|(_, call)| lives.iter().any(|life| life.contains(&call.at)));
    let each = calls.flat_map(|(number, call)| {
        Moment::ALL.map(|at| Death {
            seed,
            crash: Crash { call: number, at },
            writes: call.writes,
            what: format!("{at} of {} by {}", call.what, call.by),
        })
    });
    Ok(each.collect())
}

/// From when to when each Remediation was under way.
fn lives(report: &RunReport) -> Vec<RangeInclusive<DateTime<Utc>>> {
    let lives = report.remediations.iter();
    lives.filter_map(|it| Some(it.phases.first()?.at - BEFORE..=it.phases.last()?.at + AFTER)).collect()
}

/// Runs the scenario with a death; gives what must not be and is.
///
/// Effects that are not expected, broken invariants, Remediations without an end. What the scenario says of times, and of
/// how its objects are in the end, is about runs without deaths.
///
/// # Errors
/// [`RunError`] when the run could not begin.
pub fn die(scenario: &Scenario, death: &Death) -> Result<Vec<String>, RunError> {
    let report = run(scenario, RunOptions { seed: death.seed, crash: Some(death.crash), ..RunOptions::default() })?;
    let told = report.violations.iter().filter(|it| it.rule != "finally" && it.rule != "requests");
    let mut wrong: Vec<String> = told.map(ToString::to_string).collect();
    for remediation in &report.remediations {
        let Some(last) = remediation.phases.last() else { continue };
        // These wait for a person, who was called.
        let is_held = matches!(last.phase, Phase::Unknown | Phase::RollbackFailed);
        if !last.phase.is_final() && !is_held {
            wrong.push(format!("stuck: {} is {} since {}", remediation.name, last.phase, last.at));
        }
    }
    Ok(wrong)
}

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{Phase, Signal};

use super::Seen;
use crate::runner::Violation;
use crate::runner::faults::SKEW;

/// An Outcome may take so long to come after the end.
const PATIENCE: Duration = Duration::minutes(3);

/// Remediations without their one Outcome, and Outcomes without their end.
pub(super) fn missing(seen: &Seen<'_>) -> Vec<Violation> {
    let mut told: BTreeMap<&str, BTreeSet<Phase>> = BTreeMap::new();
    for (_, outcome) in seen.outcomes {
        told.entry(&outcome.remediation).or_default().insert(outcome.phase);
    }
    let mut found = Vec::new();
    for remediation in &seen.report.remediations {
        let phases = told.remove(remediation.name.as_str()).unwrap_or_default();
        let Some(last) = remediation.phases.last() else { continue };
        if last.phase.is_final() && !phases.contains(&last.phase) && last.at + PATIENCE < seen.report.end {
            let what = format!("{} ended {} at {} and no Outcome says so", remediation.name, last.phase, last.at);
            found.push(Violation::new("one outcome", what));
        }
        // Success may turn out to be none later, and is told again.
        let other: Vec<_> = phases.iter().filter(|phase| **phase != Phase::Regressed).collect();
        if other.len() > 1 {
            let what = format!("{} has more than one Outcome: {other:?}", remediation.name);
            found.push(Violation::new("one outcome", what));
        }
        let history: BTreeSet<Phase> = remediation.phases.iter().map(|seen| seen.phase).collect();
        for phase in phases.difference(&history) {
            let what = format!("an Outcome says that {} ended {phase}, which it did not", remediation.name);
            found.push(Violation::new("one outcome", what));
        }
    }
    found
}

/// Alerts that the webhook took and the bus has not.
pub(super) fn lost(seen: &Seen<'_>) -> Vec<Violation> {
    // What begins in the future of an observer whose clock is behind has begun when it is taken.
    let is_there = |name: &str, starts_at: DateTime<Utc>| {
        let moved = |signal: &Signal| starts_at - signal.starts_at;
        seen.signals.iter().any(|(_, signal)| {
            signal.name == name && (Duration::zero()..=Duration::seconds(SKEW)).contains(&moved(signal))
        })
    };
    let ignored = |name: &str| name == "Watchdog" || name.starts_with("Evenkeel");
    let lost = seen.taken.iter().filter(|(name, starts_at)| !ignored(name) && !is_there(name, *starts_at));
    lost.map(|(name, at)| {
        Violation::new("nothing lost", format!("the webhook took {name} of {at}, and it is no signal"))
    })
    .collect()
}

//! From what the runner found to what a page shows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use evenkeel_model::{Phase, SignalState};

use super::model::{Event, EventKind, Health, HealthPoint, RunPage, ScenarioPage, SignalBar};
use crate::RunReport;

/// Of each scenario, so many failed runs are shown besides the first.
const FAILED_SHOWN: usize = 3;

impl RunPage {
    /// The page of runs that come by scenario and seed: a thousand seeds are not a thousand pictures.
    pub fn of(title: &str, reports: &[RunReport]) -> Self {
        let mut failed_of: BTreeMap<&str, usize> = BTreeMap::new();
        let mut shown = Vec::new();
        for report in reports {
            let is_first = !failed_of.contains_key(report.scenario.as_str());
            let failed = failed_of.entry(&report.scenario).or_default();
            let fails = !report.violations.is_empty();
            *failed += usize::from(fails);
            if is_first || (fails && *failed <= FAILED_SHOWN) {
                shown.push(ScenarioPage::from(report));
            }
        }
        Self {
            title: title.to_owned(),
            runs: reports.len(),
            failed: reports.iter().filter(|report| !report.violations.is_empty()).count(),
            scenarios: shown,
        }
    }
}

impl From<&RunReport> for ScenarioPage {
    fn from(report: &RunReport) -> Self {
        let faults = if report.engine_faults { " --engine-faults" } else { "" };
        Self {
            name: report.scenario.clone(),
            summary: report.summary.clone(),
            seed: report.seed,
            start: report.start,
            end: report.end,
            violations: report.violations.iter().map(ToString::to_string).collect(),
            repaired: report.broken_at.map(|_| report.repaired_at.is_some()),
            repaired_at: report.repaired_at,
            broken_at: report.broken_at,
            signals: signals(report),
            events: events(report),
            health: report
                .health
                .iter()
                .map(|series| Health {
                    object: series.object.clone(),
                    points: series.points.iter().map(point).collect(),
                })
                .collect(),
            repeat: format!("evenkeel simulate {} --seed {}{faults}", report.file, report.seed),
        }
    }
}

fn point(point: &crate::HealthPoint) -> HealthPoint {
    let share = |part: i64, whole: i64| {
        // Replicas are few.
        let float = |number: i64| f64::from(i32::try_from(number).unwrap_or(i32::MAX));
        float(part) / float(whole.max(1))
    };
    let well = if point.well { 1.0 } else { share(point.available, point.desired).clamp(0.0, 1.0) };
    HealthPoint { at: point.at, well }
}

/// Intervals in which anything of a name was firing on a root: pods come and go under it.
fn signals(report: &RunReport) -> Vec<SignalBar> {
    #[derive(Default)]
    struct Bar {
        firing_on: BTreeMap<String, ()>,
        since: Option<DateTime<Utc>>,
        firing: Vec<(DateTime<Utc>, Option<DateTime<Utc>>)>,
    }
    let mut order = Vec::new();
    let mut bars: BTreeMap<(String, String), Bar> = BTreeMap::new();
    for signal in &report.signals {
        let target = signal.target.clone().unwrap_or_default();
        let object = signal.root.clone().unwrap_or_else(|| target.clone());
        let key = (signal.name.clone(), object);
        if !bars.contains_key(&key) {
            order.push(key.clone());
        }
        let bar = bars.entry(key).or_default();
        match signal.state {
            SignalState::Firing => {
                bar.firing_on.insert(target, ());
                bar.since.get_or_insert(signal.at);
            }
            SignalState::Resolved => {
                bar.firing_on.remove(&target);
                if bar.firing_on.is_empty()
                    && let Some(since) = bar.since.take()
                {
                    bar.firing.push((since, Some(signal.at)));
                }
            }
        }
    }
    order
        .into_iter()
        .filter_map(|key| {
            let mut bar = bars.remove(&key)?;
            bar.firing.extend(bar.since.map(|since| (since, None)));
            Some(SignalBar { name: key.0, object: key.1, firing: bar.firing })
        })
        .collect()
}

fn events(report: &RunReport) -> Vec<Event> {
    let mut events: Vec<Event> = report
        .events
        .iter()
        .map(|event| Event { at: event.at, kind: EventKind::Change, object: None, text: event.what.clone() })
        .collect();
    events.extend(report.proposals.iter().map(|proposal| Event {
        at: proposal.at,
        kind: EventKind::Decision,
        object: Some(proposal.target.clone()),
        text: format!("{} ({}): {}", proposal.step, proposal.action, proposal.rationale),
    }));
    for remediation in &report.remediations {
        let object = Some(remediation.target.clone());
        if let Some(at) = remediation.phases.get(1).map(|phase| phase.at).filter(|_| !remediation.rules.is_empty()) {
            let text = remediation.rules.join("; ");
            events.push(Event { at, kind: EventKind::Verdict, object: object.clone(), text });
        }
        events.extend(remediation.phases.iter().filter(|phase| is_told(phase.phase)).map(|phase| Event {
            at: phase.at,
            kind: EventKind::Outcome,
            object: object.clone(),
            text: format!("{}: {}", phase.phase, phase.reason),
        }));
    }
    events.extend(report.writes.iter().filter(|write| write.is_effect()).map(|write| Event {
        at: write.at,
        kind: EventKind::Action,
        object: Some(write.object.clone()),
        text: match write.action {
            Some(action) if write.undo => format!("undo of {action}: {} {}", write.verb, write.object),
            Some(action) => format!("{action}: {} {}", write.verb, write.object),
            None => format!("{} {}", write.verb, write.object),
        },
    }));
    events.sort_by_key(|event| (event.at, event.kind));
    events
}

fn is_told(phase: Phase) -> bool {
    phase.is_final() || phase == Phase::AwaitingApproval || phase == Phase::Deferred
}

//! Gateways die at each call that they make for a Remediation, with two others running: never two effects, never stuck,
//! always one Outcome. The oracle is the API server's request log.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use evenkeel_model::{ActionName, Phase};
use evenkeel_scenarios::{Crash, Moment, RunOptions, RunReport, Scenario, run};

/// A scenario for each action.
const SCENARIOS: [(&str, ActionName); 10] = [
    ("bad-image", ActionName::RollbackWorkload),
    ("hung", ActionName::RestartWorkload),
    ("to-zero-and-back", ActionName::ScaleWorkload),
    ("node-dies", ActionName::DeletePod),
    ("budget-allows-eviction", ActionName::EvictPod),
    ("node-dies", ActionName::CordonNode),
    ("node-comes-back", ActionName::UncordonNode),
    ("superseded", ActionName::DeleteJob),
    ("crash-loop", ActionName::Escalate),
    ("access-revoked", ActionName::Notify),
];

/// One death: the scenario, and what else decides the run.
type Death<'a> = (&'a Scenario, u64, Crash, String);

fn with_three_gateways(name: &str) -> Scenario {
    let mut scenario = super::named(name);
    scenario.spec.engine.gateway = 3;
    scenario
}

/// The calls made while a Remediation of the action was under way, and a little after: by number.
fn calls_for(report: &RunReport, action: ActionName) -> Vec<(usize, bool, String)> {
    let remediations = report.remediations.iter().filter(|it| it.action == action);
    let spans: Vec<_> = remediations
        .filter_map(|it| Some((it.phases.first()?.at, it.phases.last()?.at + chrono::Duration::seconds(2))))
        .collect();
    assert!(!spans.is_empty(), "{}: expected a Remediation that is {action}, found none", report.scenario);
    let calls = report.calls.iter().enumerate();
    let meant = calls.filter(|(_, call)| {
        let before = chrono::Duration::milliseconds(500);
        spans.iter().any(|(from, to)| *from - before <= call.at && call.at <= *to)
    });
    meant.map(|(number, call)| (number, call.writes, format!("{} {}", call.by, call.what))).collect()
}

/// What must not be, whatever died: effects that are not expected, broken invariants, Remediations without an end. What
/// the scenario says of times, and of how its objects are in the end, is about runs without deaths.
fn wrong(report: &RunReport) -> Vec<String> {
    let told = report.violations.iter().filter(|it| it.rule != "finally" && it.rule != "requests");
    let mut wrong: Vec<String> = told.map(ToString::to_string).collect();
    for remediation in &report.remediations {
        let Some(last) = remediation.phases.last() else { continue };
        let waits_for_people = matches!(last.phase, Phase::Unknown | Phase::RollbackFailed);
        if !last.phase.is_final() && !waits_for_people {
            wrong.push(format!("{} is {} since {}: it is stuck", remediation.name, last.phase, last.at));
        }
    }
    wrong
}

/// Every death of these seeds at these calls.
fn deaths<'a>(
    scenarios: &'a [(Scenario, ActionName)],
    seeds: std::ops::Range<u64>,
    is_meant: impl Fn(usize, bool, Moment) -> bool,
) -> Vec<Death<'a>> {
    let mut all = Vec::new();
    for (scenario, action) in scenarios {
        for seed in seeds.clone() {
            let whole = run(scenario, RunOptions { seed, ..RunOptions::default() }).unwrap();
            for (place, (call, writes, what)) in calls_for(&whole, *action).into_iter().enumerate() {
                let moments = Moment::ALL.into_iter().filter(|at| is_meant(place, writes, *at));
                all.extend(moments.map(|at| (scenario, seed, Crash { call, at }, format!("{at} of {what}"))));
            }
        }
    }
    all
}

fn die(deaths: &[Death<'_>]) {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let work = || {
        while let Some((scenario, seed, crash, what)) = deaths.get(next.fetch_add(1, Ordering::SeqCst)) {
            let options = RunOptions { seed: *seed, crash: Some(*crash), ..RunOptions::default() };
            let report = run(scenario, options).unwrap();
            let wrong = wrong(&report);
            if !wrong.is_empty() {
                let told = format!("{} --seed {seed}, call {}, {what}: {wrong:#?}", scenario.name, crash.call);
                println!("{told}");
                found.lock().unwrap().insert(told);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(work);
        }
    });
    let found = found.into_inner().unwrap();
    println!("{} deaths, {} of them with something wrong", deaths.len(), found.len());
    assert!(!deaths.is_empty() && found.is_empty(), "{} of {} deaths", found.len(), deaths.len());
}

fn scenarios() -> Vec<(Scenario, ActionName)> {
    SCENARIOS.iter().map(|(name, action)| (with_three_gateways(name), *action)).collect()
}

#[test]
fn a_gateway_may_die_at_any_write_of_a_rollback() {
    let scenarios: Vec<_> = scenarios().into_iter().take(1).collect();
    die(&deaths(&scenarios, 0..1, |_, writes, _| writes));
}

#[test]
fn a_gateway_may_die_in_any_action() {
    // A few of each, another place each time: the whole of it takes many minutes.
    die(&deaths(&scenarios(), 1..2, |place, writes, at| writes && place % 7 == at as usize));
}

#[test]
#[ignore = "takes many minutes"]
fn a_gateway_may_die_at_any_call_of_any_action() {
    die(&deaths(&scenarios(), 2..5, |_, _, _| true));
}

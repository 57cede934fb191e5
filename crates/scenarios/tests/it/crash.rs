//! Gateways die at the calls that they make for a Remediation; `evenkeel simulate --gateway-deaths` tries all of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use evenkeel_scenarios::deaths::{Death, deaths, die, with_gateways};
use evenkeel_scenarios::{Moment, Scenario};

/// Scenarios in which each action is done.
const SCENARIOS: [&str; 9] = [
    "bad-image",
    "hung",
    "to-zero-and-back",
    "pods-that-stay",
    "budget-allows-eviction",
    "node-comes-back",
    "superseded",
    "crash-loop",
    "access-revoked",
];

fn all_live_on(tried: &[(Scenario, Death)]) {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((scenario, death)) = tried.get(next.fetch_add(1, Ordering::SeqCst)) {
            let wrong = die(scenario, death).unwrap();
            if !wrong.is_empty() {
                found
                    .lock()
                    .unwrap()
                    .push(format!("{} --seed {}, {}: {wrong:#?}", scenario.name, death.seed, death.what));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(work);
        }
    });
    let found = found.into_inner().unwrap();
    assert!(found.is_empty(), "{} of {} deaths: {}", found.len(), tried.len(), found.join("\n"));
}

#[test]
fn a_gateway_may_die_in_any_action() {
    let mut tried = Vec::new();
    for (index, name) in SCENARIOS.iter().enumerate() {
        let scenario = with_gateways(super::named(name));
        let all = deaths(&scenario, 1).unwrap();
        for at in Moment::ALL {
            let writes: Vec<&Death> = all.iter().filter(|death| death.writes && death.crash.at == at).collect();
            assert!(!writes.is_empty(), "{name}: expected writes for a Remediation, found none");
            // Another place in each scenario: together they are spread over the whole of a lifecycle.
            let place = (index * 5 + at as usize * 3) % writes.len();
            tried.extend(writes.get(place).map(|death| (scenario.clone(), (*death).clone())));
        }
    }
    all_live_on(&tried);
}

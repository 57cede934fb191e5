//! The invariants bite: with one protection of the engine switched off, what the API server's request log, the objects
//! and the bus show gives it away. With all of them on, the same scenarios come out as they say.
//!
//! A binary of its own, since the engine has to be compiled with the feature `mutation` for it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it saw")]

use std::collections::BTreeSet;
use std::path::Path;

use evenkeel_scenarios::{Disk, Mutation, RunOptions, Scenario, Violation, load, run};

/// What is switched off, a scenario in which that matters, and a rule that it breaks there: each of those an invariant
/// or, for `writes`, what the scenario says that the API server's log has to show.
const FOUND_OUT: [(Mutation, &str, &[&str]); 7] = [
    (Mutation::Ledger, "rollouts/three-at-once", &["concurrency"]),
    (Mutation::Ledger, "rollouts/four-at-once", &["concurrency", "rates", "writes"]),
    (Mutation::Fence, "engine/late-request", &["one effect", "writes"]),
    (Mutation::Indication, "nodes/forged-alert", &["needed", "writes"]),
    (Mutation::Targets, "rollouts/exporters-own-pod", &["right target", "writes"]),
    (Mutation::Verification, "rollouts/statefulset", &["success"]),
    (Mutation::Verification, "engine/late-request", &["remediations"]),
];

fn scenario(name: &str) -> Scenario {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../simulations")).join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&file).unwrap();
    let (found, problems) = load(&text, &file.display().to_string(), &Disk);
    assert_eq!(problems, [], "{name}");
    found.into_iter().next().unwrap()
}

fn violations(name: &str, mutation: Option<Mutation>) -> Vec<Violation> {
    run(&scenario(name), RunOptions { mutation, ..RunOptions::default() }).unwrap().violations
}

fn is_found_out(mutation: Mutation) {
    let mut cases = 0;
    for (_, name, rules) in FOUND_OUT.iter().filter(|(of, _, _)| *of == mutation) {
        cases += 1;
        let found = violations(name, Some(mutation));
        for violation in &found {
            println!("{mutation:?} off, {name}: {violation}");
        }
        for rule in *rules {
            assert!(
                found.iter().any(|it| it.rule == *rule),
                "{mutation:?} off, {name}: not against {rule:?}: {found:#?}"
            );
        }
    }
    assert!(cases > 0, "no scenario is meant to find {mutation:?} out");
}

#[test]
fn without_the_ledger_there_is_too_much_at_once_and_too_often() {
    is_found_out(Mutation::Ledger);
}

#[test]
fn without_the_fence_a_remediation_has_two_effects() {
    is_found_out(Mutation::Fence);
}

#[test]
fn without_the_indication_what_is_well_is_acted_on() {
    is_found_out(Mutation::Indication);
}

#[test]
fn without_target_resolution_the_exporter_is_repaired() {
    is_found_out(Mutation::Targets);
}

#[test]
fn without_verification_what_did_not_help_is_called_a_success() {
    is_found_out(Mutation::Verification);
}

/// What random trouble excuses is not what the protections are for.
#[test]
fn with_random_trouble_as_well_each_protection_that_is_off_is_found_out() {
    let mutations: BTreeSet<Mutation> = FOUND_OUT.iter().map(|(mutation, ..)| *mutation).collect();
    for mutation in mutations {
        let cases = FOUND_OUT.iter().filter(|(of, ..)| *of == mutation);
        let is_found = cases.clone().any(|(_, name, rules)| {
            (0..3).any(|seed| {
                let options =
                    RunOptions { seed, engine_faults: true, mutation: Some(mutation), ..RunOptions::default() };
                let found = run(&scenario(name), options).unwrap().violations;
                found.iter().any(|it| rules.contains(&it.rule.as_str()))
            })
        });
        assert!(is_found, "{mutation:?} off, with random trouble: found by none of 3 seeds");
    }
}

#[test]
fn with_all_protections_nothing_is_found() {
    let names: BTreeSet<&str> = FOUND_OUT.iter().map(|(_, name, _)| *name).collect();
    for name in names {
        assert_eq!(violations(name, None), [], "{name}");
    }
}

//! Every scenario comes out as it says, and the same seed gives the same trace.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crash;
mod faults;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use evenkeel_scenarios::{Disk, RunOptions, Scenario, load, run};

fn scenarios() -> Vec<Scenario> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../simulations"));
    let mut files = Vec::new();
    below(root, &mut files);
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let (found, problems) = load(&std::fs::read_to_string(&file).unwrap(), &file.display().to_string(), &Disk);
        assert_eq!(problems, [], "{}", file.display());
        all.extend(found);
    }
    assert!(all.len() > 30, "found only {}", all.len());
    all
}

fn below(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("rules") {
            below(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
}

fn named(name: &str) -> Scenario {
    scenarios().into_iter().find(|scenario| scenario.name == name).unwrap()
}

#[test]
fn every_scenario_comes_out_as_it_says() {
    let all = Mutex::new(scenarios());
    let wrong = Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some(scenario) = all.lock().unwrap().pop() else { return };
            let report = run(&scenario, RunOptions::default()).unwrap();
            let told = report.violations.iter().map(|violation| format!("{}: {violation}", scenario.name));
            wrong.lock().unwrap().extend(told);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().unwrap().get();
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let scenario = named("bad-image");
    for seed in 0..5 {
        for engine_faults in [false, true] {
            let options = RunOptions { seed, engine_faults, ..RunOptions::default() };
            let (one, other) = (run(&scenario, options).unwrap(), run(&scenario, options).unwrap());
            assert_eq!(one.trace, other.trace, "seed {seed}, faults {engine_faults}");
        }
    }
}

#[test]
fn another_seed_gives_another_trace() {
    let scenario = named("bad-image");
    let trace = |seed| run(&scenario, RunOptions { seed, ..RunOptions::default() }).unwrap().trace;
    assert_ne!(trace(1), trace(2));
}

/// Fifty seeds, run twice: minutes, and so not in the ordinary run.
#[test]
#[ignore = "takes minutes; cargo test -p evenkeel-scenarios -- --ignored"]
fn fifty_seeds_run_twice_give_the_same_traces() {
    for scenario in scenarios() {
        for seed in 0..50 {
            let options = RunOptions { seed, engine_faults: true, ..RunOptions::default() };
            let (one, other) = (run(&scenario, options).unwrap(), run(&scenario, options).unwrap());
            assert_eq!(one.trace, other.trace, "{}, seed {seed}", scenario.name);
        }
    }
}

#[test]
fn a_misspelt_field_is_told_with_its_place() {
    let text = "apiVersion: evenkeel.dev/v1alpha1
kind: Simulation
metadata: {name: a}
spec:
  use: {playbooks: [], policies: [policies/none.yaml]}
  cluster: {nodez: 3}
  until: 1m
  expect: {}
";
    let told = |text: &str| {
        let (_, problems) = load(text, "a.yaml", &Disk);
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(told(text), "a.yaml:6:13: spec.cluster: there is no field \"nodez\" here; did you mean \"nodes\"?");
    let text = text.replace("nodez", "nodes").replace("expect: {}", "expect: {}\n  timeline: [{at: 2m}]");
    let told = told(&text);
    assert!(told.contains("a.yaml:9:14: spec.timeline[0]: expected something that happens, found none"), "{told}");
    assert!(told.contains("a.yaml:9:19: spec.timeline[0].at: is after the end (1m)"), "{told}");
    assert!(told.contains("spec.use.policies[0]: expected a file or directory beside or above"), "{told}");
}

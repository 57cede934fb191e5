//! Every scenario comes out as it says, and the same seed gives the same trace.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bulk;
mod crash;
mod faults;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use evenkeel_scenarios::{Disk, Files as _, RunOptions, Scenario, load, run};

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

/// Paths and types of a JSON document; items of a list are told together.
fn shape(value: &serde_json::Value, path: &str, lines: &mut BTreeSet<String>) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| shape(field, &format!("{path}.{name}"), lines));
        }
        Value::Array(items) => items.iter().for_each(|item| shape(item, &format!("{path}[]"), lines)),
        Value::Null => drop(lines.insert(format!("{path}: null"))),
        Value::Bool(_) => drop(lines.insert(format!("{path}: boolean"))),
        Value::Number(_) => drop(lines.insert(format!("{path}: number"))),
        Value::String(_) => drop(lines.insert(format!("{path}: string"))),
    }
}

#[test]
fn the_shape_of_a_report_is_as_the_page_says() {
    let report = run(&named("bad-image"), RunOptions::default()).unwrap();
    let mut lines = BTreeSet::new();
    shape(&serde_json::to_value(&report).unwrap(), "", &mut lines);
    insta::assert_snapshot!(lines.into_iter().collect::<Vec<_>>().join("\n"));
    // The table of docs/simulations.md names each field.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/simulations.md")).unwrap();
    let (_, part) = page.split_once("## As JSON").unwrap();
    let (part, _) = part.split_once("\n## ").unwrap();
    let serde_json::Value::Object(fields) = serde_json::to_value(&report).unwrap() else { panic!() };
    for field in fields.keys() {
        assert!(part.contains(&format!("`{field}`")) || part.contains(&format!("`{field}[]`")), "{field}");
    }
}

/// What is wrong with a scenario of one Deployment, `deployment/shop/cart`, with this timeline and these expectations.
fn wrong_with(timeline: &str, expect: &str) -> String {
    let text = format!(
        "apiVersion: evenkeel.dev/v1alpha1
kind: Simulation
metadata: {{name: a}}
spec:
  use: {{playbooks: [], policies: []}}
  cluster:
    workloads: [{{object: deployment/shop/cart, image: \"cart:1\", port: 80}}]
    images: {{\"cart:1\": {{}}}}
  until: 10m
  timeline:
    - {timeline}
  expect:
    {expect}
"
    );
    let (found, problems) = load(&text, "a.yaml", &Disk);
    assert_eq!(found.is_empty(), !problems.is_empty());
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_not_there_is_told_with_its_place_and_what_was_meant() {
    let timeline = |event: &str| wrong_with(event, "{}");
    assert_eq!(
        timeline("{at: 1m, scale: {object: deployment/shop/crat, replicas: 2}}"),
        "a.yaml:11:32: spec.timeline[0].scale.object: expected an object of the cluster, found no deployment/shop/crat \
         in it; did you mean \"deployment/shop/cart\"?"
    );
    assert_eq!(
        timeline("{at: 1m, setImage: {object: deployment/shop/cart, image: \"crat:1\"}}"),
        "a.yaml:11:64: spec.timeline[0].setImage.image: expected an image of spec.cluster.images, found \"crat:1\"; \
         did you mean \"cart:1\"?"
    );
    let container = "{at: 1m, setImage: {object: deployment/shop/cart, container: crat, image: \"cart:1\"}}";
    assert!(timeline(container).contains("expected a container of deployment/shop/cart, found \"crat\"; did you mean"));
    assert!(
        timeline("{at: 1m, killNode: node-4}").contains("found no node/node-4 in it; did you mean \"node/node-1\"?")
    );
    assert!(timeline("{at: 1m, kill: {plane: gateway, number: 2}}").contains("expected one that runs, found 1"));
    let expect = |expected: &str| wrong_with("{at: 1m, scale: {object: deployment/shop/cart, replicas: 2}}", expected);
    let pod = expect("writes: [{do: deletePod, object: pod/shop/crat-*}]");
    assert!(pod.contains("a.yaml:13:38: spec.expect.writes[0].object: expected an object"), "{pod}");
    let kind = expect("writes: [{do: deletePod, object: deployment/shop/cart}]");
    assert!(kind.contains("deletePod is done to a Pod, found Deployment"), "{kind}");
    let bounds = expect("escalations: [{object: deployment/shop/cart, after: 5m, before: 5m}]");
    assert!(bounds.contains("escalations[0].before: can't be met: 5m is not later than after, 5m"), "{bounds}");
    let past = expect("escalations: [{object: deployment/shop/cart, after: 10m}]");
    assert!(past.contains("escalations[0].after: can't be met: 10m is not before the end (10m)"), "{past}");
}

#[test]
fn what_the_cluster_makes_itself_need_not_be_described() {
    for expected in [
        "writes: [{do: deletePod, object: pod/shop/cart-*}]",
        "writes: [{do: deletePod, object: pod/shop/*}]",
        "finally: [{object: replicaset/shop/cart-5f7, field: spec.replicas, op: Equals, value: 1}]",
        "requests: [{to: service/shop/cart, atLeast: 0.5}]",
    ] {
        assert_eq!(wrong_with("{at: 1m, traffic: {to: service/shop/cart, rate: 1}}", expected), "", "{expected}");
    }
    let applied = "{at: 1m, apply: {apiVersion: v1, kind: ConfigMap, metadata: {name: flags, namespace: shop}}}
    - {at: 2m, delete: configmap/shop/flags}";
    assert_eq!(wrong_with(applied, "{}"), "");
}

#[test]
fn an_event_that_is_refused_fails_the_run() {
    let text = "apiVersion: evenkeel.dev/v1alpha1
kind: Simulation
metadata: {name: a}
spec:
  use: {playbooks: [], policies: []}
  cluster:
    workloads: [{object: deployment/shop/cart, image: \"cart:1\"}]
    images: {\"cart:1\": {}}
  until: 5m
  timeline:
    - {at: 1m, by: ana, delete: deployment/shop/cart}
    - {at: 2m, by: ci, scale: {object: deployment/shop/cart, replicas: 2}}
    - {at: 3m, by: ana, killPod: {of: deployment/shop/cart}}
  expect: {}
";
    let (found, problems) = load(text, "a.yaml", &Disk);
    assert_eq!(problems, []);
    let report = run(&found[0], RunOptions::default()).unwrap();
    let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("timeline: scale at 2m was refused: PATCH ") && told[0].contains("not found"),
        "{told:?}"
    );
    assert!(told[1].ends_with("expected 1 pods of deployment/shop/cart, found 0"), "{told:?}");
    assert!(!report.passed);
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

#[test]
fn a_file_that_is_not_there_is_told_with_the_one_that_was_meant() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../simulations/demo.yaml");
    for (path, meant) in [("policies/standart.yaml", "policies/standard.yaml"), ("playboks", "playbooks")] {
        let told = Disk.read(root, path).unwrap_err();
        assert!(told.ends_with(&format!("found nothing; did you mean {meant:?}?")), "{told}");
    }
    let told = Disk.read(root, "elsewhere/entirely.yaml").unwrap_err();
    assert!(told.ends_with("found nothing"), "{told}");
}

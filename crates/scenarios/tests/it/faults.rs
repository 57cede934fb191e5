//! docs/faults.md speaks of every fault of simulations/faults.tsv, and of scenarios that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn project(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

/// Suite and fault of each row of the list.
fn faults() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(project("simulations/faults.tsv")).unwrap();
    let mut rows = text.lines().filter_map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        [suite, fault, ..] => Some((suite.to_owned(), fault.to_owned())),
        _ => None,
    });
    assert_eq!(rows.next().unwrap(), ("source".to_owned(), "fault_id".to_owned()));
    rows.collect()
}

/// The rows of the page's tables of four columns: suite, fault, scenarios, what is said of it.
fn told() -> Vec<[String; 4]> {
    let page = std::fs::read_to_string(project("docs/faults.md")).unwrap();
    let rows = page.lines().filter_map(|line| match line.split('|').map(str::trim).collect::<Vec<_>>()[..] {
        ["", suite, fault, scenarios, said, ""] => Some([suite, fault, scenarios, said].map(str::to_owned)),
        _ => None,
    });
    rows.filter(|[suite, ..]| suite != "suite" && !suite.starts_with("---")).collect()
}

#[test]
fn the_page_of_faults_names_each_fault_once() {
    let listed: BTreeSet<(String, String)> = faults().into_iter().collect();
    assert_eq!(listed.len(), faults().len(), "a fault is listed twice");
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for [suite, fault, ..] in told() {
        *counts.entry((suite, fault)).or_default() += 1;
    }
    let missing: Vec<_> = listed.iter().filter(|fault| !counts.contains_key(fault)).collect();
    let unknown: Vec<_> = counts.keys().filter(|fault| !listed.contains(fault)).collect();
    let repeated: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(
        missing.is_empty() && unknown.is_empty() && repeated.is_empty(),
        "not on the page: {missing:?}; on the page only: {unknown:?}; more than once: {repeated:?}"
    );
}

#[test]
fn every_scenario_that_the_page_of_faults_names_is_there() {
    for [_, fault, scenarios, said] in told() {
        assert!(!said.is_empty(), "{fault}: nothing is said of it");
        // Without a scenario the last column says why there is none.
        for scenario in scenarios.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let file = project("simulations").join(format!("{scenario}.yaml"));
            assert!(file.is_file(), "{fault}: expected a scenario {scenario}, found no {}", file.display());
        }
    }
}

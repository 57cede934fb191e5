//! docs/security.md names, for each threat, the tests that hold its control: they must exist.

use std::collections::BTreeSet;
use std::path::Path;

use crate::env;

/// Names of tests are longer than those of fields and commands.
const SHORTEST: usize = 20;

/// Names of functions under a test attribute, in all sources below a directory.
fn tests_below(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in source.lines().map(str::trim) {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let name = line.trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn ");
                if let Some((name, _)) = name.and_then(|name| name.split_once('(')) {
                    if is_test {
                        found.insert(name.to_owned());
                    }
                    is_test = false;
                }
            }
        }
    }
}

#[test]
fn every_threat_names_tests_that_there_are() {
    let workspace = env::workspace().unwrap();
    let mut tests = BTreeSet::new();
    for directory in ["crates", "tests"] {
        tests_below(&workspace.join(directory), &mut tests);
    }
    let page = std::fs::read_to_string(workspace.join("docs/security.md")).unwrap();
    let threats = page.split("## Threats").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let rows: Vec<&str> =
        threats.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| threat")).collect();
    assert!(rows.len() > 20, "found only {} threats", rows.len());
    for row in rows {
        let held_by = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
        let named: Vec<&str> = held_by.split('`').filter(|name| name.len() >= SHORTEST).collect();
        assert!(!named.is_empty(), "no test holds: {row}");
        for name in named {
            assert!(tests.contains(name), "there is no test {name}, which docs/security.md names");
        }
    }
}

//! `evenkeel check`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use evenkeel_model::ActionPolicySpec;
use evenkeel_playbook::yaml::Document;
use evenkeel_playbook::{Loaded, Problem, yaml};

use crate::args::CheckArgs;
use crate::output;

const FINDINGS: u8 = 1;
const USAGE: u8 = 2;

/// Looks at every file; findings go to stdout.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let files = match files(&args.paths) {
        Ok(files) => files,
        Err(reason) => {
            output::warn(&reason);
            return Ok(ExitCode::from(USAGE));
        }
    };
    let found = check(&files);
    let mut text = String::new();
    for problem in &found.problems {
        text.push_str(&problem.to_string());
        text.push('\n');
    }
    output::print(&text)?;
    if found.problems.is_empty() {
        output::warn(&found.summary());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(FINDINGS))
}

/// The files that paths name: files as they are, directories with the YAML files below them.
pub(crate) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = BTreeSet::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            below(path, &mut files)?;
            if files.len() == before {
                return Err(format!("{}: expected .yaml or .yml files in it, found none", path.display()));
            }
        } else if path.exists() {
            files.insert(path.clone());
        } else {
            return Err(format!("{}: expected a file or a directory, found nothing", path.display()));
        }
    }
    Ok(files.into_iter().collect())
}

fn below(directory: &Path, files: &mut BTreeSet<PathBuf>) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("{}: can't be read: {error}", directory.display());
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if path.is_dir() {
            below(&path, files)?;
        } else if is_yaml {
            files.insert(path);
        }
    }
    Ok(())
}

/// Whether a file holds rules of Prometheus, or tests of them, which lie beside simulations: they have no `kind`.
pub(crate) fn is_for_prometheus(text: &str) -> bool {
    let begins = |key: &str| text.lines().any(|line| line.starts_with(key));
    (begins("groups:") || begins("rule_files:")) && !begins("kind:")
}

/// What was looked at, and what is wrong with it.
struct Found {
    playbooks: usize,
    policies: usize,
    simulations: usize,
    for_prometheus: usize,
    problems: Vec<Problem>,
}

impl Found {
    fn summary(&self) -> String {
        let simulations = match self.simulations {
            0 => String::new(),
            count => format!(" and {count} simulations"),
        };
        let rules = match self.for_prometheus {
            0 => String::new(),
            count => format!("; {count} files of Prometheus rules, which promtool checks"),
        };
        format!("{} playbooks and {} policies{simulations}, no findings{rules}", self.playbooks, self.policies)
    }
}

fn check(files: &[PathBuf]) -> Found {
    let mut playbooks: Vec<Loaded> = Vec::new();
    let mut policies = Vec::new();
    let (mut simulations, mut for_prometheus) = (0, 0);
    let mut problems = Vec::new();
    for file in files {
        let origin = file.display().to_string();
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                problems.push(Problem { file: origin, line: 1, column: 1, message: format!("can't be read: {error}") });
                continue;
            }
        };
        if is_for_prometheus(&text) {
            for_prometheus += 1;
            continue;
        }
        // Each reads the whole text, and so says the same of what is neither's.
        let (loaded, found) = evenkeel_playbook::load(&text, &origin);
        playbooks.extend(loaded);
        problems.extend(found);
        let (documents, found) = yaml::documents::<ActionPolicySpec>(&text, &origin, "ActionPolicy");
        policies.extend(documents);
        problems.extend(found);
        let (scenarios, found) = evenkeel_scenarios::load(&text, &origin, &evenkeel_scenarios::Disk);
        simulations += scenarios.len();
        problems.extend(found);
    }
    problems.extend(evenkeel_playbook::check(&playbooks));
    problems.extend(wrong_with(&policies));
    problems.sort();
    problems.dedup();
    Found { playbooks: playbooks.len(), policies: policies.len(), simulations, for_prometheus, problems }
}

/// What is wrong with policies, each by itself, and two of one name: the API server would keep the later.
pub(crate) fn wrong_with(policies: &[Document<ActionPolicySpec>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for policy in policies {
        if let Some(first) = names.insert(&policy.name, policy.source.file()) {
            let message = format!("there is an ActionPolicy {:?} already, in {first}", policy.name);
            problems.push(policy.source.problem("metadata.name", message));
        }
        let findings = evenkeel_policy::check(&policy.spec);
        problems.extend(findings.into_iter().map(|finding| policy.source.problem(&finding.path, finding.message)));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAYBOOK: &str = "apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: bad-rollout}
spec:
  summary: Go back.
  priority: 100
  match: {signals: [CrashLoopBackOff], kinds: [Deployment]}
  when:
    - {fact: target.lastAvailableRevision, op: Exists}
  steps:
    - name: roll-back
      do: {rollbackWorkload: {to: LastAvailable}}
      verify: {within: 10m, hold: 3m, that: [{fact: target.well, op: Equals, value: true}]}
";

    const POLICY: &str = "apiVersion: evenkeel.dev/v1alpha1
kind: ActionPolicy
metadata: {name: shop}
spec:
  mode: Enforce
  match: {namespaces: [shop], kinds: [Deployment], selector: {}}
  actions:
    - do: rollbackWorkload
      tier: Low
      origins: [Playbook]
      rate: {target: 1/1h, namespace: 3/1h, cluster: 10/1h}
  windows: {timeZone: UTC, allow: [{days: ['*'], from: '00:00', to: '24:00'}], freeze: []}
  limits: {concurrent: 1, unavailable: {count: 100, percent: 100}}
  gitOps: UnownedFields
";

    fn directory(files: &[(&str, String)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn findings(dir: &tempfile::TempDir) -> String {
        let found = check(&files(&[dir.path().to_owned()]).unwrap());
        let lines: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
        lines.join("\n").replace(&format!("{}/", dir.path().display()), "")
    }

    #[test]
    fn what_is_sound_has_no_findings() {
        let dir = directory(&[("playbooks/a.yaml", PLAYBOOK.to_owned()), ("policies/p.yml", POLICY.to_owned())]);
        let found = check(&files(&[dir.path().to_owned()]).unwrap());
        assert_eq!(found.problems, []);
        assert_eq!((found.playbooks, found.policies), (1, 1));
    }

    #[test]
    fn rules_of_prometheus_are_not_ours_to_check() {
        let rules = "groups:\n  - name: shop\n    rules: [{alert: A, expr: vector(1)}]\n".to_owned();
        let tests = "rule_files: [rules.yaml]\ntests: []\n".to_owned();
        let dir = directory(&[("a.yaml", PLAYBOOK.to_owned()), ("rules.yaml", rules), ("rules_test.yaml", tests)]);
        let found = check(&files(&[dir.path().to_owned()]).unwrap());
        assert_eq!(found.problems, []);
        let summary = "1 playbooks and 0 policies, no findings; 2 files of Prometheus rules, which promtool checks";
        assert_eq!(found.summary(), summary);
        // Of ours, whatever else is in it.
        let dir = directory(&[("a.yaml", format!("{PLAYBOOK}groups: []\n"))]);
        assert!(findings(&dir).contains("groups"));
    }

    #[test]
    fn findings_say_file_line_and_column() {
        let dir = directory(&[
            ("misspelt.yaml", PLAYBOOK.replace("priority:", "prioritty:")),
            ("no-such-fact.yaml", PLAYBOOK.replace("bad-rollout", "b").replace("target.well", "target.wel")),
            ("policies/bad-rate.yaml", POLICY.replace("3/1h", "often")),
            ("policies/misspelt.yaml", POLICY.replace("limits:", "limit:")),
            ("policies/scale.yaml", POLICY.replace("{name: shop}", "{name: b}").replace("rollback", "scale")),
            ("policies/shop.yaml", POLICY.replace("[shop]", "[shop-*]")),
            ("policies/shop-too.yaml", POLICY.to_owned()),
            ("twice.yaml", format!("{}---\n{}", PLAYBOOK.replace("bad-rollout", "c"), POLICY.replace("Low", "low"))),
            ("other.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n".to_owned()),
            ("notes.txt", "not looked at".to_owned()),
        ]);
        insta::assert_snapshot!(findings(&dir));
    }

    #[test]
    fn a_path_of_no_use_is_named() {
        let missing = PathBuf::from("/nowhere/playbooks");
        assert!(files(&[missing]).unwrap_err().starts_with("/nowhere/playbooks: expected a file or a directory"));
        let empty = directory(&[("notes.txt", String::new())]);
        assert!(files(&[empty.path().to_owned()]).unwrap_err().ends_with("found none"));
    }
}

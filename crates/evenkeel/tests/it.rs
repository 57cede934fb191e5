//! The binary from outside: exit codes, and what goes to which stream.

#[cfg(test)]
mod cli {
    use std::process::{Command, Output};

    fn evenkeel(arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_evenkeel")).args(arguments).env_clear().output().unwrap()
    }

    fn stderr(output: &Output) -> String {
        String::from_utf8(output.stderr.clone()).unwrap()
    }

    #[test]
    fn check_exits_with_0_1_or_2() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("playbook.yaml");
        let path = file.to_str().unwrap();
        assert_eq!(evenkeel(&["check"]).status.code(), Some(2), "no path");
        assert_eq!(evenkeel(&["check", path]).status.code(), Some(2), "no such file");

        std::fs::write(&file, "apiVersion: evenkeel.dev/v1alpha1\nkind: Playbok\n").unwrap();
        let found = evenkeel(&["check", path]);
        assert_eq!(found.status.code(), Some(1));
        let findings = String::from_utf8(found.stdout).unwrap();
        assert!(findings.starts_with(&format!("{path}:2:7: ")), "{findings}");
    }

    #[test]
    fn admission_over_our_own_objects_needs_no_policies() {
        let printed = evenkeel(&["policy", "admission", "--own", "--namespace", "engine"]);
        let printed = String::from_utf8(printed.stdout).unwrap();
        let names = printed.lines().filter_map(|line| line.strip_prefix("  name: evenkeel-"));
        assert_eq!(
            names.collect::<Vec<_>>(),
            ["approvals", "approvals", "people", "people", "records", "records"],
            "{printed}"
        );
        assert!(printed.contains("system:serviceaccount:engine:evenkeel-gateway"), "{printed}");
        assert_eq!(evenkeel(&["policy", "admission", "--own", "--audit"]).status.code(), Some(2));
    }

    #[test]
    fn backtest_exits_with_0_1_2_or_3() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let playbooks = "apiVersion: evenkeel.dev/v1alpha1\nkind: Playbook\nmetadata: {name: tell}\nspec:\n  summary: s\n  priority: 1\n  match: {signals: [A]}\n  steps: [{name: tell, do: {escalate: {severity: Ticket}}}]\n";
        let before = write("before.yaml", playbooks);
        let after = write("after.yaml", &playbooks.replace("[A]", "[B]"));
        let bad = write("bad.yaml", &playbooks.replace("summary", "sumary"));
        let policies = write("none.yml", "");
        let signal = r#"{"id":"1","source":"Kubernetes","name":"A","state":"Firing","severity":"Warning","cluster":"c","target":{"kind":"Deployment","namespace":"shop","name":"cart"},"startsAt":"2026-01-05T08:00:00Z","observedAt":"2026-01-05T08:00:00Z"}"#;
        let later = signal.replace("\"1\"", "\"2\"").replace("cart", "pay").replace("08:00", "09:00");
        let signals = write("signals.jsonl", &format!("{signal}\noops\n{later}\n"));
        let run = |more: &[&str]| {
            let rules = ["--playbooks", &before, "--policies", &policies];
            evenkeel(&[&["backtest", "--signals", &signals][..], &rules, more].concat())
        };
        let one = run(&[]);
        assert_eq!(one.status.code(), Some(0), "{}", stderr(&one));
        let told =
            format!("{signals}:2: expected a signal as `evenkeel get signals -o jsonl` writes it, found \"oops\"");
        assert!(stderr(&one).contains(&told), "{}", stderr(&one));
        assert_eq!(run(&["--strict"]).status.code(), Some(1));
        assert_eq!(run(&["--against-playbooks", &before, "--exit-code"]).status.code(), Some(0));
        assert_eq!(run(&["--against-playbooks", &after]).status.code(), Some(0));
        assert_eq!(run(&["--against-playbooks", &after, "--exit-code"]).status.code(), Some(3));
        let refused = run(&["--against-playbooks", &bad]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains("bad.yaml:5:3:"), "{}", stderr(&refused));
        assert_eq!(evenkeel(&["backtest"]).status.code(), Some(2));
    }

    #[test]
    fn simulate_says_what_passed_and_with_which_policies() {
        let project = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let scenario = format!("{project}/simulations/jobs/superseded.yaml");
        let audit = format!("{project}/policies/audit-only.yaml");
        assert_eq!(evenkeel(&["simulate", &scenario, "--runs", "0"]).status.code(), Some(2));
        assert_eq!(evenkeel(&["simulate", &scenario, "--policies", "/nowhere"]).status.code(), Some(2));

        let stdout = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
        let as_it_is = evenkeel(&["simulate", &scenario]);
        let table = stdout(&as_it_is);
        assert_eq!(as_it_is.status.code(), Some(0), "{table}");
        let mut lines = table.lines();
        assert!(lines.next().unwrap().starts_with("SCENARIO    RESULT  RUNS  "), "{table}");
        assert!(lines.next().unwrap().starts_with("superseded  pass    1     "), "{table}");

        let changed = evenkeel(&["simulate", &scenario, "--policies", &audit]);
        let table = stdout(&changed);
        assert_eq!(changed.status.code(), Some(1), "{table}");
        assert!(table.starts_with(&format!("Policies of {audit}, not those that the scenarios use.\n")), "{table}");
        assert!(table.contains("\nsuperseded  FAIL    1     "), "{table}");
        assert!(table.contains(&format!("superseded.yaml --seed 0 --policies {audit} --trace\n")), "{table}");
    }

    #[test]
    fn a_plane_names_what_is_wrong_with_its_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("evenkeel.yaml");
        let path = file.to_str().unwrap();
        let missing = evenkeel(&["reason", "--config", path]);
        assert_eq!(missing.status.code(), Some(1));
        assert!(stderr(&missing).contains(path), "{}", stderr(&missing));

        std::fs::write(&file, "cluster: test\nreasonr: {}\n").unwrap();
        let misspelt = stderr(&evenkeel(&["reason", "--config", path]));
        assert!(misspelt.contains(&format!("{path}:2:1: unknown field `reasonr`")), "{misspelt}");

        std::fs::write(&file, "cluster: test\nbus: memory\n").unwrap();
        let memory = stderr(&evenkeel(&["reason", "--config", path]));
        assert!(memory.contains("evenkeel all --dev"), "{memory}");
    }

    #[test]
    fn all_needs_dev() {
        let refused = evenkeel(&["all", "--config", "/nowhere"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains("--dev"), "{}", stderr(&refused));
    }

    #[test]
    fn what_is_printed_goes_to_stdout_alone() {
        for arguments in [["crds", ""], ["rbac", "--namespace=a"], ["completions", "bash"], ["docs", "facts"]] {
            let arguments: Vec<&str> = arguments.into_iter().filter(|argument| !argument.is_empty()).collect();
            let printed = evenkeel(&arguments);
            assert!(printed.status.success() && !printed.stdout.is_empty(), "{arguments:?}");
            assert_eq!(stderr(&printed), "", "{arguments:?}");
        }
    }
}

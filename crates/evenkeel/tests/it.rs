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

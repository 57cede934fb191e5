//! The shipped alert rules, by Prometheus' own judgement.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use evenkeel_xtask::tools::{Family, Toolbox};

fn promtool(dir: &str, runs: &[[&str; 3]]) -> Result<()> {
    let tools = Toolbox::ensure(&[Family::Prometheus])?;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?.join(dir);
    for arguments in runs {
        let output = Command::new(tools.program("promtool")?).args(arguments).current_dir(&dir).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "promtool {arguments:?}: {said}");
    }
    Ok(())
}

#[test]
fn the_shipped_alert_rules_say_what_they_should() -> Result<()> {
    promtool("alerts", &[["check", "rules", "evenkeel.yaml"], ["test", "rules", "evenkeel.test.yaml"]])
}

/// The simulator's evaluator runs the same tests; see crates/simulator/src/prometheus/unit.rs.
#[test]
fn the_simulators_rules_and_promql_are_those_of_prometheus() -> Result<()> {
    promtool(
        "simulations/rules",
        &[
            ["check", "rules", "kubernetes.yaml"],
            ["test", "rules", "kubernetes_test.yaml"],
            ["test", "rules", "promql_test.yaml"],
            ["check", "rules", "services.yaml"],
            ["test", "rules", "services_test.yaml"],
        ],
    )
}

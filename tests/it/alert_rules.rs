//! The shipped alert rules, by Prometheus' own judgement.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use evenkeel_xtask::tools::{Family, Toolbox};

#[test]
fn the_shipped_alert_rules_say_what_they_should() -> Result<()> {
    let tools = Toolbox::ensure(&[Family::Prometheus])?;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?.join("alerts");
    for arguments in [["check", "rules", "evenkeel.yaml"], ["test", "rules", "evenkeel.test.yaml"]] {
        let output = Command::new(tools.program("promtool")?).args(arguments).current_dir(&dir).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "promtool {arguments:?}: {said}");
    }
    Ok(())
}

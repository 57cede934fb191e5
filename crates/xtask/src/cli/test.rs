//! `cargo xtask test`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::cargo;
use super::tools::Suite;
use crate::tools::Toolbox;
use crate::{cluster, env};

/// The package that holds the end-to-end suites.
const SUITES: &str = "evenkeel-tests";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Test binaries of the end-to-end package to run; all tests of the workspace if none is named
    suites: Vec<String>,
    /// Run the end-to-end suites against this cluster instead of one made here
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// Fail if Cargo.lock would change
    #[arg(long)]
    locked: bool,
    /// Passed on to the test binaries
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.kubeconfig.is_none() {
        // Said now, not after the tools were built.
        cluster::can_be_real().context("the suites start a real node with real pods")?;
    }
    let needs = if arguments.kubeconfig.is_some() { Suite::Bus } else { Suite::Real };
    Toolbox::ensure(&needs.families())?;
    if arguments.suites.is_empty() {
        cargo_test(arguments, &["--workspace", "--exclude", SUITES], &[])?;
        build_engine(arguments)?;
        return cargo_test(arguments, &["--package", SUITES], &["--test-threads=1"]);
    }
    build_engine(arguments)?;
    let mut chosen = vec!["--package", SUITES];
    for suite in &arguments.suites {
        chosen.extend(["--test", suite]);
    }
    cargo_test(arguments, &chosen, &["--test-threads=1"])
}

/// The suites start the binary that lies beside theirs; cargo builds it only for tests of its own package.
fn build_engine(arguments: &Arguments) -> Result<()> {
    let locked: &[&str] = if arguments.locked { &["--locked"] } else { &[] };
    cargo::build(&[&["--package", "evenkeel"], locked].concat())?;
    Ok(())
}

fn cargo_test(arguments: &Arguments, chosen: &[&str], to_tests: &[&str]) -> Result<()> {
    let mut command = Command::new(env::cargo());
    command.current_dir(env::workspace()?).arg("test").args(chosen);
    if arguments.locked {
        command.arg("--locked");
    }
    command.arg("--").args(to_tests).args(&arguments.rest);
    command.env(env::XTASK, env::own_program()?);
    if let Some(kubeconfig) = &arguments.kubeconfig {
        let file = std::fs::canonicalize(kubeconfig).with_context(|| format!("no file {}", kubeconfig.display()))?;
        command.env("EVENKEEL_TEST_KUBECONFIG", file);
    }
    let status = command.status().context("running cargo")?;
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}

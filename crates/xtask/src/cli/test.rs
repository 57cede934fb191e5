//! `cargo xtask test`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::own_cluster::NEEDS_OWN_CLUSTER;
use super::tools::Suite;
use super::{cargo, images};
use crate::cluster::{self, PREFIX};
use crate::tools::Toolbox;
use crate::{env, ui};

/// The package that holds the end-to-end suites.
const SUITES: &str = "evenkeel-tests";
/// The check that the invariants bite. The same packages are chosen as before it, so that cargo builds with the feature
/// what has it, and nothing of what others wrote.
const MUTATIONS: [&str; 7] =
    ["--workspace", "--exclude", SUITES, "--features", "evenkeel-scenarios/mutation", "--test", "mutations"];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Test binaries of the end-to-end package to run; all tests of the workspace if none is named
    suites: Vec<String>,
    /// Run the end-to-end suites against the cluster of this kubeconfig (kind, k3d, …) instead of clusters made here.
    ///
    /// NATS, Prometheus, Alertmanager and the engine run on this machine and reach the cluster by the kubeconfig, whose
    /// user has to be an administrator. Namespaces `evenkeel` and `shop`, custom resources and roles are made and
    /// removed again; nothing is begun where any of them exists already and is not the tests' own. The cluster's nodes
    /// need the test images, see `cargo xtask images`. Tests that need a cluster of their own are named and left out.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// What that cluster's nodes know the test images by: PREFIX/app:TAG
    #[arg(long, value_name = "PREFIX", default_value = PREFIX, value_parser = images::prefix, requires = "kubeconfig")]
    image_prefix: String,
    /// Fail if Cargo.lock would change
    #[arg(long)]
    locked: bool,
    /// Passed on to the test binaries
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let foreign = arguments.kubeconfig.is_some();
    if !foreign {
        // Said now, not after the tools were built.
        cluster::can_be_real().context("the suites start a real node with real pods")?;
    }
    Toolbox::ensure(&if foreign { Suite::Foreign } else { Suite::Real }.families())?;
    if foreign {
        say_what_is_left_out();
    }
    // The crates' own tests start what they need; a foreign cluster would make no difference to them.
    if arguments.suites.is_empty() && !foreign {
        cargo_test(arguments, &["--workspace", "--exclude", SUITES], &[])?;
        cargo_test(arguments, &MUTATIONS, &[])?;
        build_engine(arguments)?;
        return cargo_test(arguments, &["--package", SUITES], &["--test-threads=1"]);
    }
    build_engine(arguments)?;
    let mut chosen = vec!["--package", SUITES];
    for suite in &arguments.suites {
        chosen.extend(["--test", suite]);
    }
    let mut to_tests = vec!["--test-threads=1"];
    if foreign {
        to_tests.extend(NEEDS_OWN_CLUSTER.iter().flat_map(|(test, _)| ["--skip", test]));
    }
    cargo_test(arguments, &chosen, &to_tests)
}

fn say_what_is_left_out() {
    ui::say("on a cluster that is not ours these are left out; `cargo xtask test` runs them:");
    ui::say("  the tests of the crates: they start what they need and would not touch it");
    for (test, reason) in NEEDS_OWN_CLUSTER {
        ui::say(format_args!("  {test}: {reason}"));
    }
}

/// The suites start the binary that lies beside theirs; cargo builds it only for tests of its own package.
fn build_engine(arguments: &Arguments) -> Result<()> {
    let locked: &[&str] = if arguments.locked { &["--locked"] } else { &[] };
    cargo::build(&[&["--package", "evenkeel"], locked].concat())?;
    Ok(())
}

fn cargo_test(arguments: &Arguments, chosen: &[&str], to_tests: &[&str]) -> Result<()> {
    let mut command = Command::new(env::cargo());
    // All that is wrong is told at once: a run takes long.
    command.current_dir(env::workspace()?).args(["test", "--no-fail-fast"]).args(chosen);
    if arguments.locked {
        command.arg("--locked");
    }
    command.arg("--").args(to_tests).args(&arguments.rest);
    command.env(env::XTASK, env::own_program()?);
    if let Some(kubeconfig) = &arguments.kubeconfig {
        let file = std::fs::canonicalize(kubeconfig).with_context(|| format!("no file {}", kubeconfig.display()))?;
        command.env(env::TEST_KUBECONFIG, file).env(env::TEST_IMAGE_PREFIX, &arguments.image_prefix);
    }
    let status = command.status().context("running cargo")?;
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: super::Arguments,
    }

    #[test]
    fn an_image_prefix_is_said_of_a_foreign_cluster_only() {
        let parse = |line: &str| Line::try_parse_from(line.split(' ')).map(|line| line.arguments.image_prefix);
        assert_eq!(parse("test").unwrap(), "registry.example");
        assert_eq!(parse("test --kubeconfig f --image-prefix localhost:5001/a").unwrap(), "localhost:5001/a");
        assert!(parse("test --image-prefix localhost:5001").is_err());
        assert!(parse("test --kubeconfig f --image-prefix https://localhost").is_err());
    }
}

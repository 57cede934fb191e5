//! `cargo xtask bench`.

mod backtest;

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::cargo;
use super::tools::Suite;
use crate::env;
use crate::tools::Toolbox;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Accepted alerts per second, beside JetStream's own rate.
    Ingest,
    /// Alert to effect, beside the round trips that it needs.
    React,
    /// A million recorded signals through two sets of rules.
    Backtest,
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What is measured
    bench: Bench,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.bench == Bench::Backtest {
        return backtest::run(arguments.json);
    }
    Toolbox::ensure(&Suite::Kwok.families())?;
    let packages = ["--release", "--package", "evenkeel", "--package", "evenkeel-tests"];
    let programs = cargo::build(&[&packages[..], &["--bin", "evenkeel", "--bin", "bench"]].concat())?;
    let mut command = Command::new(cargo::program(&programs, "bench")?);
    command.arg(match arguments.bench {
        Bench::Ingest => "ingest",
        Bench::React | Bench::Backtest => "react",
    });
    if arguments.json {
        command.arg("--json");
    }
    command.env(env::XTASK, env::own_program()?);
    let status = command.status().context("running the bench")?;
    if !status.success() {
        bail!("the bench failed ({status})");
    }
    Ok(())
}

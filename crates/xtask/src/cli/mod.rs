//! The command line.

mod bench;
mod cargo;
mod cluster;
mod generate;
mod images;
mod own_cluster;
mod test;
mod tools;
mod tryout;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::ui;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Trying it out, tests, benches, generated files, test clusters",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See it work: start a cluster, break a Deployment, watch the repair.
    Try(tryout::Arguments),
    /// Build the pinned tools that tests run, once, into the user's cache.
    Tools(tools::Arguments),
    /// A real control plane on this machine, with fake nodes or a real one.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Build the tools the suites need and run the tests.
    Test(test::Arguments),
    /// Write the images that the tests' pods run to a file, for a cluster that is not ours.
    Images(images::Arguments),
    /// Write the generated files, or compare them.
    Generate(generate::Arguments),
    /// Build what it takes and measure.
    Bench(bench::Arguments),
    /// Owns the processes of an engine that was left to itself.
    #[command(name = "__engine", hide = true)]
    Engine {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Owns a cluster's processes.
    #[command(name = "__hold", hide = true)]
    Hold {
        #[arg(long)]
        dir: PathBuf,
        /// Live until told to end, whoever started it.
        #[arg(long)]
        daemon: bool,
        /// Already inside the cluster's namespaces.
        #[arg(long)]
        inside: bool,
    },
    /// Stands in front of a runc that was built without libseccomp.
    #[command(name = "__runc", hide = true)]
    Runc {
        runc: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Try(arguments) => tryout::run(&arguments),
        Command::Tools(arguments) => tools::run(arguments),
        Command::Cluster(command) => cluster::run(command),
        Command::Test(arguments) => test::run(&arguments),
        Command::Images(arguments) => images::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Engine { dir } => crate::engine::hold(&dir),
        Command::Hold { dir, daemon, inside } => crate::cluster::hold(&dir, daemon, inside),
        Command::Runc { runc, args } => crate::cluster::runc(&runc, &args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

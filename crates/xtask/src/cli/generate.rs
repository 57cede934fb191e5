//! `cargo xtask generate`: files that the program itself writes, committed so that people can read them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{env, ui};

/// Each file and the arguments that make `evenkeel` print it.
const FILES: &[(&str, &[&str])] = &[
    ("crds/evenkeel.yaml", &["crds"]),
    ("docs/configuration.md", &["docs", "configuration"]),
    ("docs/cli.md", &["docs", "cli"]),
    ("docs/facts.md", &["docs", "facts"]),
    ("docs/playbook.schema.json", &["docs", "playbook-schema"]),
    ("docs/simulation.schema.json", &["docs", "simulation-schema"]),
];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Change nothing; fail if a file differs
    #[arg(long)]
    check: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let root = env::workspace()?;
    let mut stale = Vec::new();
    for (file, made_by) in FILES {
        let text = evenkeel(&root, made_by)?;
        let path = root.join(file);
        if std::fs::read_to_string(&path).is_ok_and(|committed| committed == text) {
            continue;
        }
        if arguments.check {
            stale.push(*file);
            continue;
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, text).with_context(|| format!("writing {file}"))?;
        ui::say(format_args!("wrote {file}"));
    }
    if !stale.is_empty() {
        bail!("{} out of date: run `cargo xtask generate` and commit the result", stale.join(", "));
    }
    Ok(())
}

fn evenkeel(root: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(env::cargo());
    command.current_dir(root).args(["run", "--quiet", "--package", "evenkeel", "--bin", "evenkeel", "--"]).args(args);
    let output = command.output().context("running cargo")?;
    if !output.status.success() {
        bail!("evenkeel {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("evenkeel printed something other than text")
}

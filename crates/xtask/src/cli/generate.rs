//! `cargo xtask generate`: files that the program itself writes, committed so that people can read them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{env, ui};

/// Each file, the arguments that make `evenkeel` print it, and what is made of that.
const FILES: &[(&str, &[&str], Form)] = &[
    ("crds/evenkeel.yaml", &["crds"], Form::AsPrinted),
    ("docs/configuration.md", &["docs", "configuration"], Form::AsPrinted),
    ("docs/cli.md", &["docs", "cli"], Form::AsPrinted),
    ("docs/facts.md", &["docs", "facts"], Form::AsPrinted),
    ("docs/playbook.schema.json", &["docs", "playbook-schema"], Form::AsPrinted),
    ("docs/simulation.schema.json", &["docs", "simulation-schema"], Form::AsPrinted),
    ("docs/demo.svg", &["demo", "--fast"], Form::Picture),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    AsPrinted,
    /// A picture of the terminal, with its colours.
    Picture,
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Change nothing; fail if a file differs
    #[arg(long)]
    check: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let root = env::workspace()?;
    let mut stale = Vec::new();
    for (file, made_by, form) in FILES {
        let text = match form {
            Form::AsPrinted => evenkeel(&root, made_by, "0")?,
            Form::Picture => picture(&evenkeel(&root, made_by, "1")?),
        };
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

fn evenkeel(root: &Path, args: &[&str], coloured: &str) -> Result<String> {
    let mut command = Command::new(env::cargo());
    command.current_dir(root).args(["run", "--quiet", "--package", "evenkeel", "--bin", "evenkeel", "--"]).args(args);
    command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", coloured);
    let output = command.output().context("running cargo")?;
    if !output.status.success() {
        bail!("evenkeel {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("evenkeel printed something other than text")
}

/// The story's beginning and its first act, as a terminal shows them.
fn picture(story: &str) -> String {
    const SECOND_ACT: &str = "\n\x1b[1m2. ";
    let shown = story.find(SECOND_ACT).and_then(|end| story.get(..end)).unwrap_or(story);
    let terminal = anstyle_svg::Term::new().palette(anstyle_svg::WIN10_CONSOLE);
    let svg = terminal.render_svg(&format!("\x1b[1m$ evenkeel demo\x1b[0m\n{}\n", shown.trim_end()));
    // What is told in passing has to be readable, too.
    svg.replace(".dimmed { opacity: 0.4; }", ".dimmed { opacity: 0.7; }")
}

#[cfg(test)]
mod tests {
    use super::picture;

    #[test]
    fn the_picture_ends_before_the_second_act() {
        let svg = picture("A shop.\n\n\x1b[1m1. A rollout\x1b[0m\nseen\n\n\x1b[1m2. A lie\x1b[0m\nnever\n");
        assert!(svg.starts_with("<svg") && svg.contains("A rollout") && !svg.contains("never"), "{svg}");
    }
}

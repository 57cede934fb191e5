//! `evenkeel docs` and `evenkeel completions`: pages and scripts made from the types.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _};
use evenkeel_playbook::facts;

use crate::args::{Args, DocsArgs, Page};
use crate::config::Config;
use crate::output;

pub(crate) fn run(args: &DocsArgs) -> Result<()> {
    if let Some(page) = args.page {
        return output::print(&write(page)?);
    }
    let dir = args.dir.as_deref().context("expected a page or --dir")?;
    for (page, file) in [
        (Page::Configuration, "configuration.md"),
        (Page::Cli, "cli.md"),
        (Page::Facts, "facts.md"),
        (Page::PlaybookSchema, "playbook.schema.json"),
        (Page::SimulationSchema, "simulation.schema.json"),
    ] {
        let path = dir.join(file);
        std::fs::write(&path, write(page)?).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "evenkeel", &mut script);
    output::print(&String::from_utf8(script).context("the script is not text")?)
}

fn write(page: Page) -> Result<String> {
    match page {
        Page::Configuration => Ok(configuration()),
        Page::Cli => cli(),
        Page::Facts => facts_page(),
        Page::SimulationSchema => Ok(serde_json::to_string_pretty(&evenkeel_scenarios::schema())? + "\n"),
        Page::PlaybookSchema => Ok(serde_json::to_string_pretty(&evenkeel_playbook::schema())? + "\n"),
    }
}

const GENERATED: &str = "<!-- Made by `cargo xtask generate` from the types. Change those, not this file. -->\n\n";

fn configuration() -> String {
    let keys = evenkeel_runtime::config::markdown::<Config>();
    format!(
        "{GENERATED}# Configuration\n\n\
         One YAML file, given with `--config`, serves all planes; each reads what concerns it. Unknown keys are \
         refused, and errors say file, line and column. Every key can also be set by an environment variable, which \
         goes over the file: text as it is, everything else as YAML, lists also separated by commas. Times are written \
         `30s`, `5m`, `1h30m` or `7d`. Variables that \
         begin with `EVENKEEL_` and name no key are reported on stderr, except those that Kubernetes sets for \
         Services.\n\n\
         Secrets are never values: keys that end in `File` name the files that hold them.\n\n{keys}"
    )
}

fn cli() -> Result<String> {
    let mut out = format!("{GENERATED}# Command line\n");
    let mut command = Args::command();
    command.build();
    describe(&command, &mut out)?;
    Ok(out)
}

/// The help of a command and of all below it, as they print it.
fn describe(command: &Command, out: &mut String) -> Result<()> {
    let help = command.clone().term_width(100).render_long_help().to_string();
    writeln!(out, "\n## `{}`\n\n```\n{}\n```", command.get_bin_name().unwrap_or("evenkeel"), trimmed(&help))?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        describe(below, out)?;
    }
    Ok(())
}

fn trimmed(help: &str) -> String {
    help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn facts_page() -> Result<String> {
    let mut out = format!(
        "{GENERATED}# Facts\n\n\
         What conditions (`when`, `verify.that`) can compare. A fact is Unknown when its source can't be asked, and a \
         condition on an unknown fact does not hold. `<changes>` and the like stand for the name of a question under \
         `diagnose`. Facts read from the cluster are read now; a playbook with a step that changes something needs at \
         least one of them under `when`.\n\n\
         | fact | type | from the cluster | what it says |\n|---|---|---|---|\n"
    );
    for fact in facts::table() {
        let from = if fact.from_cluster { "yes" } else { "" };
        let kind = format!("{:?}", fact.kind).to_lowercase();
        writeln!(out, "| `{}` | {kind} | {from} | {} |", fact.name, fact.doc.replace('|', "\\|"))?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_as_documented() {
        insta::assert_snapshot!(cli().unwrap());
    }

    #[test]
    fn every_key_is_described() {
        let undescribed: Vec<String> = evenkeel_runtime::config::keys::<Config>()
            .into_iter()
            .filter(|key| key.description.is_empty())
            .map(|key| key.key())
            .collect();
        assert!(undescribed.is_empty(), "{undescribed:?}");
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        let mut names: Vec<String> =
            evenkeel_runtime::config::keys::<Config>().iter().filter_map(|key| key.variable()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn the_arguments_are_sound() {
        Args::command().debug_assert();
    }
}

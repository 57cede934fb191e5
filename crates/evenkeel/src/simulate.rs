//! `evenkeel simulate`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use evenkeel_scenarios::html::{self, model::RunPage};
use evenkeel_scenarios::{Disk, Instead, RunOptions, RunReport, Scenario};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::SimulateArgs;
use crate::output::{self, Table, Tone};
use crate::threads::in_threads;
use crate::{check, output::warn};

pub(crate) const VIOLATIONS: u8 = 1;
const USAGE: u8 = 2;
/// Violations shown of each run; the rest are counted.
const SHOWN: usize = 8;

/// Runs every scenario with every seed.
pub(crate) fn run(args: &SimulateArgs) -> Result<ExitCode> {
    let scenarios = match scenarios(args) {
        Ok(scenarios) => scenarios,
        Err(reason) => {
            warn(reason.trim_end());
            return Ok(ExitCode::from(USAGE));
        }
    };
    if args.gateway_deaths {
        output::print(&replaced(args)?)?;
        return crate::deaths::run(scenarios, seeds(args), progress);
    }
    let reports = run_all(&scenarios, args)?;
    if let Some(file) = &args.report {
        let page = html::run_page(&RunPage::of("Simulations", &reports));
        std::fs::write(file, page).with_context(|| format!("writing {}", file.display()))?;
    }
    if args.json {
        output::print(&(serde_json::to_string_pretty(&reports)? + "\n"))?;
    } else {
        if args.trace {
            let mut text = String::new();
            for report in &reports {
                writeln!(text, "{} --seed {}", report.scenario, report.seed)?;
                for line in &report.trace {
                    writeln!(text, "  {line}")?;
                }
            }
            output::print(&text)?;
        }
        output::print(&replaced(args)?)?;
        output::print(&table(&reports, evenkeel_runtime::terminal::is_coloured()))?;
        output::print(&findings(&reports, args)?)?;
    }
    let is_sound = reports.iter().all(|report| report.passed);
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::from(VIOLATIONS) })
}

fn scenarios(args: &SimulateArgs) -> Result<Vec<Scenario>, String> {
    let (mut scenarios, mut problems) = (Vec::new(), Vec::new());
    let instead = Instead { playbooks: other(args.playbooks.as_ref())?, policies: other(args.policies.as_ref())? };
    for file in check::files(&args.paths)? {
        let origin = file.display().to_string();
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{origin}: can't be read: {error}"))?;
        if check::is_for_prometheus(&text) {
            continue;
        }
        let (found, wrong) = evenkeel_scenarios::load_with(&text, &origin, &Disk, &instead);
        scenarios.extend(found);
        problems.extend(wrong);
    }
    problems.sort();
    problems.dedup();
    if !problems.is_empty() {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        return Err(format!("a scenario can't be read\n{}", lines.join("\n")));
    }
    if scenarios.is_empty() {
        return Err("expected a document of kind Simulation, found none".to_owned());
    }
    scenarios.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(scenarios)
}

/// Where other playbooks or policies are, for scenarios in whatever directory.
fn other(path: Option<&PathBuf>) -> Result<Option<String>, String> {
    let Some(path) = path else { return Ok(None) };
    check::files(std::slice::from_ref(path))?;
    let absolute = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Some(absolute.display().to_string()))
}

/// What was not as the scenarios say: whoever reads a table of changed playbooks must not take it for one of the others.
fn replaced(args: &SimulateArgs) -> Result<String> {
    let mut text = String::new();
    for (what, path) in [("Playbooks", &args.playbooks), ("Policies", &args.policies)] {
        if let Some(path) = path {
            writeln!(text, "{what} of {}, not those that the scenarios use.", path.display())?;
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    Ok(text)
}

/// Reports come by scenario and seed.
fn run_all(scenarios: &[Scenario], args: &SimulateArgs) -> Result<Vec<RunReport>> {
    let work: Vec<(&Scenario, u64)> =
        scenarios.iter().flat_map(|scenario| seeds(args).map(move |seed| (scenario, seed))).collect();
    let whole = args.json || args.trace || args.report.is_some();
    in_threads(&work, &progress(work.len()), |(scenario, seed)| {
        let options = RunOptions { seed: *seed, engine_faults: args.engine_faults, ..RunOptions::default() };
        let report = evenkeel_scenarios::run(scenario, options)?;
        Ok(if whole { report } else { short(report) })
    })
}

/// What the table is made of: thousands of whole reports are gigabytes.
fn short(report: RunReport) -> RunReport {
    RunReport {
        signals: Vec::new(),
        proposals: Vec::new(),
        events: Vec::new(),
        health: Vec::new(),
        calls: Vec::new(),
        trace: Vec::new(),
        ..report
    }
}

fn seeds(args: &SimulateArgs) -> std::ops::Range<u64> {
    args.seed..args.seed.saturating_add(args.runs)
}

fn progress(runs: usize) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(u64::try_from(runs).unwrap_or(u64::MAX)), target);
    match ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// One line a scenario; seeds are put together.
fn table(reports: &[RunReport], colour: bool) -> String {
    let mut table = Table::new(&["SCENARIO", "RESULT", "RUNS", "REPAIRED", "TIME TO REPAIR", "ACTIONS", "VIOLATIONS"]);
    let mut by_name: BTreeMap<&str, Vec<&RunReport>> = BTreeMap::new();
    for report in reports {
        by_name.entry(&report.scenario).or_default().push(report);
    }
    for (name, runs) in by_name {
        let broken = runs.iter().filter(|run| run.broken_at.is_some()).count();
        let repaired = runs.iter().filter(|run| run.repaired_at.is_some()).count();
        let (repaired, tone) = match (broken, repaired) {
            (0, _) => ("-".to_owned(), Tone::Faint),
            (broken, repaired) if broken == repaired => ("yes".to_owned(), Tone::Good),
            (_, 0) => ("no".to_owned(), Tone::Plain),
            (broken, repaired) => (format!("{repaired} of {broken}"), Tone::Busy),
        };
        let times: Vec<_> = runs.iter().filter_map(|run| run.time_to_repair()).collect();
        let time = match (times.iter().min(), times.iter().max()) {
            (Some(least), Some(most)) if least == most => span(*least),
            (Some(least), Some(most)) => format!("{} to {}", span(*least), span(*most)),
            _ => "-".to_owned(),
        };
        let violations: usize = runs.iter().map(|run| run.violations.len()).sum();
        let bad = if violations == 0 { Tone::Good } else { Tone::Bad };
        let result = match (runs.iter().filter(|run| !run.passed).count(), runs.len()) {
            (0, _) => "pass".to_owned(),
            (_, 1) => "FAIL".to_owned(),
            (failed, all) => format!("FAIL {failed} of {all}"),
        };
        table.row([
            (name.to_owned(), Tone::Plain),
            (result, bad),
            (runs.len().to_string(), Tone::Faint),
            (repaired, tone),
            (time, Tone::Plain),
            (actions(&runs), Tone::Plain),
            (violations.to_string(), bad),
        ]);
    }
    table.render(colour)
}

/// The actions of the first run that has any, with how often each was done.
fn actions(runs: &[&RunReport]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs {
        for write in run.writes.iter().filter(|write| write.is_effect()) {
            let name = write.action.map_or_else(|| write.verb.clone(), |action| action.to_string());
            *counts.entry(name).or_default() += 1;
        }
        for call in run.remediations.iter().filter(|it| it.action.as_str() == "escalate") {
            *counts.entry(call.action.to_string()).or_default() += 1;
        }
    }
    if counts.is_empty() {
        return "none".to_owned();
    }
    let one = |(name, count): (String, usize)| if count == 1 { name } else { format!("{name} ×{count}") };
    counts.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

fn span(span: chrono::Duration) -> String {
    let seconds = span.num_seconds();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{:02}s", seconds / 60, seconds % 60) }
}

/// What must not be, with the command that shows it again.
fn findings(reports: &[RunReport], args: &SimulateArgs) -> Result<String> {
    let mut text = String::new();
    let mut options = String::new();
    for (option, path) in [("playbooks", &args.playbooks), ("policies", &args.policies)] {
        if let Some(path) = path {
            write!(options, " --{option} {}", path.display())?;
        }
    }
    if args.engine_faults {
        options.push_str(" --engine-faults");
    }
    for report in reports.iter().filter(|report| !report.passed) {
        writeln!(text, "\n{}, seed {}:", report.scenario, report.seed)?;
        for violation in report.violations.iter().take(SHOWN) {
            writeln!(text, "  {violation}")?;
        }
        if report.violations.len() > SHOWN {
            writeln!(text, "  and {} more", report.violations.len() - SHOWN)?;
        }
        writeln!(text, "  again: evenkeel simulate {} --seed {}{options} --trace", report.file, report.seed)?;
    }
    Ok(text)
}

//! `evenkeel simulate`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use evenkeel_scenarios::html::{self, model::RunPage};
use evenkeel_scenarios::{Disk, RunOptions, RunReport, Scenario};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::SimulateArgs;
use crate::output::{self, Table, Tone};
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
        output::print(&table(&reports))?;
        output::print(&findings(&reports)?)?;
    }
    let is_sound = reports.iter().all(|report| report.violations.is_empty());
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::from(VIOLATIONS) })
}

fn scenarios(args: &SimulateArgs) -> Result<Vec<Scenario>, String> {
    let (mut scenarios, mut problems) = (Vec::new(), Vec::new());
    // Beside scenarios lie the rules of the simulated Prometheus.
    let is_scenario = |file: &PathBuf| !file.parent().is_some_and(|directory| directory.ends_with("rules"));
    for file in check::files(&args.paths)?.into_iter().filter(is_scenario) {
        let origin = file.display().to_string();
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{origin}: can't be read: {error}"))?;
        let (found, wrong) = evenkeel_scenarios::load(&text, &origin, &Disk);
        scenarios.extend(found);
        problems.extend(wrong);
    }
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

/// Runs in threads, one runtime each; reports come by scenario and seed.
fn run_all(scenarios: &[Scenario], args: &SimulateArgs) -> Result<Vec<RunReport>> {
    let seeds = seeds(args);
    let work: Vec<(&Scenario, u64)> =
        scenarios.iter().flat_map(|scenario| seeds.clone().map(move |seed| (scenario, seed))).collect();
    let progress = progress(work.len());
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(work.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some((scenario, seed)) = work.get(at) else { return };
                    let options =
                        RunOptions { seed: *seed, engine_faults: args.engine_faults, ..RunOptions::default() };
                    let report = evenkeel_scenarios::run(scenario, options);
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(at, report);
                    progress.inc(1);
                }
            });
        }
    });
    progress.finish_and_clear();
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(done.into_values().collect::<Result<Vec<RunReport>, _>>()?)
}

fn seeds(args: &SimulateArgs) -> std::ops::Range<u64> {
    args.seed..args.seed.saturating_add(args.runs.max(1))
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
fn table(reports: &[RunReport]) -> String {
    let mut table = Table::new(&["SCENARIO", "RUNS", "REPAIRED", "TIME TO REPAIR", "ACTIONS", "VIOLATIONS"]);
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
        table.row([
            (name.to_owned(), Tone::Plain),
            (runs.len().to_string(), Tone::Faint),
            (repaired, tone),
            (time, Tone::Plain),
            (actions(&runs), Tone::Plain),
            (violations.to_string(), bad),
        ]);
    }
    table.render(evenkeel_runtime::terminal::is_coloured())
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
fn findings(reports: &[RunReport]) -> Result<String> {
    let mut text = String::new();
    for report in reports.iter().filter(|report| !report.violations.is_empty()) {
        let faults = if report.engine_faults { " --engine-faults" } else { "" };
        writeln!(text, "\n{}, seed {}:", report.scenario, report.seed)?;
        for violation in report.violations.iter().take(SHOWN) {
            writeln!(text, "  {violation}")?;
        }
        if report.violations.len() > SHOWN {
            writeln!(text, "  and {} more", report.violations.len() - SHOWN)?;
        }
        writeln!(text, "  again: evenkeel simulate {} --seed {}{faults} --trace", report.file, report.seed)?;
    }
    Ok(text)
}

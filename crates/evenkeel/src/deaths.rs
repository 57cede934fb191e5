//! `evenkeel simulate --gateway-deaths`: every call that gateways make for a Remediation, with its caller dying there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use evenkeel_scenarios::Scenario;
use evenkeel_scenarios::deaths::{Death, deaths, die, with_gateways};
use indicatif::ProgressBar;

use crate::output::{self, Table, Tone};
use crate::simulate::VIOLATIONS;
use crate::threads::in_threads;

/// Deaths told of each scenario; more are counted.
const SHOWN: usize = 8;

/// Tries every death in every scenario with every seed, and tells those after which something was wrong.
pub(crate) fn run(
    scenarios: Vec<Scenario>,
    seeds: std::ops::Range<u64>,
    progress: impl Fn(usize) -> ProgressBar,
) -> Result<ExitCode> {
    let scenarios: Vec<Scenario> = scenarios.into_iter().map(with_gateways).collect();
    let runs: Vec<(&Scenario, u64)> =
        scenarios.iter().flat_map(|scenario| seeds.clone().map(move |seed| (scenario, seed))).collect();
    let found = in_threads(&runs, &progress(runs.len()), |(scenario, seed)| {
        Ok(deaths(scenario, *seed)?.into_iter().map(|death| (*scenario, death)).collect::<Vec<_>>())
    })?;
    let tried: Vec<(&Scenario, Death)> = found.into_iter().flatten().collect();
    let ends = in_threads(&tried, &progress(tried.len()), |(scenario, death)| Ok(die(scenario, death)?))?;
    let mut by_name: BTreeMap<&str, (usize, Vec<String>)> = BTreeMap::new();
    for ((scenario, death), wrong) in tried.iter().zip(ends) {
        let (count, told) = by_name.entry(&scenario.name).or_default();
        *count += 1;
        if !wrong.is_empty() {
            let again = format!("again: evenkeel simulate {} --seed {} --gateway-deaths", scenario.file, death.seed);
            told.push(format!("{}:\n    {}\n    {again}", death.what, wrong.join("\n    ")));
        }
    }
    output::print(&told(&by_name)?)?;
    let is_sound = by_name.values().all(|(_, told)| told.is_empty());
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::from(VIOLATIONS) })
}

fn told(by_name: &BTreeMap<&str, (usize, Vec<String>)>) -> Result<String> {
    let mut table = Table::new(&["SCENARIO", "DEATHS", "WITH VIOLATIONS"]);
    for (name, (count, told)) in by_name {
        let tone = if told.is_empty() { Tone::Good } else { Tone::Bad };
        table.row([
            ((*name).to_owned(), Tone::Plain),
            (count.to_string(), Tone::Faint),
            (told.len().to_string(), tone),
        ]);
    }
    let mut text = table.render(evenkeel_runtime::terminal::is_coloured());
    for (name, (_, told)) in by_name.iter().filter(|(_, (_, told))| !told.is_empty()) {
        writeln!(text, "\n{name}:")?;
        for one in told.iter().take(SHOWN) {
            writeln!(text, "  {one}")?;
        }
        if told.len() > SHOWN {
            writeln!(text, "  and {} more", told.len() - SHOWN)?;
        }
    }
    Ok(text)
}

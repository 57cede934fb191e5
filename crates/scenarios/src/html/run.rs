//! The page of a run: a table, then each scenario with its picture and its story.

use std::collections::BTreeSet;

use super::model::{EventKind, RunPage, ScenarioPage};
use super::page::{Cell, Page, Tone, escape};
use super::timeline::{offset, timeline};

/// The page.
pub fn run_page(report: &RunPage) -> String {
    let mut page = Page::new(&report.title);
    let (all, failed) = (report.runs, report.failed);
    let names: BTreeSet<&str> = report.scenarios.iter().map(|it| it.name.as_str()).collect();
    page.figures(&[
        (names.len().to_string(), "scenarios", Tone::Plain),
        (all.to_string(), "runs", Tone::Plain),
        (all.saturating_sub(failed).to_string(), "passed", Tone::Good),
        (failed.to_string(), "failed", if failed > 0 { Tone::Bad } else { Tone::Plain }),
    ]);
    if report.scenarios.len() < all {
        page.paragraph("Shown are the first run of each scenario and the first that failed.");
    }
    let rows: Vec<Vec<Cell>> = report.scenarios.iter().enumerate().map(|(n, it)| row(n, it)).collect();
    let headings = ["Scenario", "Seed", "Result", "Repaired", "Time to repair", "Actions", "Violations"];
    page.table("Runs", &headings, &rows);
    for (n, scenario) in report.scenarios.iter().enumerate() {
        one(&mut page, n, scenario);
    }
    page.finish()
}

fn row(n: usize, scenario: &ScenarioPage) -> Vec<Cell> {
    let (result, tone) = result(scenario);
    let repaired = match scenario.repaired {
        Some(true) => Cell::text("yes").tone(Tone::Good),
        Some(false) => Cell::text("no").tone(Tone::Busy),
        None => Cell::text("nothing to repair").tone(Tone::Faint),
    };
    let time = time_to_repair(scenario);
    let violations = count(scenario.violations.len());
    vec![
        Cell::text(&scenario.name).link(format!("s{n}")),
        Cell { tone: Tone::Faint, ..Cell::number(scenario.seed) },
        Cell::text(result).tone(tone),
        repaired,
        Cell { number: true, ..Cell::text(time.unwrap_or_else(|| "–".to_owned())) },
        Cell::number(count(actions(scenario))),
        Cell { tone: if violations > 0 { Tone::Bad } else { Tone::Faint }, ..Cell::number(violations) },
    ]
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn actions(scenario: &ScenarioPage) -> usize {
    scenario.events.iter().filter(|event| event.kind == EventKind::Action).count()
}

fn result(scenario: &ScenarioPage) -> (&'static str, Tone) {
    if scenario.violations.is_empty() { ("passed", Tone::Good) } else { ("failed", Tone::Bad) }
}

fn time_to_repair(scenario: &ScenarioPage) -> Option<String> {
    let (at, from) = (scenario.repaired_at.filter(|_| scenario.repaired == Some(true))?, scenario.broken_at?);
    Some(offset(at - from))
}

fn one(page: &mut Page, n: usize, scenario: &ScenarioPage) {
    let (result, tone) = result(scenario);
    page.raw(&format!(
        "<h2 id=\"s{n}\">{}<span class=\"state {}\">{result}</span></h2>\n",
        escape(&scenario.name),
        tone.class()
    ));
    if !scenario.summary.is_empty() {
        page.paragraph(&scenario.summary);
    }
    if !scenario.violations.is_empty() {
        page.list(&scenario.violations, Tone::Bad);
    }
    page.raw(&timeline(scenario));
    let rows: Vec<Vec<Cell>> = scenario
        .events
        .iter()
        .map(|event| {
            let tone = if event.kind == EventKind::Fault { Tone::Bad } else { Tone::Plain };
            vec![
                Cell::text(format!("+{}", offset(event.at - scenario.start))),
                Cell::text(word(event.kind)).tone(tone),
                Cell::text(event.object.clone().unwrap_or_default()),
                Cell::text(&event.text),
            ]
        })
        .collect();
    if !rows.is_empty() {
        page.folded(&format!("{} events in words", rows.len()), |page| {
            page.table(&format!("Events of {}", scenario.name), &["After", "What", "Object", ""], &rows);
        });
    }
    if !scenario.repeat.is_empty() {
        page.command(&scenario.repeat);
    }
}

fn word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Change => "change",
        EventKind::Fault => "fault",
        EventKind::Decision => "decision",
        EventKind::Verdict => "verdict",
        EventKind::Action => "action",
        EventKind::Outcome => "outcome",
    }
}

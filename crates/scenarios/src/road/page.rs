//! The report as a page.

use evenkeel_model::Phase;

use super::text::{healed, span};
use super::{OnePlaybook, Road};
use crate::html::{Cell, Page, Tone};

/// The page.
pub fn html(road: &Road) -> String {
    let mut page = Page::new("The road from Audit to Enforce");
    let time = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M").to_string();
    page.paragraph(&format!("{} to {} UTC", time(road.since), time(road.until)));
    let sum = |of: fn(&OnePlaybook) -> u64| road.playbooks.iter().map(of).sum::<u64>();
    let failed = sum(|it| it.ineffective + it.regressed);
    page.figures(&[
        (road.incidents.to_string(), "incidents", Tone::Plain),
        (road.healed_before.count.to_string(), "over before anything was proposed", Tone::Plain),
        (sum(|it| it.would_execute).to_string(), "would have been acted on (Audit)", Tone::Plain),
        (sum(|it| it.healed_alone.count).to_string(), "of these healed alone", Tone::Plain),
        (sum(|it| it.repaired_by_others).to_string(), "of these repaired by others", Tone::Plain),
        (sum(|it| it.succeeded).to_string(), "done, and helped", Tone::Good),
        (failed.to_string(), "done, and did not help or came again", if failed > 0 { Tone::Bad } else { Tone::Plain }),
    ]);
    if !road.playbooks.is_empty() {
        let rows: Vec<Vec<Cell>> = road.playbooks.iter().enumerate().map(|(n, it)| row(n, it)).collect();
        page.table("By playbook", &HEADINGS, &rows);
    }
    without(&mut page, road);
    for (n, one) in road.playbooks.iter().enumerate().filter(|(_, one)| !one.cases.is_empty()) {
        cases(&mut page, n, one);
    }
    page.finish()
}

const HEADINGS: [&str; 12] = [
    "Playbook",
    "Would do",
    "Healed alone",
    "By others",
    "Still ill",
    "Done",
    "Helped",
    "No help",
    "Came again",
    "Denied",
    "Told",
    "Reads",
];

fn row(n: usize, one: &OnePlaybook) -> Vec<Cell> {
    let bad = |number: u64| {
        let cell = Cell::number(number);
        if number > 0 { cell.tone(Tone::Bad) } else { cell }
    };
    let name = Cell::text(&one.name);
    let name = if one.cases.is_empty() { name } else { name.link(format!("p{n}")) };
    let alone = healed(&one.healed_alone);
    vec![
        name,
        Cell::number(one.would_execute),
        if alone.is_empty() { Cell::text("0").tone(Tone::Faint) } else { Cell::text(alone) },
        Cell::number(one.repaired_by_others),
        Cell::number(one.still_ill),
        Cell::number(one.done),
        Cell::number(one.succeeded),
        bad(one.ineffective),
        bad(one.regressed),
        Cell::number(one.denied),
        Cell::number(one.told),
        Cell::text(&one.reads),
    ]
}

fn without(page: &mut Page, road: &Road) {
    page.heading("without", "Signals that no playbook is for");
    if road.without_playbook.is_empty() {
        page.paragraph("None: every signal that came has a playbook of its own.");
    } else {
        let rows: Vec<Vec<Cell>> = road
            .without_playbook
            .iter()
            .map(|it| {
                vec![
                    Cell::text(&it.signal),
                    Cell::number(it.times),
                    Cell::number(it.objects),
                    Cell::text(if it.kinds.is_empty() { "no object".to_owned() } else { it.kinds.join(", ") }),
                    Cell::text(it.last_at.format("%Y-%m-%d %H:%M UTC").to_string()),
                ]
            })
            .collect();
        page.table("The most frequent first", &["Signal", "Times", "Objects", "About", "Last"], &rows);
    }
    page.heading("never", "Playbooks for which no signal came");
    if road.never_matched.is_empty() {
        page.paragraph("None.");
    } else {
        page.list(&road.never_matched, Tone::Plain);
    }
}

fn cases(page: &mut Page, n: usize, one: &OnePlaybook) {
    page.heading(&format!("p{n}"), &one.name);
    let rows: Vec<Vec<Cell>> = one
        .cases
        .iter()
        .map(|case| {
            let tone = match case.phase {
                Some(Phase::Succeeded) => Tone::Good,
                Some(phase) if phase.did_not_help() || phase.needs_acknowledgement() => Tone::Bad,
                Some(phase) if phase.is_final() => Tone::Plain,
                _ => Tone::Busy,
            };
            let phase = case.phase.map_or("not judged yet".to_owned(), |phase| phase.to_string());
            let alone = case.healed_after_seconds.map(|after| format!("healed alone after {}", span(after)));
            let alone = alone.or_else(|| case.repaired_by.as_ref().map(|by| format!("over after {by} had changed it")));
            let alone = alone.or_else(|| case.still_ill.then(|| "still ill".to_owned()));
            vec![
                Cell::text(case.at.format("%Y-%m-%d %H:%M").to_string()),
                Cell::text(&case.title),
                Cell::text(phase).tone(tone),
                Cell::text(alone.unwrap_or_else(|| case.reason.clone())),
                Cell::text(&case.remediation).tone(Tone::Faint),
            ]
        })
        .collect();
    page.table("The newest first", &["Proposed (UTC)", "What", "Phase", "Why", "Remediation"], &rows);
}

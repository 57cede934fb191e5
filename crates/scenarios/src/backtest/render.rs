//! What people read: a page for the terminal, and the same as Markdown for a pull request.

use std::fmt::Write as _;

use evenkeel_model::ActionName;

use super::run::Verdicts;
use super::totals::{ActionTotals, Totals};

/// So many rows are shown to people; JSON has all.
const MAX_ROWS: usize = 40;

/// For a terminal: the same headings, no table markup.
pub fn text(verdicts: &Verdicts) -> String {
    let mut out = String::new();
    for line in header(verdicts) {
        let _ = writeln!(out, "{line}");
    }
    let rows = rows(verdicts);
    for row in &rows.rows {
        let _ = writeln!(out, "\n{}", row.first().map(String::as_str).unwrap_or_default());
        for (heading, cell) in rows.headings.iter().zip(row).skip(1) {
            if !cell.is_empty() {
                let _ = writeln!(out, "  {heading:<7} {cell}");
            }
        }
    }
    if rows.hidden > 0 {
        let _ = writeln!(out, "\n{} more rows: --json has them", rows.hidden);
    }
    let _ = write!(out, "\n{}", figures(verdicts, false));
    let _ = writeln!(out, "\nAssumed:");
    for line in &verdicts.assumptions {
        let _ = writeln!(out, "- {line}");
    }
    out
}

/// For a pull request.
pub fn markdown(verdicts: &Verdicts) -> String {
    let mut out = String::from("### Backtest\n\n");
    for line in header(verdicts) {
        let _ = writeln!(out, "{}  ", escape(&line));
    }
    let rows = rows(verdicts);
    if !rows.rows.is_empty() {
        let _ = writeln!(out, "\n| {} |", rows.headings.join(" | "));
        let _ = writeln!(out, "|{}", "---|".repeat(rows.headings.len()));
        for row in &rows.rows {
            let cells: Vec<String> = row.iter().map(|cell| escape(cell)).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
    }
    if rows.hidden > 0 {
        let _ = writeln!(out, "\n{} more rows: `--json` has them.", rows.hidden);
    }
    let _ = write!(out, "\n{}", figures(verdicts, true));
    let _ = writeln!(out, "\n<details><summary>What was assumed</summary>\n");
    for line in &verdicts.assumptions {
        let _ = writeln!(out, "- {}", escape(line));
    }
    out.push_str("\n</details>\n");
    out
}

/// Names come from alerts: no cell may end its table or become markup.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '#' | '@' => {
                out.push('\\');
                out.push(c);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn header(verdicts: &Verdicts) -> Vec<String> {
    let account = &verdicts.recording;
    let mut lines = Vec::new();
    let format = account.format.map(|format| format!(" ({format})")).unwrap_or_default();
    let during = match (account.from, account.to) {
        (Some(from), Some(to)) => {
            let time = |at: chrono::DateTime<chrono::Utc>| at.format("%Y-%m-%d %H:%M").to_string();
            format!(", {} to {} UTC", time(from), time(to))
        }
        _ => String::new(),
    };
    lines.push(format!("{} signals of {}{format}{during}", grouped(account.signals), account.file));
    if account.bad > 0 {
        lines.push(format!("{} bad lines were left out", grouped(account.bad)));
    }
    if account.late > 0 {
        lines
            .push(format!("{} signals were further out of order than --disorder and came late", grouped(account.late)));
    }
    if verdicts.after.is_none() {
        lines.push(format!("{} incidents", grouped(verdicts.before.incidents)));
        return lines;
    }
    for change in &verdicts.changes {
        lines.push(format!("changed: {change}"));
    }
    if verdicts.changes.is_empty() {
        lines.push("changed: nothing".to_owned());
    }
    lines.push(match verdicts.different {
        0 => format!("no difference: {} incidents come to the same", grouped(verdicts.same)),
        different => {
            let all = different + verdicts.same;
            format!("{} of {} incidents come to something else", grouped(different), grouped(all))
        }
    });
    lines
}

struct Rows {
    headings: &'static [&'static str],
    rows: Vec<Vec<String>>,
    hidden: usize,
}

fn rows(verdicts: &Verdicts) -> Rows {
    let mut all: Vec<Vec<String>> = if verdicts.after.is_some() {
        let differing = verdicts.differing.iter();
        differing
            .map(|row| {
                let class = format!("{} × {}", grouped(row.incidents), row.class);
                vec![class, row.before.clone(), row.after.clone(), row.why.join("; ")]
            })
            .collect()
    } else {
        let came_to = verdicts.came_to.iter();
        came_to
            .map(|row| vec![format!("{} × {}", grouped(row.incidents), row.class), row.to.clone(), row.why.join("; ")])
            .collect()
    };
    let hidden = all.len().saturating_sub(MAX_ROWS);
    all.truncate(MAX_ROWS);
    let headings: &[&str] = if verdicts.after.is_some() {
        &["incidents", "before", "after", "why"]
    } else {
        &["incidents", "come to", "why"]
    };
    Rows { headings, rows: all, hidden }
}

/// One figure of an action.
type Pick = fn(&ActionTotals) -> u64;

/// The figures, both sides beside each other; rows in which nothing is to be seen are left out.
fn figures(verdicts: &Verdicts, is_markdown: bool) -> String {
    let after = verdicts.after.as_ref();
    let mut rows: Vec<(String, u64, Option<u64>)> = Vec::new();
    let mut row = |name: &str, of: &dyn Fn(&Totals) -> u64| {
        rows.push((name.to_owned(), of(&verdicts.before), after.map(of)));
    };
    row("incidents", &|it| it.incidents);
    row("healed before anything was proposed", &|it| it.healed_alone);
    row("only told of", &|it| it.only_told);
    row("acted on", &|it| it.acted_on);
    row("handed to people", &|it| it.escalated);
    row("part of a wave", &|it| it.part_of_wave);
    row("open at the end", &|it| it.still_open);
    let actions: std::collections::BTreeSet<ActionName> =
        verdicts.before.actions.keys().chain(after.iter().flat_map(|it| it.actions.keys())).copied().collect();
    for action in actions {
        let of = |totals: &Totals, pick: Pick| totals.actions.get(&action).map_or(0, pick);
        let picks: [(&str, Pick); 12] = [
            ("proposed", |it| it.proposed),
            ("Allow", |it| it.allowed),
            ("Allow (Audit)", |it| it.audited),
            ("NeedsApproval", |it| it.needs_approval),
            ("Deny", |it| it.denied),
            ("Defer", |it| it.deferred),
            ("expired", |it| it.expired),
            ("carried out", |it| it.acted),
            ("helped (assumed)", |it| it.succeeded),
            ("did not help (assumed)", |it| it.ineffective),
            ("came again (Regressed)", |it| it.regressed),
            ("most in any hour", |it| it.busiest_hour),
        ];
        for (name, pick) in picks {
            row(&format!("{action}: {name}"), &|it| of(it, pick));
        }
    }
    let playbooks: std::collections::BTreeSet<&String> =
        verdicts.before.asked.keys().chain(after.iter().flat_map(|it| it.asked.keys())).collect();
    for playbook in playbooks {
        row(&format!("would ask for {playbook}"), &|it| it.asked.get(playbook).copied().unwrap_or(0));
    }
    rows.retain(|(name, before, after)| name == "incidents" || *before > 0 || after.is_some_and(|after| after > 0));
    let mut out = String::new();
    if is_markdown {
        out.push_str(if after.is_some() { "| | before | after |\n|---|--:|--:|\n" } else { "| | |\n|---|--:|\n" });
    }
    let width = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    if !is_markdown && after.is_some() {
        let _ = writeln!(out, "{:<width$}  {:>10}  {:>10}", "", "before", "after");
    }
    for (name, before, after) in rows {
        let before_text = grouped(before);
        let after_text = after.map(grouped);
        let changed = after.is_some_and(|after| after != before);
        let _ = match (is_markdown, after_text) {
            (true, Some(after)) if changed => writeln!(out, "| {name} | {before_text} | **{after}** |"),
            (true, Some(after)) => writeln!(out, "| {name} | {before_text} | {after} |"),
            (true, None) => writeln!(out, "| {name} | {before_text} |"),
            (false, Some(after)) => {
                let mark = if changed { "  *" } else { "" };
                writeln!(out, "{name:<width$}  {before_text:>10}  {after:>10}{mark}")
            }
            (false, None) => writeln!(out, "{name:<width$}  {before_text:>10}"),
        };
    }
    out
}

/// `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

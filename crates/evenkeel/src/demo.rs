//! `evenkeel demo`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use evenkeel_scenarios::demo::{self, Line, Tone};
use evenkeel_scenarios::{RunOptions, RunReport};

use crate::args::DemoArgs;
use crate::output;

/// Lines are no longer than this, so that any terminal shows them as they are.
const WIDTH: usize = 80;
/// Where the text behind time and speaker begins.
const MARGIN: usize = 17;
/// How long a reader gets for a line, and for each of its words.
const FOR_LINE: Duration = Duration::from_millis(500);
const FOR_WORD: Duration = Duration::from_millis(90);

/// Runs the scenario and tells its story.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode> {
    let scenario = demo::scenario().map_err(|reason| anyhow!(reason))?;
    let report = evenkeel_scenarios::run(&scenario, RunOptions { seed: args.seed, ..RunOptions::default() })?;
    let colour = evenkeel_runtime::terminal::is_coloured();
    let is_slow = !args.fast && std::io::stdout().is_terminal();
    for line in demo::story(&report) {
        output::print(&render(&line, colour))?;
        if is_slow {
            let words = u32::try_from(line.text.split_whitespace().count()).unwrap_or(u32::MAX);
            #[allow(clippy::disallowed_methods, reason = "nothing is waited for: the reader gets time to read")]
            std::thread::sleep(FOR_LINE + FOR_WORD.saturating_mul(words));
        }
    }
    output::print(&ending(&report, colour)?)?;
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ending(report: &RunReport, colour: bool) -> Result<String> {
    let mut out = format!("\n{}\n", paint(Tone::Strong, "How to go on", colour));
    for (what, command) in [
        ("Break it yourself: scenarios are files", "evenkeel simulate simulations"),
        ("Check what you write", "evenkeel check playbooks policies"),
        ("On a cluster, in audit mode, which changes nothing", "evenkeel all --dev --config evenkeel.yaml"),
    ] {
        writeln!(out, "  {what}:\n    {}", paint(Tone::Strong, command, colour))?;
    }
    for violation in &report.violations {
        writeln!(out, "{}", paint(Tone::Bad, &format!("not as expected: {violation}"), colour))?;
    }
    Ok(out)
}

/// A line as it is printed: time, speaker, text; wrapped.
fn render(line: &Line, colour: bool) -> String {
    let mut out = String::new();
    let is_framing = line.who.is_empty();
    if let Some(text) = line.text.strip_prefix('\n') {
        return format!("\n{}\n", paint(line.tone, text, colour));
    }
    let margin = if is_framing { 2 } else { MARGIN };
    for (number, text) in wrap(&line.text, WIDTH - margin).iter().enumerate() {
        let lead = match (line.at, number) {
            (Some(at), 0) => {
                let seconds = at.num_seconds();
                let time = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
                format!("{time:>7} {:<8} ", line.who)
            }
            _ => " ".repeat(margin),
        };
        out.push_str(&paint(Tone::Faint, &lead, colour));
        out.push_str(&paint(line.tone, text, colour));
        out.push('\n');
    }
    out
}

fn paint(tone: Tone, text: &str, colour: bool) -> String {
    let code = match tone {
        Tone::Plain => None,
        Tone::Strong => Some("1"),
        Tone::Faint => Some("2"),
        Tone::Good => Some("32"),
        Tone::Bad => Some("31"),
    };
    match code.filter(|_| colour && !text.trim().is_empty()) {
        Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
        None => text.to_owned(),
    }
}

/// Lines of at most `width` characters; a longer word is broken. Leading spaces are kept on every line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let indent: String = text.chars().take_while(|letter| *letter == ' ').collect();
    let mut lines = Vec::new();
    let mut line = indent.clone();
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        let is_first = line.len() == indent.len();
        if !is_first && line.chars().count() + 1 + rest.len() > width {
            lines.push(std::mem::replace(&mut line, indent.clone()));
        } else if !is_first {
            line.push(' ');
        }
        while line.chars().count() + rest.len() > width {
            let fits = width.saturating_sub(line.chars().count()).max(1);
            let after = rest.split_off(fits.min(rest.len()));
            line.extend(rest);
            lines.push(std::mem::replace(&mut line, indent.clone()));
            rest = after;
        }
        line.extend(rest);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_a_terminal_is_wide() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("  - a-very-long-word", 8), ["  -", "  a-very", "  -long-", "  word"]);
        let line = Line { at: None, who: "changed", tone: Tone::Plain, text: "word ".repeat(60) + &"x".repeat(200) };
        assert!(render(&line, false).lines().all(|line| line.chars().count() <= WIDTH));
    }
}

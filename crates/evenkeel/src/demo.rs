//! `evenkeel demo`.
//!
//! The scenario is run up to the question that its viewer is asked, and told; then with their answer. The same seed makes
//! the same course up to there, which is made sure of. Time is the scenario's: it stands still while they think.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use evenkeel_model::ApprovalDecision;
use evenkeel_scenarios::demo::{self, Line, Tone};
use evenkeel_scenarios::{RemediationSeen, RunOptions, RunReport};

use crate::args::DemoArgs;
use crate::output;

/// Lines are no longer than this, so that any terminal shows them as they are.
const WIDTH: usize = 80;
/// Where the text behind time and speaker begins.
const MARGIN: usize = 17;
/// How long a reader gets for a line, and for each of its words.
const FOR_LINE: Duration = Duration::from_millis(400);
const FOR_WORD: Duration = Duration::from_millis(70);

/// Runs the scenario and tells its story.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode> {
    let demo = demo::demo().map_err(|reason| anyhow!(reason))?;
    let options = RunOptions { seed: args.seed, ..RunOptions::default() };
    let colour = evenkeel_runtime::terminal::is_coloured();
    let teller = Teller { colour, is_slow: !args.fast && std::io::stdout().is_terminal() };

    let begun = evenkeel_scenarios::run(&demo.to_the_question(), options)?;
    let (told, answer) = match demo.question(&begun) {
        Some((asked, told)) => {
            teller.tell(&told)?;
            let answer = ask(asked, args.yes, colour)?;
            (told, answer)
        }
        // By this seed it came otherwise; the end says what was not as expected.
        None => (Vec::new(), ApprovalDecision::Approve),
    };
    let report = evenkeel_scenarios::run(demo.whole(answer), options)?;
    let story = demo::story(&report);
    let rest = story.strip_prefix(told.as_slice()).context(
        "expected the same course up to the question in both runs of one seed, found another: please report this",
    )?;
    teller.tell(rest)?;
    output::print(&ending(&report, colour)?)?;
    Ok(if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints lines, as fast as they are to be read.
struct Teller {
    colour: bool,
    is_slow: bool,
}

impl Teller {
    fn tell(&self, lines: &[Line]) -> Result<()> {
        for line in lines {
            output::print(&render(line, self.colour))?;
            if self.is_slow {
                #[allow(clippy::disallowed_methods, reason = "nothing is waited for: the reader gets time to read")]
                std::thread::sleep(time_for(line));
            }
        }
        Ok(())
    }
}

/// How long a reader gets for a line.
fn time_for(line: &Line) -> Duration {
    let words = u32::try_from(line.text.split_whitespace().count()).unwrap_or(u32::MAX);
    FOR_LINE + FOR_WORD.saturating_mul(words)
}

/// The viewer's answer; yes where they can't be asked, or said so beforehand.
fn ask(asked: &RemediationSeen, yes: bool, colour: bool) -> Result<ApprovalDecision> {
    let question = format!("Do you approve of {} {}? [y/n]", asked.action, asked.target);
    let paint = |text: &str| paint(Tone::Strong, text, colour);
    let lead = " ".repeat(2);
    let assumed = match (yes, std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        (true, _) => Some("yes (--yes)"),
        (false, false) => Some("yes (nobody can be asked: this is no terminal)"),
        (false, true) => None,
    };
    if let Some(assumed) = assumed {
        for line in wrap(&format!("{lead}{question} {assumed}"), WIDTH) {
            output::print(&format!("{}\n", paint(&line)))?;
        }
        return Ok(ApprovalDecision::Approve);
    }
    loop {
        output::print(&format!("{lead}{} ", paint(&question)))?;
        let mut said = String::new();
        let read = std::io::stdin().lock().read_line(&mut said).context("reading the answer")?;
        match answer(&said) {
            Some(answer) => return Ok(answer),
            // Nothing more will be said, and nothing that was not approved is done.
            None if read == 0 => {
                output::print("\n")?;
                return Ok(ApprovalDecision::Deny);
            }
            None => {}
        }
    }
}

/// What somebody means.
fn answer(said: &str) -> Option<ApprovalDecision> {
    match said.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(ApprovalDecision::Approve),
        "n" | "no" => Some(ApprovalDecision::Deny),
        _ => None,
    }
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
        for line in wrap(&format!("not as expected: {violation}"), WIDTH) {
            writeln!(out, "{}", paint(Tone::Bad, &line, colour))?;
        }
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
    fn an_answer_is_yes_or_no_and_nothing_else() {
        for said in ["y\n", "Yes\n", " y "] {
            assert_eq!(answer(said), Some(ApprovalDecision::Approve), "{said:?}");
        }
        for said in ["n\n", "NO\n"] {
            assert_eq!(answer(said), Some(ApprovalDecision::Deny), "{said:?}");
        }
        for said in ["", "\n", "maybe\n", "yn\n"] {
            assert_eq!(answer(said), None, "{said:?}");
        }
    }

    #[test]
    fn the_whole_story_is_told_in_three_minutes_and_fits_a_terminal() {
        let demo = demo::demo().unwrap();
        for answer in [ApprovalDecision::Approve, ApprovalDecision::Deny] {
            let report = evenkeel_scenarios::run(demo.whole(answer), RunOptions::default()).unwrap();
            let story = demo::story(&report);
            let long: Duration = story.iter().map(time_for).sum();
            assert!(long < Duration::from_secs(180), "{long:?}");
            let text: String = story.iter().map(|line| render(line, false)).collect();
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            assert!(!text.contains('\x1b'), "without colours there is no escape");
        }
    }

    #[test]
    fn no_line_is_longer_than_a_terminal_is_wide() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("  - a-very-long-word", 8), ["  -", "  a-very", "  -long-", "  word"]);
        let line = Line { at: None, who: "changed", tone: Tone::Plain, text: "word ".repeat(60) + &"x".repeat(200) };
        assert!(render(&line, false).lines().all(|line| line.chars().count() <= WIDTH));
    }
}

//! Tells what happens, as it happens: a line a step, with the seconds since the beginning.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::{env, ui, wait};

/// Lines are no longer than this, so that any terminal shows them as they are.
const WIDTH: usize = 80;
/// Where the text of a step begins: behind the seconds.
const MARGIN: usize = 9;
/// Where the text of an event begins: behind the seconds and who it is about.
const EVENT_MARGIN: usize = MARGIN + 10;

/// How something is shown where colours are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Busy,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Faint => Some("2"),
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Busy => Some("33"),
        }
    }
}

/// What is told about one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// When it happened.
    pub(super) at: DateTime<Utc>,
    /// Who speaks, or what it is about: one word.
    pub(super) who: &'static str,
    pub(super) tone: Tone,
    pub(super) text: String,
    /// Lines below it.
    pub(super) more: Vec<(Tone, String)>,
}

#[derive(Debug)]
pub(super) struct Narrator {
    start: Instant,
    begun: DateTime<Utc>,
    colour: bool,
    /// What is being done, for when it fails.
    doing: String,
}

impl Narrator {
    pub(super) fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && !env::no_color();
        Self { start: wait::now(), begun: wait::wall(), colour, doing: "getting ready".to_owned() }
    }

    /// What is being done.
    pub(super) fn doing(&self) -> &str {
        &self.doing
    }

    /// From now on this is done.
    pub(super) fn now_doing(&mut self, what: &str) {
        what.clone_into(&mut self.doing);
    }

    /// Does something and tells it in a line, which `act` gives along with what it made.
    pub(super) fn step<T>(&mut self, what: &str, act: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        self.now_doing(what);
        let spinner = (std::io::stdout().is_terminal() && std::io::stderr().is_terminal())
            .then(|| ui::Progress::start(format_args!("        {what}")));
        let done = act();
        // Takes its line off the terminal.
        drop(spinner);
        let (value, line) = done?;
        self.tell(&line);
        Ok(value)
    }

    /// A line about what has just been done.
    pub(super) fn tell(&self, text: &str) {
        self.lines(&self.seconds(self.start.elapsed()), MARGIN, Tone::Plain, text);
    }

    /// An event, at its own time.
    pub(super) fn event(&self, event: &Event) {
        let since = (event.at - self.begun).to_std().unwrap_or_default();
        let lead = format!("{}  {}", self.seconds(since), self.paint(Tone::Strong, &format!("{:<8}", event.who)));
        self.lines(&lead, EVENT_MARGIN, event.tone, &event.text);
        for (tone, text) in &event.more {
            self.lines(&" ".repeat(EVENT_MARGIN - 2), EVENT_MARGIN, *tone, text);
        }
    }

    /// The beginning of a part.
    pub(super) fn heading(&self, text: &str) {
        ui::result("");
        ui::result(self.paint(Tone::Strong, text));
    }

    /// A paragraph without a time.
    pub(super) fn paragraph(&self, tone: Tone, text: &str) {
        for line in wrap(text, WIDTH - 2) {
            ui::result(format_args!("  {}", self.paint(tone, &line)));
        }
    }

    /// A command to copy, whole.
    pub(super) fn command(&self, text: &str) {
        ui::result(format_args!("    {}", self.paint(Tone::Strong, text)));
    }

    fn lines(&self, lead: &str, margin: usize, tone: Tone, text: &str) {
        for (number, line) in wrap(text, WIDTH - margin).iter().enumerate() {
            let line = self.paint(tone, line);
            if number == 0 {
                ui::result(format_args!("{lead}  {line}"));
            } else {
                ui::result(format_args!("{}{line}", " ".repeat(margin)));
            }
        }
    }

    fn seconds(&self, since: Duration) -> String {
        self.paint(Tone::Faint, &format!("{:>5.1} s", since.as_secs_f64()))
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        match tone.code().filter(|_| self.colour && !text.is_empty()) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }
}

/// Lines of at most `width` characters; a longer word stays whole. Leading spaces are kept on every line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let indent: String = text.chars().take_while(|c| *c == ' ').collect();
    let mut lines = Vec::new();
    let mut line = indent.clone();
    for word in text.split_whitespace() {
        let is_first = line.len() == indent.len();
        if !is_first && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::replace(&mut line, indent.clone()));
        } else if !is_first {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("  - a-long-word b", 6), ["  -", "  a-long-word", "  b"]);
        assert_eq!(wrap("", 7), [""]);
        assert_eq!(wrap("→ → →", 3), ["→ →", "→"]);
    }
}

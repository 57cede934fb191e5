//! What people and programs read on stdout.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::args::Format;

/// Writes to stdout. A reader that went away (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
    }
}

/// Writes a line to stderr.
pub(crate) fn warn(text: &str) {
    // Nothing is left to be told when stderr is gone.
    let _ = writeln!(std::io::stderr(), "evenkeel: {text}");
}

/// Asks something at the terminal; stdout may lead elsewhere.
pub(crate) fn ask(question: &str) -> Result<()> {
    let mut err = std::io::stderr().lock();
    err.write_all(question.as_bytes()).and_then(|()| err.flush()).context("asking at the terminal")
}

/// What was tried and its causes, each said once: many libraries repeat their cause in their own message.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// Objects in the format asked for; `table` shows them to people.
pub(crate) fn render(format: Format, items: &[Value], table: impl FnOnce() -> String) -> Result<String> {
    Ok(match format {
        Format::Table => table(),
        Format::Json => serde_json::to_string_pretty(items)? + "\n",
        Format::Jsonl => {
            let mut lines = String::new();
            for item in items {
                writeln!(lines, "{item}")?;
            }
            lines
        }
        Format::Yaml => serde_saphyr::to_string(&items)?,
    })
}

/// Objects as YAML documents, keys sorted.
pub(crate) fn documents<T: serde::Serialize>(objects: &[T]) -> Result<String> {
    let mut out = String::new();
    for object in objects {
        out.push_str("---\n");
        // Through a Value, so that the order of keys does not depend on the type's.
        out.push_str(&serde_saphyr::to_string(&serde_json::to_value(object)?)?);
    }
    Ok(out)
}

/// How a cell is shown where colours are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Bad,
    Busy,
    Faint,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Busy => Some("33"),
            Self::Faint => Some("2"),
        }
    }

    /// The text in this tone.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        match self.code().filter(|_| colour && !text.is_empty()) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }
}

/// Rows of cells under headings.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<(String, Tone)>>,
}

/// Longer cells are cut.
const MAX_CELL: usize = 100;

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        self.rows.push(cells.into_iter().map(|(text, tone)| (cell(&text), tone)).collect());
    }

    /// Aligned columns, two spaces between them.
    pub(crate) fn render(&self, colour: bool) -> String {
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| width(text));
            cells.chain(self.headings.get(column).map(|heading| width(heading))).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width_of).collect();
        let mut out = String::new();
        let headings = self.headings.iter().map(|heading| ((*heading).to_owned(), Tone::Faint)).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for (i, ((text, tone), most)) in row.iter().zip(&widths).enumerate() {
                line.push_str(&tone.paint(text, colour));
                if i + 1 < row.len() {
                    line.push_str(&" ".repeat(most.saturating_sub(width(text)) + 2));
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// One line, cut where it is too long; `-` where there is nothing.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return "-".to_owned();
    }
    if width(&line) <= MAX_CELL {
        return line;
    }
    let cut: String = line.chars().take(MAX_CELL - 1).collect();
    format!("{}…", cut.trim_end())
}

/// A length of time as people say it, in at most two units: `7m`, `2h05m`, `3d4h`.
pub(crate) fn span(length: chrono::Duration) -> String {
    let seconds = length.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..600 => match seconds % 60 {
            0 => format!("{minutes}m"),
            rest => format!("{minutes}m{rest:02}s"),
        },
        600..3_600 => format!("{minutes}m"),
        3_600..86_400 => match minutes {
            0 => format!("{hours}h"),
            _ => format!("{hours}h{minutes:02}m"),
        },
        _ => match hours {
            0 => format!("{days}d"),
            _ => format!("{days}d{hours}h"),
        },
    }
}

/// A length of time with tenths of a second below a minute: `0.3s`.
pub(crate) fn fine_span(length: chrono::Duration) -> String {
    let tenths = length.num_milliseconds().max(0) / 100;
    if tenths >= 600 || tenths % 10 == 0 { span(length) } else { format!("{}.{}s", tenths / 10, tenths % 10) }
}

/// Text in lines of at most `most` characters, broken between words.
pub(crate) fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && width(&line) + 1 + width(word) > most {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// How long ago: `7m`.
pub(crate) fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    span(now - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_short() {
        let shown = |seconds| span(chrono::Duration::seconds(seconds));
        let all: Vec<String> =
            [-5, 0, 59, 60, 125, 600, 3599, 3600, 7500, 86_400, 100_000].into_iter().map(shown).collect();
        assert_eq!(all, ["0s", "0s", "59s", "1m", "2m05s", "10m", "59m", "1h", "2h05m", "1d", "1d3h"]);
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::anyhow!("no such file").context("a.yaml: can't be read: no such file").context("starting");
        assert_eq!(causes(&error), "starting: a.yaml: can't be read: no such file");
    }

    #[test]
    fn short_offsets_have_tenths() {
        let shown = |ms| fine_span(chrono::Duration::milliseconds(ms));
        assert_eq!([0, 49, 300, 1000, 12_340, 60_500].map(shown), ["0s", "0s", "0.3s", "1s", "12.3s", "1m"]);
    }

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrap("a bb ccc dddd", 5), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrap("averylongword b", 5), ["averylongword", "b"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn columns_are_aligned_with_and_without_colours() {
        let mut table = Table::new(&["NAME", "PHASE", "WHY"]);
        table.row([("r-1".into(), Tone::Plain), ("Succeeded".into(), Tone::Good), ("a\n b".into(), Tone::Plain)]);
        table.row([("r-22".into(), Tone::Plain), (String::new(), Tone::Bad), ("x".repeat(200), Tone::Plain)]);
        let plain = table.render(false);
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(lines[0], "NAME  PHASE      WHY");
        assert_eq!(lines[1], "r-1   Succeeded  a b");
        assert!(lines[2].starts_with("r-22  -          xxx") && lines[2].ends_with("x…"));
        assert!(table.render(true).contains("\x1b[32mSucceeded\x1b[0m  a b"));
    }

    #[test]
    fn objects_are_written_in_each_format() {
        let items = [serde_json::json!({"a": 1}), serde_json::json!({"a": "x: y"})];
        let shown = |format| render(format, &items, || "table".to_owned()).unwrap();
        assert_eq!(shown(Format::Table), "table");
        assert_eq!(shown(Format::Jsonl), "{\"a\":1}\n{\"a\":\"x: y\"}\n");
        assert_eq!(serde_json::from_str::<Vec<Value>>(&shown(Format::Json)).unwrap(), items);
        assert_eq!(serde_saphyr::from_str::<Vec<Value>>(&shown(Format::Yaml)).unwrap(), items);
    }
}

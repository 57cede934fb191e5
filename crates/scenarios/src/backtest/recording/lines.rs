//! Formats with a record a line: read one at a time, a bad one leaves the others.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, Read};

use chrono::{DateTime, Utc};
use evenkeel_model::{Signal, SignalState, Source};
use evenkeel_observer::{RecordedAlert, RecordedAlerts};
use serde::Deserialize;

use super::{BadLine, Format};

/// Longer lines are bad ones.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// What Alertmanager posts, as far as it is needed.
#[derive(Deserialize)]
struct Payload {
    version: String,
    alerts: Vec<Posted>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    status: Status,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: DateTime<Utc>,
    #[serde(default)]
    ends_at: Option<DateTime<Utc>>,
    #[serde(default)]
    fingerprint: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

/// The lines of a file.
pub(super) struct Lines<'a> {
    file: String,
    reader: Box<dyn BufRead + 'a>,
    /// Lines that were looked at already.
    looked_at: VecDeque<Vec<u8>>,
    line: Vec<u8>,
    number: u64,
    format: Format,
}

/// What a line was.
pub(super) enum Next {
    Taken,
    Bad(BadLine),
    End,
}

impl<'a> Lines<'a> {
    pub(super) fn new(file: &str, reader: Box<dyn BufRead + 'a>) -> Self {
        Self {
            file: file.to_owned(),
            reader,
            looked_at: VecDeque::new(),
            line: Vec::new(),
            number: 0,
            format: Format::Signals,
        }
    }

    /// Looks at the first lines for one that tells the format. `None` where none is a record by itself.
    pub(super) fn look(&mut self, most: usize) -> io::Result<Option<Format>> {
        for _ in 0..most {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let format = format_of(&line);
            self.looked_at.push_back(line);
            if let Some(format) = format {
                self.format = format;
                return Ok(Some(format));
            }
        }
        Ok(None)
    }

    /// Everything, with what was looked at before it.
    pub(super) fn into_rest(self) -> Box<dyn Read + 'a> {
        let looked_at: Vec<u8> = self.looked_at.into_iter().flatten().collect();
        Box::new(io::Cursor::new(looked_at).chain(self.reader))
    }

    /// Takes the next line's signals.
    pub(super) fn next(&mut self, alerts: &RecordedAlerts, into: &mut VecDeque<Signal>) -> io::Result<Next> {
        if !self.read()? {
            return Ok(Next::End);
        }
        self.number += 1;
        let line = self.line.trim_ascii();
        if line.is_empty() {
            return Ok(Next::Taken);
        }
        let taken = match self.format {
            Format::AlertmanagerWebhooks => webhook(line, alerts, into),
            _ => {
                serde_json::from_slice::<Signal>(line).map(|signal| into.push_back(signal)).map_err(|it| it.to_string())
            }
        };
        Ok(match taken {
            Ok(()) => Next::Taken,
            Err(found) => Next::Bad(BadLine {
                file: self.file.clone(),
                line: self.number,
                expected: match self.format {
                    Format::AlertmanagerWebhooks => "a payload as Alertmanager posts it (version 4)",
                    _ => "a signal as `evenkeel get signals -o jsonl` writes it",
                },
                found: describe(line, &found),
            }),
        })
    }

    fn read(&mut self) -> io::Result<bool> {
        if let Some(line) = self.looked_at.pop_front() {
            self.line = line;
            return Ok(true);
        }
        self.line.clear();
        let read = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line)?;
        if u64::try_from(read).is_ok_and(|read| read == MAX_LINE) && self.line.last() != Some(&b'\n') {
            // It is bad as it stands; what is left of it must not be taken for a line of its own.
            self.skip_line()?;
        }
        Ok(read > 0)
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// The error in words, with where in the line; and the line's beginning when it is no JSON at all.
fn describe(line: &[u8], error: &str) -> String {
    let error = error.replace(" at line 1 column ", " at column ");
    if matches!(line.first(), Some(b'{' | b'[')) {
        return error;
    }
    let text: String = String::from_utf8_lossy(line).chars().take(40).collect();
    format!("{text:?}")
}

fn format_of(line: &[u8]) -> Option<Format> {
    if serde_json::from_slice::<Signal>(line).is_ok() {
        return Some(Format::Signals);
    }
    serde_json::from_slice::<Payload>(line).is_ok().then_some(Format::AlertmanagerWebhooks)
}

fn webhook(line: &[u8], alerts: &RecordedAlerts, into: &mut VecDeque<Signal>) -> Result<(), String> {
    let payload: Payload = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if payload.version != "4" {
        return Err(format!("version {:?}", payload.version));
    }
    for posted in &payload.alerts {
        let (state, ends_at) = match posted.status {
            // Of a firing alert it is when it would end by itself.
            Status::Firing => (SignalState::Firing, None),
            Status::Resolved => (SignalState::Resolved, posted.ends_at),
        };
        let recorded = RecordedAlert {
            state,
            labels: &posted.labels,
            annotations: &posted.annotations,
            starts_at: posted.starts_at,
            ends_at,
            fingerprint: posted.fingerprint.as_deref().filter(|given| !given.is_empty()),
        };
        into.extend(alerts.signal(&recorded, Source::Alertmanager));
    }
    Ok(())
}

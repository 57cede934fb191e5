//! Recorded signals, in order of time, from whatever they were recorded as.

mod document;
mod lines;
mod order;
mod roots;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};

use chrono::{DateTime, Utc};
use evenkeel_model::{Signal, Span};
use evenkeel_observer::RecordedAlerts;
use evenkeel_planner::{Arrival, incident_key};
use serde::Serialize;

use lines::Lines;
use order::InOrder;

/// So many bad lines are kept with their words; more are counted.
const MAX_TOLD: usize = 100;
/// So many lines are looked at to tell what the file is.
const LOOK_AT: usize = 64;
/// How much is read at once.
const BUFFER: usize = 256 * 1024;

/// What a recording is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// `evenkeel get signals -o jsonl`: a signal a line.
    Signals,
    /// What Alertmanager posts to webhooks, a payload a line.
    AlertmanagerWebhooks,
    /// One document: alerts as Alertmanager's `/api/v2/alerts` lists them, signals as
    /// `evenkeel get signals -o json` writes them, or series of Prometheus.
    Alerts,
    /// Prometheus' answer to a range query for `ALERTS`.
    PrometheusRange,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Signals => "signals, one a line",
            Self::AlertmanagerWebhooks => "Alertmanager webhook payloads, one a line",
            Self::Alerts => "alerts as Alertmanager lists them",
            Self::PrometheusRange => "a range query for ALERTS from Prometheus",
        })
    }
}

/// One signal at its time.
#[derive(Debug)]
pub struct Recorded {
    /// When it was seen.
    pub(crate) at: DateTime<Utc>,
    /// The key of its incident.
    pub(crate) key: String,
    /// It.
    pub(crate) arrival: Arrival,
}

impl Recorded {
    /// A signal at the time it was observed.
    pub fn new(signal: Signal) -> Self {
        Self { at: signal.observed_at, key: incident_key(&signal), arrival: Arrival { signal, traceparent: None } }
    }
}

/// A line that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{file}:{line}: expected {expected}, found {found}")]
#[serde(rename_all = "camelCase")]
pub struct BadLine {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What belongs there.
    pub expected: &'static str,
    /// What is there.
    pub found: String,
}

/// A recording that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file can't be read.
    #[error("{file}: can't be read: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing in it tells what it is.
    #[error(
        "{file}: expected signals (evenkeel get signals -o jsonl), Alertmanager webhook payloads a line, alerts of \
         Alertmanager's /api/v2/alerts, or a range query for ALERTS from Prometheus; {found}"
    )]
    Unknown {
        /// The file.
        file: String,
        /// What is there instead.
        found: String,
    },
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The file.
    pub file: String,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Signals.
    pub signals: u64,
    /// The first signal's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// The last signal's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    /// Signals that came too late to be put in order.
    pub late: u64,
    /// Pods whose workload was taken from their name.
    pub roots_guessed: u64,
    /// Bad lines.
    pub bad: u64,
    /// The first of them.
    pub bad_lines: Vec<BadLine>,
}

impl Account {
    fn bad(&mut self, line: BadLine) {
        self.bad += 1;
        if self.bad_lines.len() < MAX_TOLD {
            self.bad_lines.push(line);
        }
    }
}

/// A recording being read.
pub struct Recording<'a> {
    alerts: &'a RecordedAlerts,
    rest: Rest<'a>,
    ready: VecDeque<Signal>,
    order: InOrder,
    account: Account,
}

enum Rest<'a> {
    Lines(Box<Lines<'a>>),
    Document(std::vec::IntoIter<Signal>),
}

impl<'a> Recording<'a> {
    /// Opens a recording, gzip or plain. Signals may be out of order by as much as `disorder`.
    ///
    /// # Errors
    /// [`RecordingError`] when it can't be read or is none of the formats.
    pub fn open(
        file: &str,
        bytes: impl Read + 'a,
        disorder: Span,
        alerts: &'a RecordedAlerts,
    ) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Read { file: file.to_owned(), source };
        let mut reader = BufReader::with_capacity(BUFFER, Box::new(bytes) as Box<dyn Read + 'a>);
        let is_gzip = reader.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead + 'a> = if is_gzip {
            Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(reader)))
        } else {
            Box::new(reader)
        };
        let mut account = Account { file: file.to_owned(), ..Account::default() };
        let mut lines = Lines::new(file, reader);
        let format = lines.look(LOOK_AT).map_err(failed)?;
        let rest = match format {
            Some(format) => {
                account.format = Some(format);
                Rest::Lines(Box::new(lines))
            }
            None => {
                let document = document::read(file, lines.into_rest(), alerts)?;
                account.format = Some(document.format);
                Rest::Document(document.signals.into_iter())
            }
        };
        Ok(Self { alerts, rest, ready: VecDeque::new(), order: InOrder::new(disorder), account })
    }

    /// The next signals in order of time, at most about so many; none at the end.
    ///
    /// # Errors
    /// [`RecordingError::Read`].
    pub fn next_batch(&mut self, most: usize) -> Result<Vec<Recorded>, RecordingError> {
        let mut batch = Vec::with_capacity(most);
        while batch.len() < most {
            let Some(signal) = self.next_signal()? else {
                batch.extend(self.order.rest());
                break;
            };
            let signal = self.place(signal);
            self.account.signals += 1;
            self.account.from = Some(self.account.from.map_or(signal.observed_at, |from| from.min(signal.observed_at)));
            self.account.to = self.account.to.max(Some(signal.observed_at));
            if self.order.push(Recorded::new(signal)) {
                self.account.late += 1;
            }
            batch.extend(self.order.ready());
        }
        Ok(batch)
    }

    /// What was read so far.
    pub fn account(&self) -> &Account {
        &self.account
    }

    fn next_signal(&mut self) -> Result<Option<Signal>, RecordingError> {
        loop {
            if let Some(signal) = self.ready.pop_front() {
                return Ok(Some(signal));
            }
            match &mut self.rest {
                Rest::Document(signals) => return Ok(signals.next()),
                Rest::Lines(lines) => {
                    let next = lines.next(self.alerts, &mut self.ready);
                    match next.map_err(|source| RecordingError::Read { file: self.account.file.clone(), source })? {
                        lines::Next::Taken => {}
                        lines::Next::Bad(bad) => self.account.bad(bad),
                        lines::Next::End => return Ok(None),
                    }
                }
            }
        }
    }

    /// An alert's pod comes without its owner.
    fn place(&mut self, mut signal: Signal) -> Signal {
        if signal.root.is_none()
            && let Some(root) = signal.target.as_ref().and_then(roots::of_pod)
        {
            self.account.roots_guessed += 1;
            signal.root = Some(root);
        }
        signal
    }
}

#[cfg(test)]
mod tests;

//! Formats that are one document: read as a whole.

use std::collections::BTreeMap;
use std::io::Read;

use chrono::{DateTime, Utc};
use evenkeel_model::{Signal, SignalState, Source};
use evenkeel_observer::{RecordedAlert, RecordedAlerts};
use serde::Deserialize;

use super::{Format, RecordingError};

type Labels = BTreeMap<String, String>;

/// What a document held.
pub(super) struct Document {
    pub(super) format: Format,
    pub(super) signals: Vec<Signal>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    List(Vec<Item>),
    Answer(Answer),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Signal(Box<Signal>),
    Listed(Listed),
    Series(Series),
}

/// An alert of `/api/v2/alerts`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    labels: Labels,
    #[serde(default)]
    annotations: Labels,
    starts_at: DateTime<Utc>,
    #[serde(default)]
    ends_at: Option<DateTime<Utc>>,
    #[serde(default)]
    fingerprint: Option<String>,
}

/// What `/api/v1/query_range` answers.
#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: Labels,
    values: Vec<(f64, String)>,
}

/// Reads JSON documents, one after the other.
pub(super) fn read(file: &str, bytes: Box<dyn Read + '_>, alerts: &RecordedAlerts) -> Result<Document, RecordingError> {
    let unknown = |found: String| RecordingError::Unknown { file: file.to_owned(), found };
    let mut listed: BTreeMap<(Labels, DateTime<Utc>), Listed> = BTreeMap::new();
    let mut series = Vec::new();
    let mut signals = Vec::new();
    let documents = serde_json::Deserializer::from_reader(bytes).into_iter::<Value>();
    for value in documents {
        let value = value.map_err(|error| match error.io_error_kind() {
            Some(kind) => RecordingError::Read { file: file.to_owned(), source: kind.into() },
            None => unknown(format!("found {error}")),
        })?;
        match value {
            Value::Answer(answer) => series.extend(answer.data.result),
            Value::List(items) => {
                for item in items {
                    match item {
                        Item::Signal(signal) => signals.push(*signal),
                        Item::Series(one) => series.push(one),
                        Item::Listed(alert) => {
                            // Listed again later: it went on.
                            let key = (alert.labels.clone(), alert.starts_at);
                            let ends_at = alert.ends_at;
                            let known = listed.entry(key).or_insert(alert);
                            known.ends_at = known.ends_at.max(ends_at);
                        }
                    }
                }
            }
        }
    }
    let format = if !series.is_empty() {
        Format::PrometheusRange
    } else if signals.is_empty() {
        Format::Alerts
    } else {
        Format::Signals
    };
    signals.extend(listed.into_values().flat_map(|alert| of_listed(&alert, alerts)));
    signals.extend(of_series(&series, alerts));
    if signals.is_empty() {
        return Err(unknown("found none of these".to_owned()));
    }
    signals.sort_by(|a, b| (a.observed_at, &a.id).cmp(&(b.observed_at, &b.id)));
    Ok(Document { format, signals })
}

fn of_listed(alert: &Listed, alerts: &RecordedAlerts) -> Vec<Signal> {
    let of = |state, ends_at| {
        let recorded = RecordedAlert {
            state,
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: alert.starts_at,
            ends_at,
            fingerprint: alert.fingerprint.as_deref(),
        };
        alerts.signal(&recorded, Source::Alertmanager)
    };
    // While it fires, Alertmanager says when it would end unless Prometheus repeated it.
    let end = alert.ends_at.filter(|end| *end > alert.starts_at).and_then(|end| of(SignalState::Resolved, Some(end)));
    of(SignalState::Firing, None).into_iter().chain(end).collect()
}

/// Firing from the first sample of an unbroken row to a step after its last.
fn of_series(series: &[Series], alerts: &RecordedAlerts) -> Vec<Signal> {
    let step = series
        .iter()
        .flat_map(|one| one.values.iter().zip(one.values.iter().skip(1)).map(|(a, b)| b.0 - a.0))
        .filter(|gap| *gap > 0.0)
        .fold(f64::INFINITY, f64::min);
    let step = if step.is_finite() { step } else { 60.0 };
    let last = series.iter().flat_map(|one| one.values.last()).map(|(at, _)| *at).fold(f64::NEG_INFINITY, f64::max);
    let mut signals = Vec::new();
    for one in series {
        let is = |name: &str, value: &str| one.metric.get(name).is_none_or(|found| found == value);
        if !is("__name__", "ALERTS") || !is("alertstate", "firing") {
            continue;
        }
        let mut labels = one.metric.clone();
        labels.remove("__name__");
        labels.remove("alertstate");
        let mut rows: Vec<(f64, f64)> = Vec::new();
        for (at, _) in &one.values {
            match rows.last_mut() {
                Some(row) if at - row.1 <= step * 1.5 => row.1 = *at,
                _ => rows.push((*at, *at)),
            }
        }
        for (from, to) in rows {
            let Some(starts_at) = time(from) else { continue };
            let of = |state, ends_at| {
                let annotations = &Labels::new();
                let recorded =
                    RecordedAlert { state, labels: &labels, annotations, starts_at, ends_at, fingerprint: None };
                alerts.signal(&recorded, Source::Prometheus)
            };
            signals.extend(of(SignalState::Firing, None));
            // What fires at the export's end has not ended.
            if to + step <= last {
                signals.extend(time(to + step).and_then(|end| of(SignalState::Resolved, Some(end))));
            }
        }
    }
    signals
}

fn time(seconds: f64) -> Option<DateTime<Utc>> {
    // Prometheus' times have milliseconds.
    #[allow(clippy::cast_possible_truncation)]
    let milliseconds = (seconds * 1_000.0).round() as i64;
    DateTime::from_timestamp_millis(milliseconds)
}

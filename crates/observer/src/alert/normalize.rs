use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use evenkeel_model::{Severity, Signal, SignalState, Source, short_digest};

use super::{Alert, Labels};
use crate::targets::{Resolver, Subject};
use crate::world::World;

/// At most so many labels of an alert go into its signal.
const MAX_LABELS: usize = 64;
/// Label names and values are cut at so many bytes.
const MAX_LABEL_BYTES: usize = 256;
/// Summaries are cut at so many bytes.
const MAX_SUMMARY_BYTES: usize = 512;

/// Labels whose values are names that Kubernetes or Prometheus made: nothing to redact.
const PLAIN: &[&str] = &[
    "alertname",
    "cluster",
    "condition",
    "container",
    "cronjob",
    "daemonset",
    "deployment",
    "endpoint",
    "horizontalpodautoscaler",
    "instance",
    "job",
    "job_name",
    "namespace",
    "node",
    "persistentvolumeclaim",
    "pod",
    "poddisruptionbudget",
    "prometheus",
    "reason",
    "replicaset",
    "service",
    "severity",
    "statefulset",
    "status",
    "uid",
];

/// Identity of an alert's transition: the same whoever posts it, however often.
pub(crate) fn alert_id(fingerprint: &str, starts_at: DateTime<Utc>, state: SignalState) -> String {
    let state = match state {
        SignalState::Firing => "firing",
        SignalState::Resolved => "resolved",
    };
    short_digest([fingerprint, &starts_at.to_rfc3339_opts(SecondsFormat::Nanos, true), state], 40)
}

/// Makes signals of alerts.
#[derive(Debug)]
pub(crate) struct Normalizer {
    cluster: String,
    targets: Resolver,
}

impl Normalizer {
    pub(crate) fn new(cluster: String, targets: Resolver) -> Self {
        Self { cluster, targets }
    }

    /// The signal of an alert, as `world` lets its target be told.
    pub(crate) fn signal(&self, alert: &Alert<'_>, source: Source, world: &World, now: DateTime<Utc>) -> Signal {
        let Subject { target, root, causes } = self.targets.resolve(alert, world);
        let suppressed = world.suppressed(target.as_ref(), root.as_ref());
        Signal {
            id: alert_id(&alert.fingerprint, alert.starts_at, alert.state),
            source,
            name: bounded(alert.name(), MAX_LABEL_BYTES).into_owned(),
            state: alert.state,
            severity: severity(&alert.labels),
            cluster: self.cluster.clone(),
            holds_object: suppressed.is_some(),
            suppressed,
            target,
            root,
            causes,
            labels: labels(&alert.labels),
            summary: summary(alert),
            // What is said to lie ahead is now: the sender's clock is not ours.
            starts_at: alert.starts_at.min(now),
            ends_at: alert.ends_at.map(|at| at.min(now)),
            observed_at: now,
        }
    }
}

fn severity(labels: &Labels<'_>) -> Severity {
    let found = labels.get("severity").unwrap_or_default();
    let is = |words: &[&str]| words.iter().any(|word| found.eq_ignore_ascii_case(word));
    if is(&["critical", "page", "emergency", "fatal", "p1"]) {
        Severity::Critical
    } else if is(&["info", "none", "notice", "debug"]) {
        Severity::Info
    } else {
        Severity::Warning
    }
}

fn labels(labels: &Labels<'_>) -> BTreeMap<String, String> {
    let pairs = labels.iter().filter(|(_, value)| !value.is_empty()).take(MAX_LABELS);
    pairs.map(|(name, value)| (bounded(name, MAX_LABEL_BYTES).into_owned(), label_value(name, value))).collect()
}

fn label_value(name: &str, value: &str) -> String {
    if PLAIN.binary_search(&name).is_ok() {
        return bounded(value, MAX_LABEL_BYTES).into_owned();
    }
    // Redacted before it is cut: half a secret is one still, and no longer looks like one.
    let value = evenkeel_runtime::redact::text(&bounded(value, 4 * MAX_LABEL_BYTES));
    bounded(&value, MAX_LABEL_BYTES).into_owned()
}

fn summary(alert: &Alert<'_>) -> String {
    let text = ["summary", "description", "message"].iter().find_map(|name| alert.annotations.get(name));
    let text = evenkeel_runtime::redact::text(&bounded(text.unwrap_or(alert.name()), 4 * MAX_SUMMARY_BYTES));
    bounded(&text.replace(['\n', '\r'], " "), MAX_SUMMARY_BYTES).into_owned()
}

/// The text, cut to at most `most` bytes at a character's end.
pub(crate) fn bounded(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let ellipsis = '…';
    let end = text.floor_char_boundary(most.saturating_sub(ellipsis.len_utf8()));
    let mut cut = text.get(..end).unwrap_or_default().to_owned();
    cut.push(ellipsis);
    Cow::Owned(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_alert_has_the_same_id_whatever_its_time_zone_and_another_state_another() {
        let at: DateTime<Utc> = "2026-03-01T10:00:00.5Z".parse().unwrap();
        let zoned: DateTime<Utc> = "2026-03-01T11:00:00.500+01:00".parse().unwrap();
        let id = alert_id("507a62d79ee76c9a", at, SignalState::Firing);
        assert_eq!(id, alert_id("507a62d79ee76c9a", zoned, SignalState::Firing));
        assert_ne!(id, alert_id("507a62d79ee76c9a", at, SignalState::Resolved));
        assert_eq!(id.len(), 40);
    }

    #[test]
    fn plain_labels_are_sorted_for_the_search() {
        assert!(PLAIN.is_sorted());
    }

    #[test]
    fn text_is_cut_at_a_characters_end() {
        assert_eq!(bounded("äöü", 6), "äöü");
        assert_eq!(bounded("äöüß", 6), "ä…");
    }

    #[test]
    fn unknown_severities_are_warnings() {
        let of = |word| severity(&Labels::from_pairs([("severity", word)]));
        assert_eq!((of("critical"), of("Page"), of("info"), of("sev9"), of("")), {
            use Severity::{Critical, Info, Warning};
            (Critical, Critical, Info, Warning, Warning)
        });
    }
}

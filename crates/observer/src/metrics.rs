use std::fmt;
use std::sync::Arc;

use evenkeel_model::Source;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// A label value from a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Word(pub(crate) &'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabels {
    source: Word,
    name: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    query: Word,
    outcome: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhereLabels {
    part: Word,
}

/// What the observer counts. Labels are bounded: names of signals are those of the shipped table
/// and of the watches, all others count as `other`.
#[derive(Debug, Clone)]
pub struct Metrics {
    signals: Family<SignalLabels, Counter>,
    ignored: Family<WhereLabels, Counter>,
    requests: Family<CodeLabels, Counter>,
    publish: Histogram,
    request: Histogram,
    restarts: Family<KindLabels, Counter>,
    objects: Family<KindLabels, Gauge>,
    errors: Family<WhereLabels, Counter>,
    questions: Family<QueryLabels, Counter>,
    pub(crate) duplicates: Counter,
    pub(crate) in_flight_requests: Gauge,
    pub(crate) troubles: Gauge,
    pub(crate) troubles_firing: Gauge,
    pub(crate) troubles_untold: Gauge,
    pub(crate) troubles_refused: Gauge,
    pub(crate) blind: Gauge,
    pub(crate) heartbeats: Counter,
    pub(crate) playbooks: Gauge,
    pub(crate) playbook_problems: Gauge,
    pub(crate) silences: Gauge,
    pub(crate) availability_records: Gauge,
}

impl Metrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 15));
        let m = Self {
            signals: Family::default(),
            ignored: Family::default(),
            requests: Family::default(),
            publish: seconds(),
            request: seconds(),
            restarts: Family::default(),
            objects: Family::default(),
            errors: Family::default(),
            questions: Family::default(),
            duplicates: Counter::default(),
            in_flight_requests: Gauge::default(),
            troubles: Gauge::default(),
            troubles_firing: Gauge::default(),
            troubles_untold: Gauge::default(),
            troubles_refused: Gauge::default(),
            blind: Gauge::default(),
            heartbeats: Counter::default(),
            playbooks: Gauge::default(),
            playbook_problems: Gauge::default(),
            silences: Gauge::default(),
            availability_records: Gauge::default(),
        };
        let r = registry.sub_registry_with_prefix("observer");
        r.register("signals", "Signals stored on the bus, by source and name", m.signals.clone());
        r.register(
            "alerts_ignored",
            "Alerts that are no signals: ours, others named like ours, the watchdog",
            m.ignored.clone(),
        );
        r.register("webhook_requests", "Requests of Alertmanagers, by answer", m.requests.clone());
        r.register_with_unit("webhook_request", "How long they took", Unit::Seconds, m.request.clone());
        r.register_with_unit("publish", "How long the bus took to store one signal", Unit::Seconds, m.publish.clone());
        r.register("signal_duplicates", "Signals that the bus had already", m.duplicates.clone());
        r.register("webhook_in_flight", "Requests being worked on", m.in_flight_requests.clone());
        r.register("watch_restarts", "Watches that had to begin anew, by kind", m.restarts.clone());
        r.register("objects", "Objects known, by kind", m.objects.clone());
        r.register("errors", "Errors survived, by where", m.errors.clone());
        r.register("evidence_questions", "Questions answered, by query and outcome", m.questions.clone());
        r.register("troubles", "Troubles held, with those remembered", m.troubles.clone());
        r.register("troubles_firing", "Troubles there are now", m.troubles_firing.clone());
        r.register("troubles_untold", "Signals the bus is yet to be told of", m.troubles_untold.clone());
        r.register("troubles_refused", "Troubles left out: there are too many", m.troubles_refused.clone());
        r.register("blind", "1 while the watchdog is silent: nothing is concluded to be healed", m.blind.clone());
        r.register("heartbeats", "Watchdog alerts heard", m.heartbeats.clone());
        r.register("playbooks", "Playbooks in use", m.playbooks.clone());
        r.register(
            "playbook_problems",
            "What is wrong with playbooks that are not in use",
            m.playbook_problems.clone(),
        );
        r.register("silences", "Silences and inhibited alerts known", m.silences.clone());
        r.register("availability_records", "Revisions known to have been available", m.availability_records.clone());
        m
    }

    pub(crate) fn signal(&self, source: Source, name: &Arc<str>) {
        self.signals.get_or_create(&SignalLabels { source: Word(source.token()), name: Arc::clone(name) }).inc();
    }

    pub(crate) fn ignored(&self, what: &'static str) {
        self.ignored.get_or_create(&WhereLabels { part: Word(what) }).inc();
    }

    #[cfg(test)]
    pub(crate) fn ignored_so_far(&self, what: &'static str) -> u64 {
        self.ignored.get_or_create(&WhereLabels { part: Word(what) }).get()
    }

    pub(crate) fn answered(&self, code: u16, took: std::time::Duration) {
        self.requests.get_or_create(&CodeLabels { code }).inc();
        self.request.observe(took.as_secs_f64());
    }

    pub(crate) fn published(&self, took: std::time::Duration) {
        self.publish.observe(took.as_secs_f64());
    }

    pub(crate) fn watch_restarted(&self, kind: &'static str) {
        self.restarts.get_or_create(&KindLabels { kind: Word(kind) }).inc();
    }

    pub(crate) fn objects(&self, kind: &'static str, count: usize) {
        self.objects.get_or_create(&KindLabels { kind: Word(kind) }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn error(&self, part: &'static str) {
        self.errors.get_or_create(&WhereLabels { part: Word(part) }).inc();
    }

    pub(crate) fn question(&self, query: &'static str, outcome: &'static str) {
        self.questions.get_or_create(&QueryLabels { query: Word(query), outcome: Word(outcome) }).inc();
    }
}

/// A count as a gauge takes it.
pub(crate) fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

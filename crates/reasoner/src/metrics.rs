use evenkeel_runtime::metrics::Registry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DecisionLabels {
    pub(crate) decision: &'static str,
}

/// Which consumer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ConsumerLabels {
    pub(crate) consumer: &'static str,
}

/// Which incident needs a person; bounded by [`crate::sweep`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct NeedsHumanLabels {
    pub(crate) incident: String,
    pub(crate) object: String,
    /// Empty where it is in none. (A label `namespace` would be taken for the engine's own when it is scraped.)
    pub(crate) object_namespace: String,
    pub(crate) severity: &'static str,
}

/// The reasoner's metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) signals_folded: Counter,
    pub(crate) signals_repeated: Counter,
    pub(crate) dead: Family<ConsumerLabels, Counter>,
    pub(crate) conflicts: Counter,
    pub(crate) decisions: Family<DecisionLabels, Counter>,
    pub(crate) decision_seconds: Histogram,
    pub(crate) errors: Family<ConsumerLabels, Counter>,
    pub(crate) incidents_open: Gauge,
    pub(crate) needs_human: Family<NeedsHumanLabels, Gauge>,
    pub(crate) playbooks: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            signals_folded: Counter::default(),
            signals_repeated: Counter::default(),
            dead: Family::default(),
            conflicts: Counter::default(),
            decisions: Family::default(),
            decision_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            errors: Family::default(),
            incidents_open: Gauge::default(),
            needs_human: Family::default(),
            playbooks: Gauge::default(),
        };
        registry.register("reasoner_signals_folded", "Signals folded into incidents", metrics.signals_folded.clone());
        registry.register(
            "reasoner_signals_repeated",
            "Signals that were known already and changed nothing",
            metrics.signals_repeated.clone(),
        );
        registry.register("reasoner_dead_messages", "Messages moved to the dead stream", metrics.dead.clone());
        registry.register(
            "reasoner_conflicts",
            "Compare-and-set writes lost to another worker and repeated",
            metrics.conflicts.clone(),
        );
        registry.register("reasoner_decisions", "Decisions by kind", metrics.decisions.clone());
        registry.register(
            "reasoner_decision_seconds",
            "Time from taking an incident up to its decision being stored, evidence included",
            metrics.decision_seconds.clone(),
        );
        registry.register(
            "reasoner_errors",
            "Messages that could not be handled and come again",
            metrics.errors.clone(),
        );
        registry.register(
            "reasoner_incidents_open",
            "Open incidents at the last sweep",
            metrics.incidents_open.clone(),
        );
        registry.register(
            "incident_needs_human",
            "1 for each open incident that a person has to look at; beyond 100, their number in one series",
            metrics.needs_human.clone(),
        );
        registry.register("reasoner_playbooks", "Playbooks loaded", metrics.playbooks.clone());
        metrics
    }
}

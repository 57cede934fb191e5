use std::time::Duration;

use evenkeel_model::{ActionName, Phase};
use evenkeel_runtime::metrics::Registry;
use evenkeel_runtime::metrics::counter::Counter;
use evenkeel_runtime::metrics::family::Family;
use evenkeel_runtime::metrics::gauge::Gauge;
use evenkeel_runtime::metrics::histogram::Histogram;
use evenkeel_runtime::metrics::prometheus_client::metrics::histogram::exponential_buckets;

type Labels = Vec<(&'static str, String)>;

/// What the gateway counts. Labels are bounded: phases, actions, verbs, fixed words.
#[derive(Debug, Clone)]
pub struct Metrics {
    proposals: Family<Labels, Counter>,
    phases: Family<Labels, Counter>,
    verdicts: Family<Labels, Counter>,
    approvals: Family<Labels, Counter>,
    requests: Family<Labels, Counter>,
    errors: Family<Labels, Counter>,
    asked: Family<Labels, Counter>,
    breakers: Family<Labels, Gauge>,
    decision: Histogram,
    effect: Histogram,
    /// Remediations that are not final.
    pub(crate) open: Gauge,
    /// Remediations that can't be read and are left alone.
    pub(crate) aside: Gauge,
    /// Remediations whose end a person has to look at.
    pub(crate) unacknowledged: Gauge,
    /// Freezes there are, whatever they cover.
    pub(crate) freezes: Gauge,
    /// Policies that RBAC or admission in the cluster do not fit.
    pub(crate) unenforceable: Gauge,
    /// How late the most overdue remediation is, milliseconds.
    pub(crate) queue_age: Gauge,
    /// Remediations waiting for their time.
    pub(crate) queued: Gauge,
    /// Claims in the ledger.
    pub(crate) ledger_claims: Gauge,
    /// Debits in the ledger.
    pub(crate) ledger_debits: Gauge,
    /// Our clock minus the API server's, milliseconds.
    pub(crate) clock_apart: Gauge,
    /// Audit records on the bus that are not sealed yet.
    pub(crate) unsealed: Gauge,
}

impl Metrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.005, 2.0, 14));
        let metrics = Self {
            proposals: Family::default(),
            phases: Family::default(),
            verdicts: Family::default(),
            approvals: Family::default(),
            requests: Family::default(),
            errors: Family::default(),
            asked: Family::default(),
            breakers: Family::default(),
            decision: seconds(),
            effect: seconds(),
            open: Gauge::default(),
            aside: Gauge::default(),
            unacknowledged: Gauge::default(),
            freezes: Gauge::default(),
            unenforceable: Gauge::default(),
            queue_age: Gauge::default(),
            queued: Gauge::default(),
            ledger_claims: Gauge::default(),
            ledger_debits: Gauge::default(),
            clock_apart: Gauge::default(),
            unsealed: Gauge::default(),
        };
        let m = &metrics;
        registry.register("gateway_proposals", "Proposals by what became of them", m.proposals.clone());
        registry.register("remediation_phases", "Phases entered, by action", m.phases.clone());
        registry.register("policy_verdicts", "Verdicts by decision and action", m.verdicts.clone());
        registry.register("gateway_approvals", "Approvals by what became of them", m.approvals.clone());
        registry.register("gateway_api_requests", "Requests that may change the cluster", m.requests.clone());
        registry.register("gateway_errors", "Errors survived, by where", m.errors.clone());
        registry.register("gateway_requests", "What people asked for, by verb and answer", m.asked.clone());
        registry.register("breakers_open", "Breakers that are open, by what they stop", m.breakers.clone());
        registry.register("gateway_decision_seconds", "From proposal to first verdict", m.decision.clone());
        registry.register("gateway_effect_seconds", "From proposal to the effect", m.effect.clone());
        registry.register("remediations_open", "Remediations that are not final", m.open.clone());
        registry.register("remediations_unreadable", "Remediations left alone: not understood", m.aside.clone());
        registry.register(
            "remediations_unacknowledged",
            "Remediations whose end a person has to look at; their roots are held",
            m.unacknowledged.clone(),
        );
        registry.register("freezes", "Freezes there are, as last read", m.freezes.clone());
        registry.register(
            "policies_unenforceable",
            "Policies that RBAC or admission in the cluster do not fit, as last looked at",
            m.unenforceable.clone(),
        );
        registry.register("gateway_queue_age_milliseconds", "How late the most overdue is", m.queue_age.clone());
        registry.register("gateway_queue_length", "Remediations waiting for their time", m.queued.clone());
        registry.register("ledger_claims", "Claims in the ledger", m.ledger_claims.clone());
        registry.register("ledger_debits", "Debits in the ledger", m.ledger_debits.clone());
        registry.register("audit_unsealed", "Audit records on the bus, not sealed yet", m.unsealed.clone());
        registry.register(
            "gateway_clock_apart_milliseconds",
            "Our clock minus the API server's, as far as its Date header tells",
            m.clock_apart.clone(),
        );
        metrics
    }

    /// A proposal was accepted, refused, repeated, unreadable or poison.
    pub(crate) fn proposal(&self, became: &'static str) {
        self.proposals.get_or_create(&vec![("became", became.to_owned())]).inc();
    }

    /// A phase was entered.
    pub(crate) fn phase(&self, phase: Phase, action: ActionName) {
        let labels = vec![("phase", phase.to_string()), ("action", action.to_string())];
        self.phases.get_or_create(&labels).inc();
    }

    /// Policies were asked.
    pub(crate) fn verdict(&self, decision: &'static str, action: ActionName) {
        let labels = vec![("decision", decision.to_owned()), ("action", action.to_string())];
        self.verdicts.get_or_create(&labels).inc();
    }

    /// An Approval counted, or did not.
    pub(crate) fn approval(&self, became: &'static str) {
        self.approvals.get_or_create(&vec![("became", became.to_owned())]).inc();
    }

    /// A request that may change the cluster was answered, or not.
    pub(crate) fn request(&self, what: &'static str, result: &'static str) {
        self.requests.get_or_create(&vec![("what", what.to_owned()), ("result", result.to_owned())]).inc();
    }

    /// A person asked for something, and was answered.
    pub(crate) fn asked(&self, verb: &'static str, answer: &'static str) {
        self.asked.get_or_create(&vec![("verb", verb.to_owned()), ("answer", answer.to_owned())]).inc();
    }

    /// So many breakers of a kind are open.
    pub(crate) fn breakers(&self, stops: &'static str, open: i64) {
        self.breakers.get_or_create(&vec![("stops", stops.to_owned())]).set(open);
    }

    /// An error was survived.
    pub(crate) fn error(&self, at: &'static str) {
        self.errors.get_or_create(&vec![("at", at.to_owned())]).inc();
    }

    /// From proposal to first verdict.
    pub(crate) fn decided_after(&self, took: Duration) {
        self.decision.observe(took.as_secs_f64());
    }

    /// From proposal to the effect.
    pub(crate) fn done_after(&self, took: Duration) {
        self.effect.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_can_be_read() {
        let mut registry = Registry::with_prefix("evenkeel");
        let metrics = Metrics::register(&mut registry);
        metrics.phase(Phase::Succeeded, ActionName::DeletePod);
        metrics.proposal("accepted");
        let text = evenkeel_runtime::metrics::encode(&registry).unwrap();
        assert!(
            text.contains("evenkeel_remediation_phases_total{phase=\"Succeeded\",action=\"deletePod\"} 1"),
            "{text}"
        );
        assert!(text.contains("evenkeel_gateway_proposals_total{became=\"accepted\"} 1"), "{text}");
    }
}

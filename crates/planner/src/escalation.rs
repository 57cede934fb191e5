use chrono::{DateTime, Utc};
use evenkeel_model::{
    Action, BUILT_IN_PLAYBOOK, Escalate, EscalationSeverity, Incident, ObjectRef, Origin, PlaybookStep, Proposal,
    Severity,
};

use crate::{Decision, PlanLimits};

/// Step name of the built-in escalation.
pub(crate) const STEP: &str = "escalate";

/// Hands the incident to people, once; afterwards there is nothing to do until there is news.
pub(crate) fn escalate(
    incident: &Incident,
    target: &ObjectRef,
    reason: String,
    recurrence_of: Option<String>,
    limits: &PlanLimits,
    now: DateTime<Utc>,
) -> Decision {
    let done = incident.attempts.iter().any(|attempt| attempt.action == evenkeel_model::ActionName::Escalate);
    if done {
        return Decision::Ignore { reason: format!("people have been told; {reason}") };
    }
    let worst = incident.firing().map(|signal| signal.severity).max().unwrap_or(Severity::Info);
    let severity = if worst == Severity::Critical { EscalationSeverity::Page } else { EscalationSeverity::Ticket };
    let step = PlaybookStep { name: BUILT_IN_PLAYBOOK.to_owned(), version: "-".to_owned(), step: STEP.to_owned() };
    let mut proposal =
        proposal(incident, target, Action::Escalate(Escalate { severity }), step, reason.clone(), limits, now);
    proposal.recurrence_of = recurrence_of;
    Decision::Escalate { proposal: Box::new(proposal), reason }
}

/// A proposal of the incident, numbered after those before it.
pub(crate) fn proposal(
    incident: &Incident,
    target: &ObjectRef,
    action: Action,
    playbook: PlaybookStep,
    mut rationale: String,
    limits: &PlanLimits,
    now: DateTime<Utc>,
) -> Proposal {
    shorten(&mut rationale);
    let number = incident.attempts.iter().map(|attempt| attempt.number).max().unwrap_or(0) + 1;
    Proposal {
        incident: incident.id.clone(),
        number,
        cluster: incident.cluster.clone(),
        target: target.clone(),
        root: incident.root.clone().unwrap_or_else(|| target.clone()),
        action,
        playbook,
        origin: Origin::Playbook,
        signals: signal_names(incident, |_| true),
        rationale,
        recurrence_of: None,
        proposed_at: now,
        expires_at: now + limits.expiry.chrono(),
        traceparent: incident.traceparent.clone(),
    }
}

/// Names of the signals that are firing and count, as many as a proposal may hold.
pub(crate) fn signal_names(incident: &Incident, counts: impl Fn(&str) -> bool) -> Vec<String> {
    let names = incident.firing().map(|signal| &signal.name).filter(|name| counts(name));
    let names: std::collections::BTreeSet<&String> = names.collect();
    names.into_iter().take(16).cloned().collect()
}

/// Keeps a rationale within what a proposal may hold.
pub(crate) fn shorten(rationale: &mut String) {
    if rationale.len() > 1024 {
        let end = (0..=1020).rev().find(|&end| rationale.is_char_boundary(end)).unwrap_or(0);
        rationale.truncate(end);
        rationale.push('…');
    }
}

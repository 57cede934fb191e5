use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{
    Action, ActionName, BUILT_IN_PLAYBOOK, Escalate, EscalationSeverity, Incident, ObjectRef, Origin, Phase,
    PlaybookStep, Proposal, Severity,
};

use crate::{Decision, PlanLimits};

/// Step name of the built-in escalation.
pub(crate) const STEP: &str = "escalate";

/// The first pause before people are called again, where a call came to nothing; doubled each time.
const CALL_AGAIN: Duration = Duration::minutes(1);
/// The longest.
const CALL_AGAIN_MOST: Duration = Duration::hours(2);

/// Whether people have been told of an incident.
pub(crate) enum Told {
    /// They have, or are being told.
    Yes,
    /// Not yet.
    No,
    /// They were to be, and it came to nothing: refused or late, as with a clock that is wrong. Not before then.
    NotBefore(DateTime<Utc>),
}

/// Whether people have been told of `incident`.
pub(crate) fn told(incident: &Incident, now: DateTime<Utc>) -> Told {
    let (mut pause, mut again) = (CALL_AGAIN, None);
    for call in incident.attempts.iter().filter(|attempt| attempt.action == ActionName::Escalate) {
        let Some(Phase::Denied | Phase::Expired | Phase::Failed | Phase::Obsolete) = call.phase else {
            return Told::Yes;
        };
        // Whatever its clock said, it ended before now.
        again = Some(call.ended_at.unwrap_or(call.expires_at).min(now) + pause);
        pause = (pause * 2).min(CALL_AGAIN_MOST);
    }
    again.filter(|at| now < *at).map_or(Told::No, Told::NotBefore)
}

/// Hands the incident to people, once; afterwards there is nothing to do until there is news.
pub(crate) fn escalate(
    incident: &Incident,
    target: &ObjectRef,
    reason: String,
    recurrence_of: Option<String>,
    limits: &PlanLimits,
    now: DateTime<Utc>,
) -> Decision {
    match told(incident, now) {
        Told::Yes => return Decision::Ignore { reason: format!("people have been told; {reason}") },
        Told::NotBefore(at) => {
            return Decision::WaitUntil { at, reason: format!("a call came to nothing, and is made again; {reason}") };
        }
        Told::No => {}
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

use chrono::{DateTime, Utc};
use evenkeel_model::{Action, Attempt, Decided, Incident, Phase, Proposal, Span};

use crate::Decision;

/// A decision taken too early to be worth writing twice: the same words about the same wait.
const SAME_WAIT: chrono::Duration = chrono::Duration::seconds(1);

/// Whether the incident was decided so before, in the same words.
pub fn said_before(incident: &Incident, decision: &Decision) -> bool {
    let known = incident.decided.as_ref();
    known.is_some_and(|known| known.what == decision.name() && known.reason == decision.reason())
}

/// Notes a decision in its incident: what was decided, what is proposed, when to look again.
pub fn apply(incident: &mut Incident, decision: &Decision, now: DateTime<Utc>) {
    if !said_before(incident, decision) {
        let (what, reason) = (decision.name().to_owned(), decision.reason().to_owned());
        incident.decided = Some(Decided { at: now, what, reason });
    }
    match decision {
        Decision::Propose { proposal, recur_within } => {
            incident.attempts.push(attempt(proposal, *recur_within));
            incident.wake_at = Some(now + chrono::Duration::seconds(30));
        }
        Decision::Escalate { proposal, reason } => {
            // People are called while one is open only when its outcome has not come: what became of it is for them to
            // find out, and must not hold the incident for ever.
            for lost in incident.attempts.iter_mut().filter(|attempt| attempt.phase.is_none()) {
                lost.phase = Some(Phase::Unknown);
                lost.reason.clone_from(reason);
                lost.ended_at = Some(now);
                lost.proposal = None;
            }
            incident.needs_human = Some(reason.clone());
            incident.called = match &proposal.action {
                Action::Escalate(escalate) => Some(escalate.severity),
                _ => None,
            };
            incident.attempts.push(attempt(proposal, Span::seconds(0)));
            incident.wake_at = Some(now + chrono::Duration::seconds(30));
        }
        Decision::WaitUntil { at, .. } => {
            let at = *at;
            // One that may not have been sent is sent again before.
            let unsent = incident.open_attempt().is_some_and(|attempt| attempt.proposal.is_some());
            let at = if unsent { at.min(now + chrono::Duration::minutes(2)) } else { at };
            let unchanged = incident.wake_at.is_some_and(|known| (known - at).abs() < SAME_WAIT);
            if !unchanged {
                incident.wake_at = Some(at);
            }
        }
        Decision::Ignore { .. } | Decision::NeedEvidence { .. } => incident.wake_at = None,
    }
}

/// Notes that a proposal is on the bus: it need not be sent again. False when that was known, or it has
/// ended since.
pub fn note_published(incident: &mut Incident, remediation: &str) -> bool {
    let mut attempts = incident.attempts.iter_mut();
    let attempt = attempts.find(|attempt| attempt.remediation == remediation && attempt.phase.is_none());
    attempt.is_some_and(|attempt| attempt.proposal.take().is_some())
}

fn attempt(proposal: &Proposal, recur_within: Span) -> Attempt {
    Attempt {
        number: proposal.number,
        remediation: proposal.name(),
        playbook: proposal.playbook.clone(),
        action: proposal.action.name(),
        target: proposal.target.clone(),
        proposed_at: proposal.proposed_at,
        expires_at: proposal.expires_at,
        proposal: Some(Box::new(proposal.clone())),
        signals: proposal.signals.clone(),
        recur_within,
        phase: None,
        reason: String::new(),
        ended_at: None,
    }
}

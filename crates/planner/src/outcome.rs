use chrono::{DateTime, Utc};
use evenkeel_model::{Incident, Outcome};

/// Notes how a proposal ended. False when the incident knows nothing of it, or knew that already.
/// A Regressed that comes after Succeeded replaces it; nothing else replaces a known end.
pub fn record(incident: &mut Incident, outcome: &Outcome, now: DateTime<Utc>) -> bool {
    let attempt = incident
        .attempts
        .iter_mut()
        .chain(incident.earlier.iter_mut())
        .find(|attempt| attempt.remediation == outcome.remediation);
    let Some(attempt) = attempt else { return false };
    let replaces = match attempt.phase {
        None => true,
        Some(known) => known != outcome.phase && outcome.phase == evenkeel_model::Phase::Regressed,
    };
    if replaces {
        attempt.phase = Some(outcome.phase);
        attempt.reason.clone_from(&outcome.reason);
        attempt.ended_at = Some(outcome.ended_at);
        attempt.proposal = None;
        if incident.closed_at.is_none() {
            incident.wake_at = Some(now);
        }
    }
    replaces
}

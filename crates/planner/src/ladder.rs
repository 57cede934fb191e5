use chrono::{DateTime, Utc};
use evenkeel_model::{Attempt, Incident, ObjectRef, Phase, PlaybookStepSpec, Span, is_same_trouble};
use evenkeel_playbook::Loaded;

use crate::PlanLimits;

/// A step of which nothing was written may be tried so often.
const MAX_TRIES_UNWRITTEN: usize = 3;

/// Where the ladder of one playbook stands for one incident.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rung<'a> {
    /// This step is next.
    Next {
        step: &'a PlaybookStepSpec,
        /// The Remediation that seemed to have helped before.
        recurrence_of: Option<String>,
    },
    /// Not before.
    Wait { at: DateTime<Utc>, reason: String },
    /// A person took over, or it is audit mode: no further step.
    Stop { reason: String },
    /// No step is left. With a recurrence, the last one came undone.
    Exhausted { reason: String, recurrence_of: Option<String> },
}

/// The next rung for a target: after the last step tried, never the same again. Steps of which nothing
/// was written were not tried.
pub(crate) fn rung<'a>(
    playbook: &'a Loaded,
    target: &ObjectRef,
    incident: &Incident,
    limits: &PlanLimits,
    now: DateTime<Utc>,
) -> Rung<'a> {
    let mine = |attempt: &&Attempt| attempt.playbook.name == playbook.name;
    let mut from = 0;
    let mut last_reason = None;
    let mut recurrence_of = None;
    for attempt in incident.earlier.iter().filter(mine).filter(|attempt| recurs(attempt, incident)) {
        let after = position(playbook, attempt).map_or(from, |index| index + 1);
        if after >= from {
            from = after;
            last_reason = Some(format!("step {} had helped, and the same signal came again", attempt.playbook.step));
            // Told once, with the incident's first proposal.
            let tell = incident.attempts.is_empty() && attempt.phase == Some(Phase::Succeeded);
            recurrence_of = tell.then(|| attempt.remediation.clone());
        }
    }
    for attempt in incident.attempts.iter().filter(|attempt| is_about(attempt, playbook, target)) {
        let step = &attempt.playbook.step;
        let index = position(playbook, attempt);
        let ended_at = attempt.ended_at.unwrap_or(now);
        let after = index.map_or(from, |index| index + 1);
        let Some(phase) = attempt.phase else {
            return Rung::Wait {
                at: attempt.expires_at,
                reason: format!("the outcome of {} is not known yet", attempt.remediation),
            };
        };
        match phase {
            Phase::WouldExecute => {
                return Rung::Stop { reason: format!("audit mode: step {step} would have been carried out") };
            }
            Phase::Cancelled => return Rung::Stop { reason: format!("a person cancelled step {step}") },
            Phase::Unknown | Phase::RollbackFailed => {
                return Rung::Stop {
                    reason: format!("step {step} ended {phase}: held until a person acknowledges it"),
                };
            }
            Phase::Failed | Phase::Obsolete => {
                let tries = incident
                    .attempts
                    .iter()
                    .filter(mine)
                    .filter(|other| other.playbook.step == *step && other.phase == Some(phase))
                    .count();
                let pause = if phase == Phase::Obsolete { Span::minutes(5) } else { Span::seconds(30) };
                let at = ended_at + pause.chrono() * i32::try_from(tries).unwrap_or(i32::MAX);
                if tries >= MAX_TRIES_UNWRITTEN {
                    from = from.max(after);
                    last_reason = Some(format!("step {step} ended {phase} {tries} times: {}", attempt.reason));
                } else if now < at {
                    return Rung::Wait { at, reason: format!("step {step} ended {phase}: {}", attempt.reason) };
                }
            }
            Phase::Succeeded => {
                let patience = ended_at + limits.resolve_within.chrono();
                if index
                    .and_then(|index| playbook.spec.steps.get(index))
                    .is_some_and(|step| !step.action.name().is_mutating())
                {
                    from = from.max(after);
                    last_reason = Some(format!("step {step} was the last one"));
                } else if now < patience {
                    return Rung::Wait {
                        at: patience,
                        reason: format!("step {step} succeeded; its signals have not ended yet"),
                    };
                } else {
                    from = from.max(after);
                    last_reason = Some(format!(
                        "step {step} succeeded, but its signals have not ended after {}",
                        limits.resolve_within
                    ));
                }
            }
            _ => {
                from = from.max(after);
                last_reason = Some(format!("step {step} ended {phase}: {}", attempt.reason));
            }
        }
    }
    match playbook.spec.steps.get(from) {
        Some(step) => Rung::Next { step, recurrence_of },
        None => Rung::Exhausted {
            reason: last_reason.unwrap_or_else(|| "the playbook has no further step".to_owned()),
            recurrence_of,
        },
    }
}

/// Whether an attempt is a step of the playbook's ladder for a target. What helped another object of the
/// root (one of two pods that are stuck) is none; what did not help it is not tried on this one either.
pub(crate) fn is_about(attempt: &Attempt, playbook: &Loaded, target: &ObjectRef) -> bool {
    let other = &attempt.target;
    let names_same = other.kind == target.kind && other.namespace == target.namespace && other.name == target.name;
    let helped_another = attempt.phase == Some(Phase::Succeeded) && attempt.action.is_mutating() && !names_same;
    attempt.playbook.name == playbook.name && !helped_another
}

fn position(playbook: &Loaded, attempt: &Attempt) -> Option<usize> {
    playbook.spec.steps.iter().position(|step| step.name == attempt.playbook.step)
}

/// Whether an earlier incident's attempt speaks against trying its step again: it was carried out
/// and its trouble is there again within its recurrence time.
fn recurs(attempt: &Attempt, incident: &Incident) -> bool {
    let carried_out = attempt
        .phase
        .is_some_and(|phase| phase == Phase::Succeeded || phase == Phase::Unverified || phase.did_not_help());
    let Some(ended_at) = attempt.ended_at else { return false };
    let firing: Vec<String> = incident.firing().map(|signal| signal.name.clone()).collect();
    carried_out
        && attempt.action.is_mutating()
        && incident.opened_at - ended_at <= attempt.recur_within.chrono()
        && is_same_trouble(&attempt.signals, &firing)
}

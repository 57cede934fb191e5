use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use evenkeel_model::{
    Action, ActionName, Evidence, FoldedSignal, Incident, Notify, ObjectRef, PlaybookStep, Severity, Snapshot, Span,
};
use evenkeel_playbook::{Candidate, Escape, Loaded, Playbooks, Vars, facts, render};

use crate::escalation::{Told, escalate, proposal, shorten, signal_names, told};
use crate::fold::firing_targets;
use crate::ladder::{Rung, is_about, rung};
use crate::{Decision, PlanLimits};

/// Evidence older than this is fetched again.
const EVIDENCE_FRESH_FOR: Span = Span::seconds(20);

/// Everything a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The incident.
    pub incident: &'a Incident,
    /// The playbooks there are.
    pub playbooks: &'a Playbooks,
    /// What was fetched, by playbook; each asks its own questions.
    pub evidence: &'a BTreeMap<String, Evidence>,
    /// The object to speak of where a signal names none: the engine's own namespace.
    pub fallback: &'a ObjectRef,
    /// How patient to be.
    pub limits: &'a PlanLimits,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Decides what to do next.
pub fn plan(situation: Situation<'_>) -> Decision {
    let Situation { incident, playbooks, fallback, limits, now, .. } = situation;
    if incident.closed_at.is_some() {
        return Decision::Ignore { reason: "closed".to_owned() };
    }
    if let Some(parent) = &incident.parent {
        return Decision::Ignore { reason: format!("part of the wave of {parent}: only its incident proposes") };
    }
    let about = incident.root.as_ref().unwrap_or(fallback);
    if let Some(open) = incident.open_attempt() {
        let at = open.expires_at + limits.outcome_within.chrono();
        if now < at {
            return Decision::WaitUntil { at, reason: format!("the outcome of {} is not known yet", open.remediation) };
        }
        let reason = format!("no outcome of {} came within {}", open.remediation, limits.outcome_within);
        return escalate(incident, about, reason, None, limits, now);
    }
    // Neither long before the incident nor in the future, whatever the sender's clock says.
    let began = |signal: &FoldedSignal| match signal.starts_at > now {
        true => incident.opened_at,
        false => signal.starts_at.max(incident.opened_at - Span::hours(1).chrono()),
    };
    let Some(first) = incident.firing().map(began).min() else { return uncounted(situation, about) };
    if let Some(reason) = suppressed(incident) {
        return Decision::WaitUntil { at: now + Span::minutes(5).chrono(), reason };
    }

    let names: BTreeSet<String> = incident.firing().map(|signal| signal.name.clone()).collect();
    let targets = firing_targets(incident);
    let matching = playbooks.candidates(&names, incident.root.as_ref(), &targets);
    if matching.is_empty() {
        return unmatched(situation, about, &names, first);
    }

    let mut not_applicable = Vec::new();
    let mut soonest: Option<(DateTime<Utc>, String)> = None;
    for Candidate { playbook, target } in matching {
        let target = target.unwrap_or_else(|| about.clone());
        match consider(situation, playbook, &target, first) {
            Considered::Decided(decision) => return explain(decision, &not_applicable),
            Considered::Later { at, reason } => {
                // A playbook that may yet apply must not be overtaken by one of lower priority.
                if soonest.as_ref().is_none_or(|(known, _)| at < *known) {
                    soonest = Some((at, format!("{}: {reason}", playbook.name)));
                }
                break;
            }
            Considered::DoesNotApply(reason) => not_applicable.push(format!("{}: {reason}", playbook.name)),
        }
    }
    if let Some((at, reason)) = soonest {
        return Decision::WaitUntil { at, reason };
    }
    let reason = not_applicable.join("; ");
    let patience = first + limits.patience.chrono();
    if now < patience {
        return Decision::WaitUntil { at: (now + limits.recheck.chrono()).min(patience), reason };
    }
    escalate(incident, about, format!("no playbook applies: {reason}"), None, limits, now)
}

/// None of the signals that are kept fires; there may be others.
fn uncounted(situation: Situation<'_>, about: &ObjectRef) -> Decision {
    let Situation { incident, limits, now, .. } = situation;
    let beyond = incident.signals_beyond;
    if beyond == 0 {
        return Decision::Ignore { reason: "all signals have ended".to_owned() };
    }
    let reason = format!("{beyond} more signals are firing about {about} than could be told apart");
    if matches!(told(incident, now), Told::Yes) || now < incident.opened_at + limits.patience.chrono() {
        return Decision::WaitUntil { at: now + Span::minutes(5).chrono(), reason };
    }
    escalate(incident, about, reason, None, limits, now)
}

/// Adds to a proposal why the playbooks of higher priority did not act.
fn explain(mut decision: Decision, not_applicable: &[String]) -> Decision {
    if let Decision::Propose { proposal, .. } | Decision::Escalate { proposal, .. } = &mut decision
        && !not_applicable.is_empty()
    {
        proposal.rationale.push_str(&format!(" Passed over: {}.", not_applicable.join("; ")));
        shorten(&mut proposal.rationale);
    }
    decision
}

/// What templates of a playbook can name.
pub fn vars(incident: &Incident, target: &ObjectRef) -> Vars {
    let mut signals: Vec<String> = incident.firing().map(|signal| signal.name.clone()).collect();
    signals.sort();
    signals.dedup();
    Vars {
        cluster: incident.cluster.clone(),
        incident: incident.id.clone(),
        signals,
        target: Some(target.clone()),
        root: incident.root.clone(),
    }
}

enum Considered {
    Decided(Decision),
    Later { at: DateTime<Utc>, reason: String },
    DoesNotApply(String),
}

fn consider(situation: Situation<'_>, playbook: &Loaded, target: &ObjectRef, first: DateTime<Utc>) -> Considered {
    let Situation { incident, limits, now, .. } = situation;
    let settled = first + playbook.spec.settle.chrono();
    if now < settled && incident.attempts.is_empty() {
        return Considered::Decided(Decision::WaitUntil {
            at: settled,
            reason: format!("left to settle for {} ({})", playbook.spec.settle, playbook.name),
        });
    }
    let (step, recurrence_of) = match rung(playbook, target, incident, limits, now) {
        Rung::Next { step, recurrence_of } => (step, recurrence_of),
        Rung::Wait { at, reason } => {
            return Considered::Decided(Decision::WaitUntil { at: at.max(now + Span::seconds(1).chrono()), reason });
        }
        Rung::Stop { reason } => return Considered::Decided(Decision::Ignore { reason }),
        Rung::Exhausted { reason, .. } if is_notify_only(playbook) => {
            // People have been told all there is to tell; what is above may still come to apply.
            let at = now + Span::minutes(5).chrono();
            return Considered::Decided(Decision::WaitUntil { at, reason });
        }
        Rung::Exhausted { reason, recurrence_of } => {
            return Considered::Decided(escalate(incident, target, reason, recurrence_of, limits, now));
        }
    };
    let acted_before =
        incident.attempts.iter().any(|attempt| is_about(attempt, playbook, target)) || recurrence_of.is_some();
    let needs_target = step.action.name().is_mutating() || !playbook.spec.when.is_empty();

    let mut because = Vec::new();
    if needs_target {
        let evidence = match situation.evidence.get(&playbook.name) {
            Some(evidence) if is_fresh(evidence, now) => evidence,
            _ => {
                return Considered::Decided(Decision::NeedEvidence {
                    playbook: playbook.name.clone(),
                    target: target.clone(),
                    reason: format!("{} asks about {target}", playbook.name),
                });
            }
        };
        let Some(snapshot) = &evidence.target else {
            return unknown(situation, target, first, format!("{target} could not be read"));
        };
        if let Some(reason) = left_alone(snapshot) {
            return Considered::Later { at: now + Span::minutes(1).chrono(), reason };
        }
        if let Some((at, reason)) = still_rolling_out(snapshot, playbook, now) {
            return Considered::Later { at, reason };
        }
        // The conditions say when to begin. Once a step was carried out they may have changed by it; the
        // gateway's indication still guards every further one.
        if !acted_before {
            for condition in &playbook.spec.when {
                let held = facts::holds(condition, evidence);
                match held.holds {
                    Some(true) => because.push(facts::describe(condition)),
                    Some(false) => {
                        return Considered::DoesNotApply(format!(
                            "{} (it is {})",
                            facts::describe(condition),
                            held.found
                        ));
                    }
                    None => {
                        return unknown(
                            situation,
                            target,
                            first,
                            format!("{}: {}", facts::describe(condition), held.found),
                        );
                    }
                }
            }
        }
        if step.action.name().is_mutating()
            && let Some(reason) = owned_by_someone_else(snapshot, step.action.name())
        {
            return Considered::Decided(escalate(incident, target, reason, recurrence_of, limits, now));
        }
    }

    let action = match &step.action {
        Action::Notify(notify) => match render(&notify.message, &vars(incident, target), Escape::Text) {
            Ok(message) => Action::Notify(Notify { message }),
            Err(error) => {
                let reason = format!("{}/{}: {error}", playbook.name, step.name);
                return Considered::Decided(escalate(incident, target, reason, recurrence_of, limits, now));
            }
        },
        other => other.clone(),
    };
    let reference =
        PlaybookStep { name: playbook.name.clone(), version: playbook.version.clone(), step: step.name.clone() };
    let rationale = rationale(incident, playbook, &because, now);
    let mut proposal = proposal(incident, target, action, reference, rationale, limits, now);
    // What the playbook is not for neither led to it nor tells, if it comes again, that it did not help.
    proposal.signals = signal_names(incident, |name| playbook.is_for(name));
    proposal.recurrence_of = recurrence_of;
    let escalates = matches!(proposal.action, Action::Escalate(_));
    if escalates {
        match told(incident, now) {
            Told::Yes => return Considered::Decided(Decision::Ignore { reason: "people have been told".to_owned() }),
            Told::NotBefore(at) => {
                let reason = "a call came to nothing, and is made again".to_owned();
                return Considered::Decided(Decision::WaitUntil { at, reason });
            }
            Told::No => {}
        }
    }
    Considered::Decided(if escalates {
        let reason = last_failure(incident).unwrap_or_else(|| playbook.spec.summary.clone());
        Decision::Escalate { proposal: Box::new(proposal), reason }
    } else {
        Decision::Propose { proposal: Box::new(proposal), recur_within: step.recur_within }
    })
}

fn is_notify_only(playbook: &Loaded) -> bool {
    playbook.spec.steps.iter().all(|step| step.action.name() == ActionName::Notify)
}

fn is_fresh(evidence: &Evidence, now: DateTime<Utc>) -> bool {
    evidence.target.as_ref().is_none_or(|snapshot| now - snapshot.taken_at <= EVIDENCE_FRESH_FOR.chrono())
}

/// Something can't be told: look again, and tell people when it stays so.
fn unknown(situation: Situation<'_>, target: &ObjectRef, first: DateTime<Utc>, reason: String) -> Considered {
    let Situation { incident, limits, now, .. } = situation;
    let patience = first.max(incident.opened_at) + limits.patience.chrono();
    if now < patience {
        return Considered::Later { at: (now + limits.recheck.chrono()).min(patience), reason };
    }
    Considered::Decided(escalate(incident, target, format!("can't tell what is wrong: {reason}"), None, limits, now))
}

fn unmatched(situation: Situation<'_>, about: &ObjectRef, names: &BTreeSet<String>, first: DateTime<Utc>) -> Decision {
    let Situation { incident, limits, now, .. } = situation;
    let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if incident.firing().all(|signal| signal.severity == Severity::Info) {
        return Decision::Ignore { reason: format!("no playbook for {names}, and it is only information") };
    }
    let settled = first + Span::minutes(2).chrono();
    if now < settled {
        return Decision::WaitUntil { at: settled, reason: format!("no playbook for {names}; left to settle") };
    }
    escalate(incident, about, format!("no playbook for {names}"), None, limits, now)
}

/// What holds for an object holds whoever spoke of it before; what holds for an alert leaves the others.
fn suppressed(incident: &Incident) -> Option<String> {
    let mut held = incident.firing().filter(|signal| signal.holds_object);
    if let Some(reason) = held.find_map(|signal| signal.suppressed.as_deref()) {
        return Some(format!("left alone: {reason}"));
    }
    let mut reasons = incident.firing().map(|signal| signal.suppressed.as_deref());
    let first = reasons.next()??;
    reasons.all(|reason| reason.is_some()).then(|| format!("left alone: {first}"))
}

/// What nobody but its owner should touch now.
fn left_alone(snapshot: &Snapshot) -> Option<String> {
    if let Some(reason) = &snapshot.suppressed {
        return Some(format!("left alone: {reason}"));
    }
    let mode = snapshot.meta.as_ref().and_then(|meta| meta.mode.as_deref());
    if mode == Some("off") {
        return Some(format!("{} is annotated {}=off", snapshot.target, evenkeel_model::MODE_ANNOTATION));
    }
    if snapshot.workload.as_ref().is_some_and(|workload| workload.paused) {
        return Some(format!("{} is paused", snapshot.target));
    }
    let by = snapshot.node.as_ref().and_then(|node| node.planned_disruption.as_ref())?;
    Some(format!("planned disruption of {} ({by})", snapshot.target))
}

/// A rollout whose new pods come up is given the settle time, from its beginning.
fn still_rolling_out(snapshot: &Snapshot, playbook: &Loaded, now: DateTime<Utc>) -> Option<(DateTime<Utc>, String)> {
    let began = snapshot.workload.as_ref()?.template_changed_at?;
    let until = began + playbook.spec.settle.chrono();
    (snapshot.rollout_in_progress() && now < until)
        .then(|| (until, format!("a rollout of {} is in progress since {began}", snapshot.target)))
}

fn owned_by_someone_else(snapshot: &Snapshot, action: ActionName) -> Option<String> {
    let meta = snapshot.meta.as_ref()?;
    let target = &snapshot.target;
    match action {
        ActionName::RollbackWorkload => {
            let owner = meta.git_ops.as_ref()?;
            let to = snapshot.last_available_revision();
            let images = to.map(|revision| revision.images.join(", ")).unwrap_or_default();
            Some(format!(
                "{target} is owned by {owner}: commit the change there; the last available revision ran {images}"
            ))
        }
        ActionName::ScaleWorkload => {
            if let Some(scaler) = &snapshot.scaled_by {
                return Some(format!("{target} is scaled by {scaler}: change that instead"));
            }
            meta.git_ops.as_ref().map(|owner| format!("{target} is owned by {owner}: commit the replicas there"))
        }
        _ => None,
    }
}

fn last_failure(incident: &Incident) -> Option<String> {
    let attempt = incident.attempts.iter().rev().find(|attempt| attempt.action.is_mutating())?;
    let phase = attempt.phase?;
    Some(format!("step {} ended {phase}: {}", attempt.playbook.step, attempt.reason))
}

fn rationale(incident: &Incident, playbook: &Loaded, because: &[String], now: DateTime<Utc>) -> String {
    let mut seen: Vec<String> = incident
        .firing()
        .map(|signal| {
            let target = signal.target.as_ref().map(|target| format!(" on {target}")).unwrap_or_default();
            let since = (now - signal.starts_at).to_std().map_or(0, |since| since.as_secs());
            format!("{}{target} for {}", signal.name, Span::seconds(since))
        })
        .collect();
    seen.sort();
    let more = seen.len().saturating_sub(3);
    seen.truncate(3);
    let mut text = seen.join("; ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    if !because.is_empty() {
        text.push_str(&format!(". {}", because.join("; ")));
    }
    if let Some(failure) = last_failure(incident) {
        text.push_str(&format!(". Before: {failure}"));
    }
    text.push_str(&format!(". {}", playbook.spec.summary));
    text
}

#[cfg(test)]
mod tests;

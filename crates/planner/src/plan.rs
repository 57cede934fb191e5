use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use evenkeel_model::{
    Action, ActionName, Evidence, Incident, Notify, ObjectRef, PlaybookStep, Severity, Snapshot, Span,
};
use evenkeel_playbook::{Candidate, Escape, Loaded, Playbooks, Vars, facts, render};

use crate::escalation::{escalate, proposal, shorten};
use crate::fold::firing_targets;
use crate::ladder::{Rung, rung};
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
    let Some(first) =
        incident.firing().map(|signal| signal.starts_at.max(incident.opened_at - Span::hours(1).chrono())).min()
    else {
        return Decision::Ignore { reason: "all signals have ended".to_owned() };
    };
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
    let (step, recurrence_of) = match rung(playbook, incident, limits, now) {
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
        incident.attempts.iter().any(|attempt| attempt.playbook.name == playbook.name) || recurrence_of.is_some();
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
                        return Considered::DoesNotApply(format!("{} ({})", facts::describe(condition), held.found));
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
    proposal.recurrence_of = recurrence_of;
    let escalates = matches!(proposal.action, Action::Escalate(_));
    if escalates && incident.attempts.iter().any(|attempt| attempt.action == ActionName::Escalate) {
        return Considered::Decided(Decision::Ignore { reason: "people have been told".to_owned() });
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

fn suppressed(incident: &Incident) -> Option<String> {
    let mut reasons = incident.firing().map(|signal| signal.suppressed.as_deref());
    let first = reasons.next()??;
    reasons.all(|reason| reason.is_some()).then(|| format!("left alone: {first}"))
}

/// What nobody but its owner should touch now.
fn left_alone(snapshot: &Snapshot) -> Option<String> {
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
mod tests {
    use evenkeel_model::{Attempt, Meta, Phase, Pod, Revision, SignalState, Workload};

    use super::*;
    use crate::testing::{at, cart, firing};
    use crate::{Arrival, fold, record};

    const ROLL_BACK: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: bad-rollout}
spec:
  summary: Go back to the last revision that was available.
  priority: 100
  match: {signals: [CrashLoopBackOff], kinds: [Deployment]}
  settle: 1m
  when:
    - {fact: target.unavailableReplicas, op: AtLeast, value: 1}
    - {fact: target.lastAvailableRevision, op: Exists}
  steps:
    - name: roll-back
      do: {rollbackWorkload: {to: LastAvailable}}
      verify: {within: 5m, hold: 30s, that: [{fact: target.well, op: Equals, value: true}]}
    - name: restart
      do: {restartWorkload: {}}
      verify: {within: 5m, hold: 30s, that: [{fact: target.well, op: Equals, value: true}]}
    - name: hand-over
      do: {escalate: {severity: Page}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: tell}
spec:
  summary: Tell people.
  priority: -100
  match: {signals: ["*"]}
  settle: 1m
  steps:
    - name: tell
      do: {notify: {message: "{{incident.signals}} on {{target.name}}"}}
"#;

    fn playbooks() -> Playbooks {
        let loaded = evenkeel_playbook::parse(ROLL_BACK, "test.yaml").unwrap();
        let (playbooks, problems) = Playbooks::new(loaded);
        assert!(problems.is_empty(), "{problems:?}");
        playbooks
    }

    fn incident(arrivals: &[Arrival]) -> Incident {
        fold(None, arrivals, at(0)).unwrap()
    }

    fn broken(now: DateTime<Utc>) -> Snapshot {
        let revision = |number: i64, available| Revision {
            number,
            name: format!("cart-{number}"),
            uid: format!("rs-{number}"),
            template_hash: format!("t{number}"),
            created_at: at(-600),
            available,
            was_available: false,
            images: vec![format!("cart:{number}")],
        };
        Snapshot {
            target: cart(),
            taken_at: now,
            meta: Some(Meta {
                uid: "u-cart".to_owned(),
                resource_version: "7".to_owned(),
                created_at: at(-6_000),
                deleted_at: None,
                mode: None,
                stamp: None,
                git_ops: None,
                controller: None,
                writers: vec![],
            }),
            workload: Some(Workload {
                desired: 3,
                current: 4,
                updated: 1,
                ready: 2,
                available: 2,
                observed: true,
                paused: false,
                revision: Some(2),
                template_hash: "t2".to_owned(),
                template_changed_at: Some(at(-60)),
                deadline_exceeded: false,
                replica_failure: None,
                stateful: false,
            }),
            pod: None,
            node: None,
            job: None,
            pods: vec![Pod {
                name: "cart-2-a".to_owned(),
                uid: "p".to_owned(),
                phase: "Running".to_owned(),
                ready: false,
                ready_since: None,
                deleted_at: None,
                overdue: false,
                node: None,
                restarts: 4,
                waiting: vec!["CrashLoopBackOff".to_owned()],
                terminated: vec!["Error".to_owned()],
                unschedulable: None,
                revision_hash: None,
                created_at: at(-60),
            }],
            revisions: vec![revision(2, 0), revision(1, 2)],
            scaled_by: None,
        }
    }

    struct World {
        playbooks: Playbooks,
        limits: PlanLimits,
        snapshot: Option<Snapshot>,
    }

    impl World {
        fn new() -> Self {
            Self { playbooks: playbooks(), limits: PlanLimits::default(), snapshot: Some(broken(at(0))) }
        }

        /// Decides with evidence as the world is at `now`, as a reasoner would that asks when told to.
        fn decide(&self, incident: &Incident, now: DateTime<Utc>) -> Decision {
            let fallback = ObjectRef::cluster_scoped(evenkeel_model::Kind::Namespace, "evenkeel");
            let mut evidence = BTreeMap::new();
            loop {
                let decision = plan(Situation {
                    incident,
                    playbooks: &self.playbooks,
                    evidence: &evidence,
                    fallback: &fallback,
                    limits: &self.limits,
                    now,
                });
                let Decision::NeedEvidence { playbook, .. } = &decision else { return decision };
                let target = self.snapshot.clone().map(|snapshot| Snapshot { taken_at: now, ..snapshot });
                let before = evidence.insert(playbook.clone(), Evidence { target, ..Evidence::default() });
                assert!(before.is_none(), "asked twice for {playbook}");
            }
        }
    }

    fn proposed(decision: Decision) -> evenkeel_model::Proposal {
        match decision {
            Decision::Propose { proposal, .. } | Decision::Escalate { proposal, .. } => *proposal,
            other => panic!("expected a proposal, found {other:?}"),
        }
    }

    fn attempt(proposal: &evenkeel_model::Proposal, phase: Option<Phase>, ended_at: DateTime<Utc>) -> Attempt {
        Attempt {
            number: proposal.number,
            remediation: proposal.name(),
            playbook: proposal.playbook.clone(),
            action: proposal.action.name(),
            target: proposal.target.clone(),
            proposed_at: proposal.proposed_at,
            expires_at: proposal.expires_at,
            proposal: None,
            signals: proposal.signals.clone(),
            recur_within: Span::hours(24),
            phase,
            reason: "it was so".to_owned(),
            ended_at: phase.map(|_| ended_at),
        }
    }

    #[test]
    fn what_may_heal_by_itself_is_left_to_settle() {
        let world = World::new();
        let incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        let decision = world.decide(&incident, at(30));
        assert!(matches!(&decision, Decision::WaitUntil { at: until, .. } if *until == at(60)), "{decision:?}");
        let proposal = proposed(world.decide(&incident, at(60)));
        assert_eq!(proposal.playbook.step, "roll-back");
        assert_eq!(proposal.target, cart());
        assert_eq!(proposal.number, 1);
        assert!(proposal.expires_at - proposal.proposed_at <= Span::hours(1).chrono());
    }

    #[test]
    fn one_proposal_is_open_at_a_time() {
        let world = World::new();
        let mut incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        let first = proposed(world.decide(&incident, at(60)));
        incident.attempts.push(attempt(&first, None, at(60)));
        assert!(matches!(world.decide(&incident, at(90)), Decision::WaitUntil { .. }));
    }

    #[test]
    fn a_step_that_did_not_help_is_never_repeated_and_the_ladder_ends_with_people() {
        let world = World::new();
        let mut incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        let mut steps = vec![];
        for (n, phase) in [Phase::NotUndoable, Phase::RolledBack, Phase::Succeeded].into_iter().enumerate() {
            let now = at(60 + 60 * i64::try_from(n).unwrap());
            let proposal = proposed(world.decide(&incident, now));
            steps.push(proposal.playbook.step.clone());
            incident.attempts.push(attempt(&proposal, Some(phase), now));
        }
        assert_eq!(steps, ["roll-back", "restart", "hand-over"]);
        assert!(matches!(world.decide(&incident, at(600)), Decision::Ignore { .. }));
    }

    #[test]
    fn the_same_signal_again_goes_on_where_the_ladder_ended_and_says_so() {
        let world = World::new();
        let mut first = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        let proposal = proposed(world.decide(&first, at(60)));
        first.attempts.push(attempt(&proposal, Some(Phase::Succeeded), at(200)));
        for signal in first.signals.values_mut() {
            signal.state = SignalState::Resolved;
        }
        assert!(crate::close_if_over(&mut first, at(210)));
        let again = fold(Some(first), &[firing("CrashLoopBackOff", "cart-b", at(4_000))], at(4_000)).unwrap();
        let next = proposed(world.decide(&again, at(4_100)));
        assert_eq!(next.playbook.step, "restart");
        assert_eq!(next.recurrence_of, Some(proposal.name()));
    }

    #[test]
    fn what_recurs_only_after_its_time_is_a_new_trouble() {
        let world = World::new();
        let mut first = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        let proposal = proposed(world.decide(&first, at(60)));
        first.attempts.push(attempt(&proposal, Some(Phase::Succeeded), at(200)));
        for signal in first.signals.values_mut() {
            signal.state = SignalState::Resolved;
        }
        crate::close_if_over(&mut first, at(210));
        let later = at(210 + 25 * 3600);
        let again = fold(Some(first), &[firing("CrashLoopBackOff", "cart-b", later)], later).unwrap();
        let next = proposed(world.decide(&again, later + Span::minutes(2).chrono()));
        assert_eq!((next.playbook.step.as_str(), next.recurrence_of), ("roll-back", None));
    }

    #[test]
    fn audit_mode_climbs_no_further() {
        let world = World::new();
        let mut incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        let first = proposed(world.decide(&incident, at(60)));
        incident.attempts.push(attempt(&first, Some(Phase::WouldExecute), at(61)));
        assert!(matches!(world.decide(&incident, at(900)), Decision::Ignore { .. }));
    }

    #[test]
    fn what_git_owns_is_handed_over_with_the_change_to_commit() {
        let mut world = World::new();
        if let Some(meta) = world.snapshot.as_mut().and_then(|snapshot| snapshot.meta.as_mut()) {
            meta.git_ops = Some("Argo CD (shop/cart)".to_owned());
        }
        let incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        let Decision::Escalate { reason, .. } = world.decide(&incident, at(60)) else { panic!() };
        assert_eq!(
            reason,
            "deployment/shop/cart is owned by Argo CD (shop/cart): commit the change there; the last available revision ran cart:1"
        );
    }

    #[test]
    fn an_unreadable_target_is_neither_acted_on_nor_forgotten() {
        let mut world = World::new();
        world.snapshot = None;
        let incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        assert!(matches!(world.decide(&incident, at(60)), Decision::WaitUntil { .. }));
        assert!(matches!(world.decide(&incident, at(2_000)), Decision::Escalate { .. }));
    }

    #[test]
    fn a_healthy_target_of_a_forged_alert_gets_no_mutating_proposal() {
        let mut world = World::new();
        if let Some(workload) = world.snapshot.as_mut().and_then(|snapshot| snapshot.workload.as_mut()) {
            (workload.current, workload.updated, workload.ready, workload.available) = (3, 3, 3, 3);
        }
        world.snapshot.as_mut().unwrap().pods.clear();
        let incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        for now in [60, 300, 900, 4_000] {
            if let Decision::Propose { proposal, .. } = world.decide(&incident, at(now)) {
                assert!(!proposal.action.name().is_mutating(), "{proposal:?}");
            }
        }
    }

    #[test]
    fn an_unknown_signal_is_told_to_people_once() {
        let world = World::new();
        let mut incident = incident(&[firing("SomethingElse", "cart-a", at(0))]);
        let tell = proposed(world.decide(&incident, at(60)));
        assert_eq!(tell.action, Action::Notify(Notify { message: "SomethingElse on cart".to_owned() }));
        incident.attempts.push(attempt(&tell, Some(Phase::Succeeded), at(61)));
        assert!(matches!(world.decide(&incident, at(120)), Decision::WaitUntil { .. }));
    }

    #[test]
    fn a_lost_outcome_reaches_people_in_the_end() {
        let world = World::new();
        let mut incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        let first = proposed(world.decide(&incident, at(60)));
        incident.attempts.push(attempt(&first, None, at(60)));
        assert!(matches!(world.decide(&incident, at(4 * 3600)), Decision::Escalate { .. }));
    }

    #[test]
    fn members_of_a_wave_do_not_propose() {
        let world = World::new();
        let mut incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        incident.parent = Some(ObjectRef::cluster_scoped(evenkeel_model::Kind::Node, "worker-1"));
        assert!(matches!(world.decide(&incident, at(600)), Decision::Ignore { .. }));
    }

    #[test]
    fn an_outcome_is_noted_once_and_only_a_regression_replaces_it() {
        let world = World::new();
        let mut incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
        let first = proposed(world.decide(&incident, at(60)));
        incident.attempts.push(attempt(&first, None, at(60)));
        let mut outcome = evenkeel_model::Outcome {
            remediation: first.name(),
            incident: incident.id.clone(),
            number: 1,
            target: cart(),
            root: cart(),
            action: ActionName::RollbackWorkload,
            playbook: first.playbook.clone(),
            phase: Phase::Succeeded,
            reason: String::new(),
            target_well: Some(true),
            ended_at: at(100),
        };
        assert!(record(&mut incident, &outcome, at(101)));
        assert!(!record(&mut incident, &outcome, at(102)));
        outcome.phase = Phase::Obsolete;
        assert!(!record(&mut incident, &outcome, at(103)));
        outcome.phase = Phase::Regressed;
        assert!(record(&mut incident, &outcome, at(104)));
        assert_eq!(incident.attempts[0].phase, Some(Phase::Regressed));
    }
}

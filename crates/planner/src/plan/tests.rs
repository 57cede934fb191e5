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
  match: {signals: [CrashLoopBackOff, OOMKilled, ReplicasUnavailable], kinds: [Deployment]}
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
        owner: None,
        suppressed: None,
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

const STUCK_POD: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: stuck}
spec:
  summary: Delete it.
  priority: 200
  match: {signals: [PodStuckOnNode], kinds: [Pod]}
  settle: 1m
  when: [{fact: target.podReady, op: Equals, value: false}]
  steps:
    - name: delete
      do: {deletePod: {}}
      verify: {within: 5m, hold: 30s, that: [{fact: target.well, op: Equals, value: true}]}
    - name: hand-over
      do: {escalate: {severity: Page}}
"#;

/// Two pods of one root are stuck, and deleting one of them ended in `phase`: what is next for the other.
fn next_for_the_other_pod(ready: bool, phase: Phase) -> Decision {
    let (playbooks, problems) = Playbooks::new(evenkeel_playbook::parse(STUCK_POD, "test.yaml").unwrap());
    assert!(problems.is_empty(), "{problems:?}");
    let mut snapshot = broken(at(0));
    snapshot.target = ObjectRef::namespaced(evenkeel_model::Kind::Pod, "shop", "cart-a");
    snapshot.workload = None;
    snapshot.pod = snapshot.pods.pop();
    let mut world = World { playbooks, snapshot: Some(snapshot), ..World::new() };
    let arrivals = ["cart-a", "cart-b"].map(|pod| firing("PodStuckOnNode", pod, at(0)));
    let mut incident = incident(&arrivals);
    let first = proposed(world.decide(&incident, at(60)));
    assert_eq!((first.playbook.step.as_str(), first.target.name.as_str()), ("delete", "cart-a"));
    incident.attempts.push(attempt(&first, Some(phase), at(200)));
    let ended = crate::testing::resolved("PodStuckOnNode", "cart-a", at(0), at(90));
    let incident = fold(Some(incident), &[ended], at(200)).unwrap();
    world.snapshot.as_mut().unwrap().pod.as_mut().unwrap().ready = ready;
    world.decide(&incident, at(210))
}

#[test]
fn what_helped_one_object_of_a_root_is_done_for_the_other() {
    let next = proposed(next_for_the_other_pod(false, Phase::Succeeded));
    assert_eq!((next.playbook.step.as_str(), next.target.name.as_str(), next.number), ("delete", "cart-b", 2));
}

#[test]
fn what_did_not_help_one_object_of_a_root_is_not_tried_on_the_other() {
    let next = proposed(next_for_the_other_pod(false, Phase::NotUndoable));
    assert_eq!((next.playbook.step.as_str(), next.target.name.as_str()), ("hand-over", "cart-b"));
}

#[test]
fn the_other_object_has_to_need_it_too() {
    let next = next_for_the_other_pod(true, Phase::Succeeded);
    assert!(matches!(next, Decision::WaitUntil { .. }), "{next:?}");
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

/// What is proposed when `now` fires after a roll-back for `then` had helped.
fn proposed_again(then: &[&str], now: &[&str]) -> evenkeel_model::Proposal {
    let world = World::new();
    let firing_at = |names: &[&str], seconds| -> Vec<Arrival> {
        names.iter().map(|name| firing(name, &format!("cart-{seconds}"), at(seconds))).collect()
    };
    let mut first = incident(&firing_at(then, 0));
    let proposal = proposed(world.decide(&first, at(60)));
    assert_eq!(proposal.playbook.step, "roll-back");
    first.attempts.push(attempt(&proposal, Some(Phase::Succeeded), at(200)));
    for signal in first.signals.values_mut() {
        signal.state = SignalState::Resolved;
    }
    assert!(crate::close_if_over(&mut first, at(210)));
    let again = fold(Some(first), &firing_at(now, 4_000), at(4_000)).unwrap();
    proposed(world.decide(&again, at(4_100)))
}

#[test]
fn signals_of_another_kind_do_not_say_that_a_step_did_not_help() {
    for (then, now) in [
        (&["CrashLoopBackOff"][..], &["OOMKilled"][..]),
        (&["CrashLoopBackOff", "ReplicasUnavailable"], &["OOMKilled", "ReplicasUnavailable"]),
        // An alert of the user's own that the playbook is not for.
        (&["CrashLoopBackOff", "HighErrorRate"], &["OOMKilled", "HighErrorRate"]),
    ] {
        let next = proposed_again(then, now);
        assert_eq!((next.playbook.step.as_str(), next.recurrence_of), ("roll-back", None), "{then:?} {now:?}");
    }
    for (then, now) in [
        (&["CrashLoopBackOff"][..], &["CrashLoopBackOff", "OOMKilled", "ReplicasUnavailable"][..]),
        (&["CrashLoopBackOff", "OOMKilled"], &["CrashLoopBackOff", "HighErrorRate"]),
        (&["ReplicasUnavailable"], &["CrashLoopBackOff", "ReplicasUnavailable"]),
    ] {
        let next = proposed_again(then, now);
        assert_eq!(next.playbook.step, "restart", "{then:?} {now:?}");
        assert!(next.recurrence_of.is_some());
    }
}

#[test]
fn a_proposal_names_the_signals_its_playbook_is_for() {
    let world = World::new();
    let incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0)), firing("HighErrorRate", "cart-a", at(0))]);
    assert_eq!(proposed(world.decide(&incident, at(60))).signals, ["CrashLoopBackOff"]);
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
fn a_call_that_came_to_nothing_is_made_again_ever_later() {
    let world = World::new();
    let mut incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
    for _ in 0..2 {
        let step = proposed(world.decide(&incident, at(61)));
        assert!(step.action.name().is_mutating(), "{step:?}");
        incident.attempts.push(attempt(&step, Some(Phase::RolledBack), at(61)));
    }
    let mut now = at(61);
    for (phase, pause) in [(Phase::Expired, 60), (Phase::Denied, 120), (Phase::Failed, 240)] {
        let call = proposed(world.decide(&incident, now));
        assert!(matches!(call.action, Action::Escalate(_)), "{call:?}");
        incident.attempts.push(attempt(&call, Some(phase), now));
        let Decision::WaitUntil { at, .. } = world.decide(&incident, now) else { panic!("called again at once") };
        assert_eq!(at, now + Span::seconds(pause).chrono());
        now = at;
    }
    let call = proposed(world.decide(&incident, now));
    incident.attempts.push(attempt(&call, Some(Phase::Succeeded), now));
    assert!(matches!(world.decide(&incident, now + Span::hours(3).chrono()), Decision::Ignore { .. }));
}

#[test]
fn a_proposal_is_kept_to_be_sent_again_until_it_is_on_the_bus() {
    let world = World::new();
    let mut incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
    let decision = world.decide(&incident, at(60));
    crate::apply(&mut incident, &decision, at(60));
    let proposal = proposed(decision);
    let look = |incident: &mut Incident| {
        let decision = world.decide(incident, at(90));
        crate::apply(incident, &decision, at(90));
        incident.wake_at.unwrap() - at(90)
    };
    assert_eq!(incident.attempts[0].proposal.as_deref(), Some(&proposal));
    assert!(look(&mut incident) <= Span::minutes(2).chrono());
    assert!(crate::note_published(&mut incident, &proposal.name()));
    assert!(!crate::note_published(&mut incident, &proposal.name()), "known by now");
    assert_eq!(incident.attempts[0].proposal, None);
    assert!(look(&mut incident) > Span::hours(1).chrono(), "its outcome wakes it");
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

/// What is decided without evidence about one crash loop, by when it is said to have begun.
fn decided_of_a_beginning(began: DateTime<Utc>, now: DateTime<Utc>) -> Decision {
    plan(Situation {
        incident: &incident(&[firing("CrashLoopBackOff", "cart-1", began)]),
        playbooks: &playbooks(),
        evidence: &BTreeMap::new(),
        fallback: &cart(),
        limits: &PlanLimits::default(),
        now,
    })
}

#[test]
fn a_time_at_the_end_of_the_calendar_is_no_panic() {
    let far: DateTime<Utc> = serde_json::from_str("\"+262142-12-31T23:59:59Z\"").unwrap();
    assert_eq!(decided_of_a_beginning(far, at(10)).name(), "WaitUntil", "left to settle from when it was heard of");
}

#[test]
fn a_beginning_in_the_future_does_not_put_off_the_settle_time() {
    let decision = decided_of_a_beginning(at(3600), at(120));
    assert_ne!(decision.name(), "WaitUntil", "settled for two minutes by our clock");
}

#[test]
fn a_lost_outcome_does_not_hold_the_incident_open_for_ever() {
    use crate::{apply, close_if_over};
    let mut incident = incident(&[firing("CrashLoopBackOff", "cart-1", at(0))]);
    let (playbooks, fallback, limits) = (playbooks(), cart(), PlanLimits::default());
    let propose = |incident: &Incident, now| {
        let evidence = BTreeMap::from([(
            "bad-rollout".to_owned(),
            Evidence { target: Some(broken(now)), named: BTreeMap::new() },
        )]);
        plan(Situation {
            incident,
            playbooks: &playbooks,
            evidence: &evidence,
            fallback: &fallback,
            limits: &limits,
            now,
        })
    };
    let first = propose(&incident, at(90));
    assert_eq!(first.name(), "Propose", "{first:?}");
    apply(&mut incident, &first, at(90));
    // Somebody deleted the Remediation: no Outcome ever comes.
    let late = at(90 + 900 + 7200 + 60);
    let told = propose(&incident, late);
    let Decision::Escalate { proposal, .. } = &told else { panic!("{told:?}") };
    apply(&mut incident, &told, late);
    let outcome = evenkeel_model::Outcome {
        remediation: proposal.name(),
        incident: incident.id.clone(),
        number: proposal.number,
        target: proposal.target.clone(),
        root: proposal.root.clone(),
        action: proposal.action.name(),
        playbook: proposal.playbook.clone(),
        phase: Phase::Succeeded,
        reason: "told".to_owned(),
        target_well: None,
        ended_at: late,
    };
    assert!(record(&mut incident, &outcome, late));
    let ended = crate::testing::resolved("CrashLoopBackOff", "cart-1", at(0), late + Span::minutes(10).chrono());
    incident = fold(Some(incident), &[ended], late + Span::minutes(10).chrono()).unwrap();
    assert!(close_if_over(&mut incident, late + Span::minutes(11).chrono()), "open for ever: {:?}", incident.attempts);
}

fn held(mut arrival: Arrival, observed_at: i64, reason: Option<&str>, of_object: bool) -> Arrival {
    arrival.signal.id.push_str(&format!("/{observed_at}"));
    arrival.signal.observed_at = at(observed_at);
    arrival.signal.suppressed = reason.map(ToOwned::to_owned);
    arrival.signal.holds_object = of_object;
    arrival
}

#[test]
fn what_is_said_of_the_object_holds_whatever_another_signal_said_before() {
    let world = World::new();
    let posted = firing("CartBroken", "cart-9", at(0));
    let seen = || firing("CrashLoopBackOff", "cart-a", at(0));
    let silenced = held(seen(), 30, Some("silenced by ana"), true);
    let incident = incident(&[posted, seen(), silenced]);
    let Decision::WaitUntil { reason, .. } = world.decide(&incident, at(120)) else { panic!("acts in spite of it") };
    assert_eq!(reason, "left alone: silenced by ana");
    // Neither does an older word that comes late lift it, nor does it last longer than the silence.
    let late = fold(Some(incident), &[held(seen(), 20, None, false)], at(121)).unwrap();
    assert_eq!(world.decide(&late, at(121)).name(), "WaitUntil");
    let lifted = fold(Some(late), &[held(seen(), 130, None, false)], at(130)).unwrap();
    assert_eq!(world.decide(&lifted, at(130)).name(), "Propose");
}

#[test]
fn what_is_said_of_one_alert_leaves_the_others() {
    let world = World::new();
    let inhibited = held(firing("CartBroken", "cart-9", at(0)), 5, Some("inhibited by another alert"), false);
    let one = incident(std::slice::from_ref(&inhibited));
    assert_eq!(world.decide(&one, at(120)).name(), "WaitUntil");
    let both = incident(&[inhibited, firing("CrashLoopBackOff", "cart-a", at(0))]);
    assert_eq!(world.decide(&both, at(120)).name(), "Propose");
}

#[test]
fn what_the_observer_says_of_the_object_now_is_waited_for() {
    let mut world = World::new();
    world.snapshot.as_mut().unwrap().suppressed = Some("silenced by ana".to_owned());
    let incident = incident(&[firing("CrashLoopBackOff", "cart-a", at(0))]);
    let Decision::WaitUntil { reason, .. } = world.decide(&incident, at(120)) else { panic!("acts in spite of it") };
    assert_eq!(reason, "bad-rollout: left alone: silenced by ana");
}

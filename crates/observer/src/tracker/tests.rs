use evenkeel_model::{Kind, ObjectRef, Severity, Source};

use super::*;
use crate::world::fixture::at;

fn found(name: &str, mark: &str) -> Found {
    Found {
        signal: Signal {
            id: String::new(),
            source: Source::Kubernetes,
            name: name.to_owned(),
            state: SignalState::Firing,
            severity: Severity::Warning,
            cluster: "test".to_owned(),
            target: Some(ObjectRef::namespaced(Kind::Pod, "shop", "cart-1").with_uid("u1")),
            root: None,
            causes: Vec::new(),
            labels: BTreeMap::new(),
            summary: String::new(),
            suppressed: None,
            holds_object: false,
            starts_at: at(0),
            ends_at: None,
            observed_at: at(0),
        },
        mark: mark.to_owned(),
        since: Some(at(0)),
        after: Span::seconds(0),
        until: None,
    }
}

fn tracker() -> Tracker {
    Tracker::new(Damping::default(), 100)
}

/// Tells the bus all there is to tell.
fn tell(tracker: &mut Tracker, now: i64) -> Vec<Signal> {
    let taken = tracker.take(100, at(now), |_, _| true);
    taken
        .into_iter()
        .map(|telling| {
            let signal = telling.signal.clone();
            tracker.told(telling);
            signal
        })
        .collect()
}

fn states(signals: &[Signal]) -> Vec<SignalState> {
    signals.iter().map(|signal| signal.state).collect()
}

fn observe(tracker: &mut Tracker, all: Vec<Found>, now: i64) {
    tracker.observe("u1", Group::Status, all, at(now));
}

const FIRING: SignalState = SignalState::Firing;
const RESOLVED: SignalState = SignalState::Resolved;

#[test]
fn a_trouble_is_told_once_and_its_end_once() {
    let mut tracker = tracker();
    observe(&mut tracker, vec![found("A", "1")], 1);
    let first = tell(&mut tracker, 1);
    assert_eq!(states(&first), [FIRING]);
    for now in 2..5 {
        observe(&mut tracker, vec![found("A", "1")], now);
        assert!(tell(&mut tracker, now).is_empty());
    }
    observe(&mut tracker, Vec::new(), 6);
    let end = tell(&mut tracker, 6);
    assert_eq!(states(&end), [RESOLVED]);
    assert_eq!((end[0].ends_at, end[0].starts_at), (Some(at(6)), at(0)));
    assert_ne!(first[0].id, end[0].id);
}

#[test]
fn ids_are_those_of_the_transition_whoever_sees_it() {
    let id = |mark: &str, now| {
        let mut tracker = tracker();
        observe(&mut tracker, vec![found("A", mark)], now);
        tell(&mut tracker, now)[0].id.clone()
    };
    assert_eq!(id("1", 1), id("1", 500), "another process, later");
    assert_ne!(id("1", 1), id("2", 1));
}

#[test]
fn another_mark_is_news_and_the_same_again_after_its_end_is_too() {
    let mut tracker = tracker();
    observe(&mut tracker, vec![found("A", "1")], 1);
    let first = tell(&mut tracker, 1);
    observe(&mut tracker, vec![found("A", "2")], 2);
    let second = tell(&mut tracker, 2);
    assert_eq!(states(&second), [FIRING]);
    observe(&mut tracker, Vec::new(), 3);
    tell(&mut tracker, 3);
    observe(&mut tracker, vec![found("A", "2")], 4);
    let third = tell(&mut tracker, 4);
    assert_eq!(states(&third), [FIRING]);
    let ids: BTreeSet<_> = [&first, &second, &third].iter().map(|told| told[0].id.clone()).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn what_begins_again_begins_after_its_end_although_something_stayed_so() {
    // A pod stays unready from one failed pull of its image to the next.
    let mut tracker = tracker();
    observe(&mut tracker, vec![found("A", "1")], 1);
    assert_eq!(tell(&mut tracker, 1)[0].starts_at, at(0));
    observe(&mut tracker, Vec::new(), 5);
    assert_eq!(tell(&mut tracker, 5)[0].ends_at, Some(at(5)));
    observe(&mut tracker, vec![found("A", "1")], 7);
    assert_eq!(tell(&mut tracker, 7)[0].starts_at, at(7));
    observe(&mut tracker, Vec::new(), 9);
    tell(&mut tracker, 9);
    // What must last first, lasts from its beginning, not from the last time that it was seen.
    let slow = || Found { after: Span::seconds(10), ..found("A", "1") };
    observe(&mut tracker, vec![slow()], 20);
    observe(&mut tracker, vec![slow()], 25);
    tracker.tick(at(30), true);
    assert_eq!(tell(&mut tracker, 30)[0].starts_at, at(20));
}

#[test]
fn what_must_last_is_told_when_it_has() {
    let mut tracker = tracker();
    let slow = || Found { after: Span::seconds(10), since: None, ..found("A", "1") };
    observe(&mut tracker, vec![slow()], 1);
    assert!(tell(&mut tracker, 1).is_empty());
    tracker.tick(at(10), true);
    assert!(tell(&mut tracker, 10).is_empty());
    tracker.tick(at(11), true);
    let told = tell(&mut tracker, 11);
    assert_eq!((states(&told), told[0].starts_at), (vec![FIRING], at(1)));
    observe(&mut tracker, Vec::new(), 12);
    tell(&mut tracker, 12);
    observe(&mut tracker, vec![slow()], 20);
    observe(&mut tracker, Vec::new(), 25);
    tracker.tick(at(40), true);
    assert!(tell(&mut tracker, 40).is_empty(), "it did not last");
}

#[test]
fn what_ends_by_itself_does_so_only_while_somebody_looks() {
    let mut tracker = tracker();
    observe(&mut tracker, vec![Found { until: Some(at(10)), ..found("A", "1") }], 1);
    assert_eq!(states(&tell(&mut tracker, 1)), [FIRING]);
    tracker.tick(at(10), false);
    assert!(tell(&mut tracker, 10).is_empty(), "a watch is broken");
    tracker.tick(at(14), true);
    assert!(tell(&mut tracker, 14).is_empty());
    tracker.tick(at(15), true);
    assert_eq!(states(&tell(&mut tracker, 15)), [RESOLVED]);
}

#[test]
fn flapping_is_held_firing_until_it_is_quiet() {
    let mut tracker = tracker();
    for round in 0..4 {
        observe(&mut tracker, vec![found("A", &round.to_string())], round * 10);
        assert_eq!(states(&tell(&mut tracker, round * 10)), [FIRING]);
        observe(&mut tracker, Vec::new(), round * 10 + 5);
        let told = tell(&mut tracker, round * 10 + 5);
        assert_eq!(states(&told), if round < 3 { vec![RESOLVED] } else { vec![] }, "round {round}");
    }
    observe(&mut tracker, vec![found("A", "3")], 40);
    assert!(tell(&mut tracker, 40).is_empty(), "held: no news");
    observe(&mut tracker, Vec::new(), 45);
    tracker.tick(at(344), true);
    assert!(tell(&mut tracker, 344).is_empty());
    tracker.tick(at(345), true);
    assert_eq!(states(&tell(&mut tracker, 345)), [RESOLVED]);
}

#[test]
fn what_flaps_on_is_held_however_long_it_does() {
    let mut tracker = tracker();
    let mut told = Vec::new();
    for round in 0..30 {
        observe(&mut tracker, vec![found("A", "1")], round * 60);
        tracker.tick(at(round * 60), true);
        told.extend(states(&tell(&mut tracker, round * 60)));
        observe(&mut tracker, Vec::new(), round * 60 + 40);
        told.extend(states(&tell(&mut tracker, round * 60 + 40)));
    }
    let resolved = told.iter().filter(|state| **state == RESOLVED).count();
    assert_eq!((resolved, told.last()), (3, Some(&FIRING)), "{told:?}");
}

#[test]
fn what_the_bus_has_not_taken_is_told_again_and_only_as_it_is_by_then() {
    let mut tracker = tracker();
    observe(&mut tracker, vec![found("A", "1")], 1);
    let taken = tracker.take(100, at(1), |_, _| true);
    assert!(tracker.take(100, at(1), |_, _| true).is_empty(), "under way");
    for telling in taken {
        tracker.not_told(telling.key);
    }
    observe(&mut tracker, vec![found("A", "2")], 2);
    let told = tell(&mut tracker, 3);
    assert_eq!(told.len(), 1);
    observe(&mut tracker, vec![found("B", "1")], 4);
    observe(&mut tracker, Vec::new(), 5);
    assert_eq!(states(&tell(&mut tracker, 5)), [RESOLVED], "A's end; B came and went unseen");
}

#[test]
fn an_object_that_is_gone_takes_its_trouble_along() {
    let mut tracker = tracker();
    observe(&mut tracker, vec![found("A", "1"), found("B", "1")], 1);
    tracker.see("u1", Group::Events, found("C", "1"), at(1));
    tell(&mut tracker, 1);
    tracker.gone("u1", at(2));
    assert_eq!(states(&tell(&mut tracker, 2)), [RESOLVED; 3]);
    assert_eq!(tracker.counts(), (0, 0, 0, 0), "nothing is remembered");
}

#[test]
fn groups_end_only_their_own() {
    let mut tracker = tracker();
    observe(&mut tracker, vec![found("A", "1")], 1);
    tracker.see("u1", Group::Events, found("B", "1"), at(1));
    tell(&mut tracker, 1);
    observe(&mut tracker, Vec::new(), 2);
    let told = tell(&mut tracker, 2);
    assert_eq!((told.len(), told[0].name.as_str()), (1, "A"));
}

#[test]
fn a_change_of_suppression_is_news() {
    let mut tracker = tracker();
    observe(&mut tracker, vec![found("A", "1")], 1);
    let mut ids = BTreeSet::new();
    for (now, suppressed) in [(1, false), (2, true), (3, true), (4, false)] {
        tracker.look_again();
        let taken = tracker.take(100, at(now), |signal, _| {
            signal.suppressed = suppressed.then(|| "paused".to_owned());
            true
        });
        for telling in taken {
            ids.insert((now, telling.signal.id.clone()));
            tracker.told(telling);
        }
    }
    assert_eq!(ids.iter().map(|(now, _)| *now).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(ids.iter().map(|(_, id)| id).collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn what_waits_for_its_owners_keeps_its_place() {
    let mut tracker = tracker();
    observe(&mut tracker, vec![found("A", "1")], 1);
    assert!(tracker.take(100, at(1), |_, _| false).is_empty());
    assert_eq!(tell(&mut tracker, 2).len(), 1);
}

#[test]
fn a_restart_repeats_nothing_and_tells_what_ended_meanwhile() {
    let mut before = tracker();
    observe(&mut before, vec![found("A", "1"), found("B", "1"), found("C", "1")], 1);
    tell(&mut before, 1);
    observe(&mut before, vec![found("A", "1"), found("B", "1")], 2);
    tell(&mut before, 2);
    assert_eq!(before.take_stale(), [shard("u1")]);
    let text = serde_json::to_string(&before.stored(shard("u1"))).unwrap();

    let restored = || {
        let mut tracker = tracker();
        tracker.restore(serde_json::from_str(&text).unwrap(), at(10));
        tracker
    };
    let mut after = restored();
    assert!(tell(&mut after, 10).is_empty());
    observe(&mut after, vec![found("A", "1")], 11);
    let told = tell(&mut after, 11);
    assert_eq!((told.len(), told[0].name.as_str(), told[0].state), (1, "B", RESOLVED));
    observe(&mut after, vec![found("A", "1"), found("C", "1")], 12);
    let again = tell(&mut after, 12);
    let mut fresh = tracker();
    observe(&mut fresh, vec![found("C", "1")], 12);
    assert_ne!(again[0].id, tell(&mut fresh, 12)[0].id, "C's second time, known from what was stored");

    let mut gone = restored();
    gone.end_unseen(Group::Status, at(11));
    assert_eq!(states(&tell(&mut gone, 11)), [RESOLVED; 2]);
    assert_eq!(gone.counts().0, 0);
}

#[test]
fn a_beginning_that_may_be_on_the_bus_is_told_to_have_ended() {
    let mut before = tracker();
    observe(&mut before, vec![found("A", "1")], 1);
    let taken = before.take(100, at(1), |_, _| true);
    assert_eq!(before.announce(&taken).len(), 1);
    let text = serde_json::to_string(&before.stored(shard("u1"))).unwrap();
    let restored = || {
        let mut tracker = tracker();
        tracker.restore(serde_json::from_str(&text).unwrap(), at(10));
        tracker
    };

    let mut over = restored();
    over.end_unseen(Group::Status, at(11));
    assert_eq!(states(&tell(&mut over, 11)), [RESOLVED], "over while nobody looked");

    let mut on = restored();
    observe(&mut on, vec![found("A", "1")], 11);
    let again = tell(&mut on, 11);
    assert_eq!((states(&again), &again[0].id), (vec![FIRING], &taken[0].signal.id), "a duplicate, once stored");
    observe(&mut on, vec![found("A", "1")], 12);
    assert!(tell(&mut on, 12).is_empty());

    // No answer came, in the same process.
    before.not_told(taken[0].key.clone());
    observe(&mut before, Vec::new(), 2);
    assert_eq!(states(&tell(&mut before, 2)), [RESOLVED]);

    let mut untried = tracker();
    observe(&mut untried, vec![found("A", "1")], 1);
    let taken = untried.take(100, at(1), |_, _| true);
    for key in untried.announce(&taken) {
        untried.retract(&key);
    }
    untried.not_told(taken[0].key.clone());
    observe(&mut untried, Vec::new(), 2);
    assert!(tell(&mut untried, 2).is_empty(), "the bus never heard of it");
}

#[test]
fn there_are_only_so_many() {
    let mut tracker = Tracker::new(Damping::default(), 2);
    for subject in ["a", "b", "c"] {
        tracker.observe(subject, Group::Status, vec![found("A", "1")], at(1));
    }
    assert_eq!(tell(&mut tracker, 1).len(), 2);
    assert_eq!(tracker.counts().3, 1, "refused, and counted");
    tracker.observe("a", Group::Status, Vec::new(), at(2));
    tell(&mut tracker, 2);
    tracker.observe("c", Group::Status, vec![found("A", "1")], at(3));
    assert_eq!(tell(&mut tracker, 3).len(), 1, "what has ended makes room");
}

#[test]
fn a_polled_alert_has_the_id_of_the_same_alert_posted() {
    let mut tracker = tracker();
    let mut alert = found("A", &Group::alert_mark(at(3)));
    alert.signal.source = Source::Prometheus;
    alert.since = Some(at(3));
    tracker.see("507a62d79ee76c9a", Group::Alerts, alert.clone(), at(9));
    let told = tell(&mut tracker, 9);
    assert_eq!(told[0].id, crate::alert::alert_id("507a62d79ee76c9a", at(3), FIRING));
    alert.mark = Group::alert_mark(at(20));
    alert.since = Some(at(20));
    tracker.see("507a62d79ee76c9a", Group::Alerts, alert, at(25));
    let told = tell(&mut tracker, 25);
    assert_eq!(told[0].id, crate::alert::alert_id("507a62d79ee76c9a", at(20), FIRING), "it began anew between polls");
    tracker.observe("507a62d79ee76c9a", Group::Alerts, Vec::new(), at(30));
    let told = tell(&mut tracker, 30);
    assert_eq!(told[0].id, crate::alert::alert_id("507a62d79ee76c9a", at(20), RESOLVED));
    assert_eq!(tracker.counts().0, 0);
}

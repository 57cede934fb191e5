use chrono::{DateTime, Utc};
use evenkeel_model::{
    FoldedSignal, Incident, Instance, MAX_CAUSES, MAX_EARLIER, MAX_INSTANCES, MAX_SEEN, MAX_SIGNALS, ObjectRef, Signal,
    SignalState, Span, short_digest,
};

/// One signal as it came from the bus.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The signal.
    pub signal: Signal,
    /// The trace it was published under.
    pub traceparent: Option<String>,
}

/// A signal may come so long after one that was seen later.
const LATE: Span = Span::minutes(10);

/// The bucket key of the incident a signal belongs to: its root's, else its target's, else one by
/// the signal's name.
pub fn incident_key(signal: &Signal) -> String {
    signal.subject().map_or_else(
        || short_digest(["signal", &signal.cluster, &signal.name], 40),
        |object| object.key(&signal.cluster),
    )
}

/// Folds signals about one root into its incident. The order of arrival and repetitions do not
/// matter. `None` means that nothing changed: all were known, or there was nothing to end.
pub fn fold(incident: Option<Incident>, arrivals: &[Arrival], now: DateTime<Utc>) -> Option<Incident> {
    let mut current = incident;
    fold_into(&mut current, arrivals, now).then_some(current).flatten()
}

/// As [`fold`], in place. True when anything changed.
pub fn fold_into(current: &mut Option<Incident>, arrivals: &[Arrival], now: DateTime<Utc>) -> bool {
    let mut changed = false;
    for arrival in arrivals {
        let signal = &arrival.signal;
        let id = short_digest([signal.id.as_str()], 16);
        if current.as_ref().is_some_and(|incident| incident.seen.contains(&id)) {
            continue;
        }
        let is_open = current.as_ref().is_some_and(|incident| incident.closed_at.is_none());
        let opens = signal.state == SignalState::Firing && !is_open && !ended_before(current.as_ref(), signal);
        if opens {
            *current = Some(open(current.take(), arrival, now));
        } else if current.is_none() {
            // The end came before its beginning.
            let mut ended = open(None, arrival, now);
            ended.closed_at = Some(now);
            ended.wake_at = None;
            *current = Some(ended);
        }
        let Some(incident) = current.as_mut() else { continue };
        incident.seen.push(id);
        if incident.seen.len() > MAX_SEEN {
            incident.seen.remove(0);
        }
        changed = true;
        // An end is noted in a closed incident, too: its beginning may come after it, and must open nothing.
        if incident.closed_at.is_none() || signal.state == SignalState::Resolved {
            note(incident, signal);
        }
    }
    changed
}

/// Whether the end of this very firing is known already: the two came in the wrong order.
fn ended_before(incident: Option<&Incident>, signal: &Signal) -> bool {
    incident
        .and_then(|incident| incident.signals.get(&Incident::signal_key(&signal.name, signal.target.as_ref())))
        .and_then(|known| known.instances.get(&instance(signal)))
        .is_some_and(|known| has_ended(known, signal))
}

/// Tells instances of one signal on one target apart: what Alertmanager does by its fingerprint.
fn instance(signal: &Signal) -> String {
    short_digest(signal.labels.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]), 16)
}

fn has_ended(known: &Instance, signal: &Signal) -> bool {
    known.ended_at.is_some_and(|ended_at| signal.starts_at <= ended_at)
}

fn open(previous: Option<Incident>, arrival: &Arrival, now: DateTime<Utc>) -> Incident {
    let signal = &arrival.signal;
    let root = signal.subject().cloned();
    let key = incident_key(signal);
    // The time takes part: after an incident was removed, the same firing must not get the id of the one
    // that was dealt with.
    let opened = now.to_rfc3339();
    let id = format!("i-{}", short_digest([signal.cluster.as_str(), &key, &signal.id, &opened], 20));
    let (mut earlier, seen, members, members_beyond, signals) = match previous {
        Some(previous) => {
            let mut earlier = previous.earlier;
            earlier.extend(previous.attempts);
            // What ended lately is kept: the beginning of it may still be under way.
            let mut ended = previous.signals;
            ended.retain(|_, signal| now - signal.last_at <= LATE.chrono());
            (earlier, previous.seen, previous.members, previous.members_beyond, ended)
        }
        None => Default::default(),
    };
    let excess = earlier.len().saturating_sub(MAX_EARLIER);
    earlier.drain(..excess);
    Incident {
        id,
        cluster: signal.cluster.clone(),
        root,
        opened_at: now,
        closed_at: None,
        signals,
        signals_beyond: 0,
        seen,
        attempts: Vec::new(),
        earlier,
        parent: None,
        causes: Vec::new(),
        members,
        members_beyond,
        wake_at: Some(now),
        decided: None,
        needs_human: None,
        called: None,
        traceparent: arrival.traceparent.clone(),
    }
}

fn note(incident: &mut Incident, signal: &Signal) {
    let key = Incident::signal_key(&signal.name, signal.target.as_ref());
    // A root's uid may become known, or change when the object was made anew.
    if let (Some(root), Some(seen)) = (incident.root.as_mut(), signal.subject())
        && seen.uid.is_some()
    {
        root.uid.clone_from(&seen.uid);
    }
    for cause in &signal.causes {
        let is_new = !incident.causes.contains(cause) && incident.root.as_ref() != Some(cause);
        if is_new && incident.causes.len() < MAX_CAUSES {
            incident.causes.push(cause.clone());
        }
    }
    if let Some(known) = incident.signals.get_mut(&key) {
        known.count += 1;
        known.source = signal.source;
        known.severity = known.severity.max(signal.severity);
        heed(known, signal);
        return;
    }
    if signal.state == SignalState::Resolved {
        // Perhaps of one that is counted only.
        incident.signals_beyond = incident.signals_beyond.saturating_sub(1);
    }
    if incident.signals.len() >= MAX_SIGNALS {
        let ended = incident
            .signals
            .iter()
            .filter(|(_, signal)| signal.state == SignalState::Resolved)
            .min_by_key(|(_, signal)| signal.last_at)
            .map(|(key, _)| key.clone());
        match ended {
            Some(ended) => {
                incident.signals.remove(&ended);
            }
            None => {
                incident.signals_beyond += u64::from(signal.state == SignalState::Firing);
                return;
            }
        }
    }
    let mut folded = FoldedSignal {
        name: signal.name.clone(),
        source: signal.source,
        state: SignalState::Resolved,
        instances: Default::default(),
        instances_beyond: 0,
        severity: signal.severity,
        target: signal.target.clone(),
        starts_at: signal.starts_at,
        last_at: signal.starts_at,
        count: 1,
        summary: signal.summary.clone(),
        suppressed: signal.suppressed.clone(),
        holds_object: signal.holds_object,
    };
    heed(&mut folded, signal);
    incident.signals.insert(key, folded);
}

/// Notes the beginning or the end of one instance.
fn heed(known: &mut FoldedSignal, signal: &Signal) {
    let id = instance(signal);
    let before = known.instances.get(&id).copied();
    match signal.state {
        SignalState::Firing => {
            if before.is_some_and(|before| has_ended(&before, signal)) {
                return;
            }
            put(known, id, Instance { starts_at: signal.starts_at, ended_at: None });
            // The newest word counts, in whichever order they come.
            if signal.observed_at >= known.last_at {
                known.suppressed.clone_from(&signal.suppressed);
                known.holds_object = signal.holds_object;
            }
            known.last_at = known.last_at.max(signal.observed_at);
            known.summary.clone_from(&signal.summary);
            known.target.clone_from(&signal.target);
        }
        SignalState::Resolved => {
            let ended = signal.ends_at.unwrap_or(signal.observed_at);
            if before.is_some_and(|before| ended < before.starts_at) {
                return;
            }
            if before.is_none() {
                known.instances_beyond = known.instances_beyond.saturating_sub(1);
            }
            let starts_at = before.map_or(signal.starts_at, |before| before.starts_at);
            put(known, id, Instance { starts_at, ended_at: Some(ended) });
            known.last_at = known.last_at.max(ended);
        }
    }
    let first = known.instances.values().filter(|one| one.ended_at.is_none()).map(|one| one.starts_at).min();
    let is_firing = first.is_some() || known.instances_beyond > 0;
    known.state = if is_firing { SignalState::Firing } else { SignalState::Resolved };
    known.starts_at = first.unwrap_or(known.starts_at);
}

/// Keeps an instance; one that has ended makes room.
fn put(known: &mut FoldedSignal, id: String, instance: Instance) {
    if known.instances.len() >= MAX_INSTANCES && !known.instances.contains_key(&id) {
        let ended =
            known.instances.iter().filter(|(_, one)| one.ended_at.is_some()).min_by_key(|(_, one)| one.ended_at);
        let Some(ended) = ended.map(|(id, _)| id.clone()) else {
            known.instances_beyond += u64::from(instance.ended_at.is_none());
            return;
        };
        known.instances.remove(&ended);
    }
    known.instances.insert(id, instance);
}

/// Signals that are only counted are taken to have ended when nothing was heard of their root for so long: whatever
/// tells them tells them again.
const FORGOTTEN: Span = Span::hours(24);

/// Closes an incident whose signals have all ended and whose last proposal's outcome is known.
/// True when it did.
pub fn close_if_over(incident: &mut Incident, now: DateTime<Utc>) -> bool {
    let is_quiet = || incident.signals.values().all(|signal| now - signal.last_at > FORGOTTEN.chrono());
    let over = incident.closed_at.is_none()
        && incident.firing().next().is_none()
        && incident.open_attempt().is_none()
        && (incident.signals_beyond == 0 || is_quiet());
    if over {
        incident.closed_at = Some(now);
        incident.wake_at = None;
        incident.needs_human = None;
        incident.called = None;
        incident.signals_beyond = 0;
    }
    over
}

/// The root an incident is planned for, or the target of its first firing signal.
pub(crate) fn firing_targets(incident: &Incident) -> Vec<ObjectRef> {
    let mut targets: Vec<(DateTime<Utc>, &ObjectRef)> =
        incident.firing().filter_map(|signal| Some((signal.starts_at, signal.target.as_ref()?))).collect();
    targets.sort();
    targets.dedup_by(|a, b| a.1 == b.1);
    targets.into_iter().map(|(_, target)| target.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, firing, resolved};

    #[test]
    fn a_repeated_signal_changes_nothing() {
        let first = fold(None, &[firing("CrashLoopBackOff", "cart-1", at(0))], at(0)).unwrap();
        assert_eq!(fold(Some(first), &[firing("CrashLoopBackOff", "cart-1", at(0))], at(5)), None);
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let one = [firing("A", "cart-1", at(0)), resolved("A", "cart-1", at(0), at(9)), firing("B", "cart-1", at(3))];
        let mut orders = vec![];
        for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            let arrivals: Vec<Arrival> = order.iter().map(|&i| one[i].clone()).collect();
            let folded = fold(None, &arrivals, at(10)).unwrap();
            let states: Vec<_> = folded.firing().map(|signal| signal.name.clone()).collect();
            orders.push(states);
        }
        orders.dedup();
        assert_eq!(orders.len(), 1, "{orders:?}");
    }

    #[test]
    fn an_end_without_a_beginning_opens_nothing() {
        let ended = fold(None, &[resolved("A", "cart-1", at(0), at(1))], at(2)).unwrap();
        assert_eq!(ended.closed_at, Some(at(2)));
        let late = fold(Some(ended), &[firing("A", "cart-1", at(0))], at(3)).unwrap();
        assert_eq!(late.closed_at, Some(at(2)), "the beginning of what has ended opens nothing");
    }

    #[test]
    fn a_late_duplicate_does_not_reopen_a_closed_incident() {
        let mut incident =
            fold(None, &[firing("A", "cart-1", at(0)), resolved("A", "cart-1", at(0), at(5))], at(5)).unwrap();
        assert!(close_if_over(&mut incident, at(6)));
        assert_eq!(fold(Some(incident.clone()), &[firing("A", "cart-1", at(0))], at(7)), None);
        let again = fold(Some(incident.clone()), &[firing("A", "cart-1", at(60))], at(60)).unwrap();
        assert_ne!(again.id, incident.id);
        assert_eq!(again.closed_at, None);
    }

    #[test]
    fn the_end_for_one_container_is_not_the_end_for_the_other() {
        let of = |mut arrival: Arrival, container: &str| {
            arrival.signal.labels.insert("container".to_owned(), container.to_owned());
            arrival.signal.id.push_str(container);
            arrival
        };
        let both = [of(firing("A", "cart-1", at(0)), "web"), of(firing("A", "cart-1", at(1)), "proxy")];
        let incident = fold(None, &both, at(2)).unwrap();
        let one_over = fold(Some(incident), &[of(resolved("A", "cart-1", at(0), at(9)), "web")], at(9)).unwrap();
        assert_eq!(one_over.firing().count(), 1);
        let over = fold(Some(one_over), &[of(resolved("A", "cart-1", at(1), at(10)), "proxy")], at(10)).unwrap();
        assert_eq!(over.firing().count(), 0);
    }

    #[test]
    fn instances_of_one_signal_stay_bounded() {
        let arrivals: Vec<Arrival> = (0..100)
            .map(|number| {
                let mut arrival = firing("A", "cart-1", at(number));
                arrival.signal.labels.insert("series".to_owned(), number.to_string());
                arrival
            })
            .collect();
        let incident = fold(None, &arrivals, at(100)).unwrap();
        assert_eq!(incident.signals.values().next().unwrap().instances.len(), MAX_INSTANCES);
    }

    #[test]
    fn a_storm_on_one_root_stays_bounded() {
        let arrivals: Vec<Arrival> = (0..5_000).map(|n| firing("A", &format!("cart-{n}"), at(n))).collect();
        let incident = fold(None, &arrivals, at(5_000)).unwrap();
        assert_eq!(incident.signals.len(), MAX_SIGNALS);
        assert_eq!(incident.seen.len(), MAX_SEEN);
        assert_eq!(incident.signals_beyond, 5_000 - MAX_SIGNALS as u64);
    }

    #[test]
    fn the_end_before_the_beginning_on_a_root_that_had_an_incident() {
        let mut old =
            fold(None, &[firing("A", "cart-1", at(0)), resolved("A", "cart-1", at(0), at(5))], at(5)).unwrap();
        assert!(close_if_over(&mut old, at(6)));
        // Another alert fires at 100 and ends at 160; its end is folded first (the beginning was refused once and comes again).
        let ended = fold(Some(old), &[resolved("B", "cart-2", at(100), at(160))], at(161)).unwrap();
        let late = fold(Some(ended), &[firing("B", "cart-2", at(100))], at(163)).unwrap();
        assert!(late.closed_at.is_some() || late.firing().count() == 0, "open for ever: {:?}", late.signals);
    }

    #[test]
    fn what_lies_beyond_the_bound_keeps_the_incident_open() {
        let arrivals: Vec<Arrival> = (0..70).map(|n| firing("A", &format!("cart-{n}"), at(n))).collect();
        let incident = fold(None, &arrivals, at(70)).unwrap();
        let kept: Vec<String> =
            incident.firing().filter_map(|signal| Some(signal.target.as_ref()?.name.clone())).collect();
        let ends: Vec<Arrival> = kept.iter().map(|pod| resolved("A", pod, at(0), at(80))).collect();
        let mut after = fold(Some(incident), &ends, at(81)).unwrap();
        assert!(!close_if_over(&mut after, at(82)), "6 pods still crash and nobody works on it");
    }

    #[test]
    fn instances_beyond_the_bound_keep_a_signal_firing() {
        let of = |number: i64, end: Option<i64>| {
            let mut arrival = match end {
                None => firing("A", "cart-1", at(number)),
                Some(end) => resolved("A", "cart-1", at(number), at(end)),
            };
            arrival.signal.labels.insert("series".to_owned(), number.to_string());
            arrival
        };
        let all: Vec<Arrival> = (0..20).map(|number| of(number, None)).collect();
        let incident = fold(None, &all, at(20)).unwrap();
        let ends: Vec<Arrival> = (0..16).map(|number| of(number, Some(30))).collect();
        let mut after = fold(Some(incident), &ends, at(31)).unwrap();
        assert!(!close_if_over(&mut after, at(32)), "4 of 20 still fire");
    }
}

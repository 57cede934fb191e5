//! Waves: many roots with one cause are one incident. The cause's incident counts its members;
//! from [`MIN_ROOTS`] distinct roots within [`WITHIN`] it is their parent, and only parents propose.

use chrono::{DateTime, Utc};
use evenkeel_model::{
    FoldedSignal, Incident, MAX_MEMBERS, Member, ObjectRef, Severity, SignalState, Source, Span, short_digest,
};

/// From so many distinct roots on it is a wave.
pub const MIN_ROOTS: usize = 3;
/// Roots count together when they were last heard of within this.
pub const WITHIN: Span = Span::minutes(10);
/// The name of the signal by which a cause speaks once it has a wave.
pub const SIGNAL: &str = "ManyAffected";

/// Notes in the cause's incident that a root may be one of its effects. `None` when that was known
/// and is recent.
pub fn note_member(
    cause_incident: Option<Incident>,
    cause: &ObjectRef,
    cluster: &str,
    root: &ObjectRef,
    traceparent: Option<&str>,
    now: DateTime<Utc>,
) -> Option<Incident> {
    let key = root.key(cluster);
    let mut incident = cause_incident.unwrap_or_else(|| latent(cause, cluster, traceparent, now));
    let fresh = Span::minutes(1).chrono();
    if incident.members.get(&key).is_some_and(|member| now - member.last_at < fresh) {
        return None;
    }
    incident.members.retain(|_, member| now - member.last_at <= WITHIN.chrono());
    if incident.members.len() >= MAX_MEMBERS && !incident.members.contains_key(&key) {
        incident.members_beyond += 1;
    } else {
        incident.members.insert(key, Member { root: root.clone(), last_at: now });
    }
    if is_wave(&incident, now) {
        speak(&mut incident, cause, now);
    }
    Some(incident)
}

/// Takes a root that has recovered out of its cause's members. True when that changed anything.
pub fn forget_member(cause_incident: &mut Incident, root: &ObjectRef, now: DateTime<Utc>) -> bool {
    let removed = cause_incident.members.remove(&root.key(&cause_incident.cluster)).is_some();
    if removed && cause_incident.members.is_empty() {
        for signal in cause_incident.signals.values_mut().filter(|signal| signal.name == SIGNAL) {
            signal.state = SignalState::Resolved;
            signal.last_at = now;
        }
    }
    removed
}

/// Whether the incident is the cause of a wave.
pub fn is_wave(incident: &Incident, now: DateTime<Utc>) -> bool {
    incident.members.values().filter(|member| now - member.last_at <= WITHIN.chrono()).count() >= MIN_ROOTS
}

/// The incident of a cause that no signal has been about: closed until it has a wave.
fn latent(cause: &ObjectRef, cluster: &str, traceparent: Option<&str>, now: DateTime<Utc>) -> Incident {
    let key = cause.key(cluster);
    let opened = now.to_rfc3339();
    Incident {
        id: format!("i-{}", short_digest([cluster, &key, SIGNAL, &opened], 20)),
        cluster: cluster.to_owned(),
        root: Some(cause.clone()),
        opened_at: now,
        closed_at: Some(now),
        signals: Default::default(),
        signals_beyond: 0,
        seen: vec![],
        attempts: vec![],
        earlier: vec![],
        parent: None,
        causes: vec![],
        members: Default::default(),
        members_beyond: 0,
        wake_at: None,
        decided: None,
        needs_human: None,
        called: None,
        traceparent: traceparent.map(ToOwned::to_owned),
    }
}

fn speak(incident: &mut Incident, cause: &ObjectRef, now: DateTime<Utc>) {
    incident.closed_at = None;
    incident.wake_at = Some(now);
    let affected = incident.members.len();
    let key = Incident::signal_key(SIGNAL, Some(cause));
    let entry = incident.signals.entry(key).or_insert_with(|| FoldedSignal {
        name: SIGNAL.to_owned(),
        source: Source::Kubernetes,
        state: SignalState::Firing,
        instances: Default::default(),
        instances_beyond: 0,
        severity: Severity::Critical,
        target: Some(cause.clone()),
        starts_at: now,
        last_at: now,
        count: 0,
        summary: String::new(),
        suppressed: None,
        holds_object: false,
    });
    if entry.state == SignalState::Resolved {
        entry.state = SignalState::Firing;
        entry.starts_at = now;
    }
    entry.count += 1;
    entry.last_at = now;
    entry.summary = format!("{affected} workloads are affected by {cause}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;
    use evenkeel_model::Kind;

    fn root(n: usize) -> ObjectRef {
        ObjectRef::namespaced(Kind::Deployment, "shop", format!("d-{n}"))
    }

    #[test]
    fn three_roots_are_a_wave_and_two_are_not() {
        let node = ObjectRef::cluster_scoped(Kind::Node, "worker-1");
        let one = note_member(None, &node, "test", &root(1), None, at(0)).unwrap();
        let two = note_member(Some(one), &node, "test", &root(2), None, at(10)).unwrap();
        assert!(!is_wave(&two, at(10)));
        assert!(two.closed_at.is_some());
        let three = note_member(Some(two), &node, "test", &root(3), None, at(20)).unwrap();
        assert!(is_wave(&three, at(20)));
        assert_eq!(three.closed_at, None);
        assert_eq!(three.firing().next().unwrap().summary, "3 workloads are affected by node/worker-1");
    }

    #[test]
    fn roots_heard_of_long_ago_do_not_count() {
        let node = ObjectRef::cluster_scoped(Kind::Node, "worker-1");
        let mut incident = None;
        for n in 0..10 {
            let now = at(i64::try_from(n).unwrap() * 400);
            incident = note_member(incident, &node, "test", &root(n), None, now);
            assert!(!is_wave(incident.as_ref().unwrap(), now));
        }
    }

    #[test]
    fn the_wave_ends_with_its_last_member() {
        let node = ObjectRef::cluster_scoped(Kind::Node, "worker-1");
        let mut incident =
            (0..3).fold(None, |incident, n| note_member(incident, &node, "test", &root(n), None, at(0))).unwrap();
        for n in 0..3 {
            assert!(forget_member(&mut incident, &root(n), at(60)));
        }
        assert_eq!(incident.firing().count(), 0);
    }
}

//! Which signals no playbook is for, and which playbooks some signal was for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use evenkeel_model::{ObjectRef, Signal, SignalState};
use evenkeel_playbook::Playbooks;

use super::Unmatched;

/// So many names of unmatched signals are told.
const MAX_UNMATCHED: usize = 100;

/// What was seen of one name.
#[derive(Default)]
struct Seen {
    kinds: BTreeSet<String>,
    objects: BTreeSet<String>,
    times: u64,
    last_at: Option<DateTime<Utc>>,
}

/// Signals that no playbook is for, and the names of playbooks that some signal was for.
pub(super) fn matches<'p>(signals: &[Signal], playbooks: &'p Playbooks) -> (Vec<Unmatched>, BTreeSet<&'p str>) {
    let mut matched = BTreeSet::new();
    let mut unmatched: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut known = BTreeMap::new();
    for signal in signals.iter().filter(|signal| signal.state == SignalState::Firing) {
        // Playbooks tell apart names, kinds and namespaces, and no more.
        let sort = |object: &ObjectRef| (object.kind, object.namespace.clone());
        let sorts = (&signal.name, signal.root.as_ref().map(sort), signal.target.as_ref().map(sort));
        let is_for_one = *known.entry(sorts).or_insert_with(|| {
            let names = BTreeSet::from([signal.name.clone()]);
            let targets: Vec<_> = signal.target.iter().cloned().collect();
            let candidates = playbooks.candidates(&names, signal.root.as_ref(), &targets);
            matched.extend(candidates.iter().map(|candidate| candidate.playbook.name.as_str()));
            candidates.iter().any(|candidate| candidate.playbook.spec.matches.signals.iter().any(|name| name != "*"))
        });
        if is_for_one {
            continue;
        }
        let seen = unmatched.entry(&signal.name).or_default();
        if let Some(subject) = signal.subject() {
            seen.kinds.insert(subject.kind.to_string());
            seen.objects.insert(subject.to_string());
        }
        seen.times += 1;
        seen.last_at = seen.last_at.max(Some(signal.starts_at));
    }
    let mut all: Vec<Unmatched> = unmatched
        .into_iter()
        .filter_map(|(signal, seen)| {
            Some(Unmatched {
                signal: signal.to_owned(),
                kinds: seen.kinds.into_iter().collect(),
                times: seen.times,
                objects: u64::try_from(seen.objects.len()).unwrap_or(u64::MAX),
                last_at: seen.last_at?,
            })
        })
        .collect();
    all.sort_by(|a, b| (b.times, &a.signal).cmp(&(a.times, &b.signal)));
    all.truncate(MAX_UNMATCHED);
    (all, matched)
}

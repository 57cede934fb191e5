//! From what is wrong to what is news. Level-triggered: the tracker holds what the bus should have
//! been told of every trouble and what it has been told, so that whatever happens between the two
//! (the bus away, a relist, a restart) costs no signal and repeats none. Memory is bounded by the
//! troubles there are, not by how often they change.

mod entry;
mod stored;

pub(crate) use entry::{Entry, Version};
pub(crate) use stored::{SHARDS, Stored, shard};

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use evenkeel_model::{Signal, SignalState, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How flapping is damped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Damping {
    /// A signal that fired more often than this within `within` is held firing.
    pub fires: u32,
    /// The time in which it is counted.
    pub within: Span,
    /// How long it must have been quiet before it resolves.
    pub quiet: Span,
}

impl Default for Damping {
    fn default() -> Self {
        Self { fires: 3, within: Span::minutes(10), quiet: Span::minutes(5) }
    }
}

/// Who looks after an entry: what one observation does not mention ends, in its own group only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Group {
    /// Objects' status.
    Status,
    /// Warning Events.
    Events,
    /// Alerts polled from Prometheus.
    Alerts,
}

/// One trouble as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The signal, without id, state, times and suppression.
    pub(crate) signal: Signal,
    /// See [`crate::detect::Trouble::mark`].
    pub(crate) mark: String,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) after: Span,
    pub(crate) until: Option<DateTime<Utc>>,
}

/// Subject (an object's uid, an alert's fingerprint), group, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) subject: String,
    pub(crate) group: Group,
    pub(crate) name: String,
}

/// One signal to be told.
#[derive(Debug, Clone)]
pub(crate) struct Telling {
    pub(crate) key: Key,
    pub(crate) version: Version,
    pub(crate) signal: Signal,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tracker {
    damping: Damping,
    most: usize,
    entries: BTreeMap<Key, Entry>,
    /// Entries that the bus is to be told of.
    untold: BTreeSet<Key>,
    /// When something is due without news.
    timers: BTreeSet<(DateTime<Utc>, Key)>,
    /// Shards whose stored copy is out of date.
    stale: BTreeSet<usize>,
    /// Troubles not taken because there are too many.
    refused: u64,
}

impl Tracker {
    /// Holds at most `most` entries.
    pub(crate) fn new(damping: Damping, most: usize) -> Self {
        Self {
            damping,
            most,
            entries: BTreeMap::new(),
            untold: BTreeSet::new(),
            timers: BTreeSet::new(),
            stale: BTreeSet::new(),
            refused: 0,
        }
    }

    /// All that is wrong with a subject, as one group sees it; what is not mentioned has ended.
    pub(crate) fn observe(&mut self, subject: &str, group: Group, found: Vec<Found>, now: DateTime<Utc>) {
        let ended: Vec<Key> = self
            .keys_of(subject, Some(group))
            .filter(|key| !found.iter().any(|found| found.signal.name == key.name))
            .collect();
        for key in ended {
            self.change(&key, |entry, damping| entry.end(damping, now));
        }
        for found in found {
            self.see(subject, group, found, now);
        }
    }

    /// One thing that is wrong with a subject.
    pub(crate) fn see(&mut self, subject: &str, group: Group, found: Found, now: DateTime<Utc>) {
        let key = Key { subject: subject.to_owned(), group, name: found.signal.name.clone() };
        if !self.entries.contains_key(&key) {
            if self.entries.len() >= self.most && !self.forget_one() {
                self.refused += 1;
                return;
            }
            self.entries.insert(key.clone(), Entry::new(&found, now));
        }
        self.change(&key, |entry, damping| entry.see(found, damping, now));
    }

    /// Ends those entries of a subject's group for which `ended` says so.
    pub(crate) fn end_where(
        &mut self,
        subject: &str,
        group: Group,
        now: DateTime<Utc>,
        ended: impl Fn(&str, &Entry) -> bool,
    ) {
        let keys: Vec<Key> = self
            .keys_of(subject, Some(group))
            .filter(|key| self.entries.get(key).is_some_and(|entry| ended(&key.name, entry)))
            .collect();
        for key in keys {
            self.change(&key, |entry, damping| entry.end(damping, now));
        }
    }

    /// The subject is gone: all its trouble has ended, and nothing of it is remembered.
    pub(crate) fn gone(&mut self, subject: &str, now: DateTime<Utc>) {
        let keys: Vec<Key> = self.keys_of(subject, None).collect();
        for key in keys {
            self.change(&key, |entry, _| entry.gone(now));
        }
    }

    /// Subjects of a group that were not seen since they were restored: what ended while nobody looked.
    pub(crate) fn end_unseen(&mut self, group: Group, now: DateTime<Utc>) {
        let keys: Vec<Key> = self
            .entries
            .iter()
            .filter(|(key, entry)| key.group == group && !entry.seen)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.change(&key, |entry, _| entry.gone(now));
        }
    }

    /// Subjects of a group that have entries.
    pub(crate) fn subjects(&self, group: Group) -> BTreeSet<String> {
        self.entries.keys().filter(|key| key.group == group).map(|key| key.subject.clone()).collect()
    }

    /// What is due. With a watch broken (`live` is false) nothing ends by itself.
    pub(crate) fn tick(&mut self, now: DateTime<Utc>, live: bool) {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.timer = None;
            }
            self.change(&key, |entry, damping| entry.due(damping, now, live));
        }
    }

    /// Up to `max` signals that the bus is to be told of. `complete` fills in what the world says
    /// at this moment; where it says no, the entry's turn comes later.
    pub(crate) fn take(
        &mut self,
        max: usize,
        now: DateTime<Utc>,
        mut complete: impl FnMut(&mut Signal, &Entry) -> bool,
    ) -> Vec<Telling> {
        let mut taken = Vec::new();
        let keys: Vec<Key> = self.untold.iter().take(max).cloned().collect();
        for key in keys {
            let Some(entry) = self.entries.get_mut(&key) else {
                self.untold.remove(&key);
                continue;
            };
            let Some(version) = entry.wanted() else {
                self.untold.remove(&key);
                continue;
            };
            let mut signal = entry.signal.clone();
            if !complete(&mut signal, entry) {
                continue;
            }
            entry.signal.root.clone_from(&signal.root);
            let version = entry.with_suppression(version, &signal);
            if entry.is_told(&version) {
                self.untold.remove(&key);
                continue;
            }
            signal.starts_at = entry.starts_at;
            signal.id = version.id(&key, &signal);
            signal.state = version.state;
            signal.observed_at = now;
            signal.ends_at = (version.state == SignalState::Resolved).then_some(entry.ended_at.unwrap_or(now));
            self.untold.remove(&key);
            taken.push(Telling { key, version, signal });
        }
        taken
    }

    /// These are about to be told. Returns those that have to be stored first: were the process to end between the
    /// bus' taking a beginning and this being written down, nobody would ever tell its end.
    pub(crate) fn announce(&mut self, batch: &[Telling]) -> Vec<Key> {
        let mut announced = Vec::new();
        for Telling { key, version, .. } in batch {
            if self.entries.get_mut(key).is_some_and(|entry| entry.announce(version)) {
                announced.push(key.clone());
            }
        }
        announced
    }

    /// It was not even tried.
    pub(crate) fn retract(&mut self, key: &Key) {
        self.change(key, |entry, _| entry.announced = None);
    }

    /// The bus has taken it.
    pub(crate) fn told(&mut self, telling: Telling) {
        self.stale.insert(shard(&telling.key.subject));
        self.change(&telling.key, |entry, _| {
            entry.told = Some(telling.version);
            entry.announced = None;
        });
    }

    /// The bus has not, or nobody knows: it is told again.
    pub(crate) fn not_told(&mut self, key: Key) {
        if self.entries.contains_key(&key) {
            self.untold.insert(key);
        }
    }

    /// Has the suppression of all that fires looked at again.
    pub(crate) fn look_again(&mut self) {
        let firing = self.entries.iter().filter(|(_, entry)| entry.is_firing()).map(|(key, _)| key.clone());
        self.untold.extend(firing);
    }

    /// Entries; of them firing; waiting to be told; refused so far.
    pub(crate) fn counts(&self) -> (usize, usize, usize, u64) {
        let firing = self.entries.values().filter(|entry| entry.is_firing()).count();
        (self.entries.len(), firing, self.untold.len(), self.refused)
    }

    fn keys_of(&self, subject: &str, group: Option<Group>) -> impl Iterator<Item = Key> + use<'_> {
        let first = Key { subject: subject.to_owned(), group: group.unwrap_or(Group::Status), name: String::new() };
        let subject = subject.to_owned();
        self.entries
            .range(first..)
            .map(|(key, _)| key)
            .take_while(move |key| key.subject == subject && group.is_none_or(|group| key.group == group))
            .cloned()
    }

    /// Changes an entry and puts its timer, its place among the untold and its existence right.
    fn change(&mut self, key: &Key, f: impl FnOnce(&mut Entry, &Damping)) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        f(entry, &self.damping);
        let due = entry.next_due();
        if due != entry.timer {
            if let Some(at) = entry.timer.take() {
                self.timers.remove(&(at, key.clone()));
            }
            entry.timer = due;
            if let Some(at) = due {
                self.timers.insert((at, key.clone()));
            }
        }
        match entry.wanted() {
            Some(version) if !entry.is_told(&version) => {
                self.untold.insert(key.clone());
            }
            _ => {
                self.untold.remove(key);
                if entry.is_over() {
                    if let Some(at) = entry.timer {
                        self.timers.remove(&(at, key.clone()));
                    }
                    self.entries.remove(key);
                    self.stale.insert(shard(&key.subject));
                }
            }
        }
    }

    /// Makes room: forgets the entry that ended first and has been told, or that perhaps never was.
    fn forget_one(&mut self) -> bool {
        let ended = self
            .entries
            .iter()
            .filter(|(key, entry)| entry.has_ended() && (entry.told.is_none() || !self.untold.contains(key)));
        let Some(key) = ended.min_by_key(|(_, entry)| entry.ended_at).map(|(key, _)| key.clone()) else { return false };
        if let Some(entry) = self.entries.remove(&key)
            && let Some(at) = entry.timer
        {
            self.timers.remove(&(at, key));
        }
        true
    }
}

#[cfg(test)]
mod tests;

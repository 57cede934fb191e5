//! The work queue of a controller: which of its objects to look at, because something changed, because
//! their time has come, or because the last try failed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{Cluster, selector};
use crate::failure::Failure;
use crate::kinds::Resource;
use crate::store::Key;
use crate::value;

/// The first and the longest wait after failures, as client-go's exponential rate limiter has them.
const FIRST_WAIT: i64 = 5;
const LONGEST_WAIT: i64 = 1_000_000;

/// A change as the mapping of a queue sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) key: &'a Key,
    pub(super) before: Option<&'a Value>,
    /// None when it is gone.
    pub(super) after: Option<&'a Value>,
}

impl Seen<'_> {
    pub(super) fn is(&self, resource: &str) -> bool {
        self.key.resource.as_str() == resource
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    seen: Option<u64>,
    due: BTreeMap<Key, DateTime<Utc>>,
    failures: BTreeMap<Key, u32>,
}

impl Queue {
    /// Looks at what is to be looked at now. The first of the watched resources is the controller's own; `map`
    /// says which of it a change in the others concerns; `sync` brings one in order and says when it wants to see it
    /// again. Gives when the next is due.
    pub(super) fn run(
        &mut self,
        cluster: &mut Cluster<'_>,
        watched: &[&str],
        map: impl Fn(&Cluster<'_>, Seen<'_>, &mut BTreeSet<Key>),
        mut sync: impl FnMut(&mut Cluster<'_>, &Value) -> Result<Option<DateTime<Utc>>, Failure>,
    ) -> Option<DateTime<Utc>> {
        for key in self.take(cluster, watched, map) {
            let Some(object) = cluster.state.store.get(&key).cloned() else {
                self.forget(&key);
                continue;
            };
            match sync(cluster, &object) {
                Ok(next) => {
                    self.failures.remove(&key);
                    if let Some(next) = next {
                        self.at(&key, next);
                    }
                }
                Err(failure) => {
                    tracing::debug!(%key, %failure, "could not be brought in order, will be tried again");
                    self.failed(&key, cluster.now());
                }
            }
        }
        self.due.values().min().copied()
    }

    fn take(
        &mut self,
        cluster: &Cluster<'_>,
        watched: &[&str],
        map: impl Fn(&Cluster<'_>, Seen<'_>, &mut BTreeSet<Key>),
    ) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        let store = &cluster.state.store;
        let mut lost = self.seen.is_none();
        let seen = self.seen.unwrap_or(0);
        for (index, resource) in watched.iter().map(|resource| Resource::from(*resource)).enumerate() {
            if lost || store.head(&resource) <= seen {
                continue;
            }
            let Ok(changes) = store.since(&resource, seen) else {
                lost = true;
                continue;
            };
            for change in changes {
                if index == 0 {
                    keys.insert(change.key.clone());
                } else {
                    let (before, after) = (change.before.as_deref(), change.after.as_deref());
                    map(cluster, Seen { key: &change.key, before, after }, &mut keys);
                }
            }
        }
        if lost {
            let own = watched.iter().take(1).flat_map(|resource| store.of(&Resource::from(*resource)));
            keys.extend(own.map(|(key, _)| key.clone()));
        }
        self.seen = Some(store.revision());
        let now = cluster.now();
        let due: Vec<Key> = self.due.iter().filter(|(_, due)| **due <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.due.remove(&key);
            keys.insert(key);
        }
        keys
    }

    /// Looks at it again then, if not earlier.
    fn at(&mut self, key: &Key, at: DateTime<Utc>) {
        let due = self.due.entry(key.clone()).or_insert(at);
        *due = at.min(*due);
    }

    /// Looks at it again after a wait that doubles with each failure.
    fn failed(&mut self, key: &Key, now: DateTime<Utc>) {
        let failures = self.failures.entry(key.clone()).or_default();
        let wait = FIRST_WAIT.checked_shl(*failures).map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT));
        *failures = failures.saturating_add(1).min(30);
        self.at(key, now + TimeDelta::milliseconds(wait));
    }

    /// Forgets an object that is gone.
    fn forget(&mut self, key: &Key) {
        self.failures.remove(key);
        self.due.remove(key);
    }
}

/// The workloads that a pod, or whatever else they control, belongs to or did before the change; for an
/// orphan those that might adopt it.
pub(super) fn owners(cluster: &Cluster<'_>, seen: Seen<'_>, of: (&str, &str), keys: &mut BTreeSet<Key>) {
    let (resource, kind) = of;
    let controllers = [seen.before, seen.after].map(|object| object.and_then(value::controller));
    for owner in controllers.into_iter().flatten().filter(|owner| value::text(owner, "/kind") == kind) {
        keys.insert(Key::new(resource, &seen.key.namespace, value::text(owner, "/name")));
    }
    if let Some(orphan) = seen.after.filter(|object| value::controller(object).is_none()) {
        let all = cluster.list_in(resource, &seen.key.namespace);
        let selecting = all.iter().filter(|owner| selector::selects_object(value::at(owner, "/spec/selector"), orphan));
        keys.extend(selecting.map(|owner| Key::new(resource, &seen.key.namespace, value::name(owner))));
    }
}

//! The garbage collector: what becomes of dependants when their owners go.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Cluster, Controller};
use crate::api::{By, Deletion};
use crate::failure::Failure;
use crate::store::Key;
use crate::value::{at, is_terminating, is_true, items, set, text, uid};

/// What wakes it. It then looks at everything that changed, custom resources too.
const WAKING: &[&str] = &[
    "pods",
    "replicasets.apps",
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "controllerrevisions.apps",
    "jobs.batch",
    "cronjobs.batch",
    "services",
    "endpointslices.discovery.k8s.io",
    "configmaps",
    "secrets",
    "persistentvolumeclaims",
    "nodes",
    "namespaces",
];
/// What neither owns nor is owned, and changes all the time.
const IGNORED: &[&str] = &["events", "leases.coordination.k8s.io"];
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// The garbage collector, with the graph of who owns whom as the changes have drawn it.
#[derive(Debug, Default)]
pub(crate) struct GarbageCollector {
    seen: Option<u64>,
    /// Where the object of a uid is.
    alive: BTreeMap<String, Key>,
    /// What an owner, by its uid, has.
    dependants: BTreeMap<String, BTreeSet<Key>>,
}

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "generic-garbage-collector"
    }

    fn watches(&self) -> &'static [&'static str] {
        WAKING
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        for key in self.learn(cluster) {
            let Some(object) = cluster.state.store.get(&key).cloned() else { continue };
            let done = match () {
                () if is_terminating(&object) && has_finalizer(&object, ORPHAN) => self.orphan(cluster, &key, &object),
                () if is_terminating(&object) && has_finalizer(&object, FOREGROUND) => {
                    self.finish_foreground(cluster, &key, &object)
                }
                () => self.collect(cluster, &key, &object),
            };
            if let Err(failure) = done {
                tracing::debug!(%key, %failure, "could not be collected");
            }
        }
        None
    }
}

impl GarbageCollector {
    /// Takes the changes into the graph; gives the objects to look at.
    fn learn(&mut self, cluster: &Cluster<'_>) -> BTreeSet<Key> {
        let store = &cluster.state.store;
        let mut dirty = BTreeSet::new();
        let mut lost = self.seen.is_none();
        let seen = self.seen.unwrap_or(0);
        for resource in cluster.state.kinds.iter().map(|kind| kind.resource()) {
            if lost || IGNORED.contains(&resource.as_str()) || store.head(&resource) <= seen {
                continue;
            }
            let Ok(changes) = store.since(&resource, seen) else {
                lost = true;
                continue;
            };
            for change in changes {
                let (before, after) = (change.before.as_deref(), change.after.as_deref());
                self.learn_one(&change.key, before, after, &mut dirty);
            }
        }
        if lost {
            self.alive.clear();
            self.dependants.clear();
            for (key, object) in store.all().filter(|(key, _)| !IGNORED.contains(&key.resource.as_str())) {
                self.learn_one(key, None, Some(object), &mut dirty);
            }
        }
        self.seen = Some(store.revision());
        dirty
    }

    fn learn_one(&mut self, key: &Key, before: Option<&Value>, after: Option<&Value>, dirty: &mut BTreeSet<Key>) {
        let fields = ["/metadata/ownerReferences", "/metadata/finalizers", "/metadata/deletionTimestamp"];
        let same = |(before, after): (&Value, &Value)| fields.iter().all(|field| at(before, field) == at(after, field));
        if before.zip(after).is_some_and(same) {
            return;
        }
        if let Some(before) = before {
            for owner in owners(before) {
                let uid = text(owner, "/uid");
                // One that waits for its dependants hears when one of them goes.
                dirty.extend(self.alive.get(uid).cloned());
                if let Some(dependants) = self.dependants.get_mut(uid) {
                    dependants.remove(key);
                    if dependants.is_empty() {
                        self.dependants.remove(uid);
                    }
                }
            }
        }
        match (before, after) {
            (_, Some(after)) => {
                self.alive.insert(uid(after).to_owned(), key.clone());
                for owner in owners(after) {
                    self.dependants.entry(text(owner, "/uid").to_owned()).or_default().insert(key.clone());
                }
                if !owners(after).is_empty() || is_terminating(after) {
                    dirty.insert(key.clone());
                }
                if is_terminating(after) {
                    dirty.extend(self.of(after));
                }
            }
            (Some(before), None) => {
                self.alive.remove(uid(before));
                dirty.extend(self.of(before));
            }
            (None, None) => {}
        }
    }

    fn of(&self, owner: &Value) -> Vec<Key> {
        self.dependants.get(uid(owner)).map(|found| found.iter().cloned().collect()).unwrap_or_default()
    }

    /// Deletes an object whose owners are all gone or wait for it; takes off the references to those that
    /// are where others remain.
    fn collect(&self, cluster: &mut Cluster<'_>, key: &Key, object: &Value) -> Result<(), Failure> {
        if is_terminating(object) || owners(object).is_empty() {
            return Ok(());
        }
        let (mut solid, mut waiting) = (Vec::new(), false);
        for reference in owners(object) {
            let owner = self.alive.get(text(reference, "/uid")).and_then(|key| cluster.state.store.get(key));
            match owner {
                Some(owner) if is_terminating(owner) && has_finalizer(owner, FOREGROUND) => waiting = true,
                Some(_) => solid.push(reference.clone()),
                None => {}
            }
        }
        if !solid.is_empty() {
            if solid.len() == owners(object).len() {
                return Ok(());
            }
            let mut object = object.clone();
            set(&mut object, "/metadata/ownerReferences", Value::Array(solid));
            return cluster.update(key.resource.as_str(), object).map(drop);
        }
        // In the foreground the wait goes down the tree.
        let foreground = waiting && !self.of(object).is_empty();
        let propagation = match () {
            () if has_finalizer(object, ORPHAN) => "Orphan",
            () if foreground || has_finalizer(object, FOREGROUND) => "Foreground",
            () => "Background",
        };
        let user = cluster.user();
        let by = By { user: &user, manager: "kube-controller-manager", dry_run: false };
        let how = Deletion {
            uid: Some(uid(object).to_owned()),
            propagation: Some(propagation.to_owned()),
            ..Deletion::default()
        };
        match cluster.state.delete(by, key, &how) {
            Err(failure) if failure.code != 404 => Err(failure),
            _ => Ok(()),
        }
    }

    /// Lets an owner go once nothing that blocks it is left.
    fn finish_foreground(&self, cluster: &mut Cluster<'_>, key: &Key, object: &Value) -> Result<(), Failure> {
        let blocks = |dependant: &Value| {
            owners(dependant)
                .iter()
                .any(|owner| text(owner, "/uid") == uid(object) && is_true(owner, "/blockOwnerDeletion"))
        };
        if self.of(object).iter().any(|key| cluster.state.store.get(key).is_some_and(|found| blocks(found))) {
            return Ok(());
        }
        remove_finalizer(cluster, key, object, FOREGROUND)
    }

    /// Takes an owner off its dependants, then lets it go.
    fn orphan(&self, cluster: &mut Cluster<'_>, key: &Key, object: &Value) -> Result<(), Failure> {
        for dependant in self.of(object) {
            let Some(found) = cluster.state.store.get(&dependant).cloned() else { continue };
            super::pods::release(cluster, dependant.resource.as_str(), &found, uid(object))?;
        }
        remove_finalizer(cluster, key, object, ORPHAN)
    }
}

fn owners(object: &Value) -> &[Value] {
    items(object, "/metadata/ownerReferences")
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    items(object, "/metadata/finalizers").iter().any(|found| found.as_str() == Some(finalizer))
}

fn remove_finalizer(cluster: &mut Cluster<'_>, key: &Key, object: &Value, finalizer: &str) -> Result<(), Failure> {
    let left = items(object, "/metadata/finalizers").iter().filter(|found| found.as_str() != Some(finalizer));
    let left: Vec<Value> = left.cloned().collect();
    let mut object = object.clone();
    set(&mut object, "/metadata/finalizers", Value::Array(left));
    cluster.update(key.resource.as_str(), object).map(drop)
}

#[cfg(test)]
mod tests;

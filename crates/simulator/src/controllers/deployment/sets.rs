//! The ReplicaSets of a Deployment: which is the new one, and what their annotations remember.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Rollout, SETS, proportions, status};
use crate::controllers::{hash, pods};
use crate::failure::Failure;
use crate::value::{at, condition, integer, is_controlled_by, items, name, namespace, set, text, uid, unset};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotations of a Deployment that its ReplicaSets don't get.
const NOT_COPIED: &[&str] = &[LAST_APPLIED, REVISION, HISTORY, DESIRED, MAXIMUM, "deprecated.deployment.rollback.to"];
/// How long the list of earlier revisions may become, in characters.
const HISTORY_LENGTH: usize = 2000;

/// `spec.replicas`; one where it is not said.
pub(super) fn replicas(object: &Value) -> i64 {
    integer(object, "/spec/replicas").unwrap_or(1)
}

/// `status.availableReplicas`
pub(super) fn available(set: &Value) -> i64 {
    integer(set, "/status/availableReplicas").unwrap_or(0)
}

/// For sorting by age.
pub(super) fn made(set: &Value) -> (String, String) {
    (text(set, "/metadata/creationTimestamp").to_owned(), name(set).to_owned())
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, "/metadata/annotations").get(key).and_then(Value::as_str)
}

fn annotate(object: &mut Value, key: &str, value: &str) {
    set(object, &format!("/metadata/annotations/{}", key.replace('/', "~1")), json!(value));
}

/// The number that an annotation of a ReplicaSet holds.
pub(super) fn annotated(set: &Value, key: &str) -> Option<i64> {
    annotation(set, key)?.parse().ok()
}

/// The revision of a ReplicaSet or of a Deployment.
pub(super) fn revision(object: &Value) -> i64 {
    annotated(object, REVISION).unwrap_or(0)
}

/// Makes a ReplicaSet remember what it is a part of.
pub(super) fn annotate_replicas(set: &mut Value, desired: i64, surge: i64) {
    annotate(set, DESIRED, &desired.to_string());
    annotate(set, MAXIMUM, &(desired + surge).to_string());
}

/// The new ReplicaSet, the one of the Deployment's template, and the old ones by age.
#[derive(Debug)]
pub(super) struct Sets {
    pub(super) new: Option<Arc<Value>>,
    pub(super) old: Vec<Arc<Value>>,
}

impl Sets {
    pub(super) fn all(&self) -> impl Iterator<Item = &Value> {
        self.old.iter().chain(&self.new).map(AsRef::as_ref)
    }

    pub(super) fn active(&self) -> impl Iterator<Item = &Value> {
        self.all().filter(|set| replicas(set) > 0)
    }

    pub(super) fn total(&self) -> i64 {
        self.all().map(replicas).sum()
    }
}

impl Rollout<'_, '_> {
    /// The ReplicaSets, with the revision of the new one, if there is one, brought up to date.
    pub(super) fn sets(&mut self) -> Result<Sets, Failure> {
        let mut all = self.cluster.list_in(SETS, namespace(&self.deployment));
        all.retain(|set| is_controlled_by(set, uid(&self.deployment)));
        all.sort_by_cached_key(|set| made(set));
        let template = at(&self.deployment, "/spec/template");
        let new = all.iter().position(|set| hash::is_same(at(set, "/spec/template"), template));
        let new = new.map(|index| all.remove(index));
        let mut sets = Sets { new, old: all };
        if let Some(new) = sets.new.take() {
            sets.new = Some(self.sync_revision(new, &sets.old)?);
        }
        Ok(sets)
    }

    /// Makes the new ReplicaSet where there is none.
    pub(super) fn with_new(&mut self, mut sets: Sets) -> Result<Sets, Failure> {
        if sets.new.is_none() {
            sets.new = Some(self.create_new(&sets)?);
        }
        Ok(sets)
    }

    fn sync_revision(&mut self, found: Arc<Value>, old: &[Arc<Value>]) -> Result<Arc<Value>, Failure> {
        let next = old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1;
        let mut new = (*found).clone();
        self.annotate_new(&mut new, next, true);
        if at(&new, "/spec/minReadySeconds") != at(&self.deployment, "/spec/minReadySeconds") {
            match at(&self.deployment, "/spec/minReadySeconds") {
                Value::Null => drop(unset(&mut new, "/spec/minReadySeconds")),
                seconds => set(&mut new, "/spec/minReadySeconds", seconds.clone()),
            }
        }
        let new = if new == *found { found } else { self.cluster.update(SETS, new)? };
        let mut write = self.note_revision(annotation(&new, REVISION).unwrap_or_default());
        if status::deadline(&self.deployment).is_some() && condition(&self.deployment, "Progressing").is_none() {
            let message = format!("Found new replica set \"{}\"", name(&new));
            self.set_condition("Progressing", "True", "FoundNewReplicaSet", &message);
            write = true;
        }
        if write {
            self.write_status()?;
        }
        Ok(new)
    }

    /// The Deployment's own revision is that of its new ReplicaSet.
    fn note_revision(&mut self, revision: &str) -> bool {
        let changed = annotation(&self.deployment, REVISION) != Some(revision);
        if changed {
            annotate(&mut self.deployment, REVISION, revision);
        }
        changed
    }

    /// Copies the Deployment's annotations and gives the next revision. A ReplicaSet that had one, and is the
    /// newest again, remembers the old one.
    fn annotate_new(&self, new: &mut Value, next: i64, exists: bool) {
        if let Some(annotations) = at(&self.deployment, "/metadata/annotations").as_object() {
            for (key, value) in annotations.iter().filter(|(key, _)| !NOT_COPIED.contains(&key.as_str())) {
                annotate(new, key, value.as_str().unwrap_or_default());
            }
        }
        let old = annotation(new, REVISION).map(str::to_owned);
        if revision(new) < next {
            annotate(new, REVISION, &next.to_string());
            if let Some(old) = old {
                let mut earlier: Vec<String> =
                    annotation(new, HISTORY).into_iter().flat_map(|list| list.split(',')).map(str::to_owned).collect();
                earlier.push(old);
                while earlier.len() > 1 && earlier.join(",").len() > HISTORY_LENGTH {
                    earlier.remove(0);
                }
                annotate(new, HISTORY, &earlier.join(","));
            }
        }
        if !exists {
            annotate_replicas(new, replicas(&self.deployment), proportions::max_surge(&self.deployment));
        }
    }

    fn create_new(&mut self, sets: &Sets) -> Result<Arc<Value>, Failure> {
        let hash = hash::of(&hash::without_hash(at(&self.deployment, "/spec/template")));
        let count = proportions::new_replicas(&self.deployment, sets.total(), 0);
        let mut template = at(&self.deployment, "/spec/template").clone();
        set(&mut template, "/metadata/labels/pod-template-hash", json!(hash));
        let mut selector = at(&self.deployment, "/spec/selector").clone();
        set(&mut selector, "/matchLabels/pod-template-hash", json!(hash));
        let mut new = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", name(&self.deployment)), "namespace": namespace(&self.deployment),
                "labels": at(&template, "/metadata/labels"),
                "ownerReferences": [pods::controller_ref(&self.deployment)],
            },
            "spec": {"replicas": count, "selector": selector, "template": template},
        });
        if let Some(seconds) = integer(&self.deployment, "/spec/minReadySeconds").filter(|seconds| *seconds != 0) {
            set(&mut new, "/spec/minReadySeconds", json!(seconds));
        }
        let next = sets.old.iter().map(|set| revision(set)).max().unwrap_or(0) + 1;
        self.annotate_new(&mut new, next, false);
        let new = match self.cluster.create(SETS, new) {
            Ok(new) => new,
            Err(failure) => {
                // Where it is about the name, or a namespace that goes, there is nothing to tell; trying again is all.
                let going = items(&failure.status, "/details/causes").iter();
                let going = going.into_iter().any(|cause| text(cause, "/reason") == "NamespaceTerminating");
                if failure.code != 409 && !going && status::deadline(&self.deployment).is_some() {
                    let message = format!("Failed to create new replica set \"\": {}", pods::said(&failure));
                    self.set_condition("Progressing", "False", "ReplicaSetCreateError", &message);
                    self.write_status()?;
                }
                return Err(failure);
            }
        };
        if count > 0 {
            self.record(format!("Scaled up replica set {} from 0 to {count}", name(&new)));
        }
        self.note_revision(&next.to_string());
        if status::deadline(&self.deployment).is_some() {
            let message = format!("Created new replica set \"{}\"", name(&new));
            self.set_condition("Progressing", "True", "NewReplicaSetCreated", &message);
        }
        self.write_status()?;
        Ok(new)
    }
}

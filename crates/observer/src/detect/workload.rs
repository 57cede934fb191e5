use std::collections::BTreeSet;

use evenkeel_model::{Kind, ObjectRef, Severity};

use super::{Thresholds, Trouble, mark, quota};
use crate::world::{Condition, Job, ReplicaSet, Workload, World};

/// So many causes of one trouble are named.
const MOST_CAUSES: usize = 4;

pub(super) fn troubles(world: &World, object: &ObjectRef, workload: &Workload, limits: &Thresholds) -> Vec<Trouble> {
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    if workload.meta.deleted_at.is_some() {
        return found;
    }
    let none_left = workload.desired > 0 && workload.available <= 0;
    let severity = if none_left { Severity::Critical } else { Severity::Warning };
    if let Some(stuck) = workload.stuck.as_ref().filter(|stuck| &*stuck.reason == "ProgressDeadlineExceeded") {
        let trouble = Trouble::new("ProgressDeadlineExceeded", severity, mark(stuck.since), stuck.message.to_string());
        found.push(trouble.since(stuck.since));
    }
    if let Some(failure) = &workload.replica_failure {
        found.push(failed_create(namespace, failure, severity));
    }
    let missing = workload.missing();
    if missing > 0 {
        let summary = format!("{missing} of {} replicas are not available", workload.desired);
        // Counts have no time of their own: one spec, one transition.
        let mark = format!("{} generation {}", object.kind, workload.meta.generation);
        let trouble = Trouble::new("ReplicasUnavailable", severity, mark, summary)
            .after(limits.replicas_unavailable)
            .because_of(bad_nodes(world, object));
        found.push(match &workload.unavailable {
            Some(unavailable) => trouble.since(unavailable.since),
            None => trouble,
        });
    }
    found
}

/// Nodes that are not ready and on which pods of the workload are out of order.
fn bad_nodes(world: &World, object: &ObjectRef) -> Vec<ObjectRef> {
    let namespace = object.namespace.as_deref().unwrap_or_default();
    // Looking through a namespace's pods is only worth it when there is such a node at all.
    if world.nodes.iter().all(|(_, _, node)| node.is_ready()) {
        return Vec::new();
    }
    let mut bad: BTreeSet<ObjectRef> = BTreeSet::new();
    for (name, pod) in world.pods.within(namespace).filter(|(_, pod)| !pod.is_ready()) {
        let node = pod.node.as_deref().and_then(|node| world.bad_node(node));
        let Some(node) = node.filter(|node| !bad.contains(node)) else { continue };
        let root = world.root(&ObjectRef::namespaced(Kind::Pod, namespace, name));
        if root.is_some_and(|root| root.is_same(object)) {
            bad.insert(node);
        }
        if bad.len() == MOST_CAUSES {
            break;
        }
    }
    bad.into_iter().collect()
}

/// A Deployment repeats what its ReplicaSets say; only of others it has to be said here.
pub(super) fn replica_set(namespace: &str, replica_set: &ReplicaSet) -> Vec<Trouble> {
    let failure = replica_set.replica_failure.as_ref().filter(|_| replica_set.meta.owner.is_none());
    failure.map(|failure| failed_create(namespace, failure, Severity::Warning)).into_iter().collect()
}

fn failed_create(namespace: &str, failure: &Condition, severity: Severity) -> Trouble {
    Trouble::new("FailedCreate", severity, mark(failure.since), failure.message.to_string())
        .since(failure.since)
        .because_of(quota(namespace, &failure.message))
}

pub(super) fn job(job: &Job) -> Vec<Trouble> {
    let failed = job.failed.as_ref().filter(|_| job.meta.deleted_at.is_none());
    let failed = failed.map(|failed| {
        let summary = format!("failed: {}: {}", failed.reason, failed.message);
        Trouble::new("JobFailed", Severity::Warning, mark(failed.since), summary).since(failed.since)
    });
    failed.into_iter().collect()
}

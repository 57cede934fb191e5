//! ReplicaSets: as many pods of one template as are wanted.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::pods::{self, Status};
use super::queue::{self, Queue};
use super::{Cluster, Controller, selector};
use crate::failure::Failure;
use crate::value::{at, condition, controller, integer, is_terminating, items, name, namespace, rfc3339, set, text};

const RESOURCE: &str = "replicasets.apps";
const WATCHED: &[&str] = &[RESOURCE, "pods"];
/// The most pods created or deleted in one go.
const BURST: usize = 500;

/// The ReplicaSet controller.
#[derive(Debug, Default)]
pub(crate) struct ReplicaSets {
    queue: Queue,
}

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        WATCHED
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let concerns = |cluster: &Cluster<'_>, seen: queue::Seen<'_>, keys: &mut _| {
            if seen.is("pods") {
                queue::owners(cluster, seen, (RESOURCE, "ReplicaSet"), keys);
            }
        };
        self.queue.run(cluster, WATCHED, concerns, sync)
    }
}

fn sync(cluster: &mut Cluster<'_>, set: &Value) -> Result<Option<DateTime<Utc>>, Failure> {
    let all = pods::claimed(cluster, set, |_| true)?;
    let (active, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|pod| pods::is_active(pod));
    let terminating = rest.iter().filter(|pod| is_terminating(pod) && !pods::is_finished(pod)).count();
    let managed = if is_terminating(set) { Ok(()) } else { manage(cluster, set, &active) };
    // As in the real one, the status is of the pods that were there before; their change brings it back here.
    let min_ready = integer(set, "/spec/minReadySeconds").unwrap_or(0);
    let (available, next) = pods::availability(&active, min_ready, cluster.now());
    let status = status(cluster, set, (&active, terminating, available), managed.as_ref().err());
    pods::write_status(cluster, RESOURCE, set, status)?;
    managed.map(|()| next)
}

fn manage(cluster: &mut Cluster<'_>, set: &Value, active: &[Arc<Value>]) -> Result<(), Failure> {
    let wanted = wanted(set);
    if active.len() < wanted {
        let pod = pods::from_template(at(set, "/spec/template"), set);
        create_all(cluster, set, std::iter::repeat_n(pod, (wanted - active.len()).min(BURST)))
    } else if active.len() > wanted {
        let count = (active.len() - wanted).min(BURST);
        let mut ranked = active.to_vec();
        let related = related(cluster, set);
        let crowd = |pod: &Value| {
            let node = text(pod, "/spec/nodeName");
            related.iter().filter(|other| text(other, "/spec/nodeName") == node).count()
        };
        let now = cluster.now();
        ranked.sort_by(|one, other| pods::rather_lose(one, other, &crowd, now));
        ranked.iter().take(count).try_for_each(|pod| delete_pod(cluster, set, pod))
    } else {
        Ok(())
    }
}

fn wanted(set: &Value) -> usize {
    integer(set, "/spec/replicas").and_then(|wanted| usize::try_from(wanted).ok()).unwrap_or(1)
}

/// The pods of all ReplicaSets of the same owner: those that share a node are the first to go.
fn related(cluster: &Cluster<'_>, set: &Value) -> Vec<Arc<Value>> {
    let owner = controller(set).map(|owner| text(owner, "/uid"));
    let sets = cluster.list_in(RESOURCE, namespace(set));
    let same = |other: &Value| match owner {
        Some(owner) => controller(other).is_some_and(|found| text(found, "/uid") == owner),
        None => name(other) == name(set),
    };
    let sets: Vec<_> = sets.iter().filter(|other| same(other)).collect();
    let mut all = cluster.list_in("pods", namespace(set));
    all.retain(|pod| {
        pods::is_active(pod) && sets.iter().any(|set| selector::selects_object(at(set, "/spec/selector"), pod))
    });
    all
}

/// Creates pods in batches that double, so that what must fail fails once and not five hundred times.
pub(super) fn create_all(
    cluster: &mut Cluster<'_>,
    owner: &Value,
    wanted: impl IntoIterator<Item = Value>,
) -> Result<(), Failure> {
    let mut made = wanted.into_iter();
    let mut batch = 1;
    loop {
        let mut failed = None;
        let mut tried = 0;
        for mut pod in made.by_ref().take(batch) {
            tried += 1;
            set(&mut pod, "/metadata/generateName", pods::prefix(owner));
            if let Err(failure) = create_pod(cluster, owner, pod) {
                failed = failed.or(Some(failure));
            }
        }
        if let Some(failure) = failed {
            return Err(failure);
        }
        if tried < batch {
            return Ok(());
        }
        batch *= 2;
    }
}

/// Creates a pod and says so on its owner.
pub(super) fn create_pod(cluster: &mut Cluster<'_>, owner: &Value, pod: Value) -> Result<(), Failure> {
    match cluster.create("pods", pod) {
        Ok(pod) => {
            cluster.record(owner, "Normal", "SuccessfulCreate", format!("Created pod: {}", name(&pod)));
            Ok(())
        }
        // A namespace that goes takes no more pods, which is nobody's failure.
        Err(failure) if is_namespace_going(&failure) => Ok(()),
        Err(failure) => {
            cluster.record(owner, "Warning", "FailedCreate", format!("Error creating: {}", pods::said(&failure)));
            Err(failure)
        }
    }
}

fn is_namespace_going(failure: &Failure) -> bool {
    let causes = items(&failure.status, "/details/causes").iter();
    causes.into_iter().any(|cause| text(cause, "/reason") == "NamespaceTerminating")
}

/// Deletes a pod and says so on its owner.
pub(super) fn delete_pod(cluster: &mut Cluster<'_>, owner: &Value, pod: &Value) -> Result<(), Failure> {
    match cluster.delete("pods", pod, None) {
        Ok(_) => {
            cluster.record(owner, "Normal", "SuccessfulDelete", format!("Deleted pod: {}", name(pod)));
            Ok(())
        }
        Err(failure) if failure.code == 404 => Ok(()),
        Err(failure) => {
            cluster.record(owner, "Warning", "FailedDelete", format!("Error deleting: {}", pods::said(&failure)));
            Err(failure)
        }
    }
}

fn status(
    cluster: &Cluster<'_>,
    set: &Value,
    (active, terminating, available): (&[Arc<Value>], usize, i64),
    failure: Option<&Failure>,
) -> Value {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let labels = json!({"matchLabels": at(set, "/spec/template/metadata/labels")});
    let labelled = active.iter().filter(|pod| selector::selects_object(&labels, pod)).count();
    let ready = active.iter().filter(|pod| pods::is_ready(pod)).count();
    let mut conditions = items(set, "/status/conditions").to_vec();
    match (failure, condition(set, "ReplicaFailure")) {
        (Some(failure), None) => conditions.push(json!({
            "type": "ReplicaFailure", "status": "True", "lastTransitionTime": rfc3339(cluster.now()),
            "reason": if active.len() < wanted(set) { "FailedCreate" } else { "FailedDelete" },
            "message": pods::said(failure),
        })),
        (None, Some(_)) => conditions = pods::without(&conditions, "ReplicaFailure"),
        _ => {}
    }
    let mut status = Status::default();
    status
        .put("replicas", json!(active.len()))
        .count("fullyLabeledReplicas", count(labelled))
        .count("readyReplicas", count(ready))
        .count("availableReplicas", available)
        .put("terminatingReplicas", json!(terminating))
        .count("observedGeneration", integer(set, "/metadata/generation").unwrap_or(0))
        .some("conditions", Value::Array(conditions));
    status.into_value()
}

#[cfg(test)]
mod tests;

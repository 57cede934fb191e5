//! kube-scheduler: gives each pod that has none a node, or says why no node will do.
//!
//! Preemption is not done.

mod filter;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

pub(crate) use filter::{node_term, requests, tolerated_by};

use self::filter::{Reason, Seat, Seats};
use super::{Cluster, Controller};
use crate::api::By;
use crate::store::Key;
use crate::value::{at, integer, is_terminating, items, name, namespace, rfc3339, set, text};

/// What a pod is refused for before nodes are looked at one by one.
const NONE_YET: &str = "pod has unbound immediate PersistentVolumeClaims";

/// The scheduler.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    seen: u64,
    /// Pods without a node.
    waiting: BTreeSet<Key>,
}

impl Controller for Scheduler {
    fn name(&self) -> &'static str {
        "default-scheduler"
    }

    fn watches(&self) -> &'static [&'static str] {
        &["pods", "nodes", "persistentvolumeclaims", "persistentvolumes", "storageclasses.storage.k8s.io"]
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        if !self.look(cluster) || self.waiting.is_empty() {
            return None;
        }
        let mut pods: Vec<Arc<Value>> =
            self.waiting.iter().filter_map(|key| cluster.state.store.get(key).cloned()).collect();
        // The scheduling queue: highest priority first, then the oldest.
        pods.sort_by_key(|pod| {
            let priority = integer(pod, "/spec/priority").unwrap_or_default();
            (
                std::cmp::Reverse(priority),
                text(pod, "/metadata/creationTimestamp").to_owned(),
                namespace(pod).to_owned(),
                name(pod).to_owned(),
            )
        });
        let mut seats = Seats::of(cluster);
        for pod in pods {
            match place(cluster, &seats, &pod) {
                Ok(node) => {
                    if bind(cluster, &pod, &node) {
                        seats.take(&node, &pod);
                        self.waiting.remove(&Key::new("pods", namespace(&pod), name(&pod)));
                    }
                }
                Err(message) => refuse(cluster, &pod, &message),
            }
        }
        None
    }
}

impl Scheduler {
    /// Takes in what changed; gives whether a pod might find a place now that found none before.
    fn look(&mut self, cluster: &Cluster<'_>) -> bool {
        let store = &cluster.state.store;
        let from = std::mem::replace(&mut self.seen, store.revision());
        let others = ["persistentvolumeclaims", "persistentvolumes", "storageclasses.storage.k8s.io"];
        let mut again = from == 0 || others.iter().any(|other| store.head(&(*other).into()) > from);
        let (Ok(pods), Ok(nodes)) = (store.since(&"pods".into(), from), store.since(&"nodes".into(), from)) else {
            let pods = store.of(&"pods".into()).filter(|(_, pod)| waits(pod));
            self.waiting = pods.map(|(key, _)| key.clone()).collect();
            return true;
        };
        for change in pods {
            let (before, now) = (change.before.as_ref(), change.after.as_ref());
            if now.is_some_and(|pod| waits(pod)) {
                // Its own word about the pod is nothing new.
                again |= self.waiting.insert(change.key.clone()) || is_other(before, now, "/spec");
            } else {
                self.waiting.remove(&change.key);
                let frees = |pod: Option<&Arc<Value>>| pod.is_none_or(|pod| is_finished(pod));
                again |= frees(now) && !frees(before) || is_other(before, now, "/metadata/labels");
            }
        }
        for change in nodes {
            let parts = ["/spec", "/metadata/labels", "/status/allocatable"];
            again |= parts.iter().any(|part| is_other(change.before.as_ref(), change.after.as_ref(), part));
        }
        again
    }
}

fn is_other(before: Option<&Arc<Value>>, after: Option<&Arc<Value>>, part: &str) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => at(before, part) != at(after, part),
        _ => true,
    }
}

fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

fn waits(pod: &Value) -> bool {
    let scheduler = text(pod, "/spec/schedulerName");
    text(pod, "/spec/nodeName").is_empty()
        && !is_terminating(pod)
        && !is_finished(pod)
        && items(pod, "/spec/schedulingGates").is_empty()
        && matches!(scheduler, "" | "default-scheduler")
}

/// The node for a pod, or the scheduler's message.
fn place(cluster: &Cluster<'_>, seats: &Seats, pod: &Value) -> Result<String, String> {
    let count = seats.len();
    let all = |why: &str| Err(format!("0/{count} nodes are available: {why}. not found"));
    if count == 0 {
        return Err("no nodes available to schedule pods".to_owned());
    }
    for volume in items(pod, "/spec/volumes") {
        let claim = text(volume, "/persistentVolumeClaim/claimName");
        if claim.is_empty() {
            continue;
        }
        let Some(found) = cluster.get("persistentvolumeclaims", namespace(pod), claim) else {
            return all(&format!("persistentvolumeclaim \"{claim}\" not found"));
        };
        if is_terminating(&found) {
            return all(&format!("persistentvolumeclaim \"{claim}\" is being deleted"));
        }
        if text(&found, "/status/phase") == "Lost" {
            let volume = text(&found, "/spec/volumeName");
            return all(&format!(
                "persistentvolumeclaim \"{claim}\" bound to non-existent persistentvolume \"{volume}\""
            ));
        }
        if text(&found, "/spec/volumeName").is_empty() && !super::volumes::waits_for_consumer(cluster, &found) {
            return all(NONE_YET);
        }
    }
    let mut refused: Vec<Reason> = Vec::new();
    let mut fit: Vec<&Seat> = Vec::new();
    for seat in seats.iter() {
        match seats.refuse(cluster, pod, seat) {
            reasons if reasons.is_empty() => fit.push(seat),
            reasons => refused.extend(reasons),
        }
    }
    // The emptiest after it, then the first by name.
    let best = fit.iter().min_by_key(|seat| (seat.load_with(pod), seat.prefers_not(pod), seat.name()));
    match best {
        Some(seat) => Ok(seat.name().to_owned()),
        None => Err(message(count, &refused, seats.unhelpful(cluster, pod))),
    }
}

/// As the real one words it: reasons with their counts, in the order of these words.
fn message(nodes: usize, refused: &[Reason], unhelpful: usize) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in refused {
        *counts.entry(&reason.text).or_default() += 1;
    }
    let mut reasons: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    reasons.sort();
    let mut preemption = Vec::new();
    if nodes > unhelpful {
        preemption.push(format!("{} No preemption victims found for incoming pod", nodes - unhelpful));
    }
    if unhelpful > 0 {
        preemption.push(format!("{unhelpful} Preemption is not helpful for scheduling"));
    }
    preemption.sort();
    format!(
        "0/{nodes} nodes are available: {}. no new claims to deallocate, preemption: 0/{nodes} nodes are available: {}.",
        reasons.join(", "),
        preemption.join(", ")
    )
}

/// What the `binding` subresource does, and the Event.
fn bind(cluster: &mut Cluster<'_>, pod: &Value, node: &str) -> bool {
    // A claim that waited for its first consumer learns where that is.
    for volume in items(pod, "/spec/volumes") {
        let claim = text(volume, "/persistentVolumeClaim/claimName");
        let found = cluster.get("persistentvolumeclaims", namespace(pod), claim);
        let Some(found) = found.filter(|found| text(found, "/spec/volumeName").is_empty()) else { continue };
        let pointer = "/metadata/annotations/volume.kubernetes.io~1selected-node";
        if text(&found, pointer) == node {
            continue;
        }
        let mut object = (*found).clone();
        set(&mut object, pointer, json!(node));
        drop(cluster.update("persistentvolumeclaims", object));
        // It is bound first; the pod comes back when it is.
        return false;
    }
    let by = By { user: "system:kube-scheduler", manager: "kube-scheduler", dry_run: false };
    if cluster.state.bind(by, &Key::new("pods", namespace(pod), name(pod)), node).is_err() {
        return false;
    }
    let message = format!("Successfully assigned {}/{} to {node}", namespace(pod), name(pod));
    cluster.tell_once(pod, "default-scheduler", "Binding", "Normal", "Scheduled", &message);
    true
}

/// Writes into the pod why it has no node, where that is news.
fn refuse(cluster: &mut Cluster<'_>, pod: &Value, message: &str) {
    let before = items(pod, "/status/conditions").iter().find(|condition| text(condition, "/type") == "PodScheduled");
    if before.is_some_and(|before| text(before, "/message") == message && text(before, "/reason") == "Unschedulable") {
        return;
    }
    let since = before
        .filter(|before| text(before, "/status") == "False")
        .and_then(|it| crate::value::time(it, "/lastTransitionTime"));
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message, "lastProbeTime": null,
        "lastTransitionTime": rfc3339(since.unwrap_or_else(|| cluster.now())),
        "observedGeneration": at(pod, "/metadata/generation"),
    });
    let mut object = pod.clone();
    let mut conditions = items(pod, "/status/conditions").to_vec();
    conditions.retain(|other| text(other, "/type") != "PodScheduled");
    conditions.push(condition);
    set(&mut object, "/status/conditions", Value::Array(conditions));
    if text(&object, "/status/phase").is_empty() {
        set(&mut object, "/status/phase", json!("Pending"));
    }
    drop(cluster.update_status("pods", object));
    cluster.tell_once(pod, "default-scheduler", "Scheduling", "Warning", "FailedScheduling", message);
}

#[cfg(test)]
mod tests;

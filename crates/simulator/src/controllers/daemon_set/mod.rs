//! DaemonSets: one pod on each node that it may run on.

mod placement;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use self::placement::{Verdict, target, verdict};
use super::deployment::rounded_up;
use super::pods::{self, Status};
use super::queue::{self, Queue};
use super::replica_set::{create_all, delete_pod};
use super::{Cluster, Controller, revisions};
use crate::failure::Failure;
use crate::store::Key;
use crate::value::{at, integer, is_terminating, name, set, text};

const RESOURCE: &str = "daemonsets.apps";
const WATCHED: &[&str] = &[RESOURCE, "pods", "nodes", revisions::RESOURCE];
const TEMPLATE_GENERATION: &str = "/metadata/annotations/deprecated.daemonset.template.generation";

/// The DaemonSet controller.
#[derive(Debug, Default)]
pub(crate) struct DaemonSets {
    queue: Queue,
}

impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        WATCHED
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let concerns = |cluster: &Cluster<'_>, seen: queue::Seen<'_>, keys: &mut std::collections::BTreeSet<Key>| {
            if seen.is("pods") || seen.is(revisions::RESOURCE) {
                queue::owners(cluster, seen, (RESOURCE, "DaemonSet"), keys);
            } else if seen.is("nodes") && matters(seen) {
                let all = cluster.state.store.of(&RESOURCE.into());
                keys.extend(all.map(|(key, _)| key.clone()));
            }
        };
        self.queue.run(cluster, WATCHED, concerns, sync)
    }
}

/// Whether a node changed in what decides who runs on it; heartbeats don't.
fn matters(seen: queue::Seen<'_>) -> bool {
    let (Some(before), Some(after)) = (seen.before, seen.after) else { return true };
    ["/metadata/labels", "/spec"].iter().any(|field| at(before, field) != at(after, field))
}

/// The nodes, each with the daemon's pods on it, the oldest first.
type Nodes = Vec<(Arc<Value>, Vec<Arc<Value>>)>;

fn sync(cluster: &mut Cluster<'_>, daemon: &Value) -> Result<Option<DateTime<Utc>>, Failure> {
    let mut owned = revisions::owned(cluster, daemon);
    let current = revisions::current(cluster, daemon, &mut owned, revisions::HASH_LABEL)?;
    let hash = at(&current, "/metadata/labels").get(revisions::HASH_LABEL).and_then(Value::as_str).unwrap_or_default();
    let nodes = nodes(cluster, daemon)?;
    let worked = if is_terminating(daemon) {
        Ok(())
    } else {
        match manage(cluster, daemon, &nodes, hash) {
            Ok(false) if text(daemon, "/spec/updateStrategy/type") != "OnDelete" => roll(cluster, daemon, &nodes, hash),
            managed => managed.map(drop),
        }
    };
    let next = write_status(cluster, daemon, &nodes, hash)?;
    let live: Vec<&Value> = nodes.iter().flat_map(|(_, pods)| pods).map(|pod| &**pod).collect();
    let lives = revisions::of_pods(live);
    revisions::truncate(cluster, daemon, &owned, |revision| {
        let label = at(revision, "/metadata/labels").get(revisions::HASH_LABEL).and_then(Value::as_str);
        name(revision) == name(&current) || label.is_some_and(|label| lives.contains(label))
    })?;
    worked.map(|()| next)
}

fn nodes(cluster: &mut Cluster<'_>, daemon: &Value) -> Result<Nodes, Failure> {
    let mut by_node: BTreeMap<String, Vec<Arc<Value>>> = BTreeMap::new();
    for pod in pods::claimed(cluster, daemon, |_| true)? {
        by_node.entry(target(&pod).to_owned()).or_default().push(pod);
    }
    let mut nodes = Vec::new();
    for node in cluster.list("nodes") {
        let mut pods = by_node.remove(name(&node)).unwrap_or_default();
        pods.sort_by_key(|pod| (text(pod, "/metadata/creationTimestamp").to_owned(), name(pod).to_owned()));
        nodes.push((node, pods));
    }
    // Pods that wait for a node which is gone will never run.
    for pod in by_node.into_values().flatten() {
        if text(&pod, "/spec/nodeName").is_empty() && !is_terminating(&pod) {
            delete_pod(cluster, daemon, &pod)?;
        }
    }
    Ok(nodes)
}

/// Creates what is missing and deletes what must not be there; gives whether there was any of it.
fn manage(cluster: &mut Cluster<'_>, daemon: &Value, nodes: &Nodes, hash: &str) -> Result<bool, Failure> {
    let (mut missing, mut unwanted) = (Vec::new(), Vec::new());
    for (node, pods) in nodes {
        match verdict(daemon, node) {
            Verdict::Run if pods.is_empty() => missing.push(pod(daemon, name(node), hash)),
            Verdict::Run | Verdict::Stay => {
                let mut running = Vec::new();
                for pod in pods.iter().filter(|pod| !is_terminating(pod)) {
                    match pods::phase(pod) {
                        "Failed" => {
                            let who =
                                format!("{}/{} on node {}", text(pod, "/metadata/namespace"), name(pod), name(node));
                            let message = format!("Found failed daemon pod {who}, will try to kill it");
                            cluster.record(daemon, "Warning", "FailedDaemonPod", message);
                            unwanted.push(Arc::clone(pod));
                        }
                        "Succeeded" => {
                            let who =
                                format!("{}/{} on node {}", text(pod, "/metadata/namespace"), name(pod), name(node));
                            let message = format!("Found succeeded daemon pod {who}, will try to delete it");
                            cluster.record(daemon, "Normal", "SucceededDaemonPod", message);
                            unwanted.push(Arc::clone(pod));
                        }
                        _ => running.push(Arc::clone(pod)),
                    }
                }
                unwanted.extend(running.into_iter().skip(1));
            }
            Verdict::Leave => unwanted.extend(pods.iter().filter(|pod| !is_terminating(pod)).cloned()),
        }
    }
    let any = !missing.is_empty() || !unwanted.is_empty();
    let created = create_all(cluster, daemon, missing);
    unwanted.iter().try_for_each(|pod| delete_pod(cluster, daemon, pod))?;
    created.map(|()| any)
}

fn pod(daemon: &Value, node: &str, hash: &str) -> Value {
    let mut pod = pods::from_template(at(daemon, "/spec/template"), daemon);
    let generation = text(daemon, TEMPLATE_GENERATION);
    let generation = if generation.is_empty() { "1" } else { generation };
    set(&mut pod, &format!("/metadata/labels/{}", revisions::HASH_LABEL), json!(hash));
    set(&mut pod, "/metadata/labels/pod-template-generation", json!(generation));
    placement::pin(&mut pod, node);
    pod
}

/// How many pods may be away during an update.
fn max_unavailable(daemon: &Value, desired: usize) -> usize {
    let most = match at(daemon, "/spec/updateStrategy/rollingUpdate/maxUnavailable") {
        Value::Null => 1,
        value => rounded_up(value, i64::try_from(desired).unwrap_or(i64::MAX)),
    };
    usize::try_from(most).unwrap_or(0).max(1)
}

/// Deletes old pods, as many as may be away: those that are not available first.
fn roll(cluster: &mut Cluster<'_>, daemon: &Value, nodes: &Nodes, hash: &str) -> Result<(), Failure> {
    let min_ready = integer(daemon, "/spec/minReadySeconds").unwrap_or(0);
    let now = cluster.now();
    let wanted: Vec<_> = nodes.iter().filter(|(node, _)| verdict(daemon, node) == Verdict::Run).collect();
    let most = max_unavailable(daemon, wanted.len());
    let mut away = 0;
    let (mut down, mut candidates) = (Vec::new(), Vec::new());
    for (_, pods) in wanted {
        let (new, old): (Vec<_>, Vec<_>) =
            pods.iter().filter(|pod| !is_terminating(pod)).partition(|pod| revisions::of_pod(pod) == hash);
        match (new.as_slice(), old.as_slice()) {
            ([new], []) => away += usize::from(!pods::is_available(new, min_ready, now)),
            ([], [old]) if !pods::is_available(old, min_ready, now) => {
                away += 1;
                down.push(Arc::clone(old));
            }
            ([], [old]) => candidates.push(Arc::clone(old)),
            _ => away += 1,
        }
    }
    let spare = most.saturating_sub(away);
    down.iter().chain(candidates.iter().take(spare)).try_for_each(|pod| delete_pod(cluster, daemon, pod))
}

fn write_status(
    cluster: &mut Cluster<'_>,
    daemon: &Value,
    nodes: &Nodes,
    hash: &str,
) -> Result<Option<DateTime<Utc>>, Failure> {
    let min_ready = integer(daemon, "/spec/minReadySeconds").unwrap_or(0);
    let (mut desired, mut current, mut misplaced, mut ready, mut updated) = (0, 0, 0, 0, 0);
    let mut oldest = Vec::new();
    for (node, pods) in nodes {
        if verdict(daemon, node) == Verdict::Run {
            desired += 1;
            if let Some(pod) = pods.first() {
                current += 1;
                ready += i64::from(pods::is_ready(pod));
                updated += i64::from(revisions::of_pod(pod) == hash);
                oldest.push(Arc::clone(pod));
            }
        } else if !pods.is_empty() {
            misplaced += 1;
        }
    }
    let (available, next) = pods::availability(&oldest, min_ready, cluster.now());
    let mut status = Status::default();
    status
        .put("desiredNumberScheduled", json!(desired))
        .put("currentNumberScheduled", json!(current))
        .put("numberMisscheduled", json!(misplaced))
        .put("numberReady", json!(ready))
        .count("updatedNumberScheduled", updated)
        .count("numberAvailable", available)
        .count("numberUnavailable", desired - available)
        .count("observedGeneration", integer(daemon, "/metadata/generation").unwrap_or(0));
    pods::write_status(cluster, RESOURCE, daemon, status.into_value())?;
    Ok(next)
}

#[cfg(test)]
mod tests;

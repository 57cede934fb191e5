//! DaemonSets: one pod on each node that it may run on.

mod placement;
mod rolling;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use self::placement::{Verdict, target, verdict};
use super::pods::{self, Status};
use super::queue::{self, Queue};
use super::replica_set::{create_all, delete_pod};
use super::{Cluster, Controller, revisions};
use crate::failure::Failure;
use crate::store::Key;
use crate::value::{at, integer, is_terminating, name, namespace, set, text, uid};

const RESOURCE: &str = "daemonsets.apps";
const WATCHED: &[&str] = &[RESOURCE, "pods", "nodes", revisions::RESOURCE];
const TEMPLATE_GENERATION: &str = "/metadata/annotations/deprecated.daemonset.template.generation";

/// The DaemonSet controller.
#[derive(Debug, Default)]
pub(crate) struct DaemonSets {
    queue: Queue,
    failed: Failed,
}

/// By daemon and node: how often its pod has failed, and when it was last deleted for it.
type Failed = BTreeMap<(String, String), (u32, DateTime<Utc>)>;

/// How long a pod that failed again is left lying: a second, then twice as long each time.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(15);

/// Until when a failed pod is left lying; none when it may be deleted now, which is noted.
fn lies_until(failed: &mut Failed, daemon: &Value, node: &Value, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let key = (uid(daemon).to_owned(), name(node).to_owned());
    let (times, last) =
        failed.get(&key).copied().filter(|(_, last)| now - *last < LONGEST_WAIT * 2).unwrap_or((0, now));
    let wait = times.checked_sub(1).map_or(TimeDelta::zero(), |doublings| {
        TimeDelta::seconds(1i64.checked_shl(doublings.min(20)).unwrap_or(i64::MAX)).min(LONGEST_WAIT)
    });
    if now - last < wait {
        return Some(last + wait);
    }
    failed.insert(key, (times.saturating_add(1), now));
    None
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
        let failed = &mut self.failed;
        self.queue.run(cluster, WATCHED, concerns, |cluster, daemon| sync(cluster, daemon, failed))
    }
}

/// Whether a node changed in what decides who runs on it; heartbeats don't.
fn matters(seen: queue::Seen<'_>) -> bool {
    let (Some(before), Some(after)) = (seen.before, seen.after) else { return true };
    ["/metadata/labels", "/spec"].iter().any(|field| at(before, field) != at(after, field))
}

/// The nodes, each with the daemon's pods on it, the oldest first.
type Nodes = Vec<(Arc<Value>, Vec<Arc<Value>>)>;

fn sync(cluster: &mut Cluster<'_>, daemon: &Value, failed: &mut Failed) -> Result<Option<DateTime<Utc>>, Failure> {
    let mut owned = revisions::owned(cluster, daemon);
    let current = revisions::current(cluster, daemon, &mut owned, revisions::HASH_LABEL)?;
    let hash = at(&current, "/metadata/labels").get(revisions::HASH_LABEL).and_then(Value::as_str).unwrap_or_default();
    let nodes = nodes(cluster, daemon)?;
    let worked = if is_terminating(daemon) {
        Ok(None)
    } else {
        manage(cluster, daemon, (&nodes, hash), failed).and_then(|managed| {
            if !managed.any && text(daemon, "/spec/updateStrategy/type") != "OnDelete" {
                rolling::roll(cluster, daemon, &nodes, hash)?;
            }
            Ok(managed.again)
        })
    };
    let next = write_status(cluster, daemon, &nodes, hash)?;
    let live: Vec<&Value> = nodes.iter().flat_map(|(_, pods)| pods).map(|pod| &**pod).collect();
    let lives = revisions::of_pods(live);
    revisions::truncate(cluster, daemon, &owned, |revision| {
        let label = at(revision, "/metadata/labels").get(revisions::HASH_LABEL).and_then(Value::as_str);
        name(revision) == name(&current) || label.is_some_and(|label| lives.contains(label))
    })?;
    worked.map(|again| next.into_iter().chain(again).min())
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

/// What there was to do, and until when failed pods are left lying.
struct Managed {
    any: bool,
    again: Option<DateTime<Utc>>,
}

/// Creates what is missing and deletes what must not be there.
fn manage(
    cluster: &mut Cluster<'_>,
    daemon: &Value,
    (nodes, hash): (&Nodes, &str),
    failed: &mut Failed,
) -> Result<Managed, Failure> {
    let (mut missing, mut unwanted) = (Vec::new(), Vec::new());
    let mut again: Option<DateTime<Utc>> = None;
    for (node, pods) in nodes {
        match verdict(daemon, node) {
            Verdict::Run if pods.is_empty() => missing.push(pod(daemon, name(node), hash)),
            Verdict::Run | Verdict::Stay => {
                let mut running = Vec::new();
                for pod in pods.iter().filter(|pod| !is_terminating(pod)) {
                    let who = || format!("{}/{} on node {}", namespace(pod), name(pod), name(node));
                    match pods::phase(pod) {
                        "Failed" => {
                            if let Some(until) = lies_until(failed, daemon, node, cluster.now()) {
                                again = Some(again.map_or(until, |again| again.min(until)));
                                continue;
                            }
                            let message = format!("Found failed daemon pod {}, will try to kill it", who());
                            cluster.record(daemon, "Warning", "FailedDaemonPod", message);
                            unwanted.push(Arc::clone(pod));
                        }
                        "Succeeded" => {
                            let message = format!("Found succeeded daemon pod {}, will try to delete it", who());
                            cluster.record(daemon, "Normal", "SucceededDaemonPod", message);
                            unwanted.push(Arc::clone(pod));
                        }
                        _ => running.push(Arc::clone(pod)),
                    }
                }
                unwanted.extend(surplus(daemon, running, hash));
            }
            Verdict::Leave => unwanted.extend(pods.iter().filter(|pod| !is_terminating(pod)).cloned()),
        }
    }
    let any = !missing.is_empty() || !unwanted.is_empty();
    let created = create_all(cluster, daemon, missing);
    unwanted.iter().try_for_each(|pod| delete_pod(cluster, daemon, pod))?;
    created.map(|()| Managed { any, again })
}

/// Of several pods on one node all but the oldest; during a surge the oldest new one stays, too.
fn surplus(daemon: &Value, running: Vec<Arc<Value>>, hash: &str) -> Vec<Arc<Value>> {
    if !rolling::surges(daemon) {
        return running.into_iter().skip(1).collect();
    }
    let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|pod| revisions::of_pod(pod) == hash);
    new.into_iter().skip(1).chain(old.into_iter().skip(1)).collect()
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

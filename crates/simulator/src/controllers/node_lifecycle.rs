//! Nodes' heartbeats, what is concluded from their lack, taints, evictions for taints, and pods of nodes that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::scheduler::tolerated_by;
use super::{Cluster, Controller, Note};
use crate::nodes::{self, Power};
use crate::value::{
    at, integer, is_terminating, is_true, items, name, namespace, rfc3339, set, text, time, uid, unset,
};

/// Kubelets renew their leases so often; here it is done only so often that a lease never looks stale.
const RENEWS: Duration = Duration::seconds(10);
const WRITES: Duration = Duration::seconds(40);
/// Kubelets write an unchanged status so often.
const REPORTS: Duration = Duration::seconds(300);
/// How long nothing may be heard of a node.
const GRACE: Duration = Duration::seconds(50);
/// How often nodes are looked at.
const LOOKS: i64 = 5;
/// How long a node may be away before its pods are forgotten.
const QUARANTINE: Duration = Duration::seconds(40);
const LEASES: &str = "leases.coordination.k8s.io";
const CONTROLLER: Note<'static> = Note { component: "node-controller", host: "", field_path: "" };
const EVICTION: Note<'static> = Note { component: "taint-eviction-controller", host: "", field_path: "" };

/// The node lifecycle controller, taint eviction, pod garbage collection, and the kubelets' heartbeats.
#[derive(Debug, Default)]
pub(crate) struct NodeLifecycle {
    seen: super::changes::Seen,
    due: Option<DateTime<Utc>>,
    /// When pods are evicted, by namespace and name, with their uid.
    evictions: BTreeMap<(String, String), (String, DateTime<Utc>)>,
    /// Since when pods' nodes are missing.
    orphans: BTreeMap<String, DateTime<Utc>>,
}

impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        &["nodes", "pods"]
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let now = cluster.now();
        let changed = self.seen.keys(cluster, &["nodes", "pods"]);
        let stirred = cluster.state.machines.values().any(|machine| machine.returned || machine.is_unheard());
        let nodes = changed.iter().any(|key| key.resource.as_str() == "nodes");
        let pods = !changed.is_empty() && (!self.evictions.is_empty() || !self.orphans.is_empty() || nodes || stirred);
        if !(nodes || pods || stirred || self.due.is_some_and(|due| due <= now) || self.has_bound(cluster, &changed)) {
            return self.due;
        }
        let mut due = beat(cluster);
        for node in cluster.list("nodes") {
            due = sooner(due, judge(cluster, &node));
        }
        for node in cluster.list("nodes") {
            taint(cluster, &node);
        }
        due = sooner(due, self.evict(cluster));
        due = sooner(due, self.collect(cluster));
        self.due = due;
        due
    }
}

fn sooner(a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    a.into_iter().chain(b).min()
}

/// Writes leases and statuses of the kubelets that are well, where it is time.
fn beat(cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
    let now = cluster.now();
    let mut due = None;
    let machines: Vec<(String, bool, bool)> = cluster
        .state
        .machines
        .iter_mut()
        .filter(|(_, machine)| machine.power == Power::On)
        .map(|(name, machine)| {
            (name.clone(), std::mem::take(&mut machine.returned), std::mem::take(&mut machine.was_off))
        })
        .collect();
    for (node, returned, was_off) in machines {
        let Some(object) = cluster.get("nodes", "", &node) else { continue };
        let renewed = cluster.get(LEASES, "kube-node-lease", &node).and_then(|lease| time(&lease, "/spec/renewTime"));
        if returned || renewed.is_none_or(|at| at + WRITES <= now) {
            renew(cluster, &object, now);
        }
        due = sooner(due, Some(renewed.filter(|at| *at + WRITES > now && !returned).unwrap_or(now) + WRITES));
        let ready = crate::value::condition(&object, "Ready");
        let reported = ready.and_then(|ready| time(ready, "/lastHeartbeatTime"));
        let unknown = ready.is_none_or(|ready| text(ready, "/status") == "Unknown");
        if unknown || reported.is_none_or(|at| at + REPORTS <= now) {
            report(cluster, &object, unknown, was_off);
        }
    }
    due
}

fn renew(cluster: &mut Cluster<'_>, node: &Value, at_time: DateTime<Utc>) {
    let renewed = json!(at_time.to_rfc3339_opts(SecondsFormat::Micros, true));
    let name = name(node);
    if let Some(lease) = cluster.get(LEASES, "kube-node-lease", name) {
        let mut lease = (*lease).clone();
        set(&mut lease, "/spec/renewTime", renewed);
        drop(cluster.update(LEASES, lease));
        return;
    }
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid(node)},
        ]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed},
    });
    drop(cluster.create(LEASES, lease));
}

/// A kubelet's node status; `returned` when it was thought to be gone.
fn report(cluster: &mut Cluster<'_>, node: &Value, returned: bool, was_off: bool) {
    let now = cluster.now();
    let fresh = nodes::conditions(now, now);
    let mut conditions = items(node, "/status/conditions").to_vec();
    for condition in fresh.as_array().into_iter().flatten() {
        let of = text(condition, "/type");
        match conditions.iter_mut().find(|old| text(old, "/type") == of) {
            // Pressures that a scenario set stay as they are.
            Some(old) if text(old, "/status") != "Unknown" => set(old, "/lastHeartbeatTime", rfc3339(now)),
            Some(old) => *old = condition.clone(),
            None => conditions.push(condition.clone()),
        }
    }
    let mut object = node.clone();
    set(&mut object, "/status/conditions", Value::Array(conditions));
    drop(cluster.update_status("nodes", object));
    if returned {
        let name = name(node);
        let kubelet = Note { component: "kubelet", host: name, field_path: "" };
        if was_off {
            cluster.tell(
                node,
                kubelet,
                "Warning",
                "Rebooted",
                &format!("Node {name} has been rebooted, boot id: {name}"),
            );
        }
        cluster.tell(node, kubelet, "Normal", "NodeReady", &format!("Node {name} status is now: NodeReady"));
    }
}

/// Concludes that a node is away; gives when that would be.
fn judge(cluster: &mut Cluster<'_>, node: &Value) -> Option<DateTime<Utc>> {
    let now = cluster.now();
    let (last, never) = match cluster.state.machines.get(name(node)) {
        Some(machine) => match machine.power {
            Power::On => return None,
            Power::Silent(since) | Power::Off(since) => {
                let periods = (since - machine.since).num_milliseconds() / RENEWS.num_milliseconds();
                (machine.since + RENEWS * i32::try_from(periods).unwrap_or(i32::MAX), false)
            }
        },
        // Nobody made it but a client of the API: no kubelet will ever speak for it.
        None if crate::value::condition(node, "Ready").is_none() => (time(node, "/metadata/creationTimestamp")?, true),
        None => return None,
    };
    let away = last + GRACE;
    let away = away + Duration::seconds((LOOKS - away.timestamp().rem_euclid(LOOKS)) % LOOKS);
    let ready = crate::value::condition(node, "Ready");
    if ready.is_some_and(|ready| text(ready, "/status") == "Unknown") {
        return None;
    }
    if now < away {
        return Some(away);
    }
    // What was last heard of it stands in its lease.
    if !never {
        renew(cluster, node, last);
    }
    let was_ready = ready.is_some_and(|ready| text(ready, "/status") == "True");
    let mut conditions = items(node, "/status/conditions").to_vec();
    let (reason, message) = if never {
        ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
    } else {
        ("NodeStatusUnknown", "Kubelet stopped posting node status.")
    };
    for of in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"] {
        let old = conditions.iter().position(|old| text(old, "/type") == of);
        let beat = old.and_then(|old| conditions.get(old)).map(|old| at(old, "/lastHeartbeatTime").clone());
        let condition = json!({
            "type": of, "status": "Unknown", "reason": reason, "message": message,
            "lastHeartbeatTime": beat.unwrap_or_else(|| at(node, "/metadata/creationTimestamp").clone()),
            "lastTransitionTime": rfc3339(now),
        });
        match old.and_then(|old| conditions.get_mut(old)) {
            Some(old) => *old = condition,
            None => conditions.push(condition),
        }
    }
    let mut object = node.clone();
    set(&mut object, "/status/conditions", Value::Array(conditions));
    drop(cluster.update_status("nodes", object));
    if was_ready {
        let message = format!("Node {} status is now: NodeNotReady", name(node));
        cluster.tell(node, CONTROLLER, "Normal", "NodeNotReady", &message);
        mark_pods(cluster, name(node));
    }
    None
}

/// The pods of a node that is away are not ready.
fn mark_pods(cluster: &mut Cluster<'_>, node: &str) {
    let now = cluster.now();
    for pod in pods_on(cluster, node) {
        let conditions = items(&pod, "/status/conditions");
        let ready = conditions.iter().position(|it| text(it, "/type") == "Ready" && text(it, "/status") == "True");
        let Some(place) = ready else { continue };
        let mut object = (*pod).clone();
        set(&mut object, &format!("/status/conditions/{place}/status"), json!("False"));
        set(&mut object, &format!("/status/conditions/{place}/lastTransitionTime"), rfc3339(now));
        if cluster.update_status("pods", object).is_ok() {
            cluster.tell(&pod, CONTROLLER, "Warning", "NodeNotReady", "Node is not ready");
        }
    }
}

fn pods_on(cluster: &Cluster<'_>, node: &str) -> Vec<Arc<Value>> {
    cluster.list("pods").into_iter().filter(|pod| text(pod, "/spec/nodeName") == node).collect()
}

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Taints that follow from conditions, or from being cordoned.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Puts on a node the taints that its state asks for, and takes off those it doesn't.
fn taint(cluster: &mut Cluster<'_>, node: &Arc<Value>) {
    let now = cluster.now();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (of, status, key) in BY_CONDITION {
        if crate::value::condition(node, of).is_some_and(|it| text(it, "/status") == status) {
            wanted.push((key, "NoSchedule"));
            if key == NOT_READY || key == UNREACHABLE {
                wanted.push((key, "NoExecute"));
            }
        }
    }
    if is_true(node, "/spec/unschedulable") {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let is_ours = |taint: &Value| {
        let key = text(taint, "/key");
        (key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, ours)| *ours == key))
            && text(taint, "/effect") != "PreferNoSchedule"
    };
    let before = items(node, "/spec/taints");
    let is =
        |taint: &Value, (key, effect): &(&str, &str)| text(taint, "/key") == *key && text(taint, "/effect") == *effect;
    let mut after: Vec<Value> =
        before.iter().filter(|taint| !is_ours(taint) || wanted.iter().any(|it| is(taint, it))).cloned().collect();
    for it in wanted.iter().filter(|it| !before.iter().any(|taint| is(taint, it))) {
        after.push(json!({"key": it.0, "effect": it.1, "timeAdded": rfc3339(now)}));
    }
    if after != before {
        let mut object = (**node).clone();
        if after.is_empty() {
            unset(&mut object, "/spec/taints");
        } else {
            set(&mut object, "/spec/taints", Value::Array(after));
        }
        drop(cluster.update("nodes", object));
    }
}

impl NodeLifecycle {
    /// Whether a pod that changed lies on a node that evicts, or on none that exists.
    fn has_bound(&self, cluster: &Cluster<'_>, changed: &BTreeSet<crate::store::Key>) -> bool {
        changed.iter().filter(|key| key.resource.as_str() == "pods").any(|key| {
            let Some(pod) = cluster.state.store.get(key) else { return false };
            let node = text(pod, "/spec/nodeName");
            !node.is_empty()
                && cluster.get("nodes", "", node).is_none_or(|node| {
                    items(&node, "/spec/taints").iter().any(|taint| text(taint, "/effect") == "NoExecute")
                })
        })
    }

    /// Evicts the pods that don't tolerate their node's taints, or no longer do.
    fn evict(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let now = cluster.now();
        let mut due: BTreeMap<(String, String), (String, DateTime<Utc>)> = BTreeMap::new();
        for node in cluster.list("nodes") {
            let taints: Vec<&Value> =
                items(&node, "/spec/taints").iter().filter(|taint| text(taint, "/effect") == "NoExecute").collect();
            if taints.is_empty() {
                continue;
            }
            for pod in pods_on(cluster, name(&node)) {
                if let Some(at) = eviction(&pod, &taints, now).filter(|_| !is_terminating(&pod)) {
                    due.insert((namespace(&pod).to_owned(), name(&pod).to_owned()), (uid(&pod).to_owned(), at));
                }
            }
        }
        for (key, (uid, _)) in std::mem::take(&mut self.evictions) {
            let there =
                cluster.get("pods", &key.0, &key.1).filter(|pod| crate::value::uid(pod) == uid && !is_terminating(pod));
            if let Some(pod) = there.filter(|_| !due.contains_key(&key)) {
                let message = format!("Cancelling deletion of Pod {}/{}", key.0, key.1);
                cluster.tell(&pod, EVICTION, "Normal", "TaintManagerEviction", &message);
            }
        }
        for (ns, pod) in due.iter().filter(|(_, (_, at))| *at <= now).map(|(key, _)| key) {
            let Some(found) = cluster.get("pods", ns, pod) else { continue };
            let message = format!("Marking for deletion Pod {ns}/{pod}");
            cluster.tell(&found, EVICTION, "Normal", "TaintManagerEviction", &message);
            let message = "Taint manager: deleting due to NoExecute taint";
            let found = disrupt(cluster, &found, "DeletionByTaintManager", message, false).unwrap_or(found);
            drop(cluster.delete("pods", &found, None));
        }
        due.retain(|_, (_, at)| *at > now);
        self.evictions = due;
        self.evictions.values().map(|(_, at)| *at).min()
    }

    /// Takes away the pods of nodes that are no more.
    fn collect(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let now = cluster.now();
        let nodes: BTreeSet<String> = cluster.list("nodes").iter().map(|node| name(node).to_owned()).collect();
        let mut missing: BTreeMap<String, DateTime<Utc>> = BTreeMap::new();
        for pod in cluster.list("pods") {
            let node = text(&pod, "/spec/nodeName");
            if node.is_empty() || nodes.contains(node) {
                continue;
            }
            let since = self.orphans.get(node).copied().unwrap_or(now);
            if since + QUARANTINE > now {
                missing.insert(node.to_owned(), since);
                continue;
            }
            let message = "PodGC: node no longer exists";
            let pod = disrupt(cluster, &pod, "DeletionByPodGC", message, true).unwrap_or(pod);
            drop(cluster.delete("pods", &pod, Some(0)));
        }
        self.orphans = missing;
        self.orphans.values().map(|since| *since + QUARANTINE).min()
    }
}

/// When a pod must leave a node with these NoExecute taints; never, where it tolerates them for ever.
fn eviction(pod: &Value, taints: &[&Value], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut least: Option<i64> = None;
    let mut since = None;
    for taint in taints {
        let added = time(taint, "/timeAdded").unwrap_or(now);
        since = Some(since.map_or(added, |since: DateTime<Utc>| since.min(added)));
        let tolerations = items(pod, "/spec/tolerations").iter();
        let mut tolerating = tolerations
            .filter(|it| tolerated_by(it, text(taint, "/key"), text(taint, "/value"), "NoExecute"))
            .peekable();
        if tolerating.peek().is_none() {
            return Some(now);
        }
        least = tolerating.filter_map(|it| integer(it, "/tolerationSeconds")).chain(least).min();
    }
    Some(since? + Duration::seconds(least?.max(0)))
}

/// Marks a pod as the target of a disruption.
fn disrupt(cluster: &mut Cluster<'_>, pod: &Value, reason: &str, message: &str, fail: bool) -> Option<Arc<Value>> {
    let now = rfc3339(cluster.now());
    let mut object = pod.clone();
    let mut conditions = items(pod, "/status/conditions").to_vec();
    conditions.retain(|old| text(old, "/type") != "DisruptionTarget");
    conditions.push(json!({
        "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
        "lastProbeTime": null, "lastTransitionTime": now, "observedGeneration": at(pod, "/metadata/generation"),
    }));
    set(&mut object, "/status/conditions", Value::Array(conditions));
    if fail && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        set(&mut object, "/status/phase", json!("Failed"));
    }
    cluster.update_status("pods", object).ok()
}

#[cfg(test)]
mod tests;

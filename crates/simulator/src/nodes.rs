//! Nodes as machines: what they have, what runs on them, and what is done to them from outside the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::By;
use crate::controllers::PodLife;
use crate::failure::Failure;
use crate::images::ImageLife;
use crate::simulator::Simulator;
use crate::store::Key;
use crate::value::{rfc3339, set};

/// What a new node has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeOptions {
    /// CPUs that pods may ask for, `4` or `3500m`.
    pub cpu: String,
    /// Memory that pods may ask for, `16Gi`.
    pub memory: String,
    /// How many pods it takes.
    pub pods: u32,
    /// Labels besides the usual ones.
    pub labels: BTreeMap<String, String>,
    /// Taints from the beginning.
    pub taints: Vec<NodeTaint>,
}

/// A taint of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeTaint {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

impl Default for NodeOptions {
    fn default() -> Self {
        let (cpu, memory) = ("4".to_owned(), "16Gi".to_owned());
        Self { cpu, memory, pods: 110, labels: BTreeMap::new(), taints: Vec::new() }
    }
}

/// Whether a machine runs and is heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    On,
    /// It runs, its containers too, but its kubelet does nothing and is not heard of since then.
    Silent(DateTime<Utc>),
    /// Nothing runs on it since then.
    Off(DateTime<Utc>),
}

/// A node's machine with its kubelet.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) power: Power,
    pub(crate) ip: String,
    /// When its kubelet began to renew its lease.
    pub(crate) since: DateTime<Utc>,
    /// The images it has.
    pub(crate) images: BTreeSet<String>,
    /// The pods its kubelet knows, by uid.
    pub(crate) pods: BTreeMap<String, PodLife>,
    /// Its kubelet came back and has not yet said so.
    pub(crate) returned: bool,
    /// It was off before it came back.
    pub(crate) was_off: bool,
    number: u32,
    addresses: u32,
    rebooted: bool,
}

/// All machines, by the names of their nodes.
pub(crate) type Machines = BTreeMap<String, Machine>;

impl Machine {
    fn new(number: u32, now: DateTime<Utc>) -> Self {
        let ip = format!("172.18.{}.{}", number / 250, number % 250 + 2);
        Self {
            power: Power::On,
            ip,
            since: now,
            images: BTreeSet::new(),
            pods: BTreeMap::new(),
            returned: false,
            was_off: false,
            number,
            addresses: 0,
            rebooted: false,
        }
    }

    /// Whether its kubelet has fallen silent and its node may not show it yet.
    pub(crate) fn is_unheard(&self) -> bool {
        self.power != Power::On
    }

    /// Whether its kubelet answers.
    pub(crate) fn is_reachable(&self) -> bool {
        self.power == Power::On
    }

    /// The address that the next pod gets: each its own, and none again soon.
    pub(crate) fn next_pod_ip(&self) -> String {
        let ip = |place: u32| format!("10.{}.{}.{}", 244 + self.number / 256, self.number % 256, place % 250 + 2);
        let places = (self.addresses..self.addresses.saturating_add(250)).map(ip);
        let taken = |ip: &String| self.pods.values().any(|life| life.ip == *ip);
        places.into_iter().find(|ip| !taken(ip)).unwrap_or_default()
    }

    /// It was given away.
    pub(crate) fn took_pod_ip(&mut self) {
        self.addresses = self.addresses.wrapping_add(1);
    }

    /// After a reboot, everything in its pods starts anew.
    pub(crate) fn wake(&mut self, now: DateTime<Utc>) {
        if std::mem::take(&mut self.rebooted) {
            self.pods.values_mut().for_each(|life| life.reboot(now));
        }
    }
}

const PERSON: By<'static> = By { user: "kubernetes-admin", manager: "kubectl", dry_run: false };

impl Simulator {
    /// Adds a node that is ready.
    ///
    /// # Errors
    /// As the API server refuses it, for instance for its name.
    pub fn add_node(&self, name: &str, options: &NodeOptions) -> Result<(), Failure> {
        let mut state = self.state();
        let now = state.now();
        let number = u32::try_from(state.machines.len()).unwrap_or_default();
        let machine = Machine::new(number, now);
        let node = node(name, options, &machine, now);
        let user = format!("system:node:{name}");
        let by = By { user: &user, manager: "kubelet", dry_run: false };
        let [spec, status] = ["spec", "status"].map(|part| node.get(part).cloned().unwrap_or_default());
        let written = state.create(by, &"nodes".into(), "", node)?;
        let mut node = (*written).clone();
        set(&mut node, "/status", status);
        let key = Key::new("nodes", "", name);
        let written = state.replace(by, &key, crate::api::Part::Status, node)?;
        // A new node is tainted until it is ready, which this one is.
        let mut node = (*written).clone();
        set(&mut node, "/spec", spec);
        state.replace(by, &key, crate::api::Part::Main, node)?;
        state.machines.insert(name.to_owned(), machine);
        drop(state);
        self.nudge();
        Ok(())
    }

    /// A node's machine dies: nothing runs on it and nothing is heard of it.
    pub fn power_off(&self, node: &str) {
        self.machine(node, |machine, now| machine.power = Power::Off(now));
    }

    /// A node's kubelet falls silent. What runs goes on running, unseen.
    pub fn silence_kubelet(&self, node: &str) {
        self.machine(node, |machine, now| machine.power = Power::Silent(now));
    }

    /// A node that was powered off or silent comes back.
    pub fn bring_back(&self, node: &str) {
        self.machine(node, |machine, _| {
            machine.rebooted |= matches!(machine.power, Power::Off(_));
            machine.was_off |= machine.rebooted;
            machine.returned |= machine.power != Power::On;
            machine.power = Power::On;
        });
    }

    fn machine(&self, node: &str, change: impl FnOnce(&mut Machine, DateTime<Utc>)) {
        let mut state = self.state();
        let now = state.now();
        if let Some(machine) = state.machines.get_mut(node) {
            change(machine, now);
            // All that came due in the meantime comes due now.
            machine.pods.values_mut().for_each(|life| life.due = Some(now));
        }
        drop(state);
        self.nudge();
    }

    /// From now on an image's containers live so: those that run, too.
    pub fn set_image(&self, reference: &str, life: ImageLife) {
        let mut state = self.state();
        Arc::make_mut(&mut state.images).insert(reference.to_owned(), life);
        drop(state);
        self.nudge();
    }

    /// Kills a running container, as an out-of-memory killer outside its limits or a person on the node would: it
    /// ends with 137.
    pub fn kill_container(&self, namespace: &str, pod: &str, container: &str) {
        let mut state = self.state();
        let now = state.now();
        let lives = state.machines.values_mut().filter(|machine| machine.power == Power::On);
        let lives = lives.flat_map(|machine| machine.pods.values_mut());
        for life in lives.filter(|life| life.namespace == namespace && life.name == pod) {
            life.kill(container, now);
        }
        drop(state);
        self.nudge();
    }

    /// A node runs out of memory and gives a pod up: phase Failed, reason Evicted.
    pub fn evict_for_memory(&self, namespace: &str, pod: &str) {
        let mut state = self.state();
        let now = state.now();
        let message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. ";
        let lives = state.machines.values_mut().filter(|machine| machine.power == Power::On);
        let lives = lives.flat_map(|machine| machine.pods.values_mut());
        for life in lives.filter(|life| life.namespace == namespace && life.name == pod) {
            life.evict(message, now);
        }
        drop(state);
        self.nudge();
    }

    /// Sets a condition of a node as its kubelet would: `MemoryPressure`, `True`. It stays until it is set again, or
    /// the node was away.
    ///
    /// # Errors
    /// There is no such node.
    pub fn set_node_condition(
        &self,
        node: &str,
        of: &str,
        status: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), Failure> {
        let mut state = self.state();
        let now = rfc3339(state.now());
        let key = Key::new("nodes", "", node);
        let found = state.store.get(&key).cloned().ok_or_else(|| Failure::not_found(&key))?;
        let mut conditions = crate::value::items(&found, "/status/conditions").to_vec();
        conditions.retain(|old| crate::value::text(old, "/type") != of);
        conditions.push(json!({
            "type": of, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }));
        let mut object = (*found).clone();
        set(&mut object, "/status/conditions", Value::Array(conditions));
        let user = format!("system:node:{node}");
        let by = By { user: &user, manager: "kubelet", dry_run: false };
        state.replace(by, &key, crate::api::Part::Status, object)?;
        drop(state);
        self.nudge();
        Ok(())
    }

    /// Cordons a node, or takes that back, as a person does.
    ///
    /// # Errors
    /// There is no such node.
    pub fn cordon(&self, node: &str, unschedulable: bool) -> Result<(), Failure> {
        let mut state = self.state();
        let key = Key::new("nodes", "", node);
        let found = state.store.get(&key).cloned().ok_or_else(|| Failure::not_found(&key))?;
        let mut object = (*found).clone();
        if unschedulable {
            set(&mut object, "/spec/unschedulable", json!(true));
        } else {
            crate::value::unset(&mut object, "/spec/unschedulable");
        }
        state.replace(PERSON, &key, crate::api::Part::Main, object)?;
        drop(state);
        self.nudge();
        Ok(())
    }
}

fn node(name: &str, options: &NodeOptions, machine: &Machine, now: DateTime<Utc>) -> Value {
    let mut labels = options.labels.clone();
    for (label, value) in [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", "amd64"),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", "amd64"),
    ] {
        labels.entry(label.to_owned()).or_insert_with(|| value.to_owned());
    }
    let cidr = format!("10.{}.{}.0/24", 244 + machine.number / 256, machine.number % 256);
    let has = json!({"cpu": options.cpu, "memory": options.memory, "pods": options.pods.to_string()});
    let mut spec = json!({"podCIDR": cidr, "podCIDRs": [cidr]});
    if !options.taints.is_empty() {
        let taints = options.taints.iter().map(|taint| json!(taint)).collect();
        set(&mut spec, "/taints", Value::Array(taints));
    }
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {
            "node.alpha.kubernetes.io/ttl": "0",
            "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        }},
        "spec": spec,
        "status": {
            "capacity": has, "allocatable": has, "conditions": conditions(now, now),
            "addresses": [{"type": "InternalIP", "address": machine.ip}, {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "osImage": "Debian GNU/Linux 12 (bookworm)",
                "kernelVersion": "6.18.44", "containerRuntimeVersion": "containerd://2.4.2",
                "kubeletVersion": "v1.36.3", "kubeProxyVersion": "", "machineID": name, "systemUUID": name,
                "bootID": name,
            },
        },
    })
}

/// The conditions of a node whose kubelet is well.
pub(crate) fn conditions(since: DateTime<Utc>, now: DateTime<Utc>) -> Value {
    let condition = |of: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": of, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": rfc3339(now), "lastTransitionTime": rfc3339(since),
        })
    };
    json!([
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ])
}

impl crate::state::State {
    /// The CPU that a pod's running containers use by themselves and for requests, in thousandths; none where its kubelet can't be asked.
    pub(crate) fn cpu_usage(&self, pod_uid: &str) -> Option<i128> {
        let machines = self.machines.values().filter(|machine| machine.is_reachable());
        let life = machines.filter_map(|machine| machine.pods.get(pod_uid)).next()?;
        let pod = self.store.get(&Key::new("pods", &life.namespace, &life.name))?;
        let idle = life.cpu(pod, &self.images)?;
        // Far from what an integer can't hold.
        #[allow(clippy::cast_possible_truncation)]
        let busy = (self.traffic.cpu(&life.namespace, &life.name) * 1000.0) as i128;
        Some(idle + busy)
    }
}

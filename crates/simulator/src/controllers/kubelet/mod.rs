//! The kubelets of all nodes: each brings its pods to life and tells what becomes of them.

mod config;
mod container;
mod events;
mod image;
mod log;
mod pod;
mod probe;
mod running;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Cluster, Controller};
use crate::images::Images;
use crate::nodes::{Machine, Power};
use crate::store::Key;
use crate::value::{at, is_terminating, set, text, uid};

pub(crate) use config::is_met;
pub(crate) use container::running_since;
pub(crate) use events::{Budget, Kind};
pub(crate) use log::Asked;
pub(crate) use pod::{PodLife, program};

/// Every node's kubelet.
#[derive(Debug, Default)]
pub(crate) struct Kubelets {
    /// The store's revision up to which changes of pods are known.
    seen: u64,
    images: Option<Arc<Images>>,
}

impl Controller for Kubelets {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn watches(&self) -> &'static [&'static str] {
        &["pods"]
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let now = cluster.now();
        let changed = self.changed(cluster);
        let images = Arc::clone(&cluster.state.images);
        let mut machines = std::mem::take(&mut cluster.state.machines);
        if !self.images.as_ref().is_some_and(|before| Arc::ptr_eq(before, &images)) {
            for machine in machines.values_mut() {
                machine.pods.values_mut().for_each(|life| life.look_again(now));
            }
            self.images = Some(Arc::clone(&images));
        }
        for key in changed {
            see(cluster, &mut machines, &key);
        }
        let mut due = None;
        for (node, machine) in &mut machines {
            if machine.power != Power::On {
                continue;
            }
            machine.wake(now);
            let ripe: Vec<String> = machine
                .pods
                .iter()
                .filter(|(_, life)| life.due.is_some_and(|due| due <= now))
                .map(|(uid, _)| uid.clone())
                .collect();
            for uid in ripe {
                sync(cluster, machine, node, &uid, &images);
            }
            due = machine.pods.values().filter_map(|life| life.due).chain(due).min();
        }
        cluster.state.machines = machines;
        due
    }
}

impl Kubelets {
    /// The pods that changed since it looked last.
    fn changed(&mut self, cluster: &Cluster<'_>) -> BTreeSet<Key> {
        let store = &cluster.state.store;
        let from = std::mem::replace(&mut self.seen, store.revision());
        let pods = "pods".into();
        match store.since(&pods, from) {
            Ok(changes) => changes.map(|change| change.key.clone()).collect(),
            Err(crate::store::TooOld) => {
                let lives = cluster.state.machines.values().flat_map(|machine| machine.pods.values());
                let known = lives.map(|life| Key::new("pods", &life.namespace, &life.name));
                store.of(&pods).map(|(key, _)| key.clone()).chain(known).collect()
            }
        }
    }
}

type Machines = std::collections::BTreeMap<String, Machine>;

/// Takes in a pod that came, changed or went.
fn see(cluster: &Cluster<'_>, machines: &mut Machines, key: &Key) {
    let now = cluster.now();
    let pod = cluster.state.store.get(key);
    let present = pod.map(|pod| uid(pod).to_owned()).unwrap_or_default();
    for machine in machines.values_mut() {
        machine.pods.retain(|uid, life| *uid == present || life.namespace != key.namespace || life.name != key.name);
    }
    let Some(pod) = pod else { return };
    let Some(machine) = machines.get_mut(text(pod, "/spec/nodeName")) else { return };
    match machine.pods.get_mut(&present) {
        // What it wrote itself, and what others wrote: both are looked at once more.
        Some(life) => life.due = Some(now),
        None if is_finished(pod) && !is_terminating(pod) => {}
        None => drop(machine.pods.insert(present, PodLife::new(pod, now))),
    }
}

fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Brings one pod to where it is now and writes what can be seen of it.
fn sync(cluster: &mut Cluster<'_>, machine: &mut Machine, node: &str, uid: &str, images: &Images) {
    let now = cluster.now();
    let Some(mut life) = machine.pods.remove(uid) else { return };
    let Some(pod) = cluster.get("pods", &life.namespace, &life.name).filter(|pod| crate::value::uid(pod) == uid) else {
        return;
    };
    let had_ip = !life.ip.is_empty();
    let ip = if had_ip { life.ip.clone() } else { machine.next_pod_ip() };
    let mut site =
        pod::Site { cluster, pod: Arc::clone(&pod), node, ip: &ip, images, present: &mut machine.images, now };
    life.sync(&mut site);
    if !had_ip && !life.ip.is_empty() {
        machine.took_pod_ip();
    }
    let status = status::status(&life, &pod, &machine.ip, now);
    let mut written = Arc::clone(&pod);
    if *at(&pod, "/status") != status {
        let mut object = (*pod).clone();
        set(&mut object, "/status", status);
        if let Ok(after) = cluster.update_status("pods", object) {
            written = after;
        }
    }
    if life.is_over() && is_terminating(&pod) {
        // The last word: nothing runs any more, the object may go.
        drop(cluster.delete("pods", &written, Some(0)));
        return;
    }
    machine.pods.insert(uid.to_owned(), life);
}

#[cfg(test)]
mod tests;

//! A stage for tests: the controllers under test, a kubelet that is three rules long, and time that passes
//! when it is told to.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Cluster, Controller};
use crate::api::{By, Deletion, Part};
use crate::images::Images;
use crate::simulator::{Options, Simulator};
use crate::store::Key;
use crate::value::{at, is_terminating, items, name, namespace, rfc3339, set, text};

pub(super) struct Stage {
    simulator: Simulator,
    controllers: Vec<Box<dyn Controller>>,
    /// How long after it is made a pod is ready.
    ready_after: Duration,
    kubelet_saw: u64,
    kubelet_due: Option<DateTime<Utc>>,
}

const BY: By<'static> = By { user: "test", manager: "test", dry_run: false };

impl Stage {
    pub(super) fn new() -> Self {
        let start = "2026-06-03T09:00:00Z".parse().unwrap();
        let simulator = Simulator::new(Options { start, seed: 1, images: Images::new() });
        for (resource, namespace, object) in [
            ("namespaces", "", json!({"metadata": {"name": "shop"}})),
            ("serviceaccounts", "shop", json!({"metadata": {"name": "default"}})),
        ] {
            simulator.state().create(BY, &resource.into(), namespace, object).unwrap();
        }
        let controllers: Vec<Box<dyn Controller>> = vec![
            Box::<super::cron_job::CronJobs>::default(),
            Box::<super::job::Jobs>::default(),
            Box::<super::job::ttl::TimeToLive>::default(),
            Box::<super::deployment::Deployments>::default(),
            Box::<super::replica_set::ReplicaSets>::default(),
            Box::<super::stateful_set::StatefulSets>::default(),
            Box::<super::daemon_set::DaemonSets>::default(),
            Box::<super::disruption::Disruptions>::default(),
            Box::<super::garbage_collector::GarbageCollector>::default(),
        ];
        Self { simulator, controllers, ready_after: Duration::from_secs(1), kubelet_saw: 0, kubelet_due: None }
    }

    /// Lets time pass.
    pub(super) async fn pass(&mut self, seconds: u64) {
        let until = tokio::time::Instant::now() + Duration::from_secs(seconds);
        loop {
            let due = self.turn().map(|due| self.simulator.state().clock.instant(due));
            let next = due.map_or(until, |due| due.min(until)).max(tokio::time::Instant::now());
            if next >= until && tokio::time::Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(next).await;
        }
    }

    fn turn(&mut self) -> Option<DateTime<Utc>> {
        for _ in 0..1000 {
            let mut state = self.simulator.state();
            let before = state.store.revision();
            let mut due: Option<DateTime<Utc>> = None;
            for controller in &mut self.controllers {
                let next = controller.reconcile(&mut Cluster::new(&mut state, controller.name()));
                due = due.into_iter().chain(next).min();
            }
            // It has nothing to do while no pod changed.
            let is_due = self.kubelet_due.is_some_and(|due| due <= state.now());
            if is_due || state.store.head(&"pods".into()) > self.kubelet_saw {
                self.kubelet_saw = state.store.revision();
                self.kubelet_due = kubelet(&mut Cluster::new(&mut state, "kubelet"), self.ready_after);
            }
            due = due.into_iter().chain(self.kubelet_due).min();
            if state.store.revision() == before {
                return due;
            }
        }
        panic!("the controllers never come to rest");
    }

    pub(super) fn create(&self, resource: &str, object: Value) -> Arc<Value> {
        let namespace = namespace(&object).to_owned();
        self.simulator.state().create(BY, &resource.into(), &namespace, object).unwrap()
    }

    pub(super) fn get(&self, resource: &str, name: &str) -> Value {
        self.find(resource, name).unwrap_or_else(|| panic!("no {resource} {name}"))
    }

    pub(super) fn find(&self, resource: &str, name: &str) -> Option<Value> {
        let state = self.simulator.state();
        let all = ["shop", ""].into_iter().find_map(|ns| state.store.get(&Key::new(resource, ns, name)).cloned());
        all.map(|found| (*found).clone())
    }

    pub(super) fn list(&self, resource: &str) -> Vec<Value> {
        self.simulator.state().store.of(&resource.into()).map(|(_, object)| (**object).clone()).collect()
    }

    pub(super) fn names(&self, resource: &str) -> Vec<String> {
        self.list(resource).iter().map(|object| name(object).to_owned()).collect()
    }

    /// How many objects of a resource have been created.
    pub(super) fn created(&self, resource: &str) -> usize {
        let state = self.simulator.state();
        state.store.since(&resource.into(), 0).unwrap().filter(|change| change.before.is_none()).count()
    }

    pub(super) fn edit(&self, resource: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        self.write(resource, name, Part::Main, edit);
    }

    pub(super) fn edit_status(&self, resource: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        self.write(resource, name, Part::Status, edit);
    }

    fn write(&self, resource: &str, name: &str, part: Part, edit: impl FnOnce(&mut Value)) {
        let mut object = self.get(resource, name);
        edit(&mut object);
        let key = Key::new(resource, namespace(&object), name);
        self.simulator.state().replace(BY, &key, part, object).unwrap();
    }

    pub(super) fn delete(&self, resource: &str, name: &str, propagation: &str) {
        let object = self.get(resource, name);
        let key = Key::new(resource, namespace(&object), name);
        let how = Deletion { propagation: Some(propagation.to_owned()), ..Deletion::default() };
        self.simulator.state().delete(BY, &key, &how).unwrap();
    }

    /// `reason: message` of the Events about an object, in their order.
    pub(super) fn events(&self, about: &str) -> Vec<String> {
        let mut events = self.list("events");
        events.retain(|event| text(event, "/involvedObject/name") == about);
        events.sort_by_key(|event| text(event, "/metadata/resourceVersion").parse::<u64>().unwrap());
        events.iter().map(|event| format!("{}: {}", text(event, "/reason"), text(event, "/message"))).collect()
    }

    /// `type=status reason` of an object's conditions, by type.
    pub(super) fn conditions(&self, resource: &str, name: &str) -> Vec<String> {
        let object = self.get(resource, name);
        let mut all: Vec<_> = items(&object, "/status/conditions")
            .iter()
            .map(|found| format!("{}={} {}", text(found, "/type"), text(found, "/status"), text(found, "/reason")))
            .collect();
        all.sort();
        all
    }
}

/// Assigns pods to nodes but for those that select one which is not there, makes them ready, lets those of
/// an image `job…` succeed and of `fails…` fail, and takes away those that are deleted.
fn kubelet(cluster: &mut Cluster<'_>, ready_after: Duration) -> Option<DateTime<Utc>> {
    let mut due: Option<DateTime<Utc>> = None;
    let now = cluster.now();
    for pod in cluster.list("pods") {
        let key = Key::new("pods", namespace(&pod), name(&pod));
        if is_terminating(&pod) {
            if items(&pod, "/metadata/finalizers").is_empty() {
                let how = Deletion { grace: Some(0), ..Deletion::default() };
                cluster.state.delete(BY, &key, &how).unwrap();
            }
            continue;
        }
        if !at(&pod, "/spec/nodeSelector").is_null() || matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed") {
            continue;
        }
        let made: DateTime<Utc> = text(&pod, "/metadata/creationTimestamp").parse().unwrap();
        let ready = made + ready_after;
        let image = text(&pod, "/spec/containers/0/image");
        let is_up = ready <= now && !image.starts_with("bad");
        let mut status = json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": if is_up { "True" } else { "False" }, "lastTransitionTime": rfc3339(ready.max(made))}]});
        if let (true, Some((phase, code))) = (
            is_up,
            [("job", ("Succeeded", 0)), ("fails", ("Failed", 1))]
                .iter()
                .find(|(of, _)| image.starts_with(of))
                .map(|(_, how)| *how),
        ) {
            status = json!({"phase": phase, "conditions": [], "containerStatuses": [
                {"name": "c", "restartCount": 0, "state": {"terminated": {"exitCode": code, "finishedAt": rfc3339(now)}}}]});
        }
        if !is_up && ready > now {
            due = Some(due.map_or(ready, |due| due.min(ready)));
        }
        let mut changed = (*pod).clone();
        if text(&pod, "/spec/nodeName").is_empty() {
            let pinned = text(
                &pod,
                "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/\
                 matchFields/0/values/0",
            );
            let node = if pinned.is_empty() { "node-1" } else { pinned };
            cluster.state.bind(BY, &key, node).unwrap();
            changed = (**cluster.state.store.get(&key).unwrap()).clone();
        }
        set(&mut changed, "/status", status);
        cluster.state.replace(BY, &key, Part::Status, changed).unwrap();
    }
    due
}

/// A pod template of an image.
pub(super) fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

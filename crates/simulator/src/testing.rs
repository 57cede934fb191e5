//! A small cluster for the tests of what runs in it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{By, Deletion};
use crate::images::{ImageLife, Images};
use crate::nodes::NodeOptions;
use crate::simulator::{Options, Simulator};
use crate::store::Key;
use crate::value::{items, namespace, text};

const PERSON: By<'static> = By { user: "ana", manager: "kubectl", dry_run: false };

/// A cluster whose wheel turns.
pub(crate) struct Stage {
    pub(crate) simulator: Simulator,
    wheel: tokio::task::JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.wheel.abort();
    }
}

impl Stage {
    /// A cluster of so many nodes, `node-1` …, and these images' lives as JSON.
    pub(crate) fn new(nodes: usize, images: &[(&str, Value)]) -> Self {
        let life = |life: &Value| -> ImageLife { serde_json::from_value(life.clone()).unwrap() };
        let images: Images = images.iter().map(|(image, it)| ((*image).to_owned(), life(it))).collect();
        let simulator = Simulator::new(Options { start: "2026-06-03T09:00:00Z".parse().unwrap(), seed: 1, images });
        for number in 1..=nodes {
            simulator.add_node(&format!("node-{number}"), &NodeOptions::default()).unwrap();
        }
        let turning = simulator.clone();
        let wheel = tokio::spawn(async move { turning.run().await });
        Self { simulator, wheel }
    }

    /// Lets so many seconds pass.
    pub(crate) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) fn create(&self, object: Value) -> Arc<Value> {
        let mut state = self.simulator.state();
        let kind = state.kinds.of_object(text(&object, "/apiVersion"), text(&object, "/kind")).unwrap().resource();
        let ns = namespace(&object).to_owned();
        let created = state.create(PERSON, &kind, &ns, object).unwrap();
        drop(state);
        self.simulator.wake();
        created
    }

    /// Changes an object as a client does that writes it whole.
    pub(crate) fn edit(&self, resource: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let ns = if resource == "nodes" { "" } else { "default" };
        let key = Key::new(resource, ns, name);
        let mut state = self.simulator.state();
        let mut object = (**state.store.get(&key).unwrap()).clone();
        change(&mut object);
        state.replace(PERSON, &key, crate::api::Part::Main, object).unwrap();
        drop(state);
        self.simulator.wake();
    }

    /// Changes an object's status as a client does that writes it whole.
    pub(crate) fn edit_status(&self, resource: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let key = Key::new(resource, "default", name);
        let mut state = self.simulator.state();
        let mut object = (**state.store.get(&key).unwrap()).clone();
        change(&mut object);
        state.replace(PERSON, &key, crate::api::Part::Status, object).unwrap();
        drop(state);
        self.simulator.wake();
    }

    pub(crate) fn delete(&self, resource: &str, name: &str) {
        let key = Key::new(resource, "default", name);
        self.simulator.state().delete(PERSON, &key, &Deletion::default()).unwrap();
        self.simulator.wake();
    }

    pub(crate) fn find(&self, resource: &str, name: &str) -> Option<Arc<Value>> {
        let ns = if matches!(resource, "nodes" | "persistentvolumes" | "namespaces") { "" } else { "default" };
        self.simulator.state().store.get(&Key::new(resource, ns, name)).cloned()
    }

    pub(crate) fn get(&self, resource: &str, name: &str) -> Arc<Value> {
        self.find(resource, name).unwrap()
    }

    pub(crate) fn list(&self, resource: &str) -> Vec<Arc<Value>> {
        self.simulator.state().store.of(&resource.into()).map(|(_, object)| Arc::clone(object)).collect()
    }

    pub(crate) fn pod(&self, name: &str) -> Arc<Value> {
        self.get("pods", name)
    }

    /// What was told of an object: `Normal Reason: message`, and `×3` where it was told so often.
    pub(crate) fn events(&self, of: &str) -> Vec<String> {
        let mut events = self.list("events");
        events.retain(|event| text(event, "/involvedObject/name") == of);
        events.sort_by_key(|event| text(event, "/metadata/resourceVersion").parse::<u64>().unwrap());
        let line = |event: &Arc<Value>| {
            let count = event["count"].as_i64().filter(|count| *count > 1).map(|count| format!(" ×{count}"));
            let told = [text(event, "/type"), text(event, "/reason")].join(" ");
            format!("{told}: {}{}", text(event, "/message"), count.unwrap_or_default())
        };
        events.iter().map(line).collect()
    }

    /// A pod of one container that runs an image.
    pub(crate) fn run(&self, name: &str, image: &str, more: Value) {
        let mut container = json!({"name": "app", "image": image});
        let mut spec = json!({"restartPolicy": "Always"});
        for (field, value) in more.as_object().into_iter().flatten() {
            match field.as_str() {
                "restartPolicy" | "initContainers" | "volumes" | "tolerations" => spec[field] = value.clone(),
                _ => container[field] = value.clone(),
            }
        }
        spec["containers"] = json!([container]);
        self.create(json!({
            "apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        }));
    }
}

/// What a container does, as `kubectl get pods` says it: `Running`, `CrashLoopBackOff`, `Completed`.
pub(crate) fn state(pod: &Value) -> String {
    let statuses = [items(pod, "/status/initContainerStatuses"), items(pod, "/status/containerStatuses")].concat();
    let waits = |status: &Value| {
        let reason = text(status, "/state/waiting/reason");
        if !reason.is_empty() {
            return Some(reason.to_owned());
        }
        let ended = text(status, "/state/terminated/reason");
        (!ended.is_empty() && status["state"]["terminated"]["exitCode"] != 0).then(|| ended.to_owned())
    };
    let found = statuses.iter().find_map(waits);
    found.unwrap_or_else(|| {
        let over = statuses.iter().all(|status| !text(status, "/state/terminated/reason").is_empty());
        if over && !statuses.is_empty() { "Completed".to_owned() } else { text(pod, "/status/phase").to_owned() }
    })
}

//! Objects as the API serves them, for tests.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Watched, World};

/// Some moment.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::Duration::days(20_000) + chrono::Duration::seconds(seconds)
}

/// That moment as the API writes it.
pub(crate) fn time(seconds: i64) -> String {
    at(seconds).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

pub(crate) fn object<K: DeserializeOwned>(json: &Value) -> K {
    serde_json::from_value(json.clone()).unwrap()
}

/// Applies an object to a world.
pub(crate) fn put<K: Watched + DeserializeOwned>(world: &mut World, json: &Value) {
    let object: K = object(json);
    let (namespace, name) = (object.meta().namespace.clone().unwrap_or_default(), object.meta().name.clone().unwrap());
    let kept = object.keep(K::table(world).get(&namespace, &name));
    K::table(world).apply(&namespace, &name, kept);
}

fn meta(namespace: &str, name: &str, uid: &str, owner: Option<(&str, &str, &str)>) -> Value {
    let mut meta = json!({"name": name, "namespace": namespace, "uid": uid, "generation": 1,
        "creationTimestamp": time(0), "resourceVersion": "1"});
    if let Some((kind, owner, uid)) = owner {
        let api = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        meta["ownerReferences"] =
            json!([{"apiVersion": api, "kind": kind, "name": owner, "uid": uid, "controller": true}]);
    }
    meta
}

pub(crate) fn deployment(name: &str, replicas: i32, available: i32) -> Value {
    json!({"metadata": meta("shop", name, &format!("uid-{name}"), None),
        "spec": {"replicas": replicas, "selector": {}, "template": {"spec": {"containers": [{"name": "app", "image": "app:1"}]}}},
        "status": {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": available}})
}

pub(crate) fn replica_set(deployment: &str, name: &str, replicas: i32, available: i32) -> Value {
    let owner = ("Deployment", deployment, &*format!("uid-{deployment}"));
    json!({"metadata": meta("shop", name, &format!("uid-{name}"), Some(owner)),
        "spec": {"replicas": replicas, "selector": {}, "template": {"spec": {"containers": [{"name": "app", "image": "app:1"}]}}},
        "status": {"replicas": replicas, "availableReplicas": available}})
}

/// A running, ready pod on `node-1`.
pub(crate) fn pod(name: &str, owner: Option<(&str, &str, &str)>) -> Value {
    json!({"metadata": meta("shop", name, &format!("uid-{name}"), owner),
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "app:1"}]},
        "status": {"phase": "Running",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": time(0)},
                {"type": "Ready", "status": "True", "lastTransitionTime": time(5)}],
            "containerStatuses": [{"name": "app", "image": "app:1", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": time(2)}}}]}})
}

pub(crate) fn node(name: &str, ready: &str, since: i64) -> Value {
    json!({"metadata": {"name": name, "uid": format!("uid-{name}"), "creationTimestamp": time(-100_000)},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.5"}, {"type": "Hostname", "address": name}],
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": time(since), "message": "m"},
                {"type": "MemoryPressure", "status": "False"}]}})
}

//! Workloads in short, written out; and the paths of objects on the API server.

use std::collections::BTreeSet;

use evenkeel_model::{Kind, ObjectRef};
use evenkeel_simulator::Kinds;
use serde_json::{Value, json};

use crate::file::WorkloadSpec;

/// A workload's manifest, and its Service's where it has a port.
pub(crate) fn written_out(workload: &WorkloadSpec) -> Vec<Value> {
    let ObjectRef { kind, namespace, name, .. } = &workload.object.0;
    let labels = json!({ "app": name });
    let mut container = json!({ "name": name, "image": workload.image });
    if !workload.resources.is_empty() {
        put(&mut container, "resources", json!({ "requests": workload.resources, "limits": workload.resources }));
    }
    if let Some(port) = workload.port {
        put(&mut container, "ports", json!([{ "containerPort": port }]));
    }
    let runs_to_an_end = matches!(kind, Kind::Job | Kind::CronJob);
    if !runs_to_an_end {
        // Without a probe a container is ready as soon as it runs, whatever its image's life says.
        let port = workload.port.unwrap_or(8080);
        put(
            &mut container,
            "readinessProbe",
            json!({ "httpGet": { "path": "/ready", "port": port }, "periodSeconds": 2 }),
        );
    }
    let mut pod = json!({ "containers": [container] });
    if runs_to_an_end {
        put(&mut pod, "restartPolicy", json!("Never"));
    }
    // The pods of a Job get the labels that its controller chooses.
    let pod_labels = if *kind == Kind::Job { json!({}) } else { json!({ "labels": labels }) };
    let template = json!({ "metadata": pod_labels, "spec": pod });
    let selector = json!({ "matchLabels": labels });
    let mut job = json!({ "template": template });
    if let Some(limit) = workload.backoff_limit {
        put(&mut job, "backoffLimit", json!(limit));
    }
    let mut spec = match kind {
        Kind::Job => {
            put(&mut job, "completions", json!(workload.replicas));
            job
        }
        Kind::CronJob => json!({ "schedule": workload.schedule, "jobTemplate": { "spec": job } }),
        Kind::DaemonSet => json!({ "selector": selector, "template": template }),
        Kind::StatefulSet => json!({
            "replicas": workload.replicas, "serviceName": name, "selector": selector, "template": template,
        }),
        _ => json!({ "replicas": workload.replicas, "selector": selector, "template": template }),
    };
    if let Some(deadline) = workload.progress_deadline {
        put(&mut spec, "progressDeadlineSeconds", json!(deadline.get().as_secs()));
    }
    let mut metadata = json!({ "name": name, "namespace": namespace, "labels": labels });
    if !workload.annotations.is_empty() {
        put(&mut metadata, "annotations", json!(workload.annotations));
    }
    let mut all =
        vec![json!({ "apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": metadata, "spec": spec })];
    if let Some(port) = workload.port {
        all.push(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name, "namespace": namespace, "labels": labels },
            "spec": { "selector": labels, "ports": [{ "port": port, "targetPort": port }] },
        }));
    }
    all
}

fn put(object: &mut Value, field: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(field.to_owned(), value);
    }
}

/// The namespaces that objects are in.
pub(crate) fn namespaces<'a>(objects: impl Iterator<Item = &'a Value>) -> BTreeSet<String> {
    let named = |object: &Value| object.pointer("/metadata/namespace").and_then(Value::as_str).map(str::to_owned);
    objects.filter_map(named).collect()
}

/// A manifest that names no object the API server could take.
#[derive(Debug, Clone, thiserror::Error)]
#[error("expected a manifest with apiVersion, kind and metadata.name of a kind that is simulated, found {0}")]
pub(crate) struct NotAnObject(String);

/// The path of a manifest's collection and of the object itself.
pub(crate) fn paths(manifest: &Value) -> Result<(String, String), NotAnObject> {
    let text = |pointer| manifest.pointer(pointer).and_then(Value::as_str);
    let named = || NotAnObject(format!("{:?} {:?}", text("/apiVersion"), text("/kind")));
    let (version, kind) = text("/apiVersion").zip(text("/kind")).ok_or_else(named)?;
    let name = text("/metadata/name").ok_or_else(named)?;
    let (plural, namespaced) = match (version, kind) {
        ("evenkeel.dev/v1alpha1", "Playbook") => ("playbooks".to_owned(), false),
        ("evenkeel.dev/v1alpha1", "ActionPolicy") => ("actionpolicies".to_owned(), false),
        ("evenkeel.dev/v1alpha1", "Freeze") => ("freezes".to_owned(), false),
        _ => {
            let kinds = Kinds::default();
            let kind = kinds.of_object(version, kind).ok_or_else(named)?;
            (kind.plural.clone(), kind.namespaced)
        }
    };
    let collection = collection(version, &plural, text("/metadata/namespace").filter(|_| namespaced));
    let object = format!("{collection}/{name}");
    Ok((collection, object))
}

/// The path of an object.
pub(crate) fn path(object: &ObjectRef) -> String {
    let collection = collection(&object.kind.api_version(), object.kind.plural(), object.namespace.as_deref());
    format!("{collection}/{}", object.name)
}

fn collection(api_version: &str, plural: &str, namespace: Option<&str>) -> String {
    let root = if api_version.contains('/') { "/apis" } else { "/api" };
    match namespace {
        Some(namespace) => format!("{root}/{api_version}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{api_version}/{plural}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_lie_where_the_api_server_has_them() {
        let cart: ObjectRef = "deployment/shop/cart".parse().unwrap();
        assert_eq!(path(&cart), "/apis/apps/v1/namespaces/shop/deployments/cart");
        let node: ObjectRef = "node/node-1".parse().unwrap();
        assert_eq!(path(&node), "/api/v1/nodes/node-1");
        let policy =
            json!({ "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ActionPolicy", "metadata": { "name": "a" } });
        assert_eq!(paths(&policy).unwrap().1, "/apis/evenkeel.dev/v1alpha1/actionpolicies/a");
    }
}

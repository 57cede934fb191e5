//! Endpoints and EndpointSlices of the Services that select pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::changes::Seen;
use super::{Cluster, Controller};
use crate::api::LabelSelector;
use crate::value::{at, condition, integer, is_terminating, is_true, items, name, namespace, rfc3339, set, text, uid};

const SLICES: &str = "endpointslices.discovery.k8s.io";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const TRIGGERED: &str = "/metadata/annotations/endpoints.kubernetes.io~1last-change-trigger-time";

/// The endpoints controller and the endpointslice controller.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    seen: Seen,
}

impl Controller for Endpoints {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        &["services", "pods"]
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let changed = self.seen.keys(cluster, &["services", "pods"]);
        let namespaces: BTreeSet<&str> = changed.iter().map(|key| key.namespace.as_str()).collect();
        for ns in namespaces {
            let services = cluster.list_in("services", ns);
            if services.is_empty() && !changed.iter().any(|key| key.resource.as_str() == "services") {
                continue;
            }
            let pods = cluster.list_in("pods", ns);
            for service in &services {
                follow(cluster, service, &pods);
            }
        }
        // Slices go with their owner; Endpoints have none.
        for key in changed.iter().filter(|key| key.resource.as_str() == "services") {
            if cluster.get("services", &key.namespace, &key.name).is_none()
                && let Some(endpoints) = cluster.get("endpoints", &key.namespace, &key.name)
            {
                drop(cluster.delete("endpoints", &endpoints, None));
            }
        }
        None
    }
}

/// A pod behind a service.
struct Endpoint<'p> {
    pod: &'p Value,
    ip: &'p str,
    ready: bool,
    serving: bool,
    terminating: bool,
}

fn follow(cluster: &mut Cluster<'_>, service: &Value, pods: &[Arc<Value>]) {
    let selector = at(service, "/spec/selector");
    if selector.as_object().is_none_or(serde_json::Map::is_empty) || text(service, "/spec/type") == "ExternalName" {
        return;
    }
    let selector = LabelSelector::of_map(selector);
    let publish = is_true(service, "/spec/publishNotReadyAddresses");
    let mut groups: BTreeMap<String, (Value, Vec<Endpoint<'_>>)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| selector.selects(at(pod, "/metadata/labels"))) {
        let ip = text(pod, "/status/podIP");
        if ip.is_empty() || matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
            continue;
        }
        let is_ready = condition(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True");
        let terminating = is_terminating(pod);
        let serving = is_ready || publish;
        let endpoint = Endpoint { pod, ip, ready: serving && (!terminating || publish), serving, terminating };
        let ports = ports(service, pod);
        groups.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new())).1.push(endpoint);
    }
    for (_, endpoints) in groups.values_mut() {
        endpoints.sort_by(|a, b| a.ip.cmp(b.ip));
    }
    let groups: Vec<(Value, Vec<Endpoint<'_>>)> = groups.into_values().collect();
    write_endpoints(cluster, service, &groups);
    write_slices(cluster, service, &groups);
}

/// The service's ports as a pod has them.
fn ports(service: &Value, pod: &Value) -> Value {
    let resolve = |port: &Value| -> Option<i64> {
        let target = at(port, "/targetPort");
        match target.as_str() {
            Some(named) => {
                let containers = items(pod, "/spec/containers").iter();
                let mut ports = containers.flat_map(|container| items(container, "/ports"));
                ports.find(|it| text(it, "/name") == named).and_then(|it| integer(it, "/containerPort"))
            }
            None => target.as_i64().or_else(|| integer(port, "/port")),
        }
    };
    let ports = items(service, "/spec/ports").iter().filter_map(|port| {
        let protocol = text(port, "/protocol");
        let protocol = if protocol.is_empty() { "TCP" } else { protocol };
        Some(json!({"name": text(port, "/name"), "port": resolve(port)?, "protocol": protocol}))
    });
    Value::Array(ports.collect())
}

fn reference(pod: &Value) -> Value {
    json!({"kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": uid(pod)})
}

fn write_endpoints(cluster: &mut Cluster<'_>, service: &Value, groups: &[(Value, Vec<Endpoint<'_>>)]) {
    let subsets = groups.iter().filter_map(|(ports, endpoints)| {
        let of = |ready: bool| -> Vec<Value> {
            let some = endpoints.iter().filter(|endpoint| !endpoint.terminating && endpoint.ready == ready);
            some.map(|endpoint| json!({"ip": endpoint.ip, "nodeName": text(endpoint.pod, "/spec/nodeName"), "targetRef": reference(endpoint.pod)})).collect()
        };
        let (ready, unready) = (of(true), of(false));
        if ready.is_empty() && unready.is_empty() {
            return None;
        }
        let mut ports = ports.clone();
        for port in ports.as_array_mut().into_iter().flatten() {
            if text(port, "/name").is_empty() {
                crate::value::unset(port, "/name");
            }
        }
        let mut subset = json!({"ports": ports});
        for (field, addresses) in [("/addresses", ready), ("/notReadyAddresses", unready)] {
            if !addresses.is_empty() {
                set(&mut subset, field, Value::Array(addresses));
            }
        }
        Some(subset)
    });
    // Left out where there are none.
    let subsets: Vec<Value> = subsets.collect();
    let subsets = if subsets.is_empty() { Value::Null } else { Value::Array(subsets) };
    let now = rfc3339(cluster.now());
    match cluster.get("endpoints", namespace(service), name(service)) {
        Some(old) if *at(&old, "/subsets") == subsets => {}
        Some(old) => {
            let mut object = (*old).clone();
            set(&mut object, "/subsets", subsets);
            set(&mut object, TRIGGERED, now);
            drop(cluster.update("endpoints", object));
        }
        None => {
            let object = json!({
                "apiVersion": "v1", "kind": "Endpoints", "subsets": subsets,
                "metadata": {"name": name(service), "namespace": namespace(service),
                    "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": now},
                    "labels": labels(service, "endpoints.kubernetes.io/managed-by", "endpoint-controller")},
            });
            drop(cluster.create("endpoints", object));
        }
    }
}

fn labels(service: &Value, label: &str, value: &str) -> Value {
    let mut labels = at(service, "/metadata/labels").as_object().cloned().unwrap_or_default();
    labels.insert(label.to_owned(), json!(value));
    if text(service, "/spec/clusterIP") == "None" {
        labels.insert("service.kubernetes.io/headless".to_owned(), json!(""));
    }
    Value::Object(labels)
}

fn write_slices(cluster: &mut Cluster<'_>, service: &Value, groups: &[(Value, Vec<Endpoint<'_>>)]) {
    let ours = |slice: &Arc<Value>| {
        text(slice, "/metadata/labels/kubernetes.io~1service-name") == name(service)
            && text(slice, "/metadata/labels/endpointslice.kubernetes.io~1managed-by") == MANAGER
    };
    let mut old: Vec<Arc<Value>> = cluster.list_in(SLICES, namespace(service)).into_iter().filter(ours).collect();
    let mut wanted: Vec<(Value, Value)> = groups
        .iter()
        .map(|(ports, endpoints)| {
            let endpoints = endpoints.iter().map(|it| {
                json!({
                    "addresses": [it.ip], "nodeName": text(it.pod, "/spec/nodeName"), "targetRef": reference(it.pod),
                    "conditions": {"ready": it.ready, "serving": it.serving, "terminating": it.terminating},
                })
            });
            (ports.clone(), Value::Array(endpoints.collect()))
        })
        .collect();
    if wanted.is_empty() {
        // A service that selects nothing has a slice all the same.
        wanted.push((json!([]), json!([])));
    }
    let now = rfc3339(cluster.now());
    for (ports, endpoints) in wanted {
        let same = old.iter().position(|slice| *at(slice, "/ports") == ports);
        let same = same.or_else(|| (!old.is_empty()).then_some(0));
        if let Some(place) = same {
            let slice = old.remove(place);
            if *at(&slice, "/ports") != ports || *at(&slice, "/endpoints") != endpoints {
                let mut object = (*slice).clone();
                set(&mut object, "/ports", ports);
                set(&mut object, "/endpoints", endpoints);
                set(&mut object, TRIGGERED, now.clone());
                drop(cluster.update(SLICES, object));
            }
            continue;
        }
        let mut labels = labels(service, "kubernetes.io/service-name", name(service));
        set(&mut labels, "/endpointslice.kubernetes.io~1managed-by", json!(MANAGER));
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"generateName": format!("{}-", name(service)), "namespace": namespace(service), "labels": labels,
                "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": now},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": name(service), "uid": uid(service),
                    "controller": true, "blockOwnerDeletion": true}]},
            "ports": ports, "endpoints": endpoints,
        });
        drop(cluster.create(SLICES, object));
    }
    for slice in old {
        drop(cluster.delete(SLICES, &slice, None));
    }
}

#[cfg(test)]
mod tests;

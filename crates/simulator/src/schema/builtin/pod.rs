//! Defaults of pods and of the pods in templates (pkg/apis/core/v1/defaults.go).

use serde_json::{Map, Value, json};

use super::container::{self, objects};
use super::or;
use crate::schema::tidy;
use crate::value::{at, items};

/// A pod itself.
pub(super) fn default(pod: &mut Value) {
    let Some(Value::Object(spec)) = pod.get_mut("spec") else { return };
    template(spec);
    or(spec, "enableServiceLinks", true);
    let shares_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or(false);
    for list in ["initContainers", "containers"] {
        for container in objects(spec.get_mut(list)) {
            requests_from_limits(container);
            for port in objects(container.get_mut("ports")).filter(|_| shares_network) {
                if let Some(number) = port.get("containerPort").cloned() {
                    or(port, "hostPort", number);
                }
            }
        }
    }
}

/// What is limited and not requested is requested as limited.
fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(Value::Object(resources)) = container.get_mut("resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    or(resources, "requests", json!({}));
    if let Some(Value::Object(requests)) = resources.get_mut("requests") {
        for (name, limit) in limits {
            requests.entry(name).or_insert(limit);
        }
    }
}

/// The spec of a pod or of a pod template.
pub(super) fn template(spec: &mut Map<String, Value>) {
    spec.retain(|name, _| tidy::POD.contains(&name.as_str()));
    or(spec, "restartPolicy", "Always");
    or(spec, "dnsPolicy", "ClusterFirst");
    or(spec, "terminationGracePeriodSeconds", 30);
    or(spec, "securityContext", json!({}));
    or(spec, "schedulerName", "default-scheduler");
    if let Some(account) = spec.get("serviceAccountName").or_else(|| spec.get("serviceAccount")).cloned() {
        or(spec, "serviceAccountName", account.clone());
        spec.insert("serviceAccount".to_owned(), account);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        objects(spec.get_mut(list)).for_each(container::default);
    }
    objects(spec.get_mut("volumes")).for_each(volume);
}

fn volume(volume: &mut Map<String, Value>) {
    if volume.keys().all(|name| name == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["secret", "configMap", "projected", "downwardAPI"] {
        if let Some(Value::Object(source)) = volume.get_mut(source) {
            or(source, "defaultMode", 420);
        }
    }
    if let Some(Value::Object(path)) = volume.get_mut("hostPath") {
        or(path, "type", "");
    }
    for item in objects(volume.get_mut("downwardAPI").and_then(|source| source.get_mut("items"))) {
        field_reference(item);
    }
    for source in objects(volume.get_mut("projected").and_then(|source| source.get_mut("sources"))) {
        if let Some(Value::Object(token)) = source.get_mut("serviceAccountToken") {
            or(token, "expirationSeconds", 3600);
        }
        for item in objects(source.get_mut("downwardAPI").and_then(|source| source.get_mut("items"))) {
            field_reference(item);
        }
    }
}

/// `fieldRef.apiVersion`
pub(super) fn field_reference(source: &mut Map<String, Value>) {
    if let Some(Value::Object(field)) = source.get_mut("fieldRef") {
        or(field, "apiVersion", "v1");
    }
}

/// The quality of service that a pod's resources give it.
pub(crate) fn qos_class(pod: &Value) -> &'static str {
    let containers = || items(pod, "/spec/initContainers").iter().chain(items(pod, "/spec/containers"));
    let list =
        |container: &Value, of: &str, resource: &str| at(container, &format!("/resources/{of}/{resource}")).clone();
    let both = ["cpu", "memory"];
    let any = containers().any(|container| {
        both.iter().any(|name| ["limits", "requests"].iter().any(|of| !list(container, of, name).is_null()))
    });
    if !any {
        return "BestEffort";
    }
    let guaranteed = containers().all(|container| {
        both.iter().all(|name| {
            let limit = list(container, "limits", name);
            !limit.is_null() && limit == list(container, "requests", name)
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

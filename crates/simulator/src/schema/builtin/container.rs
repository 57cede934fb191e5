//! Containers' defaults (pkg/apis/core/v1/defaults.go).

use serde_json::{Map, Value, json};

use super::or;
use super::pod::field_reference;

/// A container of a pod or a pod template.
pub(super) fn default(container: &mut Map<String, Value>) {
    let policy = match container.get("image").and_then(Value::as_str) {
        Some(image) if is_latest(image) => "Always",
        _ => "IfNotPresent",
    };
    or(container, "imagePullPolicy", policy);
    or(container, "terminationMessagePath", "/dev/termination-log");
    or(container, "terminationMessagePolicy", "File");
    or(container, "resources", json!({}));
    for port in objects(container.get_mut("ports")) {
        or(port, "protocol", "TCP");
    }
    for variable in objects(container.get_mut("env")) {
        if variable.get("value").and_then(Value::as_str) == Some("") {
            variable.remove("value");
        }
        if let Some(Value::Object(source)) = variable.get_mut("valueFrom") {
            field_reference(source);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(probe)) = container.get_mut(probe) {
            handler(probe);
            or_not_zero(probe, "timeoutSeconds", 1);
            or_not_zero(probe, "periodSeconds", 10);
            or_not_zero(probe, "successThreshold", 1);
            or_not_zero(probe, "failureThreshold", 3);
            if probe.get("initialDelaySeconds").and_then(Value::as_i64) == Some(0) {
                probe.remove("initialDelaySeconds");
            }
        }
    }
    if let Some(Value::Object(lifecycle)) = container.get_mut("lifecycle") {
        for moment in ["postStart", "preStop"] {
            if let Some(Value::Object(hook)) = lifecycle.get_mut(moment) {
                handler(hook);
            }
        }
    }
}

fn handler(map: &mut Map<String, Value>) {
    if let Some(Value::Object(get)) = map.get_mut("httpGet") {
        or(get, "path", "/");
        or(get, "scheme", "HTTP");
    }
    if let Some(Value::Object(grpc)) = map.get_mut("grpc") {
        or(grpc, "service", "");
    }
}

fn or_not_zero(map: &mut Map<String, Value>, name: &str, value: i64) {
    if map.get(name).and_then(Value::as_i64).unwrap_or(0) == 0 {
        map.insert(name.to_owned(), json!(value));
    }
}

/// Whether an image has the tag `latest`, or neither tag nor digest.
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
    match name.rsplit('/').next().unwrap_or(name).split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !digest,
    }
}

/// The objects of a list.
pub(super) fn objects(list: Option<&mut Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

//! Smaller kinds: defaults and checks.

use serde_json::{Value, json};

use super::container::objects;
use super::{nonnegative, or};
use crate::kinds::Kind;
use crate::schema::names;
use crate::schema::problem::{Problem, Problems};
use crate::schema::quantity::Quantity;
use crate::value::{at, integer, items, namespace, set, text};

/// Fills in defaults.
pub(super) fn default(kind: &Kind, object: &mut Value) {
    match kind.kind.as_str() {
        "Namespace" => {
            let name = at(object, "/metadata/name").clone();
            if name.as_str().is_some_and(|name| !name.is_empty()) {
                set(object, "/metadata/labels/kubernetes.io~1metadata.name", name);
            }
        }
        "Secret" => secret(object),
        "PersistentVolumeClaim" => spec(object, |spec| or(spec, "volumeMode", "Filesystem")),
        "PersistentVolume" => spec(object, |spec| {
            or(spec, "persistentVolumeReclaimPolicy", "Retain");
            or(spec, "volumeMode", "Filesystem");
            if let Some(Value::Object(path)) = spec.get_mut("hostPath") {
                or(path, "type", "");
            }
        }),
        "PriorityClass" => top(object, |object| or(object, "preemptionPolicy", "PreemptLowerPriority")),
        "StorageClass" => top(object, |object| {
            or(object, "reclaimPolicy", "Delete");
            or(object, "volumeBindingMode", "Immediate");
        }),
        "Event" => top(object, |object| {
            for (field, value) in
                [("source", json!({})), ("reportingComponent", json!("")), ("reportingInstance", json!(""))]
            {
                object.entry(field).or_insert(value);
            }
            for field in ["eventTime", "firstTimestamp", "lastTimestamp"] {
                object.entry(field).or_insert(Value::Null);
            }
        }),
        "Endpoints" => {
            for subset in objects(object.get_mut("subsets")) {
                objects(subset.get_mut("ports")).for_each(|port| or(port, "protocol", "TCP"));
            }
        }
        "EndpointSlice" => top(object, |object| {
            for port in objects(object.get_mut("ports")) {
                port.entry("name").or_insert(json!(""));
                or(port, "protocol", "TCP");
            }
            for endpoint in objects(object.get_mut("endpoints")) {
                or(endpoint, "conditions", json!({}));
            }
        }),
        "NetworkPolicy" => spec(object, |spec| {
            let policies: &[&str] = if spec.get("egress").is_some() { &["Ingress", "Egress"] } else { &["Ingress"] };
            or(spec, "policyTypes", json!(policies));
            for direction in ["ingress", "egress"] {
                for rule in objects(spec.get_mut(direction)) {
                    objects(rule.get_mut("ports")).for_each(|port| or(port, "protocol", "TCP"));
                }
            }
        }),
        "LimitRange" => spec(object, |spec| objects(spec.get_mut("limits")).for_each(limits)),
        _ => {}
    }
}

fn top(object: &mut Value, act: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    if let Value::Object(map) = object {
        act(map);
    }
}

fn spec(object: &mut Value, act: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    if let Some(Value::Object(map)) = object.get_mut("spec") {
        act(map);
    }
}

/// Of a container's limits, one default follows from the other, and the last from the maximum and minimum.
fn limits(limits: &mut serde_json::Map<String, Value>) {
    if limits.get("type") != Some(&json!("Container")) {
        return;
    }
    for (into, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
        if let Some(Value::Object(source)) = limits.get(from).cloned() {
            or(limits, into, json!({}));
            if let Some(Value::Object(target)) = limits.get_mut(into) {
                for (name, quantity) in source {
                    target.entry(name).or_insert(quantity);
                }
            }
        }
    }
}

fn secret(object: &mut Value) {
    top(object, |object| {
        or(object, "type", "Opaque");
        if let Some(Value::Object(texts)) = object.remove("stringData") {
            or(object, "data", json!({}));
            if let Some(Value::Object(data)) = object.get_mut("data") {
                for (key, text) in texts {
                    data.insert(key, json!(base64(text.as_str().unwrap_or_default().as_bytes())));
                }
            }
        }
    });
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4_usize {
            let index = bits >> (18 - 6 * place) & 63;
            let letter = LETTERS.get(index as usize).copied().unwrap_or(b'=');
            text.push(char::from(if place <= three.len() { letter } else { b'=' }));
        }
    }
    text
}

/// What strategies and admission plugins add to new objects.
pub(super) fn prepare(kind: &Kind, object: &mut Value, old: Option<&Value>) {
    match (kind.kind.as_str(), old) {
        ("Namespace", None) => {
            let mut finalizers = items(object, "/spec/finalizers").to_vec();
            if !finalizers.contains(&json!("kubernetes")) {
                finalizers.push(json!("kubernetes"));
            }
            set(object, "/spec/finalizers", Value::Array(finalizers));
        }
        // A namespace's finalizers change through /finalize.
        ("Namespace", Some(old)) => set(object, "/spec", at(old, "/spec").clone()),
        ("PersistentVolumeClaim", None) => protect(object, "kubernetes.io/pvc-protection"),
        ("PersistentVolume", None) => protect(object, "kubernetes.io/pv-protection"),
        ("Node", None) => {
            let mut taints = items(object, "/spec/taints").to_vec();
            let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
            if !taints.contains(&taint) {
                taints.push(taint);
                set(object, "/spec/taints", Value::Array(taints));
            }
        }
        _ => {}
    }
}

fn protect(object: &mut Value, finalizer: &str) {
    let mut finalizers = items(object, "/metadata/finalizers").to_vec();
    if !finalizers.contains(&json!(finalizer)) {
        finalizers.push(json!(finalizer));
        set(object, "/metadata/finalizers", Value::Array(finalizers));
    }
}

/// What is wrong with an object.
pub(super) fn validate(kind: &Kind, object: &Value, old: Option<&Value>, problems: &mut Problems) {
    match kind.kind.as_str() {
        "ConfigMap" | "Secret" => data(kind, object, old, problems),
        "PodDisruptionBudget" => disruption_budget(object, problems),
        "ResourceQuota" => quota(object, problems),
        "Node" => {
            taints(object, problems);
            // The API server checks them twice when a node changes.
            if old.is_some() {
                taints(object, problems);
            }
        }
        "Event" => event(object, problems),
        "Lease" => {
            let seconds = at(object, "/spec/leaseDurationSeconds");
            if seconds.as_i64().is_some_and(|seconds| seconds <= 0) {
                problems.push(Problem::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
            }
            let transitions = ("/spec/leaseTransitions", "spec.leaseTransitions");
            nonnegative(object, transitions.0, transitions.1, problems);
        }
        "PriorityClass" => {
            let before = old.and_then(|old| integer(old, "/value"));
            if before.is_some() && before != integer(object, "/value") {
                problems.push(Problem::forbidden("value", "may not be changed in an update."));
            }
        }
        "StorageClass" if text(object, "/provisioner").is_empty() => {
            problems.push(Problem::required("provisioner", ""));
        }
        _ => {}
    }
}

fn data(kind: &Kind, object: &Value, old: Option<&Value>, problems: &mut Problems) {
    for field in ["data", "binaryData"] {
        for key in at(object, &format!("/{field}")).as_object().into_iter().flat_map(|data| data.keys()) {
            let field = format!("{field}[{key}]");
            problems.extend(names::config_key(key).iter().map(|wrong| Problem::invalid(&field, &json!(key), wrong)));
        }
    }
    let Some(old) = old else { return };
    if kind.kind == "Secret" && at(object, "/type") != at(old, "/type") {
        problems.push(Problem::invalid("type", at(object, "/type"), "field is immutable"));
    }
    if at(old, "/immutable") == &json!(true) {
        let why = "field is immutable when `immutable` is set";
        if at(object, "/immutable") != &json!(true) {
            problems.push(Problem::forbidden("immutable", why));
        }
        for field in ["data", "binaryData"] {
            let place = format!("/{field}");
            if at(object, &place) != at(old, &place) {
                problems.push(Problem::forbidden(field, why));
            }
        }
    }
}

fn disruption_budget(object: &Value, problems: &mut Problems) {
    let (least, most) = (at(object, "/spec/minAvailable"), at(object, "/spec/maxUnavailable"));
    if !least.is_null() && !most.is_null() {
        let policy = at(object, "/spec/unhealthyPodEvictionPolicy");
        // The API server shows its own Go type, whose fields stand in this order.
        let selector = at(object, "/spec/selector");
        let shown = format!(
            "{{\"MinAvailable\":{least},\"Selector\":{selector},\"MaxUnavailable\":{most},\"UnhealthyPodEvictionPolicy\":{policy}}}"
        );
        problems.push(Problem::invalid_raw("spec", &shown, "minAvailable and maxUnavailable cannot be both set"));
    }
    for (value, field) in [(least, "spec.minAvailable"), (most, "spec.maxUnavailable")] {
        if value.as_i64().is_some_and(|number| number < 0) {
            problems.push(Problem::invalid(field, value, "must be greater than or equal to 0"));
        }
    }
}

fn quota(object: &Value, problems: &mut Problems) {
    for (name, quantity) in at(object, "/spec/hard").as_object().into_iter().flatten() {
        if Quantity::of(quantity).is_some_and(Quantity::is_negative) {
            let field = format!("spec.hard[{name}]");
            problems.push(Problem::invalid(field, quantity, "must be greater than or equal to 0"));
        }
    }
}

fn taints(object: &Value, problems: &mut Problems) {
    for (index, taint) in items(object, "/spec/taints").iter().enumerate() {
        let field = |name: &str| format!("metadata.taints[{index}].{name}");
        let key = text(taint, "/key");
        problems.extend(names::qualified(key).iter().map(|wrong| Problem::invalid(field("key"), &json!(key), wrong)));
        match text(taint, "/effect") {
            "" => problems.push(Problem::required(field("effect"), "")),
            "NoSchedule" | "PreferNoSchedule" | "NoExecute" => {}
            other => {
                let supported = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
                problems.push(Problem::not_supported(field("effect"), &json!(other), &supported));
            }
        }
    }
}

fn event(object: &Value, problems: &mut Problems) {
    // The same object by its two names: `involvedObject` in the core group, `regarding` in events.k8s.io.
    let is_new = text(object, "/apiVersion") == "events.k8s.io/v1";
    let about = text(object, if is_new { "/regarding/namespace" } else { "/involvedObject/namespace" });
    let home = if about.is_empty() { "default" } else { about };
    if namespace(object) != home {
        let why = "does not match event.namespace";
        problems.push(Problem::invalid("involvedObject.namespace", &json!(about), why));
    }
}

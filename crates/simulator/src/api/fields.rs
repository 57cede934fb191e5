//! Which lists are maps or sets, and which maps are one value, in the built-in kinds: the API's
//! `x-kubernetes-list-type` and `x-kubernetes-map-type`, and strategic merge patch's merge keys.

use serde_json::{Map, Value};

/// How the parts of a field are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value, whatever is inside.
    Atomic,
    /// A map, each field for itself.
    Map,
    /// A list whose items are told apart by these fields.
    Keyed(&'static [&'static str]),
    /// A list of values without order.
    Set,
}

/// The shape of a field, by its name and whether it stands in the metadata.
pub(super) fn shape(name: &str, value: &Value, custom: bool, in_metadata: bool) -> Shape {
    match value {
        Value::Array(items) if in_metadata => match name {
            "finalizers" => Shape::Set,
            "ownerReferences" => keyed(&["uid"], items),
            _ => Shape::Atomic,
        },
        Value::Array(_) if custom => Shape::Atomic,
        Value::Array(items) => match name {
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "env"
            | "volumes"
            | "imagePullSecrets"
            | "secrets" => keyed(&["name"], items),
            "ports" if items.iter().any(|item| item.get("containerPort").is_some()) => {
                keyed(&["containerPort", "protocol"], items)
            }
            "ports" => keyed(&["port", "protocol"], items),
            "volumeMounts" => keyed(&["mountPath"], items),
            "volumeDevices" => keyed(&["devicePath"], items),
            "conditions" | "addresses" => keyed(&["type"], items),
            "topologySpreadConstraints" => keyed(&["topologyKey", "whenUnsatisfiable"], items),
            "hostAliases" | "podIPs" => keyed(&["ip"], items),
            _ => Shape::Atomic,
        },
        Value::Object(_) if custom => Shape::Map,
        Value::Object(_) => match name {
            "selector" | "nodeSelector" | "labelSelector" | "involvedObject" | "claimRef" | "targetRef"
            | "scaleTargetRef" | "configMapKeyRef" | "secretKeyRef" | "fieldRef" | "resourceFieldRef" => Shape::Atomic,
            _ => Shape::Map,
        },
        _ => Shape::Atomic,
    }
}

/// EndpointSlices' ports are a plain list: what lacks the key can't be told apart by it.
fn keyed(keys: &'static [&'static str], items: &[Value]) -> Shape {
    let first = keys.first().copied().unwrap_or_default();
    if items.iter().all(|item| item.get(first).is_some()) { Shape::Keyed(keys) } else { Shape::Atomic }
}

/// The values of an item's key fields.
pub(super) fn key_of(item: &Value, keys: &[&str]) -> Map<String, Value> {
    keys.iter().filter_map(|&key| Some((key.to_owned(), item.get(key)?.clone()))).collect()
}

/// The field by which strategic merge patch tells the items of a list apart; none for a list that it
/// replaces as a whole.
pub(super) fn merge_key(name: &str, items: &[Value]) -> Option<&'static str> {
    let key = match name {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "secrets" => "name",
        "ports" if items.iter().any(|item| item.get("containerPort").is_some()) => "containerPort",
        "ports" => "port",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "conditions" | "addresses" => "type",
        "taints" => "key",
        "topologySpreadConstraints" => "topologyKey",
        "hostAliases" | "podIPs" => "ip",
        "ownerReferences" => "uid",
        _ => return None,
    };
    items.iter().all(|item| item.get(key).is_some()).then_some(key)
}

//! Autoscalers, budgets, quotas, volumes and namespaces, as kube-state-metrics tells of them.

use serde_json::Value;

use super::{Exposition, identity, quantity};
use crate::value::{items, name, text};

pub(super) fn autoscaler(object: &Value, out: &mut Exposition) {
    let id = identity("horizontalpodautoscaler", object);
    out.number("kube_horizontalpodautoscaler_metadata_generation", &id, object, "/metadata/generation");
    out.number("kube_horizontalpodautoscaler_spec_max_replicas", &id, object, "/spec/maxReplicas");
    out.number("kube_horizontalpodautoscaler_spec_min_replicas", &id, object, "/spec/minReplicas");
    out.count("kube_horizontalpodautoscaler_status_current_replicas", &id, object, "/status/currentReplicas");
    out.count("kube_horizontalpodautoscaler_status_desired_replicas", &id, object, "/status/desiredReplicas");
    for condition in items(object, "/status/conditions") {
        let [namespace, name] = id;
        let labels = [namespace, name, ("condition", text(condition, "/type"))];
        out.condition("kube_horizontalpodautoscaler_status_condition", &labels, "status", text(condition, "/status"));
    }
}

pub(super) fn disruption_budget(object: &Value, out: &mut Exposition) {
    let id = identity("poddisruptionbudget", object);
    for (series, field) in [
        ("kube_poddisruptionbudget_status_current_healthy", "currentHealthy"),
        ("kube_poddisruptionbudget_status_desired_healthy", "desiredHealthy"),
        ("kube_poddisruptionbudget_status_pod_disruptions_allowed", "disruptionsAllowed"),
        ("kube_poddisruptionbudget_status_expected_pods", "expectedPods"),
        ("kube_poddisruptionbudget_status_observed_generation", "observedGeneration"),
    ] {
        out.count(series, &id, object, &format!("/status/{field}"));
    }
}

pub(super) fn quota(object: &Value, out: &mut Exposition) {
    let [namespace, id] = identity("resourcequota", object);
    for kind in ["hard", "used"] {
        let amounts = object.pointer(&format!("/status/{kind}")).and_then(Value::as_object);
        for (resource, amount) in amounts.into_iter().flatten() {
            if let Some(amount) = quantity(amount) {
                out.add("kube_resourcequota", &[namespace, id, ("resource", resource), ("type", kind)], amount);
            }
        }
    }
}

pub(super) fn volume(object: &Value, out: &mut Exposition) {
    let phases = ["Pending", "Available", "Bound", "Released", "Failed"];
    let id = [("persistentvolume", name(object))];
    out.states("kube_persistentvolume_status_phase", &id, "phase", &phases, text(object, "/status/phase"));
    if let Some(capacity) = object.pointer("/spec/capacity/storage").and_then(quantity) {
        out.add("kube_persistentvolume_capacity_bytes", &id, capacity);
    }
}

pub(super) fn claim(object: &Value, out: &mut Exposition) {
    let id = identity("persistentvolumeclaim", object);
    let phases = ["Lost", "Bound", "Pending"];
    out.states("kube_persistentvolumeclaim_status_phase", &id, "phase", &phases, text(object, "/status/phase"));
    for mode in items(object, "/spec/accessModes").iter().filter_map(Value::as_str) {
        let [namespace, name] = id;
        out.add("kube_persistentvolumeclaim_access_mode", &[namespace, name, ("access_mode", mode)], 1.0);
    }
}

pub(super) fn namespace(object: &Value, out: &mut Exposition) {
    let id = [("namespace", name(object))];
    out.states("kube_namespace_status_phase", &id, "phase", &["Active", "Terminating"], text(object, "/status/phase"));
}

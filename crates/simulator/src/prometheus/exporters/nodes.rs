//! Nodes, as kube-state-metrics tells of them, and what their kubelets tell of themselves.

use serde_json::Value;

use super::{Exposition, flag, quantity, resource};
use crate::prometheus::labels::Labels;
use crate::value::{is_true, items, name, text};

pub(super) fn node(node: &Value, out: &mut Exposition) {
    let id = ("node", name(node));
    let info = |field: &str| text(node, &format!("/status/nodeInfo/{field}"));
    let internal = items(node, "/status/addresses").iter().find(|it| text(it, "/type") == "InternalIP");
    let labels = [
        id,
        ("kernel_version", info("kernelVersion")),
        ("os_image", info("osImage")),
        ("container_runtime_version", info("containerRuntimeVersion")),
        ("kubelet_version", info("kubeletVersion")),
        ("provider_id", text(node, "/spec/providerID")),
        ("pod_cidr", text(node, "/spec/podCIDR")),
        ("internal_ip", internal.map(|it| text(it, "/address")).unwrap_or_default()),
        ("system_uuid", info("systemUUID")),
    ];
    out.add("kube_node_info", &labels, 1.0);
    out.time("kube_node_created", &[id], node, "/metadata/creationTimestamp");
    out.add("kube_node_spec_unschedulable", &[id], flag(is_true(node, "/spec/unschedulable")));
    for taint in items(node, "/spec/taints") {
        let of = |field: &str| text(taint, field);
        let labels = [id, ("key", of("/key")), ("value", of("/value")), ("effect", of("/effect"))];
        out.add("kube_node_spec_taint", &labels, 1.0);
    }
    for condition in items(node, "/status/conditions") {
        let labels = [id, ("condition", text(condition, "/type"))];
        out.condition("kube_node_status_condition", &labels, "status", text(condition, "/status"));
    }
    for (series, field) in [("kube_node_status_capacity", "capacity"), ("kube_node_status_allocatable", "allocatable")]
    {
        let amounts = node.pointer(&format!("/status/{field}")).and_then(Value::as_object);
        for (of, amount) in amounts.into_iter().flatten() {
            let (of, unit) = resource(of);
            if let Some(amount) = quantity(amount) {
                out.add(series, &[id, ("resource", &of), ("unit", unit)], amount);
            }
        }
    }
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    for label in labels.into_iter().flatten().map(|(label, _)| label) {
        if let Some(role) = label.strip_prefix("node-role.kubernetes.io/") {
            out.add("kube_node_role", &[id, ("role", role)], 1.0);
        }
    }
}

/// A kubelet's own series: only `up` where it does not answer.
pub(crate) fn kubelet(node: &Value, is_up: bool, running: usize) -> Vec<(Labels, f64)> {
    let internal = items(node, "/status/addresses").iter().find(|it| text(it, "/type") == "InternalIP");
    let instance = format!("{}:10250", internal.map(|it| text(it, "/address")).unwrap_or_default());
    let mut out = Exposition::of(&[
        ("endpoint", "https-metrics"),
        ("instance", &instance),
        ("job", "kubelet"),
        ("metrics_path", "/metrics"),
        ("namespace", "kube-system"),
        ("node", name(node)),
        ("service", "kube-prometheus-stack-kubelet"),
    ]);
    out.add("up", &[], flag(is_up));
    if is_up {
        out.add("kubelet_node_name", &[("node", name(node))], 1.0);
        #[expect(clippy::cast_precision_loss, reason = "pods of one node")]
        out.add("kubelet_running_pods", &[], running as f64);
    }
    out.series
}

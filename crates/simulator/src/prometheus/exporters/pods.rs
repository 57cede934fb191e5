//! Pods, as kube-state-metrics tells of them.

use serde_json::Value;

use super::{Exposition, flag, owner, quantity, resource};
use crate::value::{at, condition, integer, is_terminating, is_true, items, name, namespace, text, uid};

const PHASES: [&str; 5] = ["Pending", "Succeeded", "Failed", "Running", "Unknown"];
const REASONS: [&str; 6] =
    ["Evicted", "NodeAffinity", "NodeLost", "Shutdown", "UnexpectedAdmissionError", "SchedulingGated"];

pub(super) fn pod(pod: &Value, out: &mut Exposition) {
    let id = [("namespace", namespace(pod)), ("pod", name(pod)), ("uid", uid(pod))];
    let node = text(pod, "/spec/nodeName");
    info(pod, &id, node, out);
    status(pod, &id, out);
    let lists = [
        ("/status/containerStatuses", "kube_pod_container"),
        ("/status/initContainerStatuses", "kube_pod_init_container"),
    ];
    for (list, prefix) in lists {
        for status in items(pod, list) {
            container_status(status, &id, prefix, out);
        }
    }
    for container in items(pod, "/spec/containers") {
        for kind in ["requests", "limits"] {
            let Some(amounts) = container.pointer(&format!("/resources/{kind}")).and_then(Value::as_object) else {
                continue;
            };
            for (of, amount) in amounts {
                let (of, unit) = resource(of);
                let more = [("container", text(container, "/name")), ("node", node), ("resource", &of), ("unit", unit)];
                if let Some(amount) = quantity(amount) {
                    out.add(&format!("kube_pod_container_resource_{kind}"), &with(&id, &more), amount);
                }
            }
        }
    }
}

fn with<'a>(id: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    id.iter().chain(more).copied().collect()
}

fn info(pod: &Value, id: &[(&str, &str)], node: &str, out: &mut Exposition) {
    let controller = crate::value::controller(pod);
    let of = |field: &str| controller.map(|owner| text(owner, field)).unwrap_or("<none>");
    let host_network = if is_true(pod, "/spec/hostNetwork") { "true" } else { "false" };
    let more = [
        ("host_ip", text(pod, "/status/hostIP")),
        ("pod_ip", text(pod, "/status/podIP")),
        ("node", node),
        ("created_by_kind", of("/kind")),
        ("created_by_name", of("/name")),
        ("priority_class", text(pod, "/spec/priorityClassName")),
        ("host_network", host_network),
    ];
    out.add("kube_pod_info", &with(id, &more), 1.0);
    let owners = items(pod, "/metadata/ownerReferences");
    for reference in owners {
        let is_controller = if is_true(reference, "/controller") { "true" } else { "false" };
        out.add("kube_pod_owner", &with(id, &owner(reference, is_controller)), 1.0);
    }
    if owners.is_empty() {
        out.add("kube_pod_owner", id, 1.0);
    }
    out.time("kube_pod_created", id, pod, "/metadata/creationTimestamp");
    out.time("kube_pod_start_time", id, pod, "/status/startTime");
    out.time("kube_pod_deletion_timestamp", id, pod, "/metadata/deletionTimestamp");
}

fn status(pod: &Value, id: &[(&str, &str)], out: &mut Exposition) {
    let reason = text(pod, "/status/reason");
    let phase = text(pod, "/status/phase");
    if !phase.is_empty() {
        // A pod that its lost node can't end is of unknown phase, whatever its status says.
        let phase = if is_terminating(pod) && reason == "NodeLost" { "Unknown" } else { phase };
        out.states("kube_pod_status_phase", id, "phase", &PHASES, phase);
    }
    for (of, series) in [("Ready", "kube_pod_status_ready"), ("PodScheduled", "kube_pod_status_scheduled")] {
        if let Some(found) = condition(pod, of) {
            out.condition(series, id, "condition", text(found, "/status"));
        }
    }
    let scheduled = condition(pod, "PodScheduled");
    let unscheduled = scheduled.filter(|it| text(it, "/status") == "False").map(|it| text(it, "/reason"));
    if unscheduled == Some("Unschedulable") {
        out.add("kube_pod_status_unschedulable", id, 1.0);
    }
    let reason = unscheduled.filter(|reason| *reason == "SchedulingGated").unwrap_or(reason);
    out.states("kube_pod_status_reason", id, "reason", &REASONS, reason);
}

fn container_status(status: &Value, id: &[(&str, &str)], prefix: &str, out: &mut Exposition) {
    let own = with(id, &[("container", text(status, "/name"))]);
    let mut add = |series: &str, value: f64| out.add(&format!("{prefix}_status_{series}"), &own, value);
    for state in ["waiting", "running", "terminated"] {
        add(state, flag(status.pointer(&format!("/state/{state}")).is_some()));
    }
    add("ready", flag(is_true(status, "/ready")));
    add("restarts_total", integer(status, "/restartCount").map_or(0.0, super::seconds));
    let reasons = [
        ("waiting_reason", "/state/waiting/reason"),
        ("terminated_reason", "/state/terminated/reason"),
        ("last_terminated_reason", "/lastState/terminated/reason"),
    ];
    for (series, pointer) in reasons {
        let reason = text(status, pointer);
        if !reason.is_empty() {
            out.add(&format!("{prefix}_status_{series}"), &with(&own, &[("reason", reason)]), 1.0);
        }
    }
    if !at(status, "/lastState/terminated/exitCode").is_null() {
        out.number(
            &format!("{prefix}_status_last_terminated_exitcode"),
            &own,
            status,
            "/lastState/terminated/exitCode",
        );
    }
}

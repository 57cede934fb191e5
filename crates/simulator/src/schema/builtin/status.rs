//! The status a new object begins with: what a client sends is dropped.

use serde_json::{Value, json};

use super::pod::qos_class;
use crate::kinds::Kind;
use crate::value::{set, unset};

/// Puts the status of a new object.
pub(super) fn begin(kind: &Kind, object: &mut Value) {
    let status = match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") | ("batch", "Job" | "CronJob") | ("", "ResourceQuota") => json!({}),
        ("apps", "ReplicaSet") => json!({"replicas": 0}),
        ("apps", "StatefulSet") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "DaemonSet") => json!({
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
        }),
        ("", "Pod") => json!({"phase": "Pending", "qosClass": qos_class(object)}),
        ("", "Namespace") => json!({"phase": "Active"}),
        ("", "PersistentVolumeClaim") => json!({"phase": "Pending"}),
        ("", "PersistentVolume") => {
            let at = object.pointer("/metadata/creationTimestamp").cloned();
            json!({"phase": "Pending", "lastPhaseTransitionTime": at})
        }
        ("", "Service") | ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        ("policy", "PodDisruptionBudget") => {
            json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0})
        }
        ("autoscaling", _) => json!({"desiredReplicas": 0, "currentMetrics": null}),
        ("", "Node") => return node(object),
        _ => {
            unset(object, "/status");
            return;
        }
    };
    set(object, "/status", status);
}

/// A kubelet registers its node with a status; what it leaves out is empty.
fn node(object: &mut Value) {
    if object.pointer("/status/daemonEndpoints").is_none() {
        set(object, "/status/daemonEndpoints", json!({"kubeletEndpoint": {"Port": 0}}));
    }
    for field in [
        "machineID",
        "systemUUID",
        "bootID",
        "kernelVersion",
        "osImage",
        "containerRuntimeVersion",
        "kubeletVersion",
        "kubeProxyVersion",
        "operatingSystem",
        "architecture",
    ] {
        let place = format!("/status/nodeInfo/{field}");
        if object.pointer(&place).is_none() {
            set(object, &place, json!(""));
        }
    }
}

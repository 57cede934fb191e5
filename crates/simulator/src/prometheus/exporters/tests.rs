use serde_json::json;

use super::*;

/// The series of an object without the exporter's own labels, a line each.
fn told(resource: &str, object: &Value) -> String {
    let own = |name: &str| KUBE_STATE_METRICS.iter().any(|(target, _)| *target == name);
    let mut lines: Vec<String> = export(resource, object)
        .unwrap()
        .iter()
        .map(|(labels, value)| {
            let exporters = |label: &str| {
                KUBE_STATE_METRICS.iter().any(|(name, value)| *name == label && labels.get(label) == *value)
            };
            let shown = labels.filtered(|label| label != NAME && !(own(label) && exporters(label)));
            format!("{}{shown} {value}", labels.get(NAME))
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_crash_looping_pod_is_told_as_kube_state_metrics_tells_it() {
    let pod = json!({
        "metadata": {
            "namespace": "shop", "name": "cart-1", "uid": "u1", "creationTimestamp": "2026-06-03T09:00:00Z",
            "ownerReferences": [{"kind": "ReplicaSet", "name": "cart", "controller": true}],
        },
        "spec": {"nodeName": "n1", "containers": [{
            "name": "cart", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}},
        }]},
        "status": {
            "phase": "Running", "podIP": "10.1.0.2", "hostIP": "10.0.0.1", "startTime": "2026-06-03T09:00:01Z",
            "conditions": [{"type": "Ready", "status": "False"}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{
                "name": "cart", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 1}},
            }],
        },
    });
    insta::assert_snapshot!(told("pods", &pod));
}

#[test]
fn workloads_are_told_as_kube_state_metrics_tells_them() {
    let meta = |name: &str| json!({"namespace": "shop", "name": name, "generation": 2});
    let all = [
        (
            "deployments.apps",
            json!({"metadata": meta("cart"), "spec": {"replicas": 3}, "status": {
                "observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2, "unavailableReplicas": 1,
                "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
            }}),
        ),
        (
            "statefulsets.apps",
            json!({"metadata": meta("db"), "spec": {"replicas": 2}, "status": {
                "replicas": 2, "readyReplicas": 1, "currentRevision": "db-1", "updateRevision": "db-2",
            }}),
        ),
        (
            "jobs.batch",
            json!({"metadata": meta("backup"), "spec": {"completions": 1}, "status": {
                "failed": 4, "startTime": "2026-06-03T09:00:00Z",
                "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}],
            }}),
        ),
        (
            "resourcequotas",
            json!({"metadata": meta("q"), "status": {
                "hard": {"requests.cpu": "2", "pods": "10"}, "used": {"requests.cpu": "1500m", "pods": "3"},
            }}),
        ),
    ];
    let told: Vec<String> = all.iter().map(|(resource, object)| told(resource, object)).collect();
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn a_node_is_told_as_kube_state_metrics_tells_it() {
    let node = json!({
        "metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": true, "taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}], "nodeInfo": {"kubeletVersion": "v1.36.0"},
            "conditions": [{"type": "Ready", "status": "Unknown"}], "allocatable": {"cpu": "3500m", "nvidia.com/gpu": "1"},
        },
    });
    insta::assert_snapshot!(told("nodes", &node));
}

#[test]
fn what_an_object_says_counts_more_than_the_exporter() {
    let series =
        export("pods", &json!({"metadata": {"namespace": "shop", "name": "cart-1"}, "status": {"phase": "Pending"}}));
    let labels = &series.unwrap()[0].0;
    assert_eq!((labels.get("namespace"), labels.get("pod")), ("shop", "cart-1"));
    assert_eq!((labels.get("container"), labels.get("job")), ("kube-state-metrics", "kube-state-metrics"));
}

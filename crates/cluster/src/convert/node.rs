use evenkeel_model::{Node, STAMP_ANNOTATION};
use k8s_openapi::api::core::v1 as core;

use super::meta::annotation;
use super::time::to_chrono;

/// Taints with which others say that they take a node away on purpose.
const DISRUPTING_TAINTS: [(&str, &str); 6] = [
    ("karpenter.sh/disrupted", "Karpenter"),
    ("karpenter.sh/disruption", "Karpenter"),
    ("ToBeDeletedByClusterAutoscaler", "cluster-autoscaler"),
    ("node.kubernetes.io/out-of-service", "an operator: the node is out of service"),
    ("cloud.google.com/impending-node-termination", "the cloud: the node is about to end"),
    ("node.cloudprovider.kubernetes.io/shutdown", "the cloud: the node is shut down"),
];

/// The same by prefix.
const DISRUPTING_TAINT_PREFIXES: [(&str, &str); 1] =
    [("aws-node-termination-handler/", "AWS node termination handler")];

/// Annotations that say the same.
const DISRUPTING_ANNOTATIONS: [(&str, &str); 1] = [("weave.works/kured-reboot-in-progress", "kured")];

/// Reads a node.
pub fn node(node: &core::Node) -> Node {
    let spec = node.spec.clone().unwrap_or_default();
    let conditions = || node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions().find(|it| it.type_ == "Ready");
    let mut pressure: Vec<String> = conditions()
        .filter(|it| it.type_.ends_with("Pressure") && it.status == "True")
        .map(|it| it.type_.clone())
        .collect();
    pressure.sort();
    Node {
        name: node.metadata.name.clone().unwrap_or_default(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ready: ready.is_some_and(|it| it.status == "True"),
        ready_since: ready.and_then(|it| it.last_transition_time.as_ref()).map(to_chrono),
        unschedulable: spec.unschedulable.unwrap_or(false),
        pressure,
        planned_disruption: planned_disruption(node),
        stamp: annotation(&node.metadata, STAMP_ANNOTATION).map(str::to_owned),
    }
}

/// Who takes the node away on purpose, by the marks they leave. `DeletionCandidateOfClusterAutoscaler`
/// is none: it says that the node may be, not that it is.
pub fn planned_disruption(node: &core::Node) -> Option<String> {
    if node.metadata.deletion_timestamp.is_some() {
        return Some("the node is being deleted".to_owned());
    }
    let taints = || node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    for taint in taints() {
        let exact = DISRUPTING_TAINTS.iter().find(|(key, _)| *key == taint.key);
        let prefix = || DISRUPTING_TAINT_PREFIXES.iter().find(|(prefix, _)| taint.key.starts_with(prefix));
        if let Some((_, who)) = exact.or_else(prefix) {
            return Some(format!("{who} (taint {})", taint.key));
        }
    }
    let marked =
        |(key, who): &(&str, &str)| annotation(&node.metadata, key).map(|_| format!("{who} (annotation {key})"));
    DISRUPTING_ANNOTATIONS.iter().find_map(marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Node {
        node(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn a_node_that_does_not_answer_is_not_ready() {
        for (status, ready) in [("True", true), ("False", false), ("Unknown", false)] {
            let node = read(serde_json::json!({"metadata": {"name": "n"}, "status": {"conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "MemoryPressure", "status": "True"}, {"type": "DiskPressure", "status": "False"}]}}));
            assert_eq!((node.ready, node.pressure), (ready, vec!["MemoryPressure".to_owned()]), "{status}");
        }
    }

    #[test]
    fn planned_disruption_is_seen() {
        let tainted = |key: &str| {
            read(serde_json::json!({"metadata": {}, "spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}}))
                .planned_disruption
        };
        assert!(tainted("karpenter.sh/disrupted").unwrap().starts_with("Karpenter"));
        assert!(tainted("ToBeDeletedByClusterAutoscaler").unwrap().starts_with("cluster-autoscaler"));
        assert!(tainted("aws-node-termination-handler/spot-itn").is_some());
        assert_eq!(tainted("DeletionCandidateOfClusterAutoscaler"), None);
        assert_eq!(tainted("node.kubernetes.io/not-ready"), None);
        let kured =
            read(serde_json::json!({"metadata": {"annotations": {"weave.works/kured-reboot-in-progress": "x"}}}));
        assert!(kured.planned_disruption.unwrap().starts_with("kured"));
    }
}

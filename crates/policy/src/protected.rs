use std::collections::BTreeMap;

use evenkeel_model::{Kind, ObjectRef};

/// Where nothing is done whatever policies say: what the cluster, or the engine itself, needs to live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protected {
    /// Namespaces with the reason: `kube-system`, the engine's, NATS's, Prometheus's.
    pub namespaces: BTreeMap<String, String>,
    /// Nodes by name with the reason, besides control-plane nodes.
    pub nodes: BTreeMap<String, String>,
}

impl Protected {
    /// Labels of nodes that carry the control plane.
    pub const CONTROL_PLANE: [&'static str; 2] =
        ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

    /// Why the object is out of bounds, if it is.
    pub(crate) fn reason(&self, target: &ObjectRef, labels: &BTreeMap<String, String>) -> Option<String> {
        let namespace = match target.kind {
            Kind::Namespace => Some(&target.name),
            _ => target.namespace.as_ref(),
        };
        if let Some((namespace, why)) = namespace.and_then(|namespace| self.namespaces.get_key_value(namespace)) {
            return Some(format!("namespace {namespace} is out of bounds: {why}"));
        }
        if target.kind != Kind::Node {
            return None;
        }
        if let Some(label) = Self::CONTROL_PLANE.into_iter().find(|label| labels.contains_key(*label)) {
            return Some(format!("node {} is out of bounds: it carries the control plane ({label})", target.name));
        }
        self.nodes.get(&target.name).map(|why| format!("node {} is out of bounds: {why}", target.name))
    }
}

//! Namespaces: what each new one is given, and how the content of one that goes is taken away.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::changes::Seen;
use super::{Cluster, Controller};
use crate::api::By;
use crate::store::Key;
use crate::value::{at, is_terminating, items, name, namespace, rfc3339, set, text};

const NAMESPACES: &str = "namespaces";

/// The namespace controller, with those that put a service account and the root certificate into each namespace.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    seen: Seen,
    /// Whether a namespace waits for its content to go.
    ending: bool,
}

impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        // What is left of a namespace that goes may be anything.
        &[
            NAMESPACES,
            "pods",
            "persistentvolumeclaims",
            "deployments.apps",
            "statefulsets.apps",
            "daemonsets.apps",
            "replicasets.apps",
            "jobs.batch",
            "cronjobs.batch",
        ]
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let changed = self.seen.any(cluster, &[NAMESPACES]);
        if !changed && !self.ending {
            return None;
        }
        self.ending = false;
        for ns in cluster.list(NAMESPACES) {
            if is_terminating(&ns) {
                self.ending |= !end(cluster, &ns);
            } else {
                furnish(cluster, &ns);
            }
        }
        None
    }
}

/// What every namespace has.
fn furnish(cluster: &mut Cluster<'_>, ns: &Value) {
    let ns = name(ns);
    if cluster.get("serviceaccounts", ns, "default").is_none() {
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": ns}});
        drop(cluster.create("serviceaccounts", account));
    }
    if cluster.get("configmaps", ns, "kube-root-ca.crt").is_none() {
        let bundle = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt", "namespace": ns},
            "data": {"ca.crt": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"},
        });
        drop(cluster.create("configmaps", bundle));
    }
}

/// Takes a namespace's content away, and then the namespace; gives whether it is gone.
fn end(cluster: &mut Cluster<'_>, ns: &Value) -> bool {
    let kinds: Vec<String> = cluster
        .state
        .kinds
        .iter()
        .filter(|kind| kind.namespaced)
        .map(|kind| kind.resource().as_str().to_owned())
        .collect();
    let mut remaining: Vec<(String, usize)> = Vec::new();
    for kind in &kinds {
        for object in cluster.list_in(kind, name(ns)) {
            if !is_terminating(&object) {
                drop(cluster.delete(kind, &object, None));
            }
        }
        let left = cluster.list_in(kind, name(ns)).len();
        if left > 0 {
            remaining.push((kind.clone(), left));
        }
    }
    if remaining.is_empty() {
        let by = By {
            user: "system:serviceaccount:kube-system:namespace-controller",
            manager: "kube-controller-manager",
            dry_run: false,
        };
        let key = Key::new(NAMESPACES, "", name(ns));
        return cluster.state.finalize(by, &key, &json!({})).is_ok();
    }
    let left: Vec<String> =
        remaining.iter().map(|(kind, count)| format!("{kind}. has {count} resource instances")).collect();
    let message = format!("Some resources are remaining: {}", left.join(", "));
    let since = crate::value::condition(ns, "NamespaceContentRemaining").filter(|it| text(it, "/status") == "True");
    let since = since.map_or_else(|| rfc3339(cluster.now()), |it| at(it, "/lastTransitionTime").clone());
    let condition = json!({
        "type": "NamespaceContentRemaining", "status": "True", "reason": "SomeResourcesRemain",
        "message": message, "lastTransitionTime": since,
    });
    let mut conditions = items(ns, "/status/conditions").to_vec();
    conditions.retain(|old| text(old, "/type") != "NamespaceContentRemaining");
    conditions.push(condition);
    if let Some(found) = cluster.get(NAMESPACES, namespace(ns), name(ns)) {
        let mut object = (*found).clone();
        set(&mut object, "/status/phase", json!("Terminating"));
        set(&mut object, "/status/conditions", Value::Array(conditions));
        drop(cluster.update_status(NAMESPACES, object));
    }
    false
}

#[cfg(test)]
mod tests;

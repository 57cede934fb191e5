//! ResourceQuotas: what a namespace uses of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::changes::Seen;
use super::scheduler::requests;
use super::{Cluster, Controller};
use crate::quantity;
use crate::value::{at, items, namespace, set, text};

const QUOTAS: &str = "resourcequotas";

/// The quota controller.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    seen: Seen,
}

impl Controller for Quotas {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        &[
            QUOTAS,
            "pods",
            "services",
            "configmaps",
            "secrets",
            "persistentvolumeclaims",
            "deployments.apps",
            "replicasets.apps",
            "statefulsets.apps",
            "jobs.batch",
            "cronjobs.batch",
        ]
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let changed = self.seen.keys(cluster, self.watches());
        let quotas = if changed.is_empty() { Vec::new() } else { cluster.list(QUOTAS) };
        if quotas.is_empty() {
            return None;
        }
        let namespaces: BTreeSet<&str> = changed.iter().map(|key| key.namespace.as_str()).collect();
        for quota in quotas.iter().filter(|quota| namespaces.contains(namespace(quota))) {
            let hard = at(quota, "/spec/hard").clone();
            let mut used = Map::new();
            for resource in hard.as_object().into_iter().flatten().map(|(resource, _)| resource) {
                if let Some(amount) = usage(cluster, namespace(quota), resource) {
                    used.insert(resource.clone(), json!(amount));
                }
            }
            let status = json!({"hard": hard, "used": used});
            if *at(quota, "/status") != status {
                let mut object = (**quota).clone();
                set(&mut object, "/status", status);
                drop(cluster.update_status(QUOTAS, object));
            }
        }
        None
    }
}

/// How much of a resource the objects of a namespace use; none for a resource that quotas don't count here.
fn usage(cluster: &Cluster<'_>, ns: &str, resource: &str) -> Option<String> {
    if let Some(counted) = resource.strip_prefix("count/") {
        return Some(cluster.list_in(counted, ns).len().to_string());
    }
    let pods = || {
        let all = cluster.list_in("pods", ns);
        all.into_iter().filter(|pod| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"))
    };
    let sum = |of: &dyn Fn(&Value) -> BTreeMap<String, i128>, name: &str| -> i128 {
        pods().filter_map(|pod| of(&pod).get(name).copied()).sum()
    };
    Some(match resource {
        "pods" => pods().count().to_string(),
        "cpu" | "requests.cpu" => quantity::decimal_text(sum(&requests, "cpu")),
        "memory" | "requests.memory" => quantity::binary_text(sum(&requests, "memory")),
        "limits.cpu" => quantity::decimal_text(sum(&limits, "cpu")),
        "limits.memory" => quantity::binary_text(sum(&limits, "memory")),
        "requests.storage" => {
            let claims = cluster.list_in("persistentvolumeclaims", ns);
            let sizes =
                claims.iter().filter_map(|claim| quantity::milli(text(claim, "/spec/resources/requests/storage")));
            quantity::binary_text(sizes.sum())
        }
        "services" | "configmaps" | "secrets" | "persistentvolumeclaims" => {
            cluster.list_in(resource, ns).len().to_string()
        }
        "services.loadbalancers" | "services.nodeports" => {
            let wanted: &[&str] =
                if resource.ends_with("nodeports") { &["NodePort", "LoadBalancer"] } else { &["LoadBalancer"] };
            let services = cluster.list_in("services", ns);
            services.iter().filter(|service| wanted.contains(&text(service, "/spec/type"))).count().to_string()
        }
        "replicationcontrollers" => "0".to_owned(),
        _ => return None,
    })
}

fn limits(pod: &Value) -> BTreeMap<String, i128> {
    let mut sum: BTreeMap<String, i128> = BTreeMap::new();
    for container in items(pod, "/spec/containers") {
        for (name, value) in at(container, "/resources/limits").as_object().into_iter().flatten() {
            let amount =
                value.as_str().and_then(quantity::milli).or_else(|| value.as_i64().map(|it| i128::from(it) * 1000));
            *sum.entry(name.clone()).or_default() += amount.unwrap_or_default();
        }
    }
    sum
}

#[cfg(test)]
mod tests;

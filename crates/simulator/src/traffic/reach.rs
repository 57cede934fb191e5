//! Whether a request gets from one pod to another: names that can't be resolved, and network policies.

use serde_json::Value;

use crate::api::LabelSelector;
use crate::store::Store;
use crate::value::{at, integer, items, namespace, text};

/// Whether a pod's resolver knows the cluster's services: `Default` and `None` ask other name servers.
pub(crate) fn finds_services(pod: &Value) -> bool {
    matches!(text(pod, "/spec/dnsPolicy"), "" | "ClusterFirst" | "ClusterFirstWithHostNet")
}

/// Whether the network policies of its namespace let a request in to a pod's port. Who sends it does not count:
/// policies that say so are refused when they are written.
pub(super) fn admits(store: &Store, pod: &Value, port: i64) -> bool {
    let mut policies = store
        .within(&"networkpolicies.networking.k8s.io".into(), namespace(pod))
        .map(|(_, policy)| policy)
        .filter(|policy| {
            LabelSelector::of(at(policy, "/spec/podSelector")).selects(at(pod, "/metadata/labels"))
                && is_ingress(policy)
        })
        .peekable();
    // A pod that no policy selects is open; one that some select is open to what one of them allows.
    policies.peek().is_none()
        || policies.any(|policy| items(policy, "/spec/ingress").iter().any(|it| opens(it, pod, port)))
}

fn is_ingress(policy: &Value) -> bool {
    let types = items(policy, "/spec/policyTypes");
    types.is_empty() || types.iter().any(|it| it.as_str() == Some("Ingress"))
}

fn opens(rule: &Value, pod: &Value, port: i64) -> bool {
    let ports = items(rule, "/ports");
    ports.is_empty() || ports.iter().any(|it| is_of(it, pod, port))
}

fn is_of(allowed: &Value, pod: &Value, port: i64) -> bool {
    if !matches!(text(allowed, "/protocol"), "" | "TCP") {
        return false;
    }
    let number = at(allowed, "/port");
    if number.is_null() {
        return true;
    }
    let containers = items(pod, "/spec/containers").iter();
    let mut ports = containers.flat_map(|container| items(container, "/ports"));
    let named = |name: &str| ports.find(|it| text(it, "/name") == name).and_then(|it| integer(it, "/containerPort"));
    let Some(first) = number.as_i64().or_else(|| number.as_str().and_then(named)) else { return false };
    (first..=integer(allowed, "/endPort").unwrap_or(first)).contains(&port)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::Key;

    #[test]
    fn a_pod_that_policies_select_is_open_to_what_one_of_them_allows() {
        let pod = json!({"metadata": {"namespace": "shop", "name": "cart-1", "labels": {"app": "cart"}},
            "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}});
        let mut store = Store::default();
        let mut put = |name: &str, spec: Value| {
            store.put(&Key::new("networkpolicies.networking.k8s.io", "shop", name), json!({"spec": spec}));
            (admits(&store, &pod, 8080), admits(&store, &pod, 9090))
        };
        let ingress = |rules: Value| json!({"podSelector": {"matchLabels": {"app": "cart"}}, "ingress": rules});
        assert_eq!(put("other", json!({"podSelector": {"matchLabels": {"app": "db"}}})), (true, true));
        assert_eq!(put("a", ingress(json!([]))), (false, false), "nothing is allowed");
        assert_eq!(put("b", ingress(json!([{"ports": [{"port": 9000, "endPort": 9100}]}]))), (false, true));
        assert_eq!(put("c", ingress(json!([{"ports": [{"port": "http"}]}]))), (true, true));
        assert_eq!(put("c", ingress(json!([{"ports": [{"port": 8080, "protocol": "UDP"}]}]))), (false, true));
        assert_eq!(put("c", ingress(json!([{}]))), (true, true), "a rule without ports allows all");
    }

    #[test]
    fn only_the_clusters_own_name_server_knows_its_services() {
        let with = |policy: &str| finds_services(&json!({"spec": {"dnsPolicy": policy}}));
        assert!(with("ClusterFirst") && with("ClusterFirstWithHostNet") && finds_services(&json!({"spec": {}})));
        assert!(!with("Default") && !with("None"));
    }
}

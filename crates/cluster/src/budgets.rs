//! PodDisruptionBudgets over the pods of a workload, or over one pod.

use std::collections::BTreeMap;

use evenkeel_model::{Kind, ObjectRef};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::core::{Selector, SelectorExt as _};
use kube::{Api, Client};
use serde_json::Value;

use crate::read::{beside, list, live_at, metadata};
use crate::{ReadError, read};

/// What the PodDisruptionBudgets over some pods come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// How many are about the pods, one at least.
    pub count: u32,
    /// The fewest disruptions that any of them allows now; 0 where its controller has not said so of the budget as it
    /// is now.
    pub left: u32,
}

/// The PodDisruptionBudgets over a workload's pods, as its template labels them, or over a pod. `None` when there is
/// none, or nothing that has pods.
///
/// # Errors
/// When labels or budgets can't be read: what is not known must not count as none.
pub async fn budgets(client: &Client, target: &ObjectRef) -> Result<Option<Budgets>, ReadError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error| ReadError::of(target, what, error)
    };
    let labels = match target.kind {
        Kind::Pod => {
            let found = metadata(client, target).await.map_err(failed("its labels"))?;
            found.map(|meta| meta.labels.unwrap_or_default())
        }
        kind if kind.is_workload() => {
            let found = live_at(client, &read::collection(target), &target.name).await;
            found.map_err(failed("its pods' labels"))?.map(|workload| labels_of_template(&workload))
        }
        _ => None,
    };
    let Some(labels) = labels else { return Ok(None) };
    let api: Api<PodDisruptionBudget> = beside(client, target);
    let all = list(&api, ListParams::default()).await.map_err(failed("PodDisruptionBudgets in its namespace"))?;
    Ok(over(&all, &labels))
}

fn labels_of_template(workload: &Value) -> BTreeMap<String, String> {
    let labels = workload.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
    serde_json::from_value(labels).unwrap_or_default()
}

fn over(all: &[PodDisruptionBudget], labels: &BTreeMap<String, String>) -> Option<Budgets> {
    let about = || all.iter().filter(|budget| selects(budget, labels));
    let left = about().map(left).min()?;
    Some(Budgets { count: u32::try_from(about().count()).unwrap_or(u32::MAX), left })
}

/// Whether a budget is about pods with these labels: without a selector about none, with an empty one about all.
fn selects(budget: &PodDisruptionBudget, labels: &BTreeMap<String, String>) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
    match selector.map(Selector::try_from) {
        None => false,
        Some(Ok(selector)) => selector.matches(labels),
        // The API server takes none that can't be understood; one that is not, may be about them.
        Some(Err(_)) => true,
    }
}

fn left(budget: &PodDisruptionBudget) -> u32 {
    let Some(status) = &budget.status else { return 0 };
    let is_current = status.observed_generation.unwrap_or(0) >= budget.metadata.generation.unwrap_or(0);
    if is_current { u32::try_from(status.disruptions_allowed).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{FakeApi, SHOP};

    fn budget(name: &str, selector: &Value, allowed: i64) -> Value {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": "shop", "generation": 2},
            "spec": {"maxUnavailable": 1, "selector": selector},
            "status": {"observedGeneration": 2, "disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 3},
        })
    }

    async fn read(put: &[Value], target: &ObjectRef) -> Option<(u32, u32)> {
        let api = FakeApi::new(SHOP);
        put.iter().for_each(|it| api.put(it.clone()));
        let found = budgets(&api.client(), target).await.unwrap();
        found.map(|it| (it.count, it.left))
    }

    #[tokio::test]
    async fn what_selects_the_pods_counts_and_the_strictest_of_them() {
        let cart = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
        let pod = ObjectRef::namespaced(Kind::Pod, "shop", "cart-69f6589c46-hvsh5");
        let ours = || json!({"matchLabels": {"app": "cart"}});
        let other = budget("other", &json!({"matchLabels": {"app": "pay"}}), 0);
        let none = budget("none", &Value::Null, 0);
        for target in [&cart, &pod] {
            assert_eq!(read(&[], target).await, None);
            assert_eq!(read(&[other.clone(), none.clone()], target).await, None);
            assert_eq!(read(&[other.clone(), budget("ours", &ours(), 2)], target).await, Some((1, 2)));
            let all = budget("all", &json!({}), 1);
            assert_eq!(read(&[budget("ours", &ours(), 2), all], target).await, Some((2, 1)));
        }
        let some = json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["cart", "pay"]}]});
        assert_eq!(read(&[budget("some", &some, 1)], &cart).await, Some((1, 1)));
        let node = ObjectRef::cluster_scoped(Kind::Node, "real-node");
        assert_eq!(read(&[budget("all", &json!({}), 1)], &node).await, None, "it has no pods of its own");
    }

    #[tokio::test]
    async fn what_its_controller_has_not_said_of_it_as_it_is_allows_nothing() {
        let cart = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
        let mut stale = budget("ours", &json!({}), 2);
        stale["metadata"]["generation"] = json!(3);
        assert_eq!(read(&[stale], &cart).await, Some((1, 0)));
        let mut unseen = budget("ours", &json!({}), 2);
        unseen["status"] = Value::Null;
        assert_eq!(read(&[unseen], &cart).await, Some((1, 0)));
    }

    #[tokio::test]
    async fn budgets_that_can_not_be_read_are_an_error_and_not_none() {
        let api = FakeApi::new(SHOP);
        api.fail("/poddisruptionbudgets", 403, "forbidden");
        let cart = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
        let error = budgets(&api.client(), &cart).await.unwrap_err();
        assert!(error.to_string().contains("PodDisruptionBudgets"), "{error}");
    }
}

//! PodDisruptionBudgets: others' disruptions and ours are one.

use super::*;

/// A ready pod on a node that is cordoned, to be taken away by an action that policies list.
async fn on_a_cordoned_node(action: Action, budgets: &[(&str, i64)]) -> Bench {
    let pod = ObjectRef::namespaced(Kind::Pod, "shop", "cart-554857864b-446t9");
    let bench = Bench::with(Proposal { target: pod, action, ..cart(1) }, Mode::Enforce, |_| {}).await;
    bench.world.edit("/actionpolicies/shop", |policy| {
        let mut evict = policy["spec"]["actions"][1].clone();
        evict["do"] = json!("evictPod");
        policy["spec"]["actions"].as_array_mut().unwrap().push(evict);
    });
    for node in bench.world.objects("nodes") {
        let name = format!("/nodes/{}", node["metadata"]["name"].as_str().unwrap());
        bench.world.edit(&name, |node| node["spec"]["unschedulable"] = json!(true));
    }
    for (name, allowed) in budgets {
        bench.world.put(json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": "shop", "generation": 1},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "cart"}}},
            "status": {"observedGeneration": 1, "disruptionsAllowed": allowed},
        }));
    }
    bench
}

#[tokio::test]
async fn a_budget_that_is_spent_lets_it_wait_until_it_is_not() {
    let bench = on_a_cordoned_node(Action::EvictPod(Empty {}), &[("cart", 0)]).await;
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Deferred, "{}", bench.reason());
    assert!(bench.reason().contains("PodDisruptionBudgets let 0 pods go now, and it takes 1"), "{}", bench.reason());
    bench.world.edit("/poddisruptionbudgets/cart", |it| it["status"]["disruptionsAllowed"] = json!(1));
    bench.run(60).await;
    assert_eq!(bench.phase(), Phase::AwaitingApproval, "it takes what is available: {}", bench.reason());
    // What its controller has not looked at yet counts as spent.
    bench.world.edit("/poddisruptionbudgets/cart", |it| it["metadata"]["generation"] = json!(2));
    bench.run(60).await;
    assert_eq!(bench.phase(), Phase::Deferred, "{}", bench.reason());
}

#[tokio::test]
async fn the_strictest_budget_counts_and_none_is_no_budget() {
    let bench = on_a_cordoned_node(Action::EvictPod(Empty {}), &[]).await;
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::AwaitingApproval, "{}", bench.reason());
    assert_eq!(bench.world.reads_of("/poddisruptionbudgets"), 1);
    let bench = Bench::new().await;
    bench.advance().await;
    assert_eq!(bench.world.reads_of("/poddisruptionbudgets"), 0, "a rollback takes what is not available");
}

#[tokio::test]
async fn a_pod_with_two_budgets_is_never_evicted() {
    let bench = on_a_cordoned_node(Action::EvictPod(Empty {}), &[("cart", 1), ("also", 1)]).await;
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::Denied, "{}", bench.reason());
    assert!(bench.reason().contains("2 PodDisruptionBudgets are about the pod"), "{}", bench.reason());
}

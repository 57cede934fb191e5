use serde_json::{Value, json};

use crate::controllers::stage::{Stage, template};
use crate::value::{at, set, unset};

fn budget(spec: Value) -> Value {
    let mut budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "cart", "namespace": "shop"},
        "spec": spec,
    });
    set(&mut budget, "/spec/selector", json!({"matchLabels": {"app": "cart"}}));
    budget
}

fn deployment(replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "cart"}},
                 "template": template("cart", "cart:1"), "strategy": {"type": "RollingUpdate"}},
    })
}

fn status(stage: &Stage) -> Value {
    let mut status = at(&stage.get("poddisruptionbudgets.policy", "cart"), "/status").clone();
    unset(&mut status, "/observedGeneration");
    unset(&mut status, "/conditions");
    status
}

#[tokio::test(start_paused = true)]
async fn what_may_be_evicted_follows_health_and_scale() {
    let mut stage = Stage::new();
    stage.create("deployments.apps", deployment(4));
    stage.create("poddisruptionbudgets.policy", budget(json!({"maxUnavailable": "50%"})));
    stage.pass(0).await;
    assert_eq!(
        status(&stage),
        json!({"currentHealthy": 0, "desiredHealthy": 2, "expectedPods": 4, "disruptionsAllowed": 0})
    );
    assert_eq!(stage.conditions("poddisruptionbudgets.policy", "cart"), ["DisruptionAllowed=False InsufficientPods"]);
    stage.pass(5).await;
    assert_eq!(
        status(&stage),
        json!({"currentHealthy": 4, "desiredHealthy": 2, "expectedPods": 4, "disruptionsAllowed": 2})
    );
    assert_eq!(stage.conditions("poddisruptionbudgets.policy", "cart"), ["DisruptionAllowed=True SufficientPods"]);
    stage.edit("deployments.apps", "cart", |object| set(object, "/spec/replicas", json!(2)));
    stage.pass(5).await;
    assert_eq!(
        status(&stage),
        json!({"currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2, "disruptionsAllowed": 1})
    );
}

#[tokio::test(start_paused = true)]
async fn an_evicted_pod_that_does_not_go_counts_again_after_two_minutes() {
    let mut stage = Stage::new();
    stage.create("deployments.apps", deployment(3));
    stage.create("poddisruptionbudgets.policy", budget(json!({"minAvailable": 1})));
    stage.pass(5).await;
    let pod = stage.names("pods").remove(0);
    stage.edit_status("poddisruptionbudgets.policy", "cart", |budget| {
        set(budget, &format!("/status/disruptedPods/{pod}"), json!("2026-06-03T09:00:05Z"));
    });
    stage.pass(1).await;
    assert_eq!(at(&status(&stage), "/disruptionsAllowed"), &json!(1));
    stage.pass(130).await;
    assert_eq!(
        status(&stage),
        json!({"currentHealthy": 3, "desiredHealthy": 1, "expectedPods": 3, "disruptionsAllowed": 2})
    );
    assert!(stage.events(&pod)[0].starts_with("NotDeleted: Pod was expected by PDB shop/cart to be deleted"));
}

#[tokio::test(start_paused = true)]
async fn without_pods_nothing_may_be_evicted() {
    let mut stage = Stage::new();
    stage.create("poddisruptionbudgets.policy", budget(json!({"minAvailable": "50%"})));
    stage.pass(1).await;
    assert_eq!(
        status(&stage),
        json!({"currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, "disruptionsAllowed": 0})
    );
    assert_eq!(stage.events("cart"), ["NoPods: No matching pods found"]);
}

use serde_json::{Value, json};

use crate::controllers::stage::{Stage, template};
use crate::value::{at, items, set, text, unset};

fn node(name: &str, taint: Option<(&str, &str)>) -> Value {
    let taints: Vec<Value> = taint.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"disk": "ssd"}},
           "spec": {"taints": taints}})
}

fn daemon_set() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "log", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "log"}}, "template": template("log", "log:1"),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        },
    })
}

/// A node that has become ready: a new one is tainted until it is.
fn add(stage: &Stage, node: Value) {
    let taints = at(&node, "/spec/taints").clone();
    let name = crate::value::name(&stage.create("nodes", node)).to_owned();
    stage.edit("nodes", &name, |node| set(node, "/spec/taints", taints));
}

async fn stage() -> Stage {
    let mut stage = Stage::new();
    for name in ["node-1", "node-2", "node-3"] {
        add(&stage, node(name, None));
    }
    stage.create("daemonsets.apps", daemon_set());
    stage.pass(5).await;
    stage
}

fn status(stage: &Stage) -> Value {
    let mut status = at(&stage.get("daemonsets.apps", "log"), "/status").clone();
    unset(&mut status, "/observedGeneration");
    status
}

#[tokio::test(start_paused = true)]
async fn each_node_has_one() {
    let mut stage = stage().await;
    assert_eq!(
        status(&stage),
        json!({"desiredNumberScheduled": 3, "currentNumberScheduled": 3, "numberMisscheduled": 0, "numberReady": 3,
               "numberAvailable": 3, "updatedNumberScheduled": 3})
    );
    let pod = stage.list("pods").remove(0);
    assert_eq!(text(&pod, "/metadata/labels/pod-template-generation"), "1");
    assert_eq!(items(&pod, "/spec/tolerations").len(), 6);
    add(&stage, node("node-4", Some(("node.kubernetes.io/unschedulable", "NoSchedule"))));
    add(&stage, node("node-5", Some(("only", "NoSchedule"))));
    stage.pass(5).await;
    assert_eq!(stage.names("pods").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_taint_that_executes_takes_the_pod_one_that_only_keeps_off_leaves_it() {
    let mut stage = stage().await;
    stage.edit("nodes", "node-1", |node| set(node, "/spec/taints", json!([{"key": "a", "effect": "NoSchedule"}])));
    stage.pass(5).await;
    assert_eq!(stage.names("pods").len(), 3);
    assert_eq!(at(&status(&stage), "/numberMisscheduled"), &json!(1));
    stage.edit("nodes", "node-1", |node| set(node, "/spec/taints", json!([{"key": "a", "effect": "NoExecute"}])));
    stage.pass(5).await;
    assert_eq!(stage.names("pods").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_update_goes_node_by_node_and_stops_at_a_bad_one() {
    let mut stage = stage().await;
    stage.edit("daemonsets.apps", "log", |daemon| {
        set(daemon, "/spec/template/spec/containers/0/image", json!("bad:1"));
    });
    stage.pass(60).await;
    let bad = stage.list("pods").iter().filter(|pod| text(pod, "/spec/containers/0/image") == "bad:1").count();
    assert_eq!(bad, 1);
    let now = status(&stage);
    assert_eq!(at(&now, "/updatedNumberScheduled"), &json!(1));
    assert_eq!(at(&now, "/numberUnavailable"), &json!(1));
    stage.edit("daemonsets.apps", "log", |daemon| {
        set(daemon, "/spec/template/spec/containers/0/image", json!("log:3"));
    });
    stage.pass(60).await;
    assert!(stage.list("pods").iter().all(|pod| text(pod, "/spec/containers/0/image") == "log:3"));
}

#[tokio::test(start_paused = true)]
async fn surging_the_new_pod_comes_before_the_old_one_goes() {
    let mut stage = stage().await;
    stage.edit("daemonsets.apps", "log", |daemon| {
        set(daemon, "/spec/updateStrategy/rollingUpdate", json!({"maxSurge": 1, "maxUnavailable": 0}));
        set(daemon, "/spec/template/spec/containers/0/image", json!("log:2"));
    });
    stage.pass(0).await;
    assert_eq!(stage.names("pods").len(), 4);
    stage.pass(60).await;
    assert_eq!(stage.names("pods").len(), 3);
    assert!(stage.list("pods").iter().all(|pod| text(pod, "/spec/containers/0/image") == "log:2"));
}

#[tokio::test(start_paused = true)]
async fn pods_that_fail_again_and_again_are_left_lying_ever_longer() {
    let mut stage = Stage::new();
    add(&stage, node("node-1", None));
    let mut daemon = daemon_set();
    set(&mut daemon, "/spec/template/spec/containers/0/image", json!("fails:1"));
    stage.create("daemonsets.apps", daemon);
    stage.pass(3600).await;
    let created = stage.created("pods");
    assert!((10..20).contains(&created), "{created}");
}

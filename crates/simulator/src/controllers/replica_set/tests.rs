use serde_json::{Value, json};

use crate::controllers::stage::{Stage, template};
use crate::value::{at, controller, integer, set, text, uid};

fn replica_set(replicas: i64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("web", image)},
    })
}

fn pod(name: &str, app: &str) -> Value {
    let mut pod = template(app, "web:1");
    set(&mut pod, "/apiVersion", json!("v1"));
    set(&mut pod, "/kind", json!("Pod"));
    set(&mut pod, "/metadata/name", json!(name));
    set(&mut pod, "/metadata/namespace", json!("shop"));
    pod
}

#[tokio::test(start_paused = true)]
async fn it_makes_pods_and_counts_them() {
    let mut stage = Stage::new();
    stage.create("replicasets.apps", replica_set(3, "web:1"));
    stage.pass(0).await;
    let fresh = stage.get("replicasets.apps", "web");
    assert_eq!(
        at(&fresh, "/status"),
        &json!({"replicas": 3, "fullyLabeledReplicas": 3, "observedGeneration": 1, "terminatingReplicas": 0})
    );
    stage.pass(3).await;
    let set = stage.get("replicasets.apps", "web");
    assert_eq!(
        at(&set, "/status"),
        &json!({"replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
                "observedGeneration": 1, "terminatingReplicas": 0})
    );
    let pods = stage.list("pods");
    assert!(pods.iter().all(|pod| {
        let name = text(pod, "/metadata/name");
        name.len() == "web-".len() + 5 && name.starts_with("web-") && text(pod, "/metadata/generateName") == "web-"
    }));
    assert_eq!(
        controller(&pods[0]).unwrap(),
        &json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid(&set),
                "controller": true, "blockOwnerDeletion": true})
    );
    assert_eq!(stage.events("web").len(), 3);
    assert!(stage.events("web")[0].starts_with("SuccessfulCreate: Created pod: web-"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_is_replaced() {
    let mut stage = Stage::new();
    stage.create("replicasets.apps", replica_set(2, "web:1"));
    stage.pass(3).await;
    let victim = stage.names("pods").remove(0);
    stage.delete("pods", &victim, "Background");
    stage.pass(3).await;
    let names = stage.names("pods");
    assert_eq!(names.len(), 2);
    assert!(!names.contains(&victim));
}

#[tokio::test(start_paused = true)]
async fn shrinking_takes_the_cheapest_and_the_unready_first() {
    let mut stage = Stage::new();
    stage.create("replicasets.apps", replica_set(4, "web:1"));
    stage.pass(3).await;
    let names = stage.names("pods");
    stage.edit("pods", &names[3], |pod| {
        set(pod, "/metadata/annotations/controller.kubernetes.io~1pod-deletion-cost", json!("-5"));
    });
    stage.edit("replicasets.apps", "web", |set_| set(set_, "/spec/replicas", json!(3)));
    stage.pass(1).await;
    assert_eq!(stage.names("pods"), names[..3]);
    // A pod that can't be scheduled goes before any that runs.
    stage.edit("replicasets.apps", "web", |set_| {
        set(set_, "/spec/template/spec/nodeSelector", json!({"no": "such"}));
        set(set_, "/spec/replicas", json!(4));
    });
    stage.pass(1).await;
    stage.edit("replicasets.apps", "web", |set_| set(set_, "/spec/replicas", json!(3)));
    stage.pass(1).await;
    assert_eq!(stage.names("pods"), names[..3]);
}

#[tokio::test(start_paused = true)]
async fn orphans_are_adopted_and_strangers_let_go() {
    let mut stage = Stage::new();
    stage.create("pods", pod("lone", "web"));
    stage.create("pods", pod("other", "db"));
    stage.create("replicasets.apps", replica_set(2, "web:1"));
    stage.pass(3).await;
    assert_eq!(stage.names("pods").len(), 3);
    assert_eq!(text(controller(&stage.get("pods", "lone")).unwrap(), "/name"), "web");
    stage.edit("pods", "lone", |pod| set(pod, "/metadata/labels/app", json!("debug")));
    stage.pass(3).await;
    assert!(controller(&stage.get("pods", "lone")).is_none());
    assert_eq!(integer(&stage.get("replicasets.apps", "web"), "/status/replicas"), Some(2));
    assert_eq!(stage.names("pods").len(), 4);
}

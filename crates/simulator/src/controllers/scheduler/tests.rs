use serde_json::{Value, json};

use crate::nodes::{NodeOptions, NodeTaint};
use crate::testing::Stage;
use crate::value::{condition, text};

fn small(cpu: &str) -> NodeOptions {
    NodeOptions { cpu: cpu.to_owned(), ..NodeOptions::default() }
}

fn pod(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "app", "image": "app:1"}]);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": name}}, "spec": spec})
}

fn asks(cpu: &str) -> Value {
    json!({"containers": [{"name": "app", "image": "app:1", "resources": {"requests": {"cpu": cpu}}}]})
}

#[tokio::test(start_paused = true)]
async fn the_emptiest_node_takes_the_pod_and_the_first_by_name_among_equals() {
    let stage = Stage::new(2, &[]);
    for (name, node) in [("a", "node-1"), ("b", "node-2"), ("c", "node-1")] {
        stage.create(pod(name, asks("1")));
        stage.pass(1).await;
        assert_eq!(text(&stage.pod(name), "/spec/nodeName"), node, "{name}");
    }
    assert_eq!(
        stage.events("a").first().map(String::as_str),
        Some("Normal Scheduled: Successfully assigned default/a to node-1")
    );
}

// Wordings as kube-scheduler 1.36.3 gave them for three nodes, one tainted, one cordoned, one full:
// fixtures/scheduling.json.
#[tokio::test(start_paused = true)]
async fn a_pod_that_fits_nowhere_is_told_why_in_the_schedulers_words() {
    let stage = Stage::new(0, &[]);
    let taint = NodeTaint { key: "special".to_owned(), value: "x".to_owned(), effect: "NoSchedule".to_owned() };
    stage.simulator.add_node("node-1", &NodeOptions { taints: vec![taint], ..small("4") }).unwrap();
    stage.simulator.add_node("node-2", &small("4")).unwrap();
    stage.simulator.add_node("node-3", &small("4")).unwrap();
    stage.simulator.cordon("node-2", true).unwrap();
    stage.create(pod("fill", asks("4")));
    stage.pass(1).await;
    for (name, spec, message) in [
        (
            "a",
            json!({"nodeSelector": {"no": "where"}}),
            "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated \
             taint(s), 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 3 \
             Preemption is not helpful for scheduling.",
        ),
        (
            "b",
            asks("1000"),
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were \
             unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not \
             helpful for scheduling.",
        ),
        (
            "c",
            asks("1"),
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were \
             unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption victims \
             found for incoming pod, 2 Preemption is not helpful for scheduling.",
        ),
        (
            "d",
            json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"app": "zz"}}, "topologyKey": "kubernetes.io/hostname"}]}}}),
            "0/3 nodes are available: 1 node(s) didn't match pod affinity rules, 1 node(s) had untolerated taint(s), 1 \
             node(s) were unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption \
             is not helpful for scheduling.",
        ),
        (
            "e",
            json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "absent"}}]}),
            "0/3 nodes are available: persistentvolumeclaim \"absent\" not found. not found",
        ),
    ] {
        stage.create(pod(name, spec));
        stage.pass(1).await;
        let pod = stage.pod(name);
        let scheduled = condition(&pod, "PodScheduled").unwrap();
        assert_eq!(text(scheduled, "/message"), message, "{name}");
        assert_eq!((text(scheduled, "/reason"), text(&pod, "/status/phase")), ("Unschedulable", "Pending"));
        assert_eq!(stage.events(name), [format!("Warning FailedScheduling: {message}")]);
    }
    stage.simulator.cordon("node-2", false).unwrap();
    stage.pass(1).await;
    assert_eq!(text(&stage.pod("c"), "/spec/nodeName"), "node-2");
}

#[tokio::test(start_paused = true)]
async fn anti_affinity_keeps_pods_apart_until_one_goes() {
    let stage = Stage::new(1, &[]);
    let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "kubernetes.io/hostname"}]}}});
    stage.create(pod("a", json!({})));
    stage.create(pod("b", apart));
    stage.pass(5).await;
    let message = text(condition(&stage.pod("b"), "PodScheduled").unwrap(), "/message").to_owned();
    assert!(
        message.starts_with("0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules."),
        "{message}"
    );
    stage.delete("pods", "a");
    stage.pass(40).await;
    assert_eq!(text(&stage.pod("b"), "/spec/nodeName"), "node-1");
}

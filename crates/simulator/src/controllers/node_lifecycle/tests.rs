use serde_json::{Value, json};

use crate::testing::Stage;
use crate::value::{condition, is_terminating, items, text, time};

/// With a toleration of so many seconds, as the API server gives every pod 300.
fn tolerating(seconds: i64) -> Value {
    let one =
        |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    json!({"tolerations": [one("node.kubernetes.io/not-ready"), one("node.kubernetes.io/unreachable")]})
}

// As a real cluster 1.36.3 showed it whose kubelet was stopped: fixtures/node-silent.json.
#[tokio::test(start_paused = true)]
async fn a_silent_node_is_unknown_tainted_and_its_pods_are_not_ready() {
    let stage = Stage::new(1, &[]);
    stage.run("web", "app:1", tolerating(300));
    stage.pass(95).await;
    stage.simulator.silence_kubelet("node-1");
    stage.pass(40).await;
    assert_eq!(text(condition(&stage.get("nodes", "node-1"), "Ready").unwrap(), "/status"), "True");
    stage.pass(15).await;
    let node = stage.get("nodes", "node-1");
    for of in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"] {
        let found = condition(&node, of).unwrap();
        let told = (text(found, "/status"), text(found, "/reason"), text(found, "/message"));
        assert_eq!(told, ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."));
    }
    let taints: Vec<(&str, &str)> =
        items(&node, "/spec/taints").iter().map(|it| (text(it, "/key"), text(it, "/effect"))).collect();
    assert_eq!(
        taints,
        [("node.kubernetes.io/unreachable", "NoSchedule"), ("node.kubernetes.io/unreachable", "NoExecute")]
    );
    let pod = stage.pod("web");
    let states: Vec<(&str, &str)> =
        items(&pod, "/status/conditions").iter().map(|it| (text(it, "/type"), text(it, "/status"))).collect();
    assert!(states.contains(&("Ready", "False")) && states.contains(&("ContainersReady", "True")), "{states:?}");
    assert_eq!(text(&pod, "/status/phase"), "Running");
    assert!(
        stage.events("node-1").contains(&"Normal NodeNotReady: Node node-1 status is now: NodeNotReady".to_owned())
    );
    assert!(stage.events("web").contains(&"Warning NodeNotReady: Node is not ready".to_owned()));

    stage.simulator.bring_back("node-1");
    stage.pass(5).await;
    let node = stage.get("nodes", "node-1");
    assert_eq!(text(condition(&node, "Ready").unwrap(), "/status"), "True");
    assert!(items(&node, "/spec/taints").is_empty());
    assert_eq!(text(condition(&stage.pod("web"), "Ready").unwrap(), "/status"), "True");
    let cancelled = "Normal TaintManagerEviction: Cancelling deletion of Pod default/web".to_owned();
    assert!(stage.events("web").contains(&cancelled), "{:?}", stage.events("web"));
    let restarts = &stage.pod("web")["status"]["containerStatuses"][0]["restartCount"];
    assert_eq!(*restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_dead_node_are_evicted_and_hang_until_it_is_back() {
    let stage = Stage::new(1, &[]);
    stage.run("web", "app:1", tolerating(300));
    stage.pass(30).await;
    stage.simulator.power_off("node-1");
    stage.pass(340).await;
    assert!(!is_terminating(&stage.pod("web")));
    stage.pass(30).await;
    let pod = stage.pod("web");
    assert!(is_terminating(&pod));
    let target = condition(&pod, "DisruptionTarget").unwrap();
    assert_eq!(text(target, "/reason"), "DeletionByTaintManager");
    assert_eq!(text(target, "/message"), "Taint manager: deleting due to NoExecute taint");
    assert!(
        stage.events("web").contains(&"Normal TaintManagerEviction: Marking for deletion Pod default/web".to_owned())
    );
    stage.pass(600).await;
    assert!(stage.find("pods", "web").is_some(), "nobody is there to end it");
    stage.simulator.bring_back("node-1");
    stage.pass(5).await;
    assert!(stage.find("pods", "web").is_none());
    assert!(stage.events("node-1").iter().any(|event| event.starts_with("Warning Rebooted")));
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_containers_start_anew() {
    let stage = Stage::new(1, &[]);
    stage.run("web", "app:1", tolerating(300));
    stage.pass(30).await;
    stage.simulator.power_off("node-1");
    stage.pass(20).await;
    stage.simulator.bring_back("node-1");
    stage.pass(5).await;
    let pod = stage.pod("web");
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!((status["restartCount"].as_i64(), text(status, "/lastState/terminated/reason")), (Some(1), "Unknown"));
    assert_eq!(text(condition(&pod, "Ready").unwrap(), "/status"), "True");
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_node_has_its_taint_and_loses_it() {
    let stage = Stage::new(1, &[]);
    stage.simulator.cordon("node-1", true).unwrap();
    stage.pass(1).await;
    assert_eq!(text(&stage.get("nodes", "node-1"), "/spec/taints/0/key"), "node.kubernetes.io/unschedulable");
    stage.simulator.cordon("node-1", false).unwrap();
    stage.pass(1).await;
    assert!(stage.get("nodes", "node-1")["spec"].get("taints").is_none());
}

#[tokio::test(start_paused = true)]
async fn leases_look_fresh_whenever_they_are_read() {
    let stage = Stage::new(2, &[]);
    for _ in 0..100 {
        stage.pass(7).await;
        let now = stage.simulator.clock().now();
        let leases = stage.list("leases.coordination.k8s.io");
        let renewed = leases.iter().filter_map(|lease| time(lease, "/spec/renewTime"));
        let ages: Vec<i64> = renewed.map(|at| (now - at).num_seconds()).collect();
        assert!(ages.len() == 2 && ages.iter().all(|age| *age <= 40), "{ages:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_node_that_is_gone_are_collected() {
    let stage = Stage::new(1, &[]);
    stage.run("web", "app:1", tolerating(300));
    stage.pass(10).await;
    let node = crate::store::Key::new("nodes", "", "node-1");
    let by = crate::api::By { user: "ana", manager: "kubectl", dry_run: false };
    stage.simulator.state().delete(by, &node, &crate::api::Deletion::default()).unwrap();
    stage.simulator.wake();
    stage.pass(30).await;
    assert!(stage.find("pods", "web").is_some());
    stage.pass(15).await;
    assert!(stage.find("pods", "web").is_none());
}

use serde_json::{Value, json};

use crate::testing::Stage;
use crate::value::{items, text};

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    })
}

fn ips(stage: &Stage, list: &str) -> Vec<String> {
    let endpoints = stage.get("endpoints", "web");
    items(&endpoints, &format!("/subsets/0/{list}")).iter().map(|it| text(it, "/ip").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn endpoints_follow_the_readiness_of_the_pods_that_a_service_selects() {
    let stage = Stage::new(1, &[("app:1", json!({"ready": {"after": "10s"}, "stop": "10s"}))]);
    let port = json!([{"name": "http", "containerPort": 8080}]);
    stage.create(service());
    stage.run(
        "web",
        "app:1",
        json!({"ports": port, "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}),
    );
    stage.pass(5).await;
    let ip = text(&stage.pod("web"), "/status/podIP").to_owned();
    assert_eq!((ips(&stage, "addresses"), ips(&stage, "notReadyAddresses")), (vec![], vec![ip.clone()]));
    stage.pass(10).await;
    assert_eq!((ips(&stage, "addresses"), ips(&stage, "notReadyAddresses")), (vec![ip.clone()], vec![]));
    let slices = stage.list("endpointslices.discovery.k8s.io");
    let [slice] = slices.as_slice() else { panic!("{slices:?}") };
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(slice["endpoints"][0]["conditions"], json!({"ready": true, "serving": true, "terminating": false}));
    assert!(text(slice, "/metadata/name").starts_with("web-"));
    stage.delete("pods", "web");
    stage.pass(1).await;
    let slices = stage.list("endpointslices.discovery.k8s.io");
    assert_eq!(slices[0]["endpoints"][0]["conditions"], json!({"ready": false, "serving": true, "terminating": true}));
    assert!(ips(&stage, "addresses").is_empty());
    stage.pass(15).await;
    assert_eq!(stage.list("endpointslices.discovery.k8s.io")[0]["endpoints"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_selects_others_loses_its_endpoints_and_a_deleted_one_all() {
    let stage = Stage::new(1, &[]);
    stage.create(service());
    stage.run("web", "app:1", json!({"ports": [{"name": "http", "containerPort": 8080}]}));
    stage.pass(5).await;
    assert_eq!(ips(&stage, "addresses").len(), 1);
    stage.edit("services", "web", |service| service["spec"]["selector"] = json!({"app": "wbe"}));
    stage.pass(1).await;
    assert!(ips(&stage, "addresses").is_empty());
    stage.delete("services", "web");
    stage.pass(1).await;
    assert!(stage.find("endpoints", "web").is_none());
}

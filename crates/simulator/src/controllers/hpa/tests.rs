use serde_json::{Value, json};

use crate::images::ImageLife;
use crate::testing::Stage;
use crate::value::{condition, integer, text};

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "app:1", "resources": {"requests": {"cpu": "100m"}}}]},
        }},
    })
}

fn scaler(target: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h", "namespace": "default"},
        "spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]},
    })
}

fn uses(cpu: &str) -> ImageLife {
    serde_json::from_value(json!({"cpu": cpu})).unwrap()
}

fn said(stage: &Stage, of: &str) -> (String, String) {
    let scaler = stage.get("horizontalpodautoscalers.autoscaling", "h");
    let found = condition(&scaler, of).unwrap();
    (text(found, "/status").to_owned(), text(found, "/reason").to_owned())
}

fn is(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

fn replicas(stage: &Stage) -> Option<i64> {
    integer(&stage.get("deployments.apps", "web"), "/spec/replicas")
}

#[tokio::test(start_paused = true)]
async fn it_scales_up_to_what_is_used_and_down_when_that_has_lasted() {
    let stage = Stage::new(2, &[("app:1", json!({"cpu": "50m"}))]);
    stage.create(deployment());
    stage.create(scaler("web"));
    stage.pass(60).await;
    assert_eq!(replicas(&stage), Some(2));
    assert_eq!(said(&stage, "ScalingActive"), is("True", "ValidMetricFound"));
    assert_eq!(said(&stage, "AbleToScale"), is("True", "ReadyForNewScale"));
    assert_eq!(said(&stage, "ScalingLimited"), is("False", "DesiredWithinRange"));
    stage.simulator.set_image("app:1", uses("200m"));
    stage.pass(60).await;
    assert_eq!(replicas(&stage), Some(5));
    assert_eq!(said(&stage, "ScalingLimited"), is("True", "TooManyReplicas"));
    let told =
        "Normal SuccessfulRescale: New size: 5; reason: cpu resource utilization (percentage of request) above target";
    assert!(stage.events("h").contains(&told.to_owned()), "{:?}", stage.events("h"));
    stage.simulator.set_image("app:1", uses("10m"));
    stage.pass(120).await;
    assert_eq!(replicas(&stage), Some(5));
    assert_eq!(said(&stage, "AbleToScale"), is("True", "ScaleDownStabilized"));
    stage.pass(300).await;
    assert_eq!(replicas(&stage), Some(1));
    assert!(
        stage
            .events("h")
            .contains(&"Normal SuccessfulRescale: New size: 1; reason: All metrics below target".to_owned())
    );
}

// As the controller 1.36.3 said it: fixtures/other.json and fixtures/events.json.
#[tokio::test(start_paused = true)]
async fn a_target_that_is_not_there_is_named() {
    let stage = Stage::new(1, &[]);
    stage.create(scaler("nodeploy"));
    stage.pass(20).await;
    assert_eq!(said(&stage, "AbleToScale"), is("False", "FailedGetScale"));
    let scaler = stage.get("horizontalpodautoscalers.autoscaling", "h");
    let message =
        "the HPA controller was unable to get the target's current scale: deployments.apps \"nodeploy\" not found";
    assert_eq!(text(condition(&scaler, "AbleToScale").unwrap(), "/message"), message);
    assert!(
        stage
            .events("h")
            .iter()
            .any(|it| it.starts_with("Warning FailedGetScale: deployments.apps \"nodeploy\" not found"))
    );
}

#[tokio::test(start_paused = true)]
async fn pods_without_a_request_can_not_be_measured() {
    let stage = Stage::new(1, &[]);
    let mut web = deployment();
    web["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
    stage.create(web);
    stage.create(scaler("web"));
    stage.pass(30).await;
    assert_eq!(said(&stage, "ScalingActive"), is("False", "FailedGetResourceMetric"));
    let event = stage.events("h").into_iter().find(|it| it.starts_with("Warning FailedGetResourceMetric")).unwrap();
    assert!(
        event.contains("failed to get cpu utilization: missing request for cpu in container app of Pod web-"),
        "{event}"
    );
}

//! HorizontalPodAutoscalers (pkg/apis/autoscaling).

use serde_json::{Map, Value, json};

use super::or;
use crate::schema::problem::{Problem, Problems};
use crate::value::{at, integer, items, text};

/// Fills in defaults.
pub(super) fn default(object: &mut Value) {
    let Some(Value::Object(spec)) = object.get_mut("spec") else { return };
    or(spec, "minReplicas", 1);
    or(
        spec,
        "metrics",
        json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]),
    );
    if let Some(Value::Object(behavior)) = spec.get_mut("behavior") {
        let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
        or(behavior, "scaleUp", json!({}));
        or(behavior, "scaleDown", json!({}));
        if let Some(Value::Object(up)) = behavior.get_mut("scaleUp") {
            rules(up, json!([pods, percent]));
            or(up, "stabilizationWindowSeconds", 0);
        }
        if let Some(Value::Object(down)) = behavior.get_mut("scaleDown") {
            rules(down, json!([percent]));
        }
    }
}

fn rules(rules: &mut Map<String, Value>, policies: Value) {
    or(rules, "selectPolicy", "Max");
    or(rules, "policies", policies);
}

/// What is wrong with an autoscaler.
pub(super) fn validate(object: &Value, problems: &mut Problems) {
    let (least, most) = (integer(object, "/spec/minReplicas"), integer(object, "/spec/maxReplicas").unwrap_or(0));
    if let Some(least) = least.filter(|least| *least < 1) {
        problems.push(Problem::invalid("spec.minReplicas", &json!(least), "must be greater than or equal to 1"));
    }
    if most == 0 {
        problems.push(Problem::required("spec.maxReplicas", "must be set and greater than 0"));
    } else if most < 0 {
        problems.push(Problem::invalid("spec.maxReplicas", &json!(most), "must be greater than or equal to 1"));
    }
    if least.is_some_and(|least| most < least) {
        let why = "must be greater than or equal to `minReplicas`";
        problems.push(Problem::invalid("spec.maxReplicas", &json!(most), why));
    }
    for part in ["kind", "name"] {
        if text(object, &format!("/spec/scaleTargetRef/{part}")).is_empty() {
            problems.push(Problem::required(format!("spec.scaleTargetRef.{part}"), ""));
        }
    }
    let version = text(object, "/spec/scaleTargetRef/apiVersion");
    if !version.contains('/') {
        let why = "apiVersion must specify API group";
        problems.push(Problem::invalid("spec.scaleTargetRef.apiVersion", &json!(version), why));
    }
    let beyond = |metric: &Value| ["Object", "External"].contains(&text(metric, "/type"));
    if least == Some(0) && !items(object, "/spec/metrics").iter().any(beyond) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        problems.push(Problem::forbidden("spec.metrics", why));
    }
    for (index, metric) in items(object, "/spec/metrics").iter().enumerate() {
        let target = at(metric, "/resource/target/averageUtilization");
        if target.as_i64().is_some_and(|target| target < 1) {
            let field = format!("spec.metrics[{index}].resource.target.averageUtilization");
            problems.push(Problem::invalid(field, target, "must be greater than 0"));
        }
    }
}

//! Defaults of workloads (pkg/apis/apps/v1/defaults.go, pkg/apis/batch/v1/defaults.go) and what their strategies add.

use serde_json::{Map, Value, json};

use super::container::objects;
use super::{or, pod};
use crate::kinds::Kind;
use crate::value::{at, set, text};

/// Fills in defaults.
pub(super) fn default(kind: &Kind, object: &mut Value) {
    let Some(Value::Object(spec)) = object.get_mut("spec") else { return };
    match kind.kind.as_str() {
        "Deployment" => deployment(spec),
        "ReplicaSet" => or(spec, "replicas", 1),
        "StatefulSet" => stateful_set(spec),
        "DaemonSet" => daemon_set(spec),
        "Job" => job(spec),
        "CronJob" => {
            or(spec, "concurrencyPolicy", "Allow");
            or(spec, "suspend", false);
            or(spec, "successfulJobsHistoryLimit", 3);
            or(spec, "failedJobsHistoryLimit", 1);
            or(spec, "jobTemplate", json!({}));
            if let Some(Value::Object(template)) = spec.get_mut("jobTemplate") {
                or(template, "metadata", json!({}));
                or(template, "spec", json!({}));
                if let Some(Value::Object(spec)) = template.get_mut("spec") {
                    pods(spec);
                }
            }
            return;
        }
        _ => return,
    }
    pods(spec);
}

fn pods(spec: &mut Map<String, Value>) {
    or(spec, "template", json!({}));
    if let Some(Value::Object(template)) = spec.get_mut("template") {
        template.retain(|name, _| ["metadata", "spec"].contains(&name.as_str()));
        or(template, "metadata", json!({}));
        or(template, "spec", json!({}));
        if let Some(Value::Object(spec)) = template.get_mut("spec") {
            pod::template(spec);
        }
    }
}

fn deployment(spec: &mut Map<String, Value>) {
    or(spec, "replicas", 1);
    or(spec, "revisionHistoryLimit", 10);
    or(spec, "progressDeadlineSeconds", 600);
    or(spec, "strategy", json!({}));
    for gone in ["paused", "minReadySeconds"] {
        if spec.get(gone).is_some_and(|value| *value == json!(false) || *value == json!(0)) {
            spec.remove(gone);
        }
    }
    if let Some(Value::Object(strategy)) = spec.get_mut("strategy") {
        or(strategy, "type", "RollingUpdate");
        if strategy.get("type") == Some(&json!("RollingUpdate")) {
            or(strategy, "rollingUpdate", json!({}));
            if let Some(Value::Object(update)) = strategy.get_mut("rollingUpdate") {
                or(update, "maxUnavailable", "25%");
                or(update, "maxSurge", "25%");
            }
        }
    }
}

fn stateful_set(spec: &mut Map<String, Value>) {
    or(spec, "replicas", 1);
    or(spec, "revisionHistoryLimit", 10);
    spec.entry("serviceName").or_insert(json!(""));
    or(spec, "podManagementPolicy", "OrderedReady");
    or(spec, "updateStrategy", json!({}));
    if let Some(Value::Object(strategy)) = spec.get_mut("updateStrategy") {
        or(strategy, "type", "RollingUpdate");
        if strategy.get("type") == Some(&json!("RollingUpdate")) {
            or(strategy, "rollingUpdate", json!({}));
            if let Some(Value::Object(update)) = strategy.get_mut("rollingUpdate") {
                or(update, "partition", 0);
            }
        }
    }
    or(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
    if let Some(Value::Object(policy)) = spec.get_mut("persistentVolumeClaimRetentionPolicy") {
        or(policy, "whenDeleted", "Retain");
        or(policy, "whenScaled", "Retain");
    }
    for claim in objects(spec.get_mut("volumeClaimTemplates")) {
        or(claim, "kind", "PersistentVolumeClaim");
        or(claim, "apiVersion", "v1");
        or(claim, "metadata", json!({}));
        or(claim, "spec", json!({}));
        if let Some(Value::Object(spec)) = claim.get_mut("spec") {
            or(spec, "volumeMode", "Filesystem");
        }
        or(claim, "status", json!({"phase": "Pending"}));
    }
}

fn daemon_set(spec: &mut Map<String, Value>) {
    or(spec, "revisionHistoryLimit", 10);
    or(spec, "updateStrategy", json!({}));
    if let Some(Value::Object(strategy)) = spec.get_mut("updateStrategy") {
        or(strategy, "type", "RollingUpdate");
        if strategy.get("type") == Some(&json!("RollingUpdate")) {
            or(strategy, "rollingUpdate", json!({}));
            if let Some(Value::Object(update)) = strategy.get_mut("rollingUpdate") {
                or(update, "maxUnavailable", 1);
                or(update, "maxSurge", 0);
            }
        }
    }
}

fn job(spec: &mut Map<String, Value>) {
    let missing = |spec: &Map<String, Value>, name: &str| spec.get(name).is_none_or(Value::is_null);
    if missing(spec, "completions") && missing(spec, "parallelism") {
        spec.insert("completions".to_owned(), json!(1));
    }
    or(spec, "parallelism", 1);
    let limit = if missing(spec, "backoffLimitPerIndex") { 6 } else { i32::MAX };
    or(spec, "backoffLimit", limit);
    or(spec, "completionMode", "NonIndexed");
    or(spec, "suspend", false);
    let replace = if missing(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    or(spec, "podReplacementPolicy", replace);
    or(spec, "manualSelector", false);
}

/// What the strategies write: a Job's selector and labels, a DaemonSet's template generation.
pub(super) fn prepare(kind: &Kind, object: &mut Value, old: Option<&Value>) {
    match (kind.kind.as_str(), old) {
        ("Job", None) => select(object),
        ("DaemonSet", _) => {
            const PLACE: &str = "/metadata/annotations/deprecated.daemonset.template.generation";
            let number = match old {
                None => 1,
                Some(old) => {
                    let before = text(old, PLACE).parse().unwrap_or(1);
                    before + i64::from(at(old, "/spec/template") != at(object, "/spec/template"))
                }
            };
            set(object, PLACE, json!(number.to_string()));
        }
        _ => {}
    }
    if kind.kind == "Job" && at(object, "/metadata/labels").is_null() {
        let labels = at(object, "/spec/template/metadata/labels").clone();
        if !labels.is_null() {
            set(object, "/metadata/labels", labels);
        }
    }
}

fn select(object: &mut Value) {
    if at(object, "/spec/manualSelector") == &json!(true) {
        return;
    }
    let (name, uid) = (at(object, "/metadata/name").clone(), at(object, "/metadata/uid").clone());
    for (label, value) in [
        ("job-name", &name),
        ("batch.kubernetes.io~1job-name", &name),
        ("controller-uid", &uid),
        ("batch.kubernetes.io~1controller-uid", &uid),
    ] {
        let place = format!("/spec/template/metadata/labels/{label}");
        if at(object, &place).is_null() {
            set(object, &place, value.clone());
        }
    }
    let place = "/spec/selector/matchLabels/batch.kubernetes.io~1controller-uid";
    if at(object, place).is_null() {
        set(object, place, uid);
    }
}

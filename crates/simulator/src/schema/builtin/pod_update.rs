//! What may be changed of a pod (`ValidatePodUpdate`).

use serde_json::Value;

use super::pod_checks;
use crate::schema::problem::{Problem, Problems};
use crate::value::{at, integer, items, set, text, unset};

const CHANGEABLE: &str = "pod updates may not change fields other than \
     `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
     additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
     previously negative)";

/// What is wrong with the change of a pod. The API server appends a diff of its Go types, which is not modelled.
pub(super) fn validate(object: &Value, old: &Value, problems: &mut Problems) {
    pod_checks::validate(object, "spec", problems);
    for list in ["containers", "initContainers"] {
        let place = format!("/spec/{list}");
        let (now, before) = (items(object, &place), items(old, &place));
        if now.len() != before.len() {
            let why = "pod updates may not add or remove containers";
            problems.push(Problem::forbidden(format!("spec.{list}"), why));
            return;
        }
    }
    let (now, before) = (integer(object, "/spec/activeDeadlineSeconds"), integer(old, "/spec/activeDeadlineSeconds"));
    match (now, before) {
        (Some(now), Some(before)) if now > before => {
            let (field, value) = ("spec.activeDeadlineSeconds", at(object, "/spec/activeDeadlineSeconds"));
            problems.push(Problem::invalid(field, value, "must be less than or equal to previous value"));
            return;
        }
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            problems.push(Problem::invalid("spec.activeDeadlineSeconds", &Value::Null, why));
        }
        _ => {}
    }
    let (tolerated, before) = (items(object, "/spec/tolerations"), items(old, "/spec/tolerations"));
    if !before.iter().all(|toleration| tolerated.iter().any(|kept| same_toleration(kept, toleration))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        problems.push(Problem::forbidden("spec.tolerations", why));
    }
    if mapped(object, old) != *at(old, "/spec") {
        problems.push(Problem::forbidden("spec", CHANGEABLE));
    }
}

fn same_toleration(left: &Value, right: &Value) -> bool {
    ["/key", "/operator", "/value", "/effect"].iter().all(|part| text(left, part) == text(right, part))
}

/// The new spec, with what may be changed as it was.
fn mapped(object: &Value, old: &Value) -> Value {
    let mut object = object.clone();
    let mut keep = |place: &str| match at(old, place) {
        Value::Null => drop(unset(&mut object, place)),
        value => set(&mut object, place, value.clone()),
    };
    for list in ["containers", "initContainers"] {
        for index in 0..items(old, &format!("/spec/{list}")).len() {
            keep(&format!("/spec/{list}/{index}/image"));
        }
    }
    keep("/spec/activeDeadlineSeconds");
    keep("/spec/schedulingGates");
    keep("/spec/tolerations");
    let grace = "/spec/terminationGracePeriodSeconds";
    if integer(old, grace).is_some_and(|seconds| seconds < 0) && integer(&object, grace) == Some(1) {
        set(&mut object, grace, at(old, grace).clone());
    }
    at(&object, "/spec").clone()
}

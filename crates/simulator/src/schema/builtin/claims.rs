//! PersistentVolumeClaims: what is checked of them (pkg/apis/core/validation).

use serde_json::{Value, json};

use crate::schema::problem::{Problem, Problems};
use crate::schema::quantity::Quantity;
use crate::value::{at, items, set, text, unset};

/// What is wrong with a claim, or with its change.
pub(super) fn validate(object: &Value, old: Option<&Value>, problems: &mut Problems) {
    if items(object, "/spec/accessModes").is_empty() {
        problems.push(Problem::required("spec.accessModes", "at least 1 access mode is required"));
    }
    let modes = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"];
    for mode in items(object, "/spec/accessModes") {
        if !mode.as_str().is_some_and(|mode| modes.contains(&mode)) {
            let sorted = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
            problems.push(Problem::not_supported("spec.accessModes", mode, &sorted));
        }
    }
    let size = Quantity::of(at(object, "/spec/resources/requests/storage"));
    match size {
        None => problems.push(Problem::required("spec.resources[storage]", "")),
        Some(size) if size <= Quantity::ZERO => {
            let (shown, why) = (json!(size.to_string()), "must be greater than zero");
            problems.push(Problem::invalid("spec.resources[storage]", &shown, why));
        }
        Some(_) => {}
    }
    if let Some(old) = old {
        change(object, old, size, problems);
    }
}

/// A claim may grow once it is bound, and be bound.
fn change(object: &Value, old: &Value, size: Option<Quantity>, problems: &mut Problems) {
    let mut allowed = object.clone();
    let mut keep = |pointer: &str| match at(old, pointer) {
        Value::Null => drop(unset(&mut allowed, pointer)),
        value => set(&mut allowed, pointer, value.clone()),
    };
    let bound = text(old, "/status/phase") == "Bound";
    if text(old, "/spec/volumeName").is_empty() {
        keep("/spec/volumeName");
    }
    if at(old, "/spec/storageClassName").is_null() && text(old, "/spec/volumeName").is_empty() {
        keep("/spec/storageClassName");
    }
    if bound {
        keep("/spec/resources/requests");
        keep("/spec/volumeAttributesClassName");
    }
    if at(&allowed, "/spec") != at(old, "/spec") {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        problems.push(Problem::forbidden("spec", why));
    }
    let before = Quantity::of(at(old, "/spec/resources/requests/storage"));
    if bound && size < before {
        let why = "field can not be less than status.capacity";
        problems.push(Problem::forbidden("spec.resources.requests.storage", why));
    }
}

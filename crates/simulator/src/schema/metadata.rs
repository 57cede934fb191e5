//! What holds for the metadata of every object (k8s.io/apimachinery/pkg/api/validation).

use serde_json::{Map, Value, json};

use super::names;
use super::problem::{Problem, Problems};
use crate::kinds::Kind;
use crate::value::{at, is_true, items, text};

/// Which names a kind's objects may have.
fn judge(kind: &Kind) -> fn(&str) -> Vec<String> {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace" | "Service") => names::label,
        _ => names::subdomain,
    }
}

/// The metadata of a new object.
pub(crate) fn validate(kind: &Kind, object: &Value) -> Problems {
    let mut problems = Problems::new();
    let judge = judge(kind);
    let generate = text(object, "/metadata/generateName");
    for wrong in judge(names::prefix(generate)).into_iter().filter(|_| !generate.is_empty()) {
        problems.push(Problem::invalid("metadata.generateName", &json!(generate), &wrong));
    }
    match text(object, "/metadata/name") {
        "" => problems.push(Problem::required("metadata.name", "name or generateName is required")),
        name => {
            problems.extend(judge(name).iter().map(|wrong| Problem::invalid("metadata.name", &json!(name), wrong)));
        }
    }
    common(object, !kind.is_custom(), &mut problems);
    problems
}

/// The metadata of an object that is replaced.
pub(crate) fn validate_update(kind: &Kind, object: &Value, old: &Value) -> Problems {
    let mut problems = Problems::new();
    if !at(old, "/metadata/deletionTimestamp").is_null() {
        let before = items(old, "/metadata/finalizers");
        let mut new: Vec<&str> = items(object, "/metadata/finalizers")
            .iter()
            .filter(|finalizer| !before.contains(finalizer))
            .filter_map(Value::as_str)
            .collect();
        new.sort_unstable();
        if !new.is_empty() {
            let list: Vec<String> = new.iter().map(|finalizer| format!("{finalizer:?}")).collect();
            let why = "no new finalizers can be added if the object is being deleted, found new finalizers";
            let why = format!("{why} []string{{{}}}", list.join(", "));
            problems.push(Problem::forbidden("metadata.finalizers", &why));
            // What is built in has its metadata checked with all objects, and once more with its kind.
            if !kind.is_custom() {
                problems.push(Problem::forbidden("metadata.finalizers", &why));
            }
        }
    }
    if at(object, "/metadata") != at(old, "/metadata") {
        common(object, !kind.is_custom(), &mut problems);
    }
    problems
}

fn common(object: &Value, built_in: bool, problems: &mut Problems) {
    labels(at(object, "/metadata/labels"), "metadata.labels", problems);
    for key in keys(at(object, "/metadata/annotations")) {
        for wrong in names::qualified(&key.to_lowercase()) {
            problems.push(Problem::invalid("metadata.annotations", &json!(key), &wrong));
        }
    }
    owners(object, problems);
    for finalizer in items(object, "/metadata/finalizers").iter().filter_map(Value::as_str) {
        for wrong in names::qualified(finalizer) {
            problems.push(Problem::invalid("metadata.finalizers", &json!(finalizer), &wrong));
        }
    }
    if built_in {
        standard_finalizers(object, problems);
    }
}

/// Keys and values of labels.
pub(crate) fn labels(labels: &Value, field: &str, problems: &mut Problems) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        problems.extend(names::qualified(key).iter().map(|wrong| Problem::invalid(field, &json!(key), wrong)));
        let wrongs = names::label_value(value.as_str().unwrap_or_default());
        problems.extend(wrongs.iter().map(|wrong| Problem::invalid(field, value, wrong)));
    }
}

/// Finalizers of built-in kinds have a domain, or are known.
fn standard_finalizers(object: &Value, problems: &mut Problems) {
    const KNOWN: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
    for (index, finalizer) in items(object, "/metadata/finalizers").iter().filter_map(Value::as_str).enumerate() {
        if !finalizer.contains('/') && !KNOWN.contains(&finalizer) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            problems.push(Problem::invalid(format!("metadata.finalizers[{index}]"), &json!(finalizer), why));
        }
    }
}

fn owners(object: &Value, problems: &mut Problems) {
    let owners = items(object, "/metadata/ownerReferences");
    let mut controller: Option<String> = None;
    for owner in owners {
        if text(owner, "/apiVersion").is_empty() {
            let field = "metadata.ownerReferences.apiVersion";
            problems.push(Problem::invalid(field, &json!(""), "version must not be empty"));
        }
        for part in ["kind", "name", "uid"] {
            if text(owner, &format!("/{part}")).is_empty() {
                let field = format!("metadata.ownerReferences.{part}");
                problems.push(Problem::invalid(field, &json!(""), "must not be empty"));
            }
        }
        if is_true(owner, "/controller") {
            let this = format!("{}/{}", text(owner, "/kind"), text(owner, "/name"));
            match &controller {
                None => controller = Some(this),
                Some(first) => {
                    let why = "Only one reference can have Controller set to true. Found \"true\" in references for";
                    let why = format!("{why} {first} and {this}");
                    problems.push(Problem::invalid_raw("metadata.ownerReferences", &in_order(owners), &why));
                }
            }
        }
    }
}

/// References as Go prints them: fields in the order of their type.
fn in_order(owners: &[Value]) -> String {
    const FIELDS: [&str; 6] = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let one = |owner: &Value| {
        let fields = FIELDS.iter().filter_map(|field| owner.get(field).map(|value| format!("{field:?}:{value}")));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    };
    format!("[{}]", owners.iter().map(one).collect::<Vec<_>>().join(","))
}

fn keys(map: &Value) -> impl Iterator<Item = &String> {
    map.as_object().into_iter().flat_map(Map::keys)
}

//! CustomResourceDefinitions: checked as far as they are used here, their names filled in, served as soon as they are written.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::structural::Structural;
use super::validate::validate;
use crate::failure::Failure;
use crate::kinds::{Kind, Resource};
use crate::schema::problem::{Problem, Problems, refuse};
use crate::schema::{metadata, names};
use crate::value::{at, is_true, items, name, rfc3339, set, text};

/// Fills in what is left out, and checks.
pub(crate) fn admit(kind: &Kind, object: &mut Value, old: Option<&Value>) -> Result<(), Failure> {
    let of = text(object, "/spec/names/kind").to_owned();
    if !of.is_empty() {
        or_set(object, "/spec/names/singular", json!(of.to_lowercase()));
        or_set(object, "/spec/names/listKind", json!(format!("{of}List")));
    }
    or_set(object, "/spec/conversion", json!({"strategy": "None"}));
    if old.is_none() {
        let stored: Vec<&Value> = versions(object)
            .iter()
            .filter(|version| is_true(version, "/storage"))
            .map(|version| at(version, "/name"))
            .collect();
        let stored = if stored.is_empty() { Value::Null } else { json!(stored) };
        let status = json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored});
        set(object, "/status", status);
    }
    let mut problems = match old {
        None => metadata::validate(kind, object),
        Some(old) => metadata::validate_update(kind, object, old),
    };
    check(object, &mut problems);
    if let Some(old) = old {
        for field in ["group", "scope", "names/plural", "names/kind"] {
            let pointer = format!("/spec/{field}");
            if at(object, &pointer) != at(old, &pointer) {
                let field = format!("spec.{}", field.replace('/', "."));
                problems.push(Problem::invalid(field, at(object, &pointer), "field is immutable"));
            }
        }
    }
    refuse(kind, name(object), &problems)?;
    let (_, schema) = served(object)?;
    defaults(&schema, "spec.validation.openAPIV3Schema", &mut problems);
    refuse(kind, name(object), &problems)
}

/// Defaults must fit where they stand.
fn defaults(schema: &Structural, place: &str, problems: &mut Problems) {
    if let Some(default) = &schema.default {
        let found = validate(schema, default, None, "");
        problems.extend(found.into_iter().map(|problem| problem.below(&format!("{place}.default"))));
    }
    for (name, schema) in &schema.properties {
        defaults(schema, &format!("{place}.properties[{name}]"), problems);
    }
    if let Some(items) = &schema.items {
        defaults(items, &format!("{place}.items"), problems);
    }
    if let Some(others) = schema.others() {
        defaults(others, &format!("{place}.additionalProperties"), problems);
    }
}

fn or_set(object: &mut Value, pointer: &str, value: Value) {
    if at(object, pointer).is_null() {
        set(object, pointer, value);
    }
}

fn versions(object: &Value) -> &[Value] {
    items(object, "/spec/versions")
}

fn check(object: &Value, problems: &mut Problems) {
    let (plural, group) = (text(object, "/spec/names/plural"), text(object, "/spec/group"));
    let name = name(object);
    if !name.is_empty() && name != format!("{plural}.{group}") {
        let why = "must be spec.names.plural+\".\"+spec.group";
        problems.push(Problem::invalid("metadata.name", &json!(name), why));
    }
    if group.is_empty() {
        problems.push(Problem::required("spec.group", ""));
    } else if let wrongs @ [_, ..] = names::subdomain(group).as_slice() {
        problems.push(Problem::invalid("spec.group", &json!(group), &wrongs.join(",")));
    } else if !group.contains('.') {
        problems.push(Problem::invalid("spec.group", &json!(group), "should be a domain with at least one dot"));
    }
    match text(object, "/spec/scope") {
        "" => problems.push(Problem::required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        other => problems.push(Problem::not_supported("spec.scope", &json!(other), &["Cluster", "Namespaced"])),
    }
    for (index, version) in versions(object).iter().enumerate() {
        if at(version, "/schema/openAPIV3Schema").is_null() {
            problems.push(Problem::required(format!("spec.versions[{index}].schema.openAPIV3Schema"), ""));
        }
    }
    if versions(object).iter().filter(|version| is_true(version, "/storage")).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        problems.push(Problem::invalid("spec.versions", at(object, "/spec/versions"), why));
    }
    for part in ["plural", "kind"] {
        if text(object, &format!("/spec/names/{part}")).is_empty() {
            problems.push(Problem::required(format!("spec.names.{part}"), ""));
        }
    }
    if items(object, "/status/storedVersions").is_empty() {
        let why = "must have at least one stored version";
        problems.push(Problem::invalid("status.storedVersions", at(object, "/status/storedVersions"), why));
    }
}

/// The kind that a CRD serves, with its schema.
///
/// # Errors
/// 501 for a CRD with more than one version, or a schema with something that is not modelled.
pub(crate) fn served(object: &Value) -> Result<(Kind, Structural), Failure> {
    let [version] = versions(object) else {
        let what = format!("{} versions of {}: one is", versions(object).len(), name(object));
        return Err(Failure::not_modelled(what));
    };
    let place = format!("{}/spec.versions[0].schema.openAPIV3Schema", name(object));
    let schema = Structural::parse(at(version, "/schema/openAPIV3Schema"), &place)?;
    let subresources = at(version, "/subresources").as_object();
    let kind = Kind {
        group: text(object, "/spec/group").to_owned(),
        version: text(version, "/name").to_owned(),
        kind: text(object, "/spec/names/kind").to_owned(),
        plural: text(object, "/spec/names/plural").to_owned(),
        namespaced: text(object, "/spec/scope") == "Namespaced",
        subresources: subresources.into_iter().flat_map(Map::keys).cloned().collect(),
        selectable: items(version, "/selectableFields")
            .iter()
            .map(|field| text(field, "/jsonPath").trim_start_matches('.').to_owned())
            .collect(),
    };
    Ok((kind, schema))
}

/// The resource of a CRD.
pub(crate) fn resource(object: &Value) -> Resource {
    Resource::new(text(object, "/spec/group"), text(object, "/spec/names/plural"))
}

/// The CRD as its controllers leave it: names accepted, established. None when it is so already.
pub(crate) fn establish(object: &Value, now: DateTime<Utc>) -> Option<Value> {
    if at(object, "/status/acceptedNames") == at(object, "/spec/names") {
        return None;
    }
    let mut object = object.clone();
    let names = at(&object, "/spec/names").clone();
    set(&mut object, "/status/acceptedNames", names);
    if items(&object, "/status/conditions").is_empty() {
        let condition = |of: &str, reason: &str, message: &str| json!({"type": of, "status": "True", "lastTransitionTime": rfc3339(now), "reason": reason, "message": message});
        let conditions = json!([
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ]);
        set(&mut object, "/status/conditions", conditions);
    }
    Some(object)
}

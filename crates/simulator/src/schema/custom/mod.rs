//! Custom resources: what their CRD's structural schema says about them.

mod defaulting;
mod definition;
mod list_type;
mod prune;
mod rules;
mod structural;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub(crate) use definition::{admit as admit_definition, establish, resource, served};
use structural::Structural;

use super::metadata;
use super::problem::{Problem, Problems, refuse};
use crate::api::Part;
use crate::failure::Failure;
use crate::kinds::{Kind, Resource};
use crate::value;

/// The schemas of custom resources, by resource.
#[derive(Debug, Default)]
pub(crate) struct Schemas(BTreeMap<Resource, Arc<Structural>>);

impl Schemas {
    /// The schema of a resource; none for a built-in one.
    pub(crate) fn get(&self, resource: &Resource) -> Option<Arc<Structural>> {
        self.0.get(resource).cloned()
    }

    /// From now on objects of a resource have this schema.
    pub(crate) fn add(&mut self, resource: Resource, schema: Structural) {
        self.0.insert(resource, Arc::new(schema));
    }

    /// A resource is no longer served.
    pub(crate) fn remove(&mut self, resource: &Resource) {
        self.0.remove(resource);
    }
}

/// Prunes, defaults and checks an object of a custom resource.
pub(crate) fn admit(
    schema: &Structural,
    kind: &Kind,
    part: Part,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Failure> {
    let has_status = kind.subresources.iter().any(|name| name == "status");
    if let (true, None, Some(map)) = (has_status, old, object.as_object_mut()) {
        map.remove("status");
    }
    each_field(object, |name, field| match schema.properties.get(name) {
        Some(schema) => prune::prune(field, schema),
        None => schema.preserve,
    });
    if let (Part::Status, Some(status)) = (part, schema.properties.get("status")) {
        if let Some(place) = object.get_mut("status") {
            shape(place, status);
        }
    } else {
        shape(object, schema);
    }
    let mut problems = match old {
        None => metadata::validate(kind, object),
        Some(old) => metadata::validate_update(kind, object, old),
    };
    match part {
        Part::Main => check(schema, object, old, "", &mut problems),
        Part::Status => {
            if let (Some(schema), Some(status)) = (schema.properties.get("status"), object.get("status")) {
                check(schema, status, old.and_then(|old| old.get("status")), "status", &mut problems);
            }
        }
    }
    refuse(kind, value::name(object), &problems)
}

fn shape(object: &mut Value, schema: &Structural) {
    defaulting::drop_nulls(object, Some(schema));
    defaulting::default(object, schema);
}

/// Leaves the fields of the object that `keep` keeps; what every object has stays as it is.
fn each_field(object: &mut Value, mut keep: impl FnMut(&str, &mut Value) -> bool) {
    if let Some(map) = object.as_object_mut() {
        map.retain(|name, field| ["apiVersion", "kind", "metadata"].contains(&name.as_str()) || keep(name, field));
    }
}

fn check(schema: &Structural, object: &Value, old: Option<&Value>, field: &str, problems: &mut Problems) {
    problems.extend(validate::validate(schema, object, old, field));
    let faulty = |value: &Value| {
        let mut found = Problems::new();
        list_type::check(schema, value, field, &mut found);
        found
    };
    if old.is_none_or(|old| faulty(old).is_empty()) {
        problems.extend(faulty(object));
    }
    if !schema.has_rules() {
        return;
    }
    if problems.iter().any(Problem::blocks_rules) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors \
                   to complete validation";
        problems.push(Problem::invalid("<nil>", &Value::Null, why));
    } else {
        rules::check(schema, object, old, field, problems);
    }
}

/// The type and format by which messages call a value.
fn type_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::Number(number) if number.is_f64() => ("number", "float64"),
        Value::Number(_) => ("integer", "int64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

/// `a.b`, or `b` below the root.
fn child(field: &str, name: &str) -> String {
    if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") }
}

/// The texts of a list.
fn list_of(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

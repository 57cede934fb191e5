//! Built-in kinds: their defaults, and what is checked of them.

mod claims;
mod container;
mod metrics;
mod objects;
mod pod;
mod pod_checks;
mod pod_update;
mod resources;
mod service;
mod status;
mod workload;
mod workload_checks;

pub(crate) use pod::qos_class;
pub(crate) use service::allocate;

use serde_json::Value;

use super::metadata;
use super::problem::{Problem, Problems, refuse};
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::value::{at, name};

/// Fills in defaults, as decoding does.
///
/// # Errors
/// 400 for a quantity that is none.
pub(crate) fn default(kind: &Kind, object: &mut Value) -> Result<(), Failure> {
    resources::canonical(kind, object)?;
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps" | "batch", _) => workload::default(kind, object),
        ("", "Pod") => pod::default(object),
        ("", "Service") => service::default(object),
        ("autoscaling", _) => metrics::default(object),
        _ => objects::default(kind, object),
    }
    Ok(())
}

/// What is done to an object after admission plugins, and before it is checked.
pub(crate) fn prepare(kind: &Kind, object: &mut Value, old: Option<&Value>) {
    if old.is_none() {
        status::begin(kind, object);
    }
    workload::prepare(kind, object, old);
    objects::prepare(kind, object, old);
    service::prepare(kind, object, old);
}

/// Refuses what is invalid.
///
/// # Errors
/// 422 with the causes.
pub(crate) fn validate(kind: &Kind, object: &Value, old: Option<&Value>) -> Result<(), Failure> {
    let mut problems = match old {
        None => metadata::validate(kind, object),
        Some(old) => metadata::validate_update(kind, object, old),
    };
    let same = old.is_some_and(|old| at(old, "/spec") == at(object, "/spec") && !at(object, "/spec").is_null());
    if !same {
        match (kind.group.as_str(), kind.kind.as_str()) {
            ("", "Pod") => match old {
                None => pod_checks::validate(object, "spec", &mut problems),
                Some(old) => pod_update::validate(object, old, &mut problems),
            },
            ("apps" | "batch", _) => workload_checks::validate(kind, object, old, &mut problems),
            ("", "Service") => service::validate(object, old, &mut problems),
            ("", "PersistentVolumeClaim") => claims::validate(object, old, &mut problems),
            ("autoscaling", _) => metrics::validate(object, &mut problems),
            _ => objects::validate(kind, object, old, &mut problems),
        }
    }
    refuse(kind, name(object), &problems)
}

/// A number that may not be negative.
fn nonnegative(object: &Value, pointer: &str, field: &str, problems: &mut Problems) {
    let value = at(object, pointer);
    if value.as_i64().is_some_and(|number| number < 0) {
        problems.push(Problem::invalid(field, value, "must be greater than or equal to 0"));
    }
}

/// Puts a value where none is.
fn or(map: &mut serde_json::Map<String, Value>, name: &str, value: impl Into<Value>) {
    if map.get(name).is_none_or(|found| found.is_null() || found.as_str() == Some("")) {
        map.insert(name.to_owned(), value.into());
    }
}

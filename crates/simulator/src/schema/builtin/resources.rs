//! Lists of resources, wherever they stand, in their canonical form.

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::schema::quantity::Quantity;

/// Fields that hold quantities by resource.
const LISTS: &[&str] = &[
    "limits",
    "requests",
    "hard",
    "used",
    "capacity",
    "allocatable",
    "max",
    "min",
    "default",
    "defaultRequest",
    "maxLimitRequestRatio",
    "overhead",
];

/// Brings all quantities of an object into their canonical form.
///
/// # Errors
/// 400 where something else stands.
pub(super) fn canonical(kind: &Kind, object: &mut Value) -> Result<(), Failure> {
    let concerned = ["apps", "batch"].contains(&kind.group.as_str())
        || ["Pod", "Node", "PersistentVolumeClaim", "PersistentVolume", "ResourceQuota", "LimitRange"]
            .contains(&kind.kind.as_str());
    if !concerned || kind.kind == "ControllerRevision" {
        return Ok(());
    }
    for part in ["spec", "status"] {
        if let Some(Value::Object(map)) = object.get_mut(part) {
            below(kind, map)?;
        }
    }
    Ok(())
}

fn below(kind: &Kind, map: &mut Map<String, Value>) -> Result<(), Failure> {
    for (name, value) in map {
        match value {
            Value::Object(list) if LISTS.contains(&name.as_str()) => each(kind, list)?,
            Value::Object(inner) => below(kind, inner)?,
            Value::Array(items) => {
                for item in items.iter_mut().filter_map(Value::as_object_mut) {
                    below(kind, item)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn each(kind: &Kind, list: &mut Map<String, Value>) -> Result<(), Failure> {
    for quantity in list.values_mut() {
        let Some(read) = Quantity::of(quantity) else {
            let why = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
            let Kind { kind: name, version, .. } = kind;
            let what = format!("{name} in version {version:?} cannot be handled as a {name}: {why}");
            return Err(Failure::bad_request(what));
        };
        let text = read.rounded().to_string();
        if quantity.as_str() != Some(text.as_str()) {
            *quantity = Value::String(text);
        }
    }
    Ok(())
}

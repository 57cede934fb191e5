//! Lists that are sets or maps hold nothing twice (apiextensions-apiserver/pkg/apiserver/schema/listtype).

use serde_json::{Map, Value};

use super::child;
use super::structural::{ListType, Structural};
use crate::schema::problem::{Problem, Problems};

/// Finds what stands twice in lists of type set and map.
pub(super) fn check(schema: &Structural, value: &Value, field: &str, problems: &mut Problems) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(schema) = schema.properties.get(name) {
                    check(schema, value, &child(field, name), problems);
                } else if let Some(schema) = schema.others() {
                    check(schema, value, &format!("{field}[{name}]"), problems);
                }
            }
        }
        Value::Array(list) => {
            match &schema.list_type {
                Some(ListType::Set) => twice(list, field, problems),
                Some(ListType::Map(keys)) => {
                    if let Some(index) = list.iter().position(|item| !item.is_object() && !item.is_null()) {
                        let why = "must be an object for an array of list-type map";
                        let item = list.get(index).unwrap_or(&Value::Null);
                        problems.push(Problem::invalid(format!("{field}[{index}]"), item, why));
                    } else {
                        let keys: Vec<Value> = list.iter().map(|item| key_of(item, keys)).collect();
                        twice(&keys, field, problems);
                    }
                }
                _ => {}
            }
            if let Some(schema) = &schema.items {
                for (index, item) in list.iter().enumerate() {
                    check(schema, item, &format!("{field}[{index}]"), problems);
                }
            }
        }
        _ => {}
    }
}

fn key_of(item: &Value, keys: &[String]) -> Value {
    let found = keys.iter().filter_map(|key| item.get(key).map(|value| (key.clone(), value.clone())));
    Value::Object(found.collect::<Map<_, _>>())
}

/// The second appearance of what stands more than once.
fn twice(list: &[Value], field: &str, problems: &mut Problems) {
    for (index, item) in list.iter().enumerate() {
        if list.iter().take(index).filter(|before| *before == item).count() == 1 {
            problems.push(Problem::duplicate(format!("{field}[{index}]"), item));
        }
    }
}

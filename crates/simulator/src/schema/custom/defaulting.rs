//! Defaults of a schema, and nulls that stand where none may
//! (apiextensions-apiserver/pkg/apiserver/schema/defaulting).

use serde_json::Value;

use super::structural::Structural;

/// Takes away nulls that are neither allowed nor followed by a default.
pub(super) fn drop_nulls(value: &mut Value, schema: Option<&Structural>) {
    match value {
        Value::Object(map) => map.retain(|name, field| {
            let schema = schema.and_then(|schema| schema.field(name));
            if field.is_null() && schema.is_some_and(|schema| !schema.nullable && schema.default.is_none()) {
                return false;
            }
            drop_nulls(field, schema);
            true
        }),
        Value::Array(list) => {
            let schema = schema.and_then(|schema| schema.items.as_deref());
            list.iter_mut().for_each(|item| drop_nulls(item, schema));
        }
        _ => {}
    }
}

/// Fills in defaults, deep down.
pub(super) fn default(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(map) => {
            for (name, schema) in &schema.properties {
                if let Some(default) = &schema.default
                    && map.get(name).is_none_or(|found| found.is_null() && !schema.nullable)
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, field) in map {
                if let Some(schema) = schema.properties.get(name) {
                    default(field, schema);
                } else if let Some(schema) = schema.others() {
                    or_default(field, schema);
                }
            }
        }
        Value::Array(list) => {
            if let Some(schema) = &schema.items {
                list.iter_mut().for_each(|item| or_default(item, schema));
            }
        }
        _ => {}
    }
}

fn or_default(value: &mut Value, schema: &Structural) {
    if let (true, false, Some(instead)) = (value.is_null(), schema.nullable, &schema.default) {
        *value = instead.clone();
    }
    default(value, schema);
}

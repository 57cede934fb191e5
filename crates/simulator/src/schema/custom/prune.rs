//! Fields that a schema does not know go (apiextensions-apiserver/pkg/apiserver/schema/pruning).

use serde_json::Value;

use super::structural::{Additional, Structural};

/// Takes away what the schema does not know. Gives true: the value itself stays.
pub(super) fn prune(value: &mut Value, schema: &Structural) -> bool {
    match value {
        Value::Object(map) => map.retain(|name, field| {
            if schema.embedded && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
                return true;
            }
            match (schema.properties.get(name), &schema.additional) {
                (Some(schema), _) => prune(field, schema),
                (None, Some(Additional::Of(schema))) => prune(field, schema),
                (None, Some(Additional::Any)) => true,
                (None, None) => schema.preserve,
            }
        }),
        Value::Array(list) => {
            let nothing = Structural::default();
            let items = schema.items.as_deref();
            for item in list {
                if items.is_some() || !schema.preserve {
                    prune(item, items.unwrap_or(&nothing));
                }
            }
        }
        _ => {}
    }
    true
}

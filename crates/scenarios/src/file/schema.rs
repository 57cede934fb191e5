use serde_json::{Value, json};

use super::SimulationSpec;

/// JSON Schema of a Simulation document for editors.
pub fn schema() -> Value {
    let mut spec = Value::from(schemars::schema_for!(SimulationSpec));
    let mut definitions = json!({});
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("$schema");
        fields.remove("title");
        if let Some(found) = fields.remove("$defs") {
            definitions = found;
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "evenkeel Simulation",
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": { "const": evenkeel_playbook::yaml::API_VERSION },
            "kind": { "const": "Simulation" },
            "metadata": {
                "type": "object",
                "required": ["name"],
                "properties": { "name": { "type": "string" } },
            },
            "spec": spec,
        },
        "$defs": definitions,
    })
}

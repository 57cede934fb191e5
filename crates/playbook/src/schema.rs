use evenkeel_model::PlaybookSpec;
use serde_json::{Value, json};

use crate::facts::{self, FactEntry};
use crate::yaml::API_VERSION;

/// JSON Schema of a Playbook document for editors: completes fields, actions, operators and facts,
/// with their documentation. `check` knows more: what fits together.
pub fn schema() -> Value {
    let mut spec = Value::from(schemars::schema_for!(PlaybookSpec));
    let mut definitions = json!({});
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("$schema");
        fields.remove("title");
        if let Some(found) = fields.remove("$defs") {
            definitions = found;
        }
    }
    if let Some(fact) = definitions.pointer_mut("/Condition/properties/fact") {
        *fact = fact_schema();
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "evenkeel Playbook",
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "const": "Playbook" },
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

fn fact_schema() -> Value {
    let described = |entry: &FactEntry| json!({ "const": entry.name, "description": entry.doc });
    let of_target = facts::table().iter().filter(|entry| entry.source() == "target").map(described);
    let others = facts::table().iter().filter(|entry| entry.source() != "target");
    let mut short: Vec<_> = others.map(FactEntry::short_name).collect();
    short.sort_unstable();
    short.dedup();
    let of_questions = json!({
        "pattern": format!("^[a-z][a-zA-Z0-9]{{0,31}}\\.({})$", short.join("|")),
        "description": "A fact of a question under diagnose, by the question's name: recent.podTemplateChanged.",
    });
    let any_of: Vec<Value> = of_target.chain([of_questions]).collect();
    json!({ "type": "string", "description": "A name from the fact table.", "anyOf": any_of })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_knows_the_facts_and_the_fields() {
        let schema = schema();
        let facts = schema.pointer("/$defs/Condition/properties/fact/anyOf").unwrap().as_array().unwrap();
        assert!(facts.iter().any(|fact| fact["const"] == "target.well"));
        assert!(schema.pointer("/properties/spec/properties/match").is_some());
        let text = schema.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(schema.pointer(reference).is_some(), "{reference}");
        }
    }
}

//! What of an answer is the same every time: what is left to chance or to the clock gets a name of its own.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value, json};

/// Makes the answers of one story comparable.
#[derive(Debug)]
pub(super) struct Normal {
    namespace: String,
    uid: Regex,
    rules: Vec<(Regex, &'static str)>,
    uids: BTreeMap<String, usize>,
}

impl Normal {
    pub(super) fn new(namespace: &str) -> anyhow::Result<Self> {
        let rules = [
            (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
            (r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b", "<ip>"),
            // Suffixes as Kubernetes makes them: no vowels, nothing that looks like another.
            (r"-[bcdfghjklmnpqrstvwxz2456789]{6,10}\b", "-<hash>"),
            (r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-<random>"),
            (r"^[bcdfghjklmnpqrstvwxz2456789]{8,10}$", "<hash>"),
            (r"in record \(\d+\)", "in record (<revision>)"),
            // How Go shows what differs between two pod specs.
            (r"(?s)\n@@.*", ""),
            (r"containerd://[0-9a-f]{64}", "<container>"),
            (r"sha256:[0-9a-f]{64}", "<digest>"),
            (r"\b\d+(\.\d+)?(ms|µs)\b", "<moment>"),
            (r"in \d+(\.\d+)?s \(\d+(\.\d+)?s including waiting\)", "in <moment> (<moment> including waiting)"),
            (r"in <moment> \(<moment> including waiting\)\. Image size: \d+ bytes", "in <moment>"),
        ];
        let mut made = Vec::new();
        for (pattern, name) in rules {
            made.push((Regex::new(pattern)?, name));
        }
        let uid = Regex::new(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")?;
        Ok(Self { namespace: namespace.to_owned(), uid, rules: made, uids: BTreeMap::new() })
    }

    pub(super) fn text(&mut self, text: &str) -> String {
        let mut text = text.replace(&self.namespace, "$ns");
        let found: Vec<String> = self.uid.find_iter(&text).map(|it| it.as_str().to_owned()).collect();
        for uid in found {
            let next = self.uids.len() + 1;
            let number = *self.uids.entry(uid.clone()).or_insert(next);
            text = text.replace(&uid, &format!("<uid-{number}>"));
        }
        for (rule, name) in &self.rules {
            if rule.is_match(&text) {
                text = rule.replace_all(&text, *name).into_owned();
            }
        }
        text
    }

    pub(super) fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => json!(self.text(text)),
            Value::Array(list) => Value::Array(list.iter().map(|item| self.value(item)).collect()),
            Value::Object(fields) => {
                let mut normal = Map::new();
                for (field, value) in fields {
                    normal.insert(self.text(field), self.field(field, value));
                }
                Value::Object(normal)
            }
            other => other.clone(),
        }
    }

    fn field(&mut self, field: &str, value: &Value) -> Value {
        match field {
            "resourceVersion" | "continue" if value.as_str().is_some_and(|text| !text.is_empty()) => {
                json!(format!("<{field}>"))
            }
            "managedFields" => owners(self, value),
            // In the order in which controllers came to say them.
            "conditions" => {
                let mut value = self.value(value);
                if let Some(list) = value.as_array_mut() {
                    list.sort_by_key(|condition| condition["type"].as_str().unwrap_or_default().to_owned());
                }
                value
            }
            _ => self.value(value),
        }
    }
}

/// Who owns which paths; not when.
fn owners(normal: &mut Normal, value: &Value) -> Value {
    let mut owners: Vec<Value> = Vec::new();
    for entry in value.as_array().into_iter().flatten() {
        let mut paths = Vec::new();
        flatten(&entry["fieldsV1"], "", &mut paths);
        let paths: Vec<String> = paths.iter().map(|path| normal.text(path)).collect();
        owners.push(json!({
            "manager": entry["manager"], "operation": entry["operation"], "subresource": entry["subresource"],
            "apiVersion": entry["apiVersion"], "paths": paths,
        }));
    }
    owners.sort_by_key(|owner| owner.to_string());
    Value::Array(owners)
}

fn flatten(fields: &Value, at: &str, paths: &mut Vec<String>) {
    let Some(fields) = fields.as_object() else { return };
    for (field, below) in fields {
        if field == "." {
            paths.push(at.to_owned());
            continue;
        }
        let here = format!("{at}/{}", field.strip_prefix("f:").unwrap_or(field));
        match below.as_object() {
            Some(deeper) if !deeper.is_empty() => flatten(below, &here, paths),
            _ => paths.push(here),
        }
    }
    paths.sort();
}

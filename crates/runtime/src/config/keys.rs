use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

/// One key of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyDoc {
    /// The key's path: `["observer", "prometheus", "url"]`. `[]` in it stands for an item of a list.
    pub path: Vec<String>,
    /// What is to be written: `text`, `number`, `true or false`, `list of text`, `Audit or Enforce` …
    pub kind: String,
    /// Whether the environment's text is the value, and not YAML to be read.
    pub is_text: bool,
    /// Whether it is a list.
    pub is_list: bool,
    /// The default; absent where there is none.
    pub default: Option<Value>,
    /// What it is for.
    pub description: String,
}

impl KeyDoc {
    /// The key: `observer.prometheus.url`.
    pub fn key(&self) -> String {
        self.path.join(".").replace(".[]", "[]")
    }

    /// The environment variable that overrides it; none within lists.
    pub fn variable(&self) -> Option<String> {
        if self.path.iter().any(|part| part == "[]" || part == "NAME") {
            return None;
        }
        let mut name = super::PREFIX.to_owned();
        for part in &self.path {
            name.push('_');
            for (i, c) in part.char_indices() {
                if c.is_ascii_uppercase() && i > 0 {
                    name.push('_');
                }
                name.push(c.to_ascii_uppercase());
            }
        }
        Some(name)
    }
}

/// All keys of a configuration type, sorted.
pub fn keys<T: JsonSchema>() -> Vec<KeyDoc> {
    let schema = SchemaGenerator::default().into_root_schema_for::<T>().to_value();
    let mut walk = Walk { root: &schema, found: Vec::new() };
    walk.visit(&schema, &[], None, "");
    walk.found
}

struct Walk<'a> {
    root: &'a Value,
    found: Vec<KeyDoc>,
}

impl<'a> Walk<'a> {
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix('#'));
        target.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }

    /// The schema and, where it is a choice, each of its alternatives but null.
    fn alternatives(&self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = self.resolve(schema);
        let choices = ["oneOf", "anyOf"].iter().find_map(|key| schema.get(*key).and_then(Value::as_array));
        match choices {
            Some(choices) => choices
                .iter()
                .flat_map(|choice| self.alternatives(choice))
                .filter(|choice| choice.get("type").and_then(Value::as_str) != Some("null"))
                .collect(),
            None => vec![schema],
        }
    }

    fn visit(&mut self, schema: &'a Value, path: &[String], default: Option<&'a Value>, description: &'a str) {
        let alternatives = self.alternatives(schema);
        let is_object = |alternative: &&Value| alternative.get("properties").is_some();
        let (objects, leaves): (Vec<&Value>, Vec<&Value>) = alternatives.iter().partition(|a| is_object(a));
        if !leaves.is_empty() {
            self.leaf(&leaves, path, default, description, !objects.is_empty());
        }
        for alternative in objects {
            let Some(properties) = alternative.get("properties").and_then(Value::as_object) else { continue };
            for (name, property) in properties {
                let mut path = path.to_vec();
                path.push(name.clone());
                // The default written beside the parent is the more specific one.
                let own = default
                    .and_then(Value::as_object)
                    .and_then(|default| default.get(name))
                    .or_else(|| property.get("default"))
                    .or_else(|| self.resolve(property).get("default"));
                self.visit(property, &path, own, self.describe(property, alternative));
            }
        }
    }

    /// The description beside the property, else that of its type, else that of the choice it is in.
    fn describe(&self, property: &'a Value, around: &'a Value) -> &'a str {
        let of = |schema: &'a Value| schema.get("description").and_then(Value::as_str);
        of(property).or_else(|| of(self.resolve(property))).or_else(|| of(around)).unwrap_or_default()
    }

    fn leaf(
        &mut self,
        leaves: &[&'a Value],
        path: &[String],
        default: Option<&'a Value>,
        description: &'a str,
        or_keys: bool,
    ) {
        let kinds: Vec<Kind> = leaves.iter().flat_map(|leaf| self.kind(leaf)).collect();
        let mut shown: Vec<&str> = Vec::new();
        for kind in &kinds {
            if !shown.contains(&kind.name.as_str()) {
                shown.push(&kind.name);
            }
        }
        if or_keys {
            shown.push("the keys below it");
        }
        self.found.push(KeyDoc {
            path: path.to_vec(),
            kind: shown.join(" or "),
            is_text: kinds.iter().all(|kind| kind.is_text),
            is_list: kinds.iter().any(|kind| kind.is_list),
            // Where keys below are the default, they show their own.
            default: default.filter(|default| !default.is_null() && (!or_keys || !default.is_object())).cloned(),
            description: description.to_owned(),
        });
        // What a list's items or a map's values hold.
        for leaf in leaves {
            for (key, name) in [("items", "[]"), ("additionalProperties", "NAME")] {
                let Some(inner) = leaf.get(key).filter(|inner| inner.is_object()) else { continue };
                if self.alternatives(inner).iter().any(|a| a.get("properties").is_some()) {
                    let mut path = path.to_vec();
                    path.push(name.to_owned());
                    self.visit(inner, &path, None, "");
                }
            }
        }
    }

    fn kind(&self, leaf: &'a Value) -> Vec<Kind> {
        if let Some(value) = leaf.get("const") {
            return vec![Kind::word(value)];
        }
        if let Some(values) = leaf.get("enum").and_then(Value::as_array) {
            return values.iter().filter(|value| !value.is_null()).map(Kind::word).collect();
        }
        let types: Vec<&str> = match leaf.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
            _ => Vec::new(),
        };
        types.into_iter().map(|name| self.plain(name, leaf)).collect()
    }

    fn plain(&self, name: &str, leaf: &'a Value) -> Kind {
        let plain = |name: &str, is_text| Kind { name: name.to_owned(), is_text, is_list: false };
        match name {
            "string" if is_span(leaf) => plain("time", true),
            "string" => plain("text", true),
            "integer" | "number" => plain("number", false),
            "boolean" => plain("true or false", false),
            "array" => {
                let inner = leaf.get("items").map(|items| self.named(items)).unwrap_or_default();
                Kind { name: format!("list of {inner}"), is_text: false, is_list: true }
            }
            "object" => {
                let inner = leaf.get("additionalProperties").filter(|inner| inner.is_object());
                plain(&format!("map of text to {}", inner.map(|inner| self.named(inner)).unwrap_or_default()), false)
            }
            other => plain(other, false),
        }
    }

    fn named(&self, schema: &'a Value) -> String {
        let mut names: Vec<String> = Vec::new();
        for alternative in self.alternatives(schema) {
            if alternative.get("properties").is_some() {
                names.push("objects".to_owned());
            } else {
                names.extend(self.kind(alternative).into_iter().map(|kind| kind.name));
            }
        }
        names.dedup();
        if names.len() > 6 { "text".to_owned() } else { names.join(" or ") }
    }
}

fn is_span(leaf: &Value) -> bool {
    leaf.get("pattern").and_then(Value::as_str).is_some_and(|pattern| pattern.starts_with("^([0-9]+d)?"))
}

struct Kind {
    name: String,
    is_text: bool,
    is_list: bool,
}

impl Kind {
    fn word(value: &Value) -> Self {
        let name = value.as_str().map_or_else(|| value.to_string(), |word| format!("`{word}`"));
        Self { name, is_text: value.is_string(), is_list: false }
    }
}

/// `root` with `value` at `path`; whatever stood in its way is replaced by an object.
pub(super) fn with(root: Value, path: &[String], value: Value) -> Value {
    let Some((first, rest)) = path.split_first() else { return value };
    let mut map = match root {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let before = map.remove(first).unwrap_or(Value::Null);
    map.insert(first.clone(), with(before, rest, value));
    Value::Object(map)
}

//! A structural schema, parsed once when its CRD comes.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Number, Value};

use super::rules::{self, Rule};
use crate::failure::Failure;
use crate::patterns::compiled;

/// What a list is to the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListType {
    Atomic,
    Set,
    /// With the keys that tell its items apart.
    Map(Vec<String>),
}

/// What `additionalProperties` allows.
#[derive(Debug, Clone)]
pub(crate) enum Additional {
    Any,
    Of(Box<Structural>),
}

/// One node of a schema.
#[derive(Debug, Clone, Default)]
pub(crate) struct Structural {
    /// `object`; `integer` and `string` for an int-or-string; none where anything may stand.
    pub(crate) types: Vec<String>,
    pub(crate) format: String,
    pub(crate) nullable: bool,
    pub(crate) default: Option<Value>,
    pub(crate) properties: BTreeMap<String, Structural>,
    pub(crate) additional: Option<Additional>,
    pub(crate) items: Option<Box<Structural>>,
    pub(crate) required: Vec<String>,
    pub(crate) allowed: Vec<Value>,
    pub(crate) pattern: Option<(String, Regex)>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) unique_items: bool,
    /// The number, and whether it is excluded itself.
    pub(crate) minimum: Option<(Number, bool)>,
    pub(crate) maximum: Option<(Number, bool)>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) all_of: Vec<Structural>,
    pub(crate) any_of: Vec<Structural>,
    pub(crate) one_of: Vec<Structural>,
    pub(crate) not: Option<Box<Structural>>,
    pub(crate) preserve: bool,
    pub(crate) embedded: bool,
    pub(crate) list_type: Option<ListType>,
    pub(crate) rules: Vec<Rule>,
}

/// Formats that are checked, without their hyphens.
const FORMATS: &[&str] = &["datetime", "date", "duration", "int32", "int64", "float", "double", "byte", "password"];

/// What may stand in a schema; anything else is not modelled.
const KNOWN: &[&str] = &[
    "type",
    "format",
    "nullable",
    "default",
    "properties",
    "additionalProperties",
    "items",
    "required",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "uniqueItems",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "multipleOf",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "description",
    "title",
    "example",
    "externalDocs",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
];

impl Structural {
    /// Parses a schema, or names what of it is not modelled.
    ///
    /// # Errors
    /// 501.
    pub(crate) fn parse(schema: &Value, field: &str) -> Result<Self, Failure> {
        let Some(map) = schema.as_object() else {
            return Err(Failure::not_modelled(format!("a schema that is no object, at {field}")));
        };
        if let Some(unknown) = map.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(Failure::not_modelled(format!("{unknown} in a CRD's schema, at {field}")));
        }
        let part = |name: &str| schema.get(name).unwrap_or(&Value::Null);
        let text = |name: &str| part(name).as_str().unwrap_or_default();
        let flag = |name: &str| part(name).as_bool().unwrap_or(false);
        let number = |name: &str| part(name).as_u64().or_else(|| part(name).as_f64().map(|value| value as u64));
        let bound = |name: &str, excluded: &str| part(name).as_number().map(|bound| (bound.clone(), flag(excluded)));
        let list = |name: &str| part(name).as_array().map_or(&[][..], Vec::as_slice);
        let strings = |name: &str| super::list_of(list(name));
        let parsed = |name: &str| {
            let parts = list(name).iter().enumerate();
            parts
                .map(|(index, part)| Self::parse(part, &format!("{field}.{name}[{index}]")))
                .collect::<Result<Vec<_>, Failure>>()
        };
        let boxed = |name: &str| match part(name) {
            Value::Null => Ok(None),
            inner => Self::parse(inner, &format!("{field}.{name}")).map(|inner| Some(Box::new(inner))),
        };
        let mut properties = BTreeMap::new();
        for (name, property) in part("properties").as_object().into_iter().flatten() {
            let parsed = Self::parse(property, &format!("{field}.properties[{name}]"))?;
            properties.insert(name.clone(), parsed);
        }
        let pattern = match text("pattern") {
            "" => None,
            pattern => match compiled(pattern) {
                Ok(regex) => Some((pattern.to_owned(), regex)),
                Err(error) => return Err(Failure::not_modelled(format!("the pattern {pattern}, at {field}: {error}"))),
            },
        };
        let types = match text("type") {
            _ if flag("x-kubernetes-int-or-string") => vec!["integer".to_owned(), "string".to_owned()],
            "" => Vec::new(),
            one => vec![one.to_owned()],
        };
        let format = text("format");
        Ok(Self {
            types,
            format: if FORMATS.contains(&format.replace('-', "").as_str()) { format.to_owned() } else { String::new() },
            nullable: flag("nullable"),
            default: schema.get("default").cloned(),
            properties,
            additional: match part("additionalProperties") {
                Value::Null | Value::Bool(false) => None,
                Value::Bool(true) => Some(Additional::Any),
                _ => boxed("additionalProperties")?.map(Additional::Of),
            },
            items: boxed("items")?,
            required: strings("required"),
            allowed: list("enum").to_vec(),
            pattern,
            min_length: number("minLength"),
            max_length: number("maxLength"),
            min_items: number("minItems"),
            max_items: number("maxItems"),
            min_properties: number("minProperties"),
            max_properties: number("maxProperties"),
            unique_items: flag("uniqueItems"),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: part("multipleOf").as_f64(),
            all_of: parsed("allOf")?,
            any_of: parsed("anyOf")?,
            one_of: parsed("oneOf")?,
            not: boxed("not")?,
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            list_type: match text("x-kubernetes-list-type") {
                "" => None,
                "set" => Some(ListType::Set),
                "map" => Some(ListType::Map(strings("x-kubernetes-list-map-keys"))),
                _ => Some(ListType::Atomic),
            },
            rules: list("x-kubernetes-validations")
                .iter()
                .map(|rule| rules::parse(rule, field))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The schema of a field, which may be one that is not listed.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or_else(|| self.others())
    }

    /// The schema of fields that are not listed.
    pub(crate) fn others(&self) -> Option<&Self> {
        match &self.additional {
            Some(Additional::Of(schema)) => Some(schema),
            _ => None,
        }
    }

    /// Whether a rule stands anywhere in it.
    pub(crate) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
            || self.properties.values().any(Self::has_rules)
            || self.items.as_ref().is_some_and(|items| items.has_rules())
            || self.others().is_some_and(Self::has_rules)
    }
}

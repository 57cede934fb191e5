//! An object against its schema, with the messages of kube-openapi's validator.

use chrono::DateTime;
use serde_json::{Number, Value};

use super::structural::Structural;
use super::{child, type_of};
use crate::schema::problem::{Problem, Problems};

/// What was found, and how many checks were made: of several alternatives the one with most is reported.
#[derive(Debug, Default)]
struct Found {
    problems: Problems,
    checks: usize,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.checks += other.checks;
        for problem in other.problems {
            self.problem(problem);
        }
    }

    fn problem(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// What is wrong with a value. What was wrong before and is unchanged is let be (KEP-4008).
pub(super) fn validate(schema: &Structural, value: &Value, old: Option<&Value>, field: &str) -> Problems {
    any(schema, value, old, field).problems
}

fn any(schema: &Structural, value: &Value, old: Option<&Value>, field: &str) -> Found {
    let mut found = Found { checks: 1, ..Found::default() };
    if old == Some(value) {
        return found;
    }
    let typed = !schema.types.is_empty() || !schema.format.is_empty();
    if let (true, Some(problem)) = (typed, wrong_type(schema, value, field)) {
        found.problem(problem);
    } else {
        found.checks += 1;
    }
    if !value.is_null() {
        combined(schema, value, field, &mut found);
        match value {
            Value::String(text) => string(schema, text, field, &mut found),
            Value::Number(value) => number(schema, value, field, &mut found),
            Value::Array(list) => array(schema, list, field, &mut found),
            _ => {}
        }
    }
    if !schema.allowed.is_empty() && !schema.allowed.contains(value) {
        let allowed: Vec<String> = schema
            .allowed
            .iter()
            .map(|allowed| allowed.as_str().map_or_else(|| allowed.to_string(), str::to_owned))
            .collect();
        let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
        found.problem(Problem::not_supported(place(field), value, &allowed));
    }
    if value.is_object() {
        object(schema, value, old, field, &mut found);
    }
    found
}

/// The field as a cause names it; the root has no name.
fn place(field: &str) -> &str {
    if field.is_empty() { "<nil>" } else { field }
}

/// A problem that the validator reports without a field.
fn general(message: String) -> Problem {
    Problem::invalid("<nil>", &Value::String(String::new()), &message)
}

fn wrong(field: &str, expected: &str, value: &str) -> Problem {
    let message = format!("{field} in body must be of type {expected}: {value:?}");
    Problem::type_invalid(place(field), &Value::String(value.to_owned()), &message)
}

fn wrong_type(schema: &Structural, value: &Value, field: &str) -> Option<Problem> {
    let (kind, format) = type_of(value);
    let expects = |kind: &str| schema.types.iter().any(|expected| expected == kind);
    if value.is_null() {
        let refused = !schema.types.is_empty() && !expects("null") && !schema.nullable;
        return refused.then(|| wrong(field, &schema.types.join(","), "null"));
    }
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits =
        expects(kind) || kind == "number" && whole && expects("integer") || kind == "integer" && expects("number");
    let listed = value.is_string() || value.is_array();
    if !schema.format.is_empty() {
        if !listed && !fits && format != schema.format {
            return Some(wrong(field, &schema.format, format));
        }
        if listed && !expects("number") && !expects("integer") {
            return None;
        }
    }
    (!fits).then(|| wrong(field, &schema.types.join(","), kind))
}

fn combined(schema: &Structural, value: &Value, field: &str, found: &mut Found) {
    if !schema.any_of.is_empty() {
        let (valid, best) = alternatives(&schema.any_of, value, field);
        if valid == 0 {
            found.problem(general(format!("{field:?} must validate at least one schema (anyOf)")));
        }
        found.add(best);
    }
    if !schema.one_of.is_empty() {
        let (valid, best) = alternatives(&schema.one_of, value, field);
        if valid != 1 {
            let what =
                if valid == 0 { "Found none valid".to_owned() } else { format!("Found {valid} valid alternatives") };
            found.problem(general(format!("{field:?} must validate one and only one schema (oneOf). {what}")));
        }
        if valid <= 1 {
            found.add(best);
        }
    }
    let mut valid = 0;
    for schema in &schema.all_of {
        let result = any(schema, value, None, field);
        valid += usize::from(result.problems.is_empty());
        found.add(result);
    }
    if valid != schema.all_of.len() {
        let what = if valid == 0 { ". None validated" } else { "" };
        found.problem(general(format!("{field:?} must validate all the schemas (allOf){what}")));
    }
    if let Some(schema) = &schema.not
        && any(schema, value, None, field).problems.is_empty()
    {
        found.problem(general(format!("{field:?} must not validate the schema (not)")));
    }
    found.checks += 1;
}

/// How many alternatives hold; and the first that does, or else the one that came furthest.
fn alternatives(schemas: &[Structural], value: &Value, field: &str) -> (usize, Found) {
    let mut valid = 0;
    let mut best: Option<Found> = None;
    for schema in schemas {
        let result = any(schema, value, None, field);
        if result.problems.is_empty() {
            valid += 1;
            if valid == 1 {
                best = Some(result);
            }
        } else if valid == 0 && best.as_ref().is_none_or(|best| result.checks > best.checks) {
            best = Some(result);
        }
    }
    (valid, best.unwrap_or_default())
}

fn string(schema: &Structural, value: &str, field: &str, found: &mut Found) {
    let shown = Value::String(value.to_owned());
    let length = value.chars().count() as u64;
    if let Some(limit) = schema.max_length.filter(|limit| length > *limit) {
        found.problem(Problem::too_long(place(field), limit));
    } else if let Some(limit) = schema.min_length.filter(|limit| length < *limit) {
        let message = format!("{field} in body should be at least {limit} chars long");
        found.problem(Problem::invalid(place(field), &shown, &message));
    } else if let Some((pattern, _)) = schema.pattern.as_ref().filter(|(_, regex)| !regex.is_match(value)) {
        let message = format!("{field} in body should match '{pattern}'");
        found.problem(Problem::invalid(place(field), &shown, &message));
    } else {
        found.checks += 1;
    }
    let formatted = match schema.format.as_str() {
        "date-time" | "datetime" => DateTime::parse_from_rfc3339(value).is_ok(),
        "date" => chrono::NaiveDate::parse_from_str(value, "%Y-%m-%d").is_ok(),
        _ => true,
    };
    if formatted {
        found.checks += 1;
    } else {
        found.problem(wrong(field, &schema.format, value));
    }
}

fn number(schema: &Structural, value: &Number, field: &str, found: &mut Found) {
    let float = value.as_f64().unwrap_or_default();
    let shown = Value::Number(value.clone());
    let single = schema.types.as_slice();
    if let [only] = single
        && only == "integer"
    {
        let whole = value.as_i64().or_else(|| (float.fract() == 0.0).then_some(float as i64));
        let fits = whole.is_some_and(|whole| schema.format != "int32" || i32::try_from(whole).is_ok());
        if !fits {
            let of = match schema.format.as_str() {
                "" => "(default format)".to_owned(),
                format => format!("with format {format}"),
            };
            found.problem(general(format!("Checked value must be of type integer {of} in {field}")));
        }
    }
    let factor = schema.multiple_of.filter(|factor| *factor > 0.0 && (float / factor).fract() != 0.0);
    if let Some(factor) = factor {
        let message = format!("{field} in body should be a multiple of {factor}");
        found.problem(Problem::invalid(place(field), &shown, &message));
    }
    let mut bound = |bound: &Option<(Number, bool)>, beyond: fn(f64, f64) -> bool, words: [&str; 2]| {
        if let Some((limit, excluded)) = bound {
            let edge = limit.as_f64().unwrap_or_default();
            let [including, excluding] = words;
            if beyond(float, edge) || *excluded && float == edge {
                let words = if *excluded { excluding } else { including };
                let message = format!("{field} in body should be {words} {edge}");
                found.problem(Problem::invalid(place(field), &shown, &message));
            }
        }
    };
    bound(&schema.minimum, |value, limit| value < limit, ["greater than or equal to", "greater than"]);
    bound(&schema.maximum, |value, limit| value > limit, ["less than or equal to", "less than"]);
    found.checks += 1;
}

fn array(schema: &Structural, list: &[Value], field: &str, found: &mut Found) {
    if let Some(items) = &schema.items {
        for (index, item) in list.iter().enumerate() {
            found.add(any(items, item, None, &format!("{field}[{index}]")));
        }
    }
    let size = list.len() as u64;
    if let Some(limit) = schema.min_items.filter(|limit| size < *limit) {
        let message = format!("{field} in body should have at least {limit} items");
        found.problem(Problem::invalid(place(field), &Value::from(size), &message));
    }
    if let Some(limit) = schema.max_items.filter(|limit| size > *limit) {
        found.problem(Problem::too_many(place(field), size, limit));
    }
    if schema.unique_items
        && list.iter().enumerate().any(|(index, item)| list.iter().take(index).any(|other| other == item))
    {
        let message = format!("{field} in body shouldn't contain duplicates");
        found.problem(Problem::invalid(place(field), &Value::String(String::new()), &message));
    }
    found.checks += 1;
}

fn object(schema: &Structural, value: &Value, old: Option<&Value>, field: &str, found: &mut Found) {
    let Some(map) = value.as_object() else { return };
    let size = map.len() as u64;
    if let Some(limit) = schema.min_properties.filter(|limit| size < *limit) {
        let message = format!("{field} in body should have at least {limit} properties");
        found.problem(Problem::invalid(place(field), &Value::from(size), &message));
    }
    if let Some(limit) = schema.max_properties.filter(|limit| size > *limit) {
        found.problem(Problem::too_many(place(field), size, limit));
    }
    for (name, value) in map {
        if let Some(schema) = schema.field(name) {
            found.add(any(schema, value, old.and_then(|old| old.get(name)), &child(field, name)));
        }
    }
    for name in schema.required.iter().filter(|name| !map.contains_key(*name)) {
        found.problem(Problem::required(child(field, name), ""));
    }
}

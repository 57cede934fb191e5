//! JSON merge patch, and of strategic merge patch what clients of the built-in kinds send.

use serde_json::{Map, Value};

use super::fields::merge_key;
use crate::failure::Failure;

/// RFC 7386.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Kubernetes' own: lists with a merge key are merged item by item, `$patch` and its kin are directives.
pub(super) fn strategic(target: &mut Value, patch: &Value) -> Result<(), Failure> {
    let Value::Object(patch) = patch else {
        return Err(Failure::bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}"));
    };
    map(target, patch)
}

fn map(target: &mut Value, patch: &Map<String, Value>) -> Result<(), Failure> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = Value::Object(patch.iter().filter(|(name, _)| !name.starts_with('$')).map(own).collect());
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(unknown(other)),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(into) = target else { return Ok(()) };
    for (name, value) in patch {
        if let Some(field) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(list)), Value::Array(gone)) = (into.get_mut(field), value) {
                list.retain(|item| !gone.contains(item));
            }
            continue;
        }
        // The order that is asked for is the order that the list's own items have.
        if name.starts_with("$setElementOrder/") || name == "$patch" {
            continue;
        }
        if name == "$retainKeys" {
            if let Some(kept) = value.as_array() {
                into.retain(|name, _| kept.iter().any(|it| it.as_str() == Some(name)));
            }
            continue;
        }
        match value {
            Value::Null => drop(into.remove(name)),
            Value::Object(value) => map(into.entry(name.clone()).or_insert(Value::Null), value)?,
            Value::Array(value) => list(into, name, value)?,
            value => drop(into.insert(name.clone(), value.clone())),
        }
    }
    Ok(())
}

fn list(into: &mut Map<String, Value>, name: &str, patch: &[Value]) -> Result<(), Failure> {
    let is_directive = |item: &Value| item.get("$patch").is_some() && item.as_object().is_some_and(|it| it.len() == 1);
    if name == "finalizers" {
        let had = into.entry(name.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(had) = had {
            let new: Vec<Value> = patch.iter().filter(|item| !had.contains(item)).cloned().collect();
            had.extend(new);
        }
        return Ok(());
    }
    let items: Vec<Value> = patch.iter().filter(|item| !is_directive(item)).cloned().collect();
    let replaces =
        patch.iter().any(|item| is_directive(item) && item.get("$patch").and_then(Value::as_str) == Some("replace"));
    let had = into.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let all: Vec<Value> = items.iter().chain(&had).cloned().collect();
    let Some(key) = merge_key(name, &all).filter(|_| !replaces) else {
        into.insert(name.to_owned(), Value::Array(items));
        return Ok(());
    };
    let mut merged = had;
    for item in &items {
        let place = merged.iter().position(|it| it.get(key) == item.get(key));
        let deletes = item.get("$patch").and_then(Value::as_str) == Some("delete");
        match (place, item) {
            (Some(place), _) if deletes => drop(merged.remove(place)),
            (None, _) if deletes => {}
            (Some(place), Value::Object(item)) => {
                if let Some(target) = merged.get_mut(place) {
                    map(target, item)?;
                }
            }
            (_, item) => {
                let mut fresh = Value::Null;
                if let Value::Object(item) = item {
                    map(&mut fresh, item)?;
                }
                merged.push(fresh);
            }
        }
    }
    into.insert(name.to_owned(), Value::Array(merged));
    Ok(())
}

fn own((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn unknown(directive: &str) -> Failure {
    Failure::bad_request(format!("Unknown patch type found: {directive}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_are_merged_by_name() {
        let mut pod = json!({"spec": {"containers": [
            {"name": "app", "image": "cart:1", "args": ["a", "b"]}, {"name": "side", "image": "side:1"}]}});
        let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "app"}, {"name": "side"}],
            "containers": [{"name": "app", "image": "cart:2", "args": ["c"]}]}});
        strategic(&mut pod, &patch).unwrap();
        assert_eq!(
            pod,
            json!({"spec": {"containers": [
            {"name": "app", "image": "cart:2", "args": ["c"]}, {"name": "side", "image": "side:1"}]}})
        );
        strategic(&mut pod, &json!({"spec": {"containers": [{"name": "side", "$patch": "delete"}]}})).unwrap();
        assert_eq!(pod["spec"]["containers"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn null_takes_a_field_away() {
        let mut object = json!({"metadata": {"annotations": {"a": "1", "b": "2"}}});
        strategic(&mut object, &json!({"metadata": {"annotations": {"a": null}}})).unwrap();
        assert_eq!(object, json!({"metadata": {"annotations": {"b": "2"}}}));
        merge(&mut object, &json!({"metadata": {"annotations": null, "labels": {"x": "y"}}}));
        assert_eq!(object, json!({"metadata": {"labels": {"x": "y"}}}));
    }
}

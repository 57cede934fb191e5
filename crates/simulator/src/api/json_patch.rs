//! The patches a client may send, applied to the object as it is.

use serde_json::{Map, Value, json};

use super::merge;
use crate::failure::Failure;

/// Operations a JSON Patch may have at most.
const MOST: usize = 10_000;

/// A patch, by its content type.
#[derive(Debug, Clone)]
pub(crate) enum Patch {
    /// `application/json-patch+json` (RFC 6902).
    Json(Value),
    /// `application/merge-patch+json` (RFC 7386).
    Merge(Value),
    /// `application/strategic-merge-patch+json`.
    Strategic(Value),
}

impl Patch {
    /// Applies it.
    ///
    /// # Errors
    /// 422 when an operation does not apply, 400 when it is none.
    pub(super) fn apply(&self, object: &mut Value) -> Result<(), Failure> {
        match self {
            Self::Json(operations) => apply(object, operations),
            Self::Merge(patch) => {
                if !patch.is_object() {
                    return Err(Failure::bad_request(
                        "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
                    ));
                }
                merge::merge(object, patch);
                Ok(())
            }
            Self::Strategic(patch) => merge::strategic(object, patch),
        }
    }
}

fn apply(object: &mut Value, operations: &Value) -> Result<(), Failure> {
    let Some(operations) = operations.as_array() else {
        return Err(Failure::bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ));
    };
    if operations.len() > MOST {
        let message = format!("The allowed maximum operations in a JSON patch is {MOST}, got {}", operations.len());
        return Err(Failure::new(413, "RequestEntityTooLarge", message, json!({})));
    }
    for operation in operations {
        step(object, operation).ok_or_else(Failure::patch_does_not_apply)?;
    }
    Ok(())
}

/// One operation; none when it does not apply.
fn step(object: &mut Value, operation: &Value) -> Option<()> {
    let path = operation.get("path")?.as_str()?;
    match operation.get("op")?.as_str()? {
        // As the API server's library has it: what is not there passes for null, where its parent is.
        "test" => {
            let wanted = operation.get("value").unwrap_or(&Value::Null);
            let found = match path {
                "" => Some(&*object),
                path => parent(object, path).and_then(|(parent, last)| child(parent, &last)),
            };
            match found {
                Some(found) => (found == wanted).then_some(()),
                None if path.is_empty() => None,
                None => (wanted.is_null() && parent(object, path).is_some()).then_some(()),
            }
        }
        "add" => add(object, path, operation.get("value").cloned().unwrap_or_default()),
        "remove" => take(object, path).map(drop),
        "replace" => {
            let value = operation.get("value").cloned()?;
            if path.is_empty() {
                *object = value;
                return Some(());
            }
            // The API server's library replaces a field that is not there, where its parent is.
            match parent(object, path)?.0 {
                Value::Object(_) => add(object, path, value),
                _ => {
                    *object.pointer_mut(path)? = value;
                    Some(())
                }
            }
        }
        "move" => {
            let value = take(object, operation.get("from")?.as_str()?)?;
            add(object, path, value)
        }
        "copy" => {
            let value = object.pointer(operation.get("from")?.as_str()?)?.clone();
            add(object, path, value)
        }
        _ => None,
    }
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

fn parent<'a>(object: &'a Value, path: &str) -> Option<(&'a Value, String)> {
    let (above, last) = path.rsplit_once('/')?;
    let found = object.pointer(above)?;
    (found.is_object() || found.is_array()).then(|| (found, unescape(last)))
}

fn child<'a>(parent: &'a Value, name: &str) -> Option<&'a Value> {
    match parent {
        Value::Object(map) => map.get(name),
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

fn add(object: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *object = value;
        return Some(());
    }
    let (above, last) = path.rsplit_once('/')?;
    match object.pointer_mut(above)? {
        Value::Object(map) => drop(map.insert(unescape(last), value)),
        Value::Array(list) if last == "-" => list.push(value),
        Value::Array(list) => {
            let index: usize = last.parse().ok().filter(|index| *index <= list.len())?;
            list.insert(index, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(object: &mut Value, path: &str) -> Option<Value> {
    let (above, last) = path.rsplit_once('/')?;
    match object.pointer_mut(above)? {
        Value::Object(map) => Map::remove(map, &unescape(last)),
        Value::Array(list) => {
            let index: usize = last.parse().ok().filter(|index| *index < list.len())?;
            Some(list.remove(index))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(operations: Value) -> Result<Value, Failure> {
        let mut object = json!({"metadata": {"uid": "u"}, "spec": {"replicas": 3, "list": [1, 2]}});
        Patch::Json(operations).apply(&mut object).map(|()| object)
    }

    #[test]
    fn what_is_absent_passes_a_test_for_null_where_its_parent_is_there() {
        assert!(patched(json!([{"op": "test", "path": "/metadata/annotations", "value": null}])).is_ok());
        assert!(patched(json!([{"op": "test", "path": "/metadata/annotations/x", "value": null}])).is_err());
        assert!(patched(json!([{"op": "test", "path": "/metadata/uid", "value": null}])).is_err());
    }

    #[test]
    fn a_failing_operation_is_worded_as_the_api_server_words_it() {
        for operation in [
            json!({"op": "test", "path": "/metadata/uid", "value": "other"}),
            json!({"op": "remove", "path": "/spec/none"}),
            json!({"op": "replace", "path": "/none/at/all", "value": 1}),
            json!({"op": "add", "path": "/none/at/all", "value": 1}),
            json!({"op": "add", "path": "/spec/list/7", "value": 1}),
        ] {
            let failure = patched(json!([operation])).unwrap_err();
            assert_eq!((failure.code, failure.reason()), (422, "Invalid"));
            assert_eq!(failure.message(), "the server rejected our request due to an error in our request");
        }
    }

    #[test]
    fn a_field_that_is_not_there_is_replaced_where_its_parent_is() {
        let object = patched(json!([{"op": "replace", "path": "/spec/none", "value": 1}])).unwrap();
        assert_eq!(object["spec"]["none"], 1);
    }

    #[test]
    fn the_operations_do_what_rfc_6902_says() {
        let object = patched(json!([
            {"op": "add", "path": "/spec/list/0", "value": 0},
            {"op": "add", "path": "/spec/list/-", "value": 3},
            {"op": "copy", "from": "/spec/replicas", "path": "/spec/copied"},
            {"op": "move", "from": "/spec/replicas", "path": "/spec/moved"},
            {"op": "add", "path": "/metadata/a~1b", "value": "x"},
        ]))
        .unwrap();
        assert_eq!(
            object,
            json!({"metadata": {"uid": "u", "a/b": "x"}, "spec": {"list": [0, 1, 2, 3], "copied": 3, "moved": 3}})
        );
    }
}

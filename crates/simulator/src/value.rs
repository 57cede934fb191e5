//! Short ways into objects that are JSON values.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

static NULL: Value = Value::Null;

/// What stands at a JSON pointer; null where nothing does.
pub(crate) fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    // Without escapes nothing need be copied: this is the most frequent question of all.
    if pointer.contains('~') {
        return object.pointer(pointer).unwrap_or(&NULL);
    }
    let mut place = object;
    for part in pointer.split('/').skip(1) {
        let next = match place {
            Value::Object(map) => map.get(part),
            Value::Array(list) => part.parse().ok().and_then(|index: usize| list.get(index)),
            _ => None,
        };
        match next {
            Some(next) => place = next,
            None => return &NULL,
        }
    }
    place
}

/// The text at a pointer; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).as_str().unwrap_or_default()
}

/// The integer at a pointer.
pub(crate) fn integer(object: &Value, pointer: &str) -> Option<i64> {
    at(object, pointer).as_i64()
}

/// Whether the boolean at a pointer is true.
pub(crate) fn is_true(object: &Value, pointer: &str) -> bool {
    at(object, pointer).as_bool().unwrap_or(false)
}

/// The items at a pointer; none where there is no list.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).as_array().map_or(&[], Vec::as_slice)
}

/// The time at a pointer.
pub(crate) fn time(object: &Value, pointer: &str) -> Option<DateTime<Utc>> {
    at(object, pointer).as_str()?.parse().ok()
}

/// A time as the API server writes it: whole seconds, `Z`.
pub(crate) fn rfc3339(at: DateTime<Utc>) -> Value {
    Value::String(at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Puts a value at a pointer, making the objects on the way. Lists are not made: an index must exist.
pub(crate) fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for part in pointer.split('/').skip(1) {
        let part = unescaped(part);
        place = match place {
            Value::Array(list) => match part.parse().ok().and_then(|index: usize| list.get_mut(index)) {
                Some(item) => item,
                None => return,
            },
            other => {
                if !other.is_object() {
                    *other = Value::Object(Map::new());
                }
                let Value::Object(map) = other else { return };
                map.entry(part).or_insert(Value::Null)
            }
        };
    }
    *place = value;
}

/// A part of a JSON pointer as the name it stands for.
fn unescaped(part: &str) -> Cow<'_, str> {
    if part.contains('~') { part.replace("~1", "/").replace("~0", "~").into() } else { part.into() }
}

/// Takes away what stands at a pointer and gives it.
pub(crate) fn unset(object: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, last) = pointer.rsplit_once('/')?;
    let last = unescaped(last);
    match object.pointer_mut(parent)? {
        Value::Object(map) => map.remove(last.as_ref()),
        Value::Array(list) => {
            let index: usize = last.parse().ok()?;
            (index < list.len()).then(|| list.remove(index))
        }
        _ => None,
    }
}

/// `metadata.name`
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`; empty for a cluster-scoped object.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `metadata.uid`
pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// Whether the object waits for its end: it has a deletionTimestamp.
pub(crate) fn is_terminating(object: &Value) -> bool {
    !at(object, "/metadata/deletionTimestamp").is_null()
}

/// The owner reference with `controller: true`.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences").iter().find(|owner| is_true(owner, "/controller"))
}

/// Whether the object's controller has this uid.
pub(crate) fn is_controlled_by(object: &Value, owner: &str) -> bool {
    controller(object).is_some_and(|found| text(found, "/uid") == owner)
}

/// The condition of a type in `status.conditions`.
pub(crate) fn condition<'a>(object: &'a Value, of: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").iter().find(|condition| text(condition, "/type") == of)
}

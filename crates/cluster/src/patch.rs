use evenkeel_model::STAMP_ANNOTATION;
use serde_json::{Value, json};

use crate::{Stamp, changed_lines};

/// A JSON Patch (RFC 6902) under construction, over an object as it was read.
///
/// Each field it sets is tested first, and so is the uid, so that the API server refuses the whole
/// patch (422) when another object has taken the name or somebody changed a field meanwhile. The
/// stamp goes out in the same request: there is no state in which the change is there and the stamp
/// is not.
#[derive(Debug, Clone)]
pub struct Patch<'a> {
    live: &'a Value,
    sets: Vec<(Vec<String>, Option<Value>)>,
}

/// A finished patch.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// Tests the uid and each field it sets, sets them, stamps the object; all or nothing.
    pub request: Value,
    /// Tests the uid, our stamp, and that each field still holds our value; puts back what was there;
    /// stamps the undoing.
    pub inverse: Value,
    /// What changes, for people.
    pub changes: Vec<String>,
}

/// Why a patch can't be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The object as it was read has no uid.
    #[error("expected an object with metadata.uid, found none")]
    NoUid,
    /// A path that leads through something that is no map.
    #[error("expected a field at {0}, found no map above it")]
    NoParent(String),
    /// All fields hold the wanted values already.
    #[error("nothing would change: the fields hold the wanted values already")]
    NoChange,
}

impl<'a> Patch<'a> {
    /// A patch of `live`, the object as the API server sent it, unknown fields included.
    pub fn of(live: &'a Value) -> Self {
        Self { live, sets: Vec::new() }
    }

    /// Sets a field. `path` holds the names on the way to it, as they are.
    #[must_use]
    pub fn set(mut self, path: &[&str], value: Value) -> Self {
        self.sets.push((path.iter().map(|&name| name.to_owned()).collect(), Some(value)));
        self
    }

    /// Removes a field.
    #[must_use]
    pub fn remove(mut self, path: &[&str]) -> Self {
        self.sets.push((path.iter().map(|&name| name.to_owned()).collect(), None));
        self
    }

    /// Builds the patch and its inverse.
    ///
    /// # Errors
    /// See [`PatchError`].
    pub fn build(self, stamp: &Stamp) -> Result<Built, PatchError> {
        let uid = self.live.pointer("/metadata/uid").and_then(Value::as_str).ok_or(PatchError::NoUid)?;
        let test_uid = test("/metadata/uid", json!(uid));
        let mut request = vec![test_uid.clone()];
        let mut inverse = vec![test_uid];
        let mut puts_back = Vec::new();
        let mut changes = Vec::new();
        for (path, after) in &self.sets {
            let (path, after) = self.reachable(path, after.clone())?;
            let at = pointer(&path);
            let before = self.live.pointer(&at).filter(|it| !it.is_null());
            if before == after.as_ref() {
                continue;
            }
            changes.extend(changed_lines(&dotted(&path), before, after.as_ref()));
            request.push(test(&at, before.cloned().unwrap_or(Value::Null)));
            request.push(put(&at, before, after.as_ref()));
            inverse.push(test(&at, after.clone().unwrap_or(Value::Null)));
            puts_back.push(put(&at, after.as_ref(), before));
        }
        if changes.is_empty() {
            return Err(PatchError::NoChange);
        }
        self.stamp_with(stamp, &mut request);
        inverse.push(test(&stamp_path(), json!(stamp.to_string())));
        inverse.extend(puts_back);
        inverse.push(json!({"op": "add", "path": stamp_path(), "value": stamp.undoing().to_string()}));
        Ok(Built { request: Value::Array(request), inverse: Value::Array(inverse), changes })
    }

    /// The stamp overwrites an older one untested: it says who wrote last, whoever that was. An absent
    /// map of annotations is made, and tested to be absent (`null`, as the API server has it), so that
    /// none that came meanwhile is lost.
    fn stamp_with(&self, stamp: &Stamp, operations: &mut Vec<Value>) {
        if self.live.pointer("/metadata/annotations").is_some_and(Value::is_object) {
            operations.push(json!({"op": "add", "path": stamp_path(), "value": stamp.to_string()}));
        } else {
            operations.push(test("/metadata/annotations", Value::Null));
            let annotations = json!({STAMP_ANNOTATION: stamp.to_string()});
            operations.push(json!({"op": "add", "path": "/metadata/annotations", "value": annotations}));
        }
    }

    /// A path whose parent exists: where maps on the way are absent, they are part of the value.
    fn reachable(&self, path: &[String], value: Option<Value>) -> Result<(Vec<String>, Option<Value>), PatchError> {
        let mut path = path.to_vec();
        let mut value = value;
        while let Some(name) = path.pop() {
            match self.live.pointer(&pointer(&path)) {
                Some(Value::Object(_)) => {
                    path.push(name);
                    return Ok((path, value));
                }
                None | Some(Value::Null) => value = value.map(|value| json!({ name: value })),
                Some(_) => {
                    path.push(name);
                    break;
                }
            }
        }
        Err(PatchError::NoParent(pointer(&path)))
    }
}

fn test(path: &str, value: Value) -> Value {
    json!({"op": "test", "path": path, "value": value})
}

fn put(path: &str, before: Option<&Value>, after: Option<&Value>) -> Value {
    match (before, after) {
        (_, None) => json!({"op": "remove", "path": path}),
        (None, Some(value)) => json!({"op": "add", "path": path, "value": value}),
        (Some(_), Some(value)) => json!({"op": "replace", "path": path, "value": value}),
    }
}

pub(crate) fn stamp_path() -> String {
    pointer(&["metadata".to_owned(), "annotations".to_owned(), STAMP_ANNOTATION.to_owned()])
}

/// A JSON Pointer (RFC 6901): `~` and `/` in names are escaped, in that order.
fn pointer(path: &[String]) -> String {
    path.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
}

fn dotted(path: &[String]) -> String {
    let mut text = String::new();
    for name in path {
        if name.contains(['.', '/']) {
            text.push_str(&format!("[{name}]"));
        } else {
            text.push_str(if text.is_empty() { "" } else { "." });
            text.push_str(name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp::new("r-1", 3)
    }

    #[test]
    fn every_field_is_tested_and_the_stamp_goes_along() {
        let live = json!({"metadata": {"uid": "u", "annotations": {"a": "b"}}, "spec": {"replicas": 3}});
        let built = Patch::of(&live).set(&["spec", "replicas"], json!(5)).build(&stamp()).unwrap();
        assert_eq!(
            built.request,
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u"},
                {"op": "test", "path": "/spec/replicas", "value": 3},
                {"op": "replace", "path": "/spec/replicas", "value": 5},
                {"op": "add", "path": "/metadata/annotations/evenkeel.dev~1remediation", "value": "r-1/3"},
            ])
        );
        assert_eq!(
            built.inverse,
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u"},
                {"op": "test", "path": "/spec/replicas", "value": 5},
                {"op": "test", "path": "/metadata/annotations/evenkeel.dev~1remediation", "value": "r-1/3"},
                {"op": "replace", "path": "/spec/replicas", "value": 3},
                {"op": "add", "path": "/metadata/annotations/evenkeel.dev~1remediation", "value": "r-1/3/undo"},
            ])
        );
        assert_eq!(built.changes, ["spec.replicas: 3 → 5"]);
    }

    #[test]
    fn an_absent_map_of_annotations_is_made_and_tested_to_be_absent() {
        let live = json!({"metadata": {"uid": "u"}, "spec": {}});
        let built = Patch::of(&live).set(&["spec", "unschedulable"], json!(true)).build(&stamp()).unwrap();
        assert_eq!(
            built.request,
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u"},
                {"op": "test", "path": "/spec/unschedulable", "value": null},
                {"op": "add", "path": "/spec/unschedulable", "value": true},
                {"op": "test", "path": "/metadata/annotations", "value": null},
                {"op": "add", "path": "/metadata/annotations", "value": {"evenkeel.dev/remediation": "r-1/3"}},
            ])
        );
        assert!(built.inverse.to_string().contains(r#"{"op":"remove","path":"/spec/unschedulable"}"#));
    }

    #[test]
    fn names_are_escaped_and_missing_maps_are_made() {
        let live = json!({"metadata": {"uid": "u"}, "spec": {"template": {"metadata": {}}}});
        let path = ["spec", "template", "metadata", "annotations", "a~b/c"];
        let built = Patch::of(&live).set(&path, json!("x")).build(&stamp()).unwrap();
        assert_eq!(built.request[2]["path"], "/spec/template/metadata/annotations");
        assert_eq!(built.request[2]["value"], json!({"a~b/c": "x"}));
        let live = json!({"metadata": {"uid": "u"}, "spec": {"template": {"metadata": {"annotations": {}}}}});
        let built = Patch::of(&live).set(&path, json!("x")).build(&stamp()).unwrap();
        assert_eq!(built.request[2]["path"], "/spec/template/metadata/annotations/a~0b~1c");
    }

    #[test]
    fn request_and_inverse_lead_there_and_back() {
        let live = json!({"metadata": {"uid": "u", "annotations": {"k": "v"}},
            "spec": {"replicas": 3, "template": {"a": [1, 2]}, "gone": true}});
        let built = Patch::of(&live)
            .set(&["spec", "template"], json!({"b": 1}))
            .set(&["spec", "new"], json!("n"))
            .remove(&["spec", "gone"])
            .build(&stamp())
            .unwrap();
        let mut object = live.clone();
        // The crate json-patch knows no test for absence; the API server does (see tests/it.rs).
        let known = |patch: &Value| -> json_patch::Patch {
            let operations = patch.as_array().unwrap().iter();
            let absent = |it: &&Value| it["op"] == "test" && it["value"].is_null();
            serde_json::from_value(operations.filter(|it| !absent(it)).cloned().collect()).unwrap()
        };
        json_patch::patch(&mut object, &known(&built.request)).unwrap();
        assert_eq!(object["spec"], json!({"replicas": 3, "template": {"b": 1}, "new": "n"}));
        json_patch::patch(&mut object, &known(&built.inverse)).unwrap();
        assert_eq!(object["spec"], live["spec"]);
        assert_eq!(object["metadata"]["annotations"], json!({"k": "v", "evenkeel.dev/remediation": "r-1/3/undo"}));
    }

    #[test]
    fn what_changes_nothing_or_has_no_place_is_refused() {
        let live = json!({"metadata": {"uid": "u"}, "spec": {"replicas": 3}});
        let same = Patch::of(&live).set(&["spec", "replicas"], json!(3)).build(&stamp());
        assert_eq!(same, Err(PatchError::NoChange));
        let astray = Patch::of(&live).set(&["spec", "replicas", "x"], json!(3)).build(&stamp());
        assert_eq!(astray, Err(PatchError::NoParent("/spec/replicas/x".to_owned())));
        assert_eq!(Patch::of(&json!({})).build(&stamp()), Err(PatchError::NoUid));
    }
}

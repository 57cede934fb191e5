//! `metadata.managedFields`: who wrote which field last, as structured-merge-diff records updates.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::fields::{Shape, key_of, shape};
use crate::value::{at, items, rfc3339, set, text, unset};

/// Whose write is recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) manager: &'a str,
    pub(super) api_version: &'a str,
    pub(super) subresource: &'a str,
    /// The object is a custom resource: its lists are replaced as a whole.
    pub(super) custom: bool,
    /// Parts of the object that this endpoint does not write.
    pub(super) ignored: &'a [&'a str],
}

/// What the API server sets itself and nobody owns.
const NOBODYS: [&str; 10] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// What every object of a kind has before anybody fills it in.
const ALWAYS: [&str; 10] = [
    "metadata",
    "spec",
    "status",
    "template",
    "jobTemplate",
    "strategy",
    "updateStrategy",
    "containers",
    "nodeInfo",
    "daemonEndpoints",
];

/// A set of fields as FieldsV1 has it: an empty map is a member, `.` makes one of a map with members in it.
type Fields = Map<String, Value>;

/// Brings the managedFields of `new` up to date: whose they were in `old`, but for what this write changed.
pub(super) fn record(old: Option<&Value>, new: &mut Value, writer: Writer<'_>, now: DateTime<Utc>) {
    let mut entries = old.map_or(&[][..], |old| items(old, "/metadata/managedFields")).to_vec();
    let (mut written, mut gone) = (Fields::new(), Fields::new());
    let nothing = Value::Object(Map::new());
    let walk = Walk { custom: writer.custom };
    walk.top(old.unwrap_or(&nothing), new, writer.ignored, (&mut written, &mut gone));
    if !written.is_empty() || !gone.is_empty() {
        let mut mine = false;
        for entry in &mut entries {
            let is_mine = text(entry, "/manager") == writer.manager
                && text(entry, "/operation") == "Update"
                && text(entry, "/apiVersion") == writer.api_version
                && text(entry, "/subresource") == writer.subresource;
            let Some(Value::Object(fields)) = entry.get_mut("fieldsV1") else { continue };
            subtract(fields, &gone);
            if is_mine {
                mine = true;
                unite(fields, &written);
                set(entry, "/time", rfc3339(now));
            } else {
                subtract(fields, &written);
            }
        }
        if !mine && !written.is_empty() {
            entries.push(entry(writer, written, now));
        }
        entries.retain(|entry| at(entry, "/fieldsV1").as_object().is_some_and(|fields| !fields.is_empty()));
        entries.sort_by(|a, b| {
            let key = |it: &Value| (text(it, "/operation").to_owned(), text(it, "/time").to_owned());
            key(a).cmp(&key(b)).then_with(|| text(a, "/manager").cmp(text(b, "/manager")))
        });
    }
    if entries.is_empty() {
        unset(new, "/metadata/managedFields");
    } else {
        set(new, "/metadata/managedFields", Value::Array(entries));
    }
}

fn entry(writer: Writer<'_>, fields: Fields, now: DateTime<Utc>) -> Value {
    let mut entry = json!({
        "manager": writer.manager, "operation": "Update", "apiVersion": writer.api_version,
        "time": rfc3339(now), "fieldsType": "FieldsV1", "fieldsV1": fields,
    });
    if !writer.subresource.is_empty() {
        set(&mut entry, "/subresource", json!(writer.subresource));
    }
    entry
}

/// Finds what differs between two versions of an object.
struct Walk {
    custom: bool,
}

impl Walk {
    fn top(&self, old: &Value, new: &Value, ignored: &[&str], sets: (&mut Fields, &mut Fields)) {
        let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return };
        let skipped = |name: &str| name == "apiVersion" || name == "kind" || ignored.contains(&name);
        self.maps(old, new, &skipped, false, false, sets);
    }

    fn maps(
        &self,
        old: &Fields,
        new: &Fields,
        skipped: &dyn Fn(&str) -> bool,
        in_metadata: bool,
        fresh: bool,
        (written, gone): (&mut Fields, &mut Fields),
    ) {
        for (name, value) in new.iter().filter(|(name, _)| !skipped(name)) {
            let before = old.get(name);
            if before == Some(value) {
                continue;
            }
            let (mut inner, mut lost) = (Fields::new(), Fields::new());
            if self.field(name, before, value, in_metadata, fresh, (&mut inner, &mut lost)) {
                written.insert(format!("f:{name}"), Value::Object(inner));
            }
            if !lost.is_empty() {
                gone.insert(format!("f:{name}"), Value::Object(lost));
            }
        }
        for (name, value) in old.iter().filter(|(name, _)| !skipped(name) && !new.contains_key(*name)) {
            gone.insert(format!("f:{name}"), Value::Object(self.whole(name, value, in_metadata)));
        }
    }

    /// Whether anything in a field was written; what, and what went, is added to the sets.
    fn field(
        &self,
        name: &str,
        old: Option<&Value>,
        new: &Value,
        in_metadata: bool,
        fresh: bool,
        (written, gone): (&mut Fields, &mut Fields),
    ) -> bool {
        let shape = shape(name, new, self.custom, in_metadata);
        match (shape, old, new) {
            (Shape::Map, None | Some(Value::Object(_)), Value::Object(new)) => {
                let fresh = fresh || (old.is_none() && !ALWAYS.contains(&name));
                if fresh && old.is_none() && !new.is_empty() {
                    written.insert(".".to_owned(), json!({}));
                }
                let nothing = Fields::new();
                let old_map = old.and_then(Value::as_object).unwrap_or(&nothing);
                let is_metadata = name == "metadata";
                let skipped = |name: &str| is_metadata && NOBODYS.contains(&name);
                self.maps(old_map, new, &skipped, is_metadata, fresh, (written, gone));
                !written.is_empty() || (old.is_none() && new.is_empty() && !ALWAYS.contains(&name))
            }
            (Shape::Keyed(keys), None | Some(Value::Array(_)), Value::Array(new)) => {
                let fresh = fresh || (old.is_none() && !ALWAYS.contains(&name));
                if fresh && old.is_none() && !new.is_empty() {
                    written.insert(".".to_owned(), json!({}));
                }
                let old = old.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                self.lists(old, new, keys, (written, gone));
                !written.is_empty()
            }
            (Shape::Set, None | Some(Value::Array(_)), Value::Array(new)) => {
                if old.is_none() && !new.is_empty() {
                    written.insert(".".to_owned(), json!({}));
                }
                let old = old.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let member = |value: &Value| (format!("v:{value}"), json!({}));
                written.extend(new.iter().filter(|value| !old.contains(value)).map(member));
                gone.extend(old.iter().filter(|value| !new.contains(value)).map(member));
                !written.is_empty()
            }
            _ => {
                if let Some(old) = old {
                    *gone = self.whole(name, old, in_metadata);
                }
                true
            }
        }
    }

    fn lists(&self, old: &[Value], new: &[Value], keys: &[&str], (written, gone): (&mut Fields, &mut Fields)) {
        for item in new {
            let key = key_of(item, keys);
            let before = old.iter().find(|before| key_of(before, keys) == key);
            if before == Some(item) {
                continue;
            }
            let (mut inner, mut lost) = (Fields::new(), Fields::new());
            if before.is_none() {
                inner.insert(".".to_owned(), json!({}));
            }
            let nothing = Fields::new();
            let before_map = before.and_then(Value::as_object).unwrap_or(&nothing);
            if let Some(item) = item.as_object() {
                self.maps(before_map, item, &|_| false, false, before.is_none(), (&mut inner, &mut lost));
            }
            let key = format!("k:{}", Value::Object(key));
            if !inner.is_empty() {
                written.insert(key.clone(), Value::Object(inner));
            }
            if !lost.is_empty() {
                gone.insert(key, Value::Object(lost));
            }
        }
        let kept: Vec<Fields> = new.iter().map(|item| key_of(item, keys)).collect();
        for item in old.iter().filter(|item| !kept.contains(&key_of(item, keys))) {
            let mut fields = self.fields(item, false);
            fields.insert(".".to_owned(), json!({}));
            gone.insert(format!("k:{}", Value::Object(key_of(item, keys))), Value::Object(fields));
        }
    }

    /// All fields of a map.
    fn fields(&self, value: &Value, in_metadata: bool) -> Fields {
        let fields = value.as_object().into_iter().flatten();
        fields.map(|(name, value)| (format!("f:{name}"), Value::Object(self.whole(name, value, in_metadata)))).collect()
    }

    /// A field with everything in it.
    fn whole(&self, name: &str, value: &Value, in_metadata: bool) -> Fields {
        let mut all = match (shape(name, value, self.custom, in_metadata), value) {
            (Shape::Map, value) => self.fields(value, name == "metadata"),
            (Shape::Keyed(keys), Value::Array(list)) => {
                let item = |item: &Value| {
                    let mut fields = self.fields(item, false);
                    fields.insert(".".to_owned(), json!({}));
                    (format!("k:{}", Value::Object(key_of(item, keys))), Value::Object(fields))
                };
                list.iter().map(item).collect()
            }
            (Shape::Set, Value::Array(list)) => list.iter().map(|value| (format!("v:{value}"), json!({}))).collect(),
            _ => Fields::new(),
        };
        if !all.is_empty() {
            all.insert(".".to_owned(), json!({}));
        }
        all
    }
}

fn unite(into: &mut Fields, more: &Fields) {
    for (name, value) in more {
        match (into.get_mut(name), value) {
            (Some(Value::Object(into)), Value::Object(more)) => {
                // A member that becomes a map with members stays a member.
                if into.is_empty() != more.is_empty() {
                    into.insert(".".to_owned(), json!({}));
                }
                unite(into, more);
            }
            _ => drop(into.insert(name.clone(), value.clone())),
        }
    }
}

fn subtract(from: &mut Fields, less: &Fields) {
    for (name, value) in less {
        let (Some(Value::Object(left)), Value::Object(less)) = (from.get_mut(name), value) else { continue };
        let empty = match (left.is_empty(), less.is_empty()) {
            (true, _) => less.is_empty() || less.contains_key("."),
            (false, true) => {
                left.remove(".");
                left.is_empty()
            }
            (false, false) => {
                subtract(left, less);
                left.is_empty()
            }
        };
        if empty {
            from.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(old: Option<&Value>, mut new: Value, manager: &str, subresource: &str, second: u32) -> Value {
        let writer = Writer { manager, api_version: "apps/v1", subresource, custom: false, ignored: &[] };
        let now = format!("2026-06-03T09:00:{second:02}Z").parse().unwrap();
        record(old, &mut new, writer, now);
        new
    }

    fn cart(image: &str, replicas: u32) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "cart", "labels": {"app": "cart"}},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "cart"}},
                "template": {"metadata": {"labels": {"app": "cart"}},
                    "spec": {"containers": [{"name": "app", "image": image, "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}}})
    }

    fn fields<'a>(object: &'a Value, manager: &str) -> &'a Value {
        let entries = items(object, "/metadata/managedFields");
        entries.iter().find(|entry| entry["manager"] == manager).map_or(&Value::Null, |entry| &entry["fieldsV1"])
    }

    #[test]
    fn the_creator_owns_all_of_it() {
        let made = write(None, cart("cart:1", 3), "kubectl-create", "", 0);
        assert_eq!(
            *fields(&made, "kubectl-create"),
            json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:image": {}, "f:name": {},
                        "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}":
                            {".": {}, "f:containerPort": {}, "f:protocol": {}}}}}}}}})
        );
    }

    #[test]
    fn who_writes_last_owns_the_field() {
        let made = write(None, cart("cart:1", 3), "kubectl-create", "", 0);
        let set = write(Some(&made), cart("cart:2", 3), "kubectl-set", "", 5);
        assert_eq!(
            *fields(&set, "kubectl-set"),
            json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {"f:image": {}}}}}}})
        );
        let container = "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"app\"}";
        let left = fields(&set, "kubectl-create").pointer(container).unwrap();
        assert!(left.get("f:image").is_none() && left.get("f:name").is_some(), "{left}");
        let times: Vec<&Value> = items(&set, "/metadata/managedFields").iter().map(|entry| &entry["time"]).collect();
        assert_eq!(times, ["2026-06-03T09:00:00Z", "2026-06-03T09:00:05Z"]);
    }

    #[test]
    fn what_went_belongs_to_nobody() {
        let mut with = cart("cart:1", 3);
        with["metadata"]["annotations"] = json!({"a": "1", "b": "2"});
        let made = write(None, with, "kubectl-create", "", 0);
        let less = write(Some(&made), cart("cart:1", 3), "kubectl-annotate", "", 5);
        assert!(fields(&less, "kubectl-create")["f:metadata"].get("f:annotations").is_none(), "{less}");
        assert!(fields(&less, "kubectl-annotate").is_null());
    }

    #[test]
    fn the_status_has_its_own_entry() {
        let made = write(None, cart("cart:1", 3), "kubectl-create", "", 0);
        let mut seen = made.clone();
        seen["status"] = json!({"replicas": 3, "conditions": [{"type": "Available", "status": "True"}]});
        let seen = write(Some(&made), seen, "kube-controller-manager", "status", 2);
        let entry = &items(&seen, "/metadata/managedFields")[1];
        assert_eq!(entry["subresource"], "status");
        assert_eq!(
            entry["fieldsV1"],
            json!({"f:status": {"f:replicas": {}, "f:conditions": {".": {},
                "k:{\"type\":\"Available\"}": {".": {}, "f:status": {}, "f:type": {}}}}})
        );
    }
}

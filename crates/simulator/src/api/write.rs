//! Create and replace, with everything the API server does on the way.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::managed_fields::{self, Writer};
use super::{By, Part, Written, rules};
use crate::failure::Failure;
use crate::kinds::{Kind, Resource};
use crate::state::State;
use crate::store::Key;
use crate::value::{at, integer, is_terminating, items, rfc3339, set, text, unset};

/// Metadata that clients can't set or change.
const SERVERS: [&str; 4] = ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];

impl State {
    pub(super) fn kind_of(&self, resource: &Resource) -> Result<Arc<Kind>, Failure> {
        self.kinds.get(resource).cloned().ok_or_else(Failure::no_such_resource)
    }

    /// Creates an object. In a dry run it is what would be created.
    pub(crate) fn create(&mut self, by: By<'_>, resource: &Resource, namespace: &str, mut object: Value) -> Written {
        let kind = self.kind_of(resource)?;
        matches_type(&kind, &object)?;
        in_namespace(&object, namespace)?;
        if !text(&object, "/metadata/resourceVersion").is_empty() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Failure::new(500, "", message, Value::Null));
        }
        if !at(&object, "/metadata").is_object() {
            set(&mut object, "/metadata", json!({}));
        }
        if text(&object, "/metadata/name").is_empty() && !text(&object, "/metadata/generateName").is_empty() {
            let name = format!("{}{}", text(&object, "/metadata/generateName"), self.suffix());
            set(&mut object, "/metadata/name", json!(name));
        }
        let name = text(&object, "/metadata/name").to_owned();
        if name.is_empty() {
            let why = ("FieldValueRequired", "metadata.name", "Required value: name or generateName is required");
            return Err(Failure::invalid(&kind.kind, &kind.group, "", why));
        }
        set(&mut object, "/apiVersion", json!(kind.api_version()));
        set(&mut object, "/kind", json!(kind.kind));
        if kind.namespaced {
            set(&mut object, "/metadata/namespace", json!(namespace));
        }
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields", "selfLink"] {
            unset(&mut object, &format!("/metadata/{field}"));
        }
        if !rules::keeps_status_on_create(&kind) {
            unset(&mut object, "/status");
        }
        rules::prepare(&kind, &mut object);
        let uid = self.uid();
        set(&mut object, "/metadata/uid", json!(uid));
        set(&mut object, "/metadata/creationTimestamp", rfc3339(self.now()));
        crate::schema::admit(self, &kind, Part::Main, &mut object, None)?;
        crate::schema::admit_by_policies(self, by.user, &kind, &object)?;
        let key = Key::new(resource.clone(), namespace, &name);
        if self.store.get(&key).is_some() {
            return Err(Failure::already_exists(&key));
        }
        self.record(by, &kind, "", &mut object, None);
        if by.dry_run {
            return Ok(Arc::new(object));
        }
        let written = self.store.put(&key, object);
        crate::schema::stored(self, &kind, &written)?;
        Ok(written)
    }

    /// Replaces an object, or the part of it that is asked for. What changes nothing writes nothing.
    pub(crate) fn replace(&mut self, by: By<'_>, key: &Key, part: Part, object: Value) -> Written {
        self.replace_through(by, key, (part, part.subresource()), object)
    }

    /// [`State::replace`], recorded as a write through a subresource.
    fn replace_through(
        &mut self,
        by: By<'_>,
        key: &Key,
        (part, subresource): (Part, &str),
        mut object: Value,
    ) -> Written {
        let kind = self.kind_of(&key.resource)?;
        if part == Part::Status && !rules::serves(&kind, "status") {
            return Err(Failure::no_such_resource());
        }
        matches_type(&kind, &object)?;
        in_namespace(&object, &key.namespace)?;
        let name = text(&object, "/metadata/name");
        if name != key.name {
            let message = if name.is_empty() {
                format!("the name of the object ({} based on URL) was undeterminable: name must be provided", key.name)
            } else {
                format!("the name of the object ({name}) does not match the name on the URL ({})", key.name)
            };
            return Err(Failure::bad_request(message));
        }
        let Some(old) = self.store.get(key).cloned() else {
            if rules::creates_on_update(&key.resource) && part == Part::Main {
                return self.create(by, &key.resource, &key.namespace, object);
            }
            return Err(Failure::not_found(key));
        };
        is_still(&kind, key, &old, &object)?;
        match part {
            Part::Main => {
                if rules::serves(&kind, "status") {
                    take(&old, &mut object, "/status");
                }
            }
            Part::Status => {
                let status = at(&object, "/status").clone();
                let annotations = at(&object, "/metadata/annotations").clone();
                object = (*old).clone();
                set(&mut object, "/status", status);
                if !kind.is_custom() && annotations.is_object() {
                    set(&mut object, "/metadata/annotations", annotations);
                }
            }
        }
        set(&mut object, "/apiVersion", json!(kind.api_version()));
        set(&mut object, "/kind", json!(kind.kind));
        if kind.namespaced {
            set(&mut object, "/metadata/namespace", json!(key.namespace));
        }
        for field in SERVERS.iter().chain(&["generation", "managedFields", "resourceVersion", "selfLink"]) {
            take(&old, &mut object, &format!("/metadata/{field}"));
        }
        if object == *old {
            return Ok(old);
        }
        crate::schema::admit(self, &kind, part, &mut object, Some(&old))?;
        if object == *old {
            return Ok(old);
        }
        self.record(by, &kind, subresource, &mut object, Some(&old));
        if by.dry_run {
            return Ok(Arc::new(object));
        }
        if is_over(&object) {
            self.remove(&kind, key);
            return Ok(Arc::new(object));
        }
        let written = self.store.put(key, object);
        crate::schema::stored(self, &kind, &written)?;
        Ok(written)
    }

    /// Changes an object as it is now. `change` may refuse.
    pub(crate) fn change(
        &mut self,
        by: By<'_>,
        key: &Key,
        part: Part,
        change: impl FnOnce(&mut Value) -> Result<(), Failure>,
    ) -> Written {
        self.change_through(by, key, (part, part.subresource()), change)
    }

    /// [`State::change`], recorded as a write through a subresource.
    pub(super) fn change_through(
        &mut self,
        by: By<'_>,
        key: &Key,
        through: (Part, &str),
        change: impl FnOnce(&mut Value) -> Result<(), Failure>,
    ) -> Written {
        let old = self.store.get(key).ok_or_else(|| Failure::not_found(key))?;
        let mut object = (**old).clone();
        change(&mut object)?;
        self.replace_through(by, key, through, object)
    }

    fn record(&self, by: By<'_>, kind: &Kind, subresource: &str, object: &mut Value, old: Option<&Value>) {
        tracing::trace!(
            user = by.user,
            kind = kind.kind,
            object = text(object, "/metadata/name"),
            subresource,
            "write"
        );
        let api_version = kind.api_version();
        let (manager, custom) = (by.manager, kind.is_custom());
        // What the other endpoint writes, and what the server fills in itself, is nobody's here.
        let ignored: &[&str] = match (subresource, kind.resource().as_str()) {
            ("status", _) => &["spec"],
            (_, "namespaces") => &["spec", "status"],
            _ if rules::serves(kind, "status") => &["status"],
            _ => &[],
        };
        let writer = Writer { manager, api_version: &api_version, subresource, custom, ignored };
        managed_fields::record(old, object, writer, self.now());
    }

    /// Takes an object out of the store.
    pub(super) fn remove(&mut self, kind: &Kind, key: &Key) {
        if let Some(before) = self.store.remove(key) {
            crate::schema::removed(self, kind, &before);
        }
    }
}

/// Whether nothing holds a terminating object back any more.
pub(super) fn is_over(object: &Value) -> bool {
    is_terminating(object)
        && items(object, "/metadata/finalizers").is_empty()
        && integer(object, "/metadata/deletionGracePeriodSeconds").unwrap_or(0) == 0
        && (text(object, "/kind") != "Namespace" || items(object, "/spec/finalizers").is_empty())
}

/// Whether the object that is to be replaced is the one, and the version, that the replacement takes it for.
fn is_still(kind: &Kind, key: &Key, old: &Value, new: &Value) -> Result<(), Failure> {
    let (uid, found) = (text(new, "/metadata/uid"), text(old, "/metadata/uid"));
    if !uid.is_empty() && uid != found {
        return Err(Failure::conflict(key, &wrong_uid(key, uid, found)));
    }
    let version = text(new, "/metadata/resourceVersion");
    if version.is_empty() {
        if rules::allows_unconditional_update(kind) {
            return Ok(());
        }
        let why =
            ("FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0: must be specified for an update");
        let (plural, group) = crate::failure::split(&key.resource);
        return Err(Failure::invalid(plural, group, &key.name, why));
    }
    if version.parse::<u64>().is_err() {
        let message = format!("strconv.ParseUint: parsing \"{version}\": invalid syntax");
        return Err(Failure::new(500, "", message, Value::Null));
    }
    if version != text(old, "/metadata/resourceVersion") {
        return Err(Failure::modified(key));
    }
    Ok(())
}

/// What etcd's precondition says, the registry's key with it.
pub(super) fn wrong_uid(key: &Key, wanted: &str, found: &str) -> String {
    let (plural, group) = crate::failure::split(&key.resource);
    let mut path = String::from("/registry");
    for part in [group, plural, key.namespace.as_str(), key.name.as_str()].into_iter().filter(|it| !it.is_empty()) {
        // Groups of the core API are not part of the path, but those of custom resources are.
        if part != group || group.contains('.') && !group.ends_with(".k8s.io") {
            path.push('/');
            path.push_str(part);
        }
    }
    format!(
        "StorageError: invalid object, Code: 4, Key: {path}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    )
}

/// What a client sends must be of the type that the path names, where it says what it is.
fn matches_type(kind: &Kind, object: &Value) -> Result<(), Failure> {
    if !object.is_object() {
        let message = "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
        return Err(Failure::bad_request(message));
    }
    let (version, wanted) = (text(object, "/apiVersion"), kind.api_version());
    let found = match text(object, "/kind") {
        "" => kind.kind.as_str(),
        found => found,
    };
    let short = |version: &str| version.rsplit('/').next().unwrap_or_default().to_owned();
    let handled =
        |version: &str| format!("{found} in version \"{}\" cannot be handled as a {}", short(version), kind.kind);
    if !version.is_empty() && version != wanted && found == kind.kind {
        return Err(Failure::bad_request(format!(
            "{}: no kind \"{found}\" is registered for version \"{version}\" in scheme \"pkg/runtime/scheme.go:111\"",
            handled(version)
        )));
    }
    if found != kind.kind {
        let version = if version.is_empty() { &wanted } else { version };
        let group = if kind.group.is_empty() { "core" } else { kind.group.split('.').next().unwrap_or_default() };
        return Err(Failure::bad_request(format!(
            "{}: converting ({}.{found}) to ({group}.{}): unknown conversion",
            handled(version),
            short(version),
            kind.kind
        )));
    }
    Ok(())
}

fn in_namespace(object: &Value, namespace: &str) -> Result<(), Failure> {
    let said = text(object, "/metadata/namespace");
    if said.is_empty() || said == namespace {
        return Ok(());
    }
    Err(Failure::bad_request("the namespace of the provided object does not match the namespace sent on the request"))
}

/// Gives the new object what the old one has in a place.
fn take(old: &Value, new: &mut Value, pointer: &str) {
    match old.pointer(pointer) {
        None => drop(unset(new, pointer)),
        Some(value) => set(new, pointer, value.clone()),
    }
}

/// Takes away the nulls that typed objects lose when they are read: in the metadata and the spec.
pub(super) fn without_nulls(object: &mut Value) {
    for part in ["metadata", "spec", "data"] {
        if let Some(Value::Object(map)) = object.get_mut(part) {
            strip(map);
        }
    }
}

fn strip(map: &mut Map<String, Value>) {
    map.retain(|_, value| !value.is_null());
    for value in map.values_mut() {
        strip_value(value);
    }
}

fn strip_value(value: &mut Value) {
    match value {
        Value::Object(map) => strip(map),
        Value::Array(list) => list.iter_mut().for_each(strip_value),
        _ => {}
    }
}

//! Create, replace and delete, with everything the API server does on the way.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{By, Deletion, Part, Written};
use crate::failure::Failure;
use crate::kinds::{Kind, Resource};
use crate::state::State;
use crate::store::Key;
use crate::value::{at, items, rfc3339, set, text, unset};

impl State {
    fn kind_of(&self, resource: &Resource) -> Result<Arc<Kind>, Failure> {
        let found = self.kinds.get(resource).cloned();
        found.ok_or_else(|| {
            Failure::new(404, "NotFound", "the server could not find the requested resource", Value::Null)
        })
    }

    /// Creates an object.
    pub(crate) fn create(&mut self, _by: By<'_>, resource: &Resource, namespace: &str, mut object: Value) -> Written {
        let kind = self.kind_of(resource)?;
        if text(&object, "/metadata/name").is_empty() && !text(&object, "/metadata/generateName").is_empty() {
            let name = format!("{}{}", text(&object, "/metadata/generateName"), self.suffix());
            set(&mut object, "/metadata/name", json!(name));
        }
        let key = Key::new(resource.clone(), namespace, text(&object, "/metadata/name"));
        if self.store.get(&key).is_some() {
            return Err(Failure::already_exists(&key));
        }
        set(&mut object, "/apiVersion", json!(kind.api_version()));
        set(&mut object, "/kind", json!(kind.kind));
        if kind.namespaced {
            set(&mut object, "/metadata/namespace", json!(namespace));
        }
        let uid = self.uid();
        set(&mut object, "/metadata/uid", json!(uid));
        set(&mut object, "/metadata/creationTimestamp", rfc3339(self.now()));
        crate::schema::admit(self, &kind, Part::Main, &mut object, None)?;
        let written = self.store.put(&key, object);
        crate::schema::stored(self, &kind, &written)?;
        Ok(written)
    }

    /// Replaces an object, or its status.
    pub(crate) fn replace(&mut self, _by: By<'_>, key: &Key, part: Part, mut object: Value) -> Written {
        let kind = self.kind_of(&key.resource)?;
        let old = Arc::clone(self.store.get(key).ok_or_else(|| Failure::not_found(key))?);
        let version = text(&object, "/metadata/resourceVersion");
        if !version.is_empty() && version != text(&old, "/metadata/resourceVersion") {
            let why = "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Failure::conflict(key, why));
        }
        match part {
            Part::Main => {
                let status = at(&old, "/status").clone();
                if kind.subresources.iter().any(|name| name == "status") {
                    if status.is_null() {
                        unset(&mut object, "/status");
                    } else {
                        set(&mut object, "/status", status);
                    }
                }
            }
            Part::Status => {
                let status = at(&object, "/status").clone();
                object = (*old).clone();
                set(&mut object, "/status", status);
            }
        }
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            let pointer = format!("/metadata/{field}");
            match at(&old, &pointer) {
                Value::Null => drop(unset(&mut object, &pointer)),
                value => set(&mut object, &pointer, value.clone()),
            }
        }
        crate::schema::admit(self, &kind, part, &mut object, Some(&old))?;
        if old.get("metadata").is_some_and(|metadata| *metadata == *at(&object, "/metadata"))
            && at(&old, "/spec") == at(&object, "/spec")
            && at(&old, "/status") == at(&object, "/status")
            && at(&old, "/data") == at(&object, "/data")
        {
            return Ok(old);
        }
        let over =
            !at(&object, "/metadata/deletionTimestamp").is_null() && items(&object, "/metadata/finalizers").is_empty();
        let written = self.store.put(key, object);
        crate::schema::stored(self, &kind, &written)?;
        if over && key.resource.as_str() != "pods" {
            self.store.remove(key);
            crate::schema::removed(self, &kind, &written);
        }
        Ok(written)
    }

    /// Deletes an object, or marks it as terminating where it has finalizers or, a pod, grace.
    pub(crate) fn delete(&mut self, _by: By<'_>, key: &Key, how: &Deletion) -> Written {
        let old = Arc::clone(self.store.get(key).ok_or_else(|| Failure::not_found(key))?);
        if let Some(uid) = &how.uid
            && uid != text(&old, "/metadata/uid")
        {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                text(&old, "/metadata/uid")
            );
            return Err(Failure::conflict(key, &why));
        }
        self.store.remove(key);
        let kind = self.kind_of(&key.resource)?;
        crate::schema::removed(self, &kind, &old);
        Ok(old)
    }
}

//! Scale, binding, and the finalizers of namespaces.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{By, Part, Written, rules};
use crate::failure::Failure;
use crate::state::State;
use crate::store::Key;
use crate::value::{at, integer, is_terminating, items, name, rfc3339, set, text};

impl State {
    /// An object as an `autoscaling/v1` Scale.
    pub(super) fn scale_of(&self, key: &Key) -> Written {
        let kind = self.kind_of(&key.resource)?;
        if !rules::serves(&kind, "scale") {
            return Err(Failure::no_such_resource());
        }
        if kind.is_custom() {
            return Err(Failure::not_modelled(format!("the scale of custom resources: {key}")));
        }
        let object = self.store.get(key).ok_or_else(|| Failure::not_found(key))?;
        let metadata = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
        let metadata: serde_json::Map<String, Value> = metadata
            .iter()
            .map(|&field| (field.to_owned(), at(object, &format!("/metadata/{field}")).clone()))
            .collect();
        // Zero is left out, as by the API server.
        let spec = match integer(object, "/spec/replicas").unwrap_or(0) {
            0 => json!({}),
            replicas => json!({"replicas": replicas}),
        };
        Ok(Arc::new(json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec,
            "status": {
                "replicas": integer(object, "/status/replicas").unwrap_or(0),
                "selector": selector(at(object, "/spec/selector")),
            },
        })))
    }

    /// Sets the number of replicas that a Scale names; answers with the Scale as it then is.
    pub(crate) fn set_scale(&mut self, by: By<'_>, key: &Key, scale: &Value) -> Written {
        self.scale_of(key)?;
        if name(scale) != key.name {
            let message =
                format!("the name of the object ({}) does not match the name on the URL ({})", name(scale), key.name);
            return Err(Failure::bad_request(message));
        }
        let replicas = integer(scale, "/spec/replicas").unwrap_or(0);
        if replicas < 0 {
            let message = format!("Invalid value: {replicas}: must be greater than or equal to 0");
            let why = ("FieldValueInvalid", "spec.replicas", message.as_str());
            return Err(Failure::invalid("Scale", "autoscaling", &key.name, why));
        }
        let version = text(scale, "/metadata/resourceVersion").to_owned();
        let written = self.change_through(by, key, (Part::Main, "scale"), |object| {
            if !version.is_empty() && version != text(object, "/metadata/resourceVersion") {
                return Err(Failure::modified(key));
            }
            set(object, "/spec/replicas", json!(replicas));
            Ok(())
        })?;
        let mut scaled = (*self.scale_of(key)?).clone();
        let spec = if replicas == 0 { json!({}) } else { json!({"replicas": replicas}) };
        set(&mut scaled, "/spec", spec);
        set(&mut scaled, "/metadata/resourceVersion", at(&written, "/metadata/resourceVersion").clone());
        Ok(Arc::new(scaled))
    }

    /// Gives a pod its node.
    pub(crate) fn bind(&mut self, by: By<'_>, key: &Key, node: &str) -> Written {
        let kind = self.kind_of(&key.resource)?;
        let old = self.store.get(key).cloned().ok_or_else(|| Failure::not_found(key))?;
        let refused = |why: String| {
            let message = format!("Operation cannot be fulfilled on pods/binding \"{}\": {why}", key.name);
            Err(Failure::new(409, "Conflict", message, json!({"name": key.name, "kind": "pods/binding"})))
        };
        if is_terminating(&old) {
            return refused(format!("pod {} is being deleted, cannot be assigned to a host", key.name));
        }
        let has = text(&old, "/spec/nodeName");
        if !has.is_empty() {
            return refused(format!("pod {} is already assigned to node \"{has}\"", key.name));
        }
        if !by.dry_run {
            let mut pod = (*old).clone();
            set(&mut pod, "/spec/nodeName", json!(node));
            scheduled(&mut pod, rfc3339(self.now()));
            let written = self.store.put(key, pod);
            crate::schema::stored(self, &kind, &written)?;
        }
        Ok(Arc::new(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})))
    }

    /// Sets what still holds a terminating namespace back; it goes when nothing does.
    pub(crate) fn finalize(&mut self, by: By<'_>, key: &Key, namespace: &Value) -> Written {
        let kind = self.kind_of(&key.resource)?;
        let mut object = (**self.store.get(key).ok_or_else(|| Failure::not_found(key))?).clone();
        match at(namespace, "/spec/finalizers") {
            Value::Null => drop(crate::value::unset(&mut object, "/spec/finalizers")),
            finalizers => set(&mut object, "/spec/finalizers", finalizers.clone()),
        }
        if by.dry_run {
            return Ok(Arc::new(object));
        }
        if super::write::is_over(&object) {
            self.remove(&kind, key);
            return Ok(Arc::new(object));
        }
        Ok(self.store.put(key, object))
    }
}

/// The condition PodScheduled of a pod that has its node.
fn scheduled(pod: &mut Value, now: Value) {
    let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    let mut conditions: Vec<Value> =
        items(pod, "/status/conditions").iter().filter(|it| text(it, "/type") != "PodScheduled").cloned().collect();
    conditions.push(condition);
    set(pod, "/status/conditions", Value::Array(conditions));
}

/// A `LabelSelector` as text.
fn selector(selector: &Value) -> String {
    let mut parts = Vec::new();
    for (key, value) in at(selector, "/matchLabels").as_object().into_iter().flatten() {
        parts.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for expression in items(selector, "/matchExpressions") {
        let key = text(expression, "/key");
        let mut values: Vec<&str> = items(expression, "/values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        parts.push((
            key.to_owned(),
            match text(expression, "/operator") {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.to_owned(),
                _ => format!("!{key}"),
            },
        ));
    }
    parts.sort();
    parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(",")
}

//! What the workload controllers ask of pods, and how they make them.

use std::cmp::Ordering;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::{Cluster, selector};
use crate::failure::Failure;
use crate::value::{
    at, condition, controller, integer, is_controlled_by, is_terminating, items, name, namespace, set, text, time, uid,
};

/// What the API server said when it refused.
pub(super) fn said(failure: &Failure) -> &str {
    text(&failure.status, "/message")
}

/// `status.phase`
pub(super) fn phase(pod: &Value) -> &str {
    text(pod, "/status/phase")
}

/// Whether its containers have ended for good.
pub(super) fn is_finished(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it counts: neither ended nor going.
pub(super) fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && !is_terminating(pod)
}

/// Whether its Ready condition is true.
pub(super) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True")
}

/// When it became or becomes available: ready for `min_ready` seconds. None while it is not ready.
pub(super) fn available_at(pod: &Value, min_ready: i64) -> Option<DateTime<Utc>> {
    let ready = condition(pod, "Ready").filter(|ready| text(ready, "/status") == "True")?;
    if min_ready == 0 {
        return Some(DateTime::UNIX_EPOCH);
    }
    time(ready, "/lastTransitionTime").map(|since| since + TimeDelta::seconds(min_ready))
}

/// Whether it is available now.
pub(super) fn is_available(pod: &Value, min_ready: i64, now: DateTime<Utc>) -> bool {
    available_at(pod, min_ready).is_some_and(|at| at <= now)
}

/// How many of them are available now, and when the next one will be.
pub(super) fn availability<'a>(
    pods: impl IntoIterator<Item = &'a Arc<Value>>,
    min_ready: i64,
    now: DateTime<Utc>,
) -> (i64, Option<DateTime<Utc>>) {
    let mut available = 0;
    let mut next: Option<DateTime<Utc>> = None;
    for at in pods.into_iter().filter_map(|pod| available_at(pod, min_ready)) {
        if at <= now {
            available += 1;
        } else {
            next = Some(next.map_or(at, |next| next.min(at)));
        }
    }
    (available, next)
}

/// The most restarts any of its containers has.
fn restarts(pod: &Value) -> i64 {
    let counts = items(pod, "/status/containerStatuses").iter();
    counts.filter_map(|status| integer(status, "/restartCount")).max().unwrap_or(0)
}

fn deletion_cost(pod: &Value) -> i64 {
    at(pod, "/metadata/annotations/controller.kubernetes.io~1pod-deletion-cost")
        .as_str()
        .and_then(|cost| cost.parse().ok())
        .unwrap_or(0)
}

/// Which pod a ReplicaSet would rather lose, `controller.ActivePodsWithRanks`: the lesser goes first.
/// `crowd` says how many related pods share a pod's node.
pub(super) fn rather_lose(
    one: &Value,
    other: &Value,
    crowd: &impl Fn(&Value) -> usize,
    now: DateTime<Utc>,
) -> Ordering {
    let assigned = |pod: &Value| !text(pod, "/spec/nodeName").is_empty();
    let alive = |pod: &Value| match phase(pod) {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let ready_since = |pod: &Value| {
        condition(pod, "Ready").filter(|_| is_ready(pod)).and_then(|ready| time(ready, "/lastTransitionTime"))
    };
    let made = |pod: &Value| time(pod, "/metadata/creationTimestamp");
    assigned(one)
        .cmp(&assigned(other))
        .then_with(|| alive(one).cmp(&alive(other)))
        .then_with(|| is_ready(one).cmp(&is_ready(other)))
        .then_with(|| deletion_cost(one).cmp(&deletion_cost(other)))
        .then_with(|| crowd(other).cmp(&crowd(one)))
        .then_with(|| younger_first(ready_since(one), ready_since(other), (one, other), now))
        .then_with(|| restarts(other).cmp(&restarts(one)))
        .then_with(|| younger_first(made(one), made(other), (one, other), now))
        .then_with(|| uid(one).cmp(uid(other)))
}

/// By age, in powers of two; among those of about one age by uid.
fn younger_first(
    one: Option<DateTime<Utc>>,
    other: Option<DateTime<Utc>>,
    pods: (&Value, &Value),
    now: DateTime<Utc>,
) -> Ordering {
    if one == other {
        return Ordering::Equal;
    }
    let magnitude = |since: Option<DateTime<Utc>>| {
        let age = since.and_then(|since| (now - since).num_nanoseconds()).unwrap_or(0);
        age.checked_ilog2()
    };
    magnitude(one).cmp(&magnitude(other)).then_with(|| uid(pods.0).cmp(uid(pods.1)))
}

/// A controller's reference to itself in what it makes.
pub(super) fn controller_ref(owner: &Value) -> Value {
    json!({
        "apiVersion": text(owner, "/apiVersion"), "kind": text(owner, "/kind"), "name": name(owner),
        "uid": uid(owner), "controller": true, "blockOwnerDeletion": true,
    })
}

/// A pod of a template, owned by a workload. It still needs a name.
pub(super) fn from_template(template: &Value, owner: &Value) -> Value {
    let mut metadata = Map::new();
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(found) = template.get("metadata").and_then(|metadata| metadata.get(field)) {
            metadata.insert(field.to_owned(), found.clone());
        }
    }
    metadata.insert("namespace".to_owned(), json!(namespace(owner)));
    metadata.insert("ownerReferences".to_owned(), json!([controller_ref(owner)]));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": at(template, "/spec")})
}

/// The prefix of the names of what an object makes.
pub(super) fn prefix(owner: &Value) -> Value {
    json!(format!("{}-", name(owner)))
}

/// The pods a workload controls, of those it might have. Orphans that its selector selects are adopted,
/// those that it no longer selects are let go.
pub(super) fn claimed(
    cluster: &mut Cluster<'_>,
    owner: &Value,
    may_have: impl Fn(&Value) -> bool,
) -> Result<Vec<Arc<Value>>, Failure> {
    let selector = at(owner, "/spec/selector");
    let mut claimed = Vec::new();
    for pod in cluster.list_in("pods", namespace(owner)) {
        let selected = selector::selects_object(selector, &pod) && may_have(&pod);
        if is_controlled_by(&pod, uid(owner)) {
            if selected {
                claimed.push(pod);
            } else if !is_terminating(owner) {
                release(cluster, "pods", &pod, uid(owner))?;
            }
        } else if selected && controller(&pod).is_none() && !is_terminating(owner) && !is_terminating(&pod) {
            claimed.push(adopt(cluster, "pods", &pod, owner)?);
        }
    }
    Ok(claimed)
}

/// Makes an object one of its new owner's.
pub(super) fn adopt(
    cluster: &mut Cluster<'_>,
    resource: &str,
    object: &Value,
    owner: &Value,
) -> Result<Arc<Value>, Failure> {
    let mut owners = items(object, "/metadata/ownerReferences").to_vec();
    owners.push(controller_ref(owner));
    let mut object = object.clone();
    set(&mut object, "/metadata/ownerReferences", Value::Array(owners));
    cluster.update(resource, object)
}

/// Takes an owner off an object.
pub(super) fn release(
    cluster: &mut Cluster<'_>,
    resource: &str,
    object: &Value,
    owner: &str,
) -> Result<Arc<Value>, Failure> {
    let owners = items(object, "/metadata/ownerReferences").iter();
    let owners = owners.filter(|found| text(found, "/uid") != owner).cloned().collect();
    let mut object = object.clone();
    set(&mut object, "/metadata/ownerReferences", Value::Array(owners));
    cluster.update(resource, object)
}

/// A status under construction: counts that are zero are left out, as Go's `omitempty` leaves them.
#[derive(Debug, Default)]
pub(super) struct Status(Map<String, Value>);

impl Status {
    pub(super) fn count(&mut self, field: &str, count: i64) -> &mut Self {
        if count != 0 {
            self.put(field, json!(count));
        }
        self
    }

    pub(super) fn put(&mut self, field: &str, value: Value) -> &mut Self {
        self.0.insert(field.to_owned(), value);
        self
    }

    /// A list or a text, unless it is empty.
    pub(super) fn some(&mut self, field: &str, value: Value) -> &mut Self {
        let empty = match &value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        if !empty {
            self.put(field, value);
        }
        self
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// Writes a status if it is another.
pub(super) fn write_status(
    cluster: &mut Cluster<'_>,
    resource: &str,
    object: &Value,
    status: Value,
) -> Result<(), Failure> {
    if *at(object, "/status") == status {
        return Ok(());
    }
    let mut object = object.clone();
    set(&mut object, "/status", status);
    cluster.update_status(resource, object).map(drop)
}

/// Conditions without the one of a type.
pub(super) fn without(conditions: &[Value], of: &str) -> Vec<Value> {
    conditions.iter().filter(|condition| text(condition, "/type") != of).cloned().collect()
}

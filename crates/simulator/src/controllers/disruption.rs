//! PodDisruptionBudgets: how many pods may be evicted now.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::deployment::rounded_up;
use super::pods::{self, Status};
use super::queue::{self, Queue};
use super::{Cluster, Controller, selector};
use crate::failure::Failure;
use crate::store::Key;
use crate::value::{at, condition, controller, integer, is_terminating, items, name, namespace, rfc3339, text, uid};

pub(super) const NAME: &str = "disruption-controller";
const RESOURCE: &str = "poddisruptionbudgets.policy";
const WATCHED: &[&str] = &[RESOURCE, "pods", "deployments.apps", "replicasets.apps", "statefulsets.apps"];
/// How long an eviction may take before the pod counts again.
const DELETION_TIMEOUT: TimeDelta = TimeDelta::minutes(2);

/// Where the number of wanted pods of each kind of controller stands.
const SCALED: &[(&str, &str)] =
    &[("ReplicaSet", "replicasets.apps"), ("Deployment", "deployments.apps"), ("StatefulSet", "statefulsets.apps")];

/// The disruption controller.
#[derive(Debug, Default)]
pub(crate) struct Disruptions {
    queue: Queue,
}

impl Controller for Disruptions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn watches(&self) -> &'static [&'static str] {
        WATCHED
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let concerns = |cluster: &Cluster<'_>, seen: queue::Seen<'_>, keys: &mut std::collections::BTreeSet<Key>| {
            let is_pod = seen.is("pods");
            let rescaled = || {
                let wanted = |object: Option<&Value>| object.and_then(|object| integer(object, "/spec/replicas"));
                wanted(seen.before) != wanted(seen.after)
            };
            let concerns = is_pod || (SCALED.iter().any(|(_, resource)| seen.is(resource)) && rescaled());
            if !concerns {
                return;
            }
            for budget in cluster.list_in(RESOURCE, &seen.key.namespace) {
                let selected = |pod: &Value| selector::selects_object(at(&budget, "/spec/selector"), pod);
                if !is_pod || [seen.before, seen.after].into_iter().flatten().any(selected) {
                    keys.insert(Key::new(RESOURCE, namespace(&budget), name(&budget)));
                }
            }
        };
        self.queue.run(cluster, WATCHED, concerns, sync)
    }
}

/// The budget as its pods make it.
struct Count {
    expected: i64,
    desired: i64,
    unmanaged: bool,
}

fn sync(cluster: &mut Cluster<'_>, budget: &Value) -> Result<Option<DateTime<Utc>>, Failure> {
    if is_terminating(budget) {
        return Ok(None);
    }
    let mut pods = cluster.list_in("pods", namespace(budget));
    pods.retain(|pod| selector::selects_object(at(budget, "/spec/selector"), pod));
    if pods.is_empty() {
        cluster.record(budget, "Normal", "NoPods", "No matching pods found");
    }
    let count = match count(cluster, budget, &pods) {
        Ok(count) => count,
        Err(why) => {
            let message = format!("Failed to calculate the number of expected pods: {why}");
            cluster.record(budget, "Warning", "CalculateExpectedPodCountFailed", message);
            return fail_safe(cluster, budget, &why);
        }
    };
    if count.unmanaged {
        let message = format!(
            "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the \
             status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for \
             these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
            selector::printed(at(budget, "/spec/selector"))
        );
        cluster.record(budget, "Warning", "UnmanagedPods", message);
    }
    let (disrupted, recheck) = disrupted(cluster, budget, &pods);
    let is_healthy = |pod: &Value| !is_terminating(pod) && !disrupted.contains_key(name(pod)) && pods::is_ready(pod);
    let healthy = i64::try_from(pods.iter().filter(|pod| is_healthy(pod)).count()).unwrap_or(i64::MAX);
    let allowed = if count.expected > 0 { (healthy - count.desired).max(0) } else { 0 };
    let mut status = Status::default();
    if !disrupted.is_empty() {
        status.put("disruptedPods", Value::Object(disrupted));
    }
    status
        .put("currentHealthy", json!(healthy))
        .put("desiredHealthy", json!(count.desired))
        .put("expectedPods", json!(count.expected))
        .put("disruptionsAllowed", json!(allowed))
        .count("observedGeneration", integer(budget, "/metadata/generation").unwrap_or(0))
        .put("conditions", allowed_condition(budget, allowed, cluster.now()));
    pods::write_status(cluster, RESOURCE, budget, status.into_value())?;
    Ok(recheck)
}

fn count(cluster: &Cluster<'_>, budget: &Value, pods: &[Arc<Value>]) -> Result<Count, String> {
    if let most @ (Value::Number(_) | Value::String(_)) = at(budget, "/spec/maxUnavailable") {
        let (expected, unmanaged) = expected(cluster, pods)?;
        return Ok(Count { expected, desired: (expected - rounded_up(most, expected)).max(0), unmanaged });
    }
    match at(budget, "/spec/minAvailable") {
        least @ Value::String(_) => {
            let (expected, unmanaged) = expected(cluster, pods)?;
            Ok(Count { expected, desired: rounded_up(least, expected), unmanaged })
        }
        least => {
            let expected = i64::try_from(pods.len()).unwrap_or(i64::MAX);
            Ok(Count { expected, desired: least.as_i64().unwrap_or(0), unmanaged: false })
        }
    }
}

/// How many pods the controllers of these want together, and whether some have none.
fn expected(cluster: &Cluster<'_>, pods: &[Arc<Value>]) -> Result<(i64, bool), String> {
    let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
    let mut unmanaged = false;
    for pod in pods {
        let Some(owner) = controller(pod) else {
            unmanaged = true;
            continue;
        };
        let found = owner_of(cluster, pod, owner);
        // A pod of a ReplicaSet counts for the Deployment that the ReplicaSet is of.
        let found = match &found {
            Some(set) => controller(set).and_then(|owner| owner_of(cluster, set, owner)).or(found),
            None => None,
        };
        let Some(found) = found else {
            let kind = text(owner, "/kind");
            if SCALED.iter().any(|(scaled, _)| *scaled == kind) {
                return Err(format!("found no controllers for pod \"{}\"", name(pod)));
            }
            let (version, plural) = (text(owner, "/apiVersion"), format!("{}s", kind.to_lowercase()));
            let group = version.split_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
            return Err(format!("{plural}{group} does not implement the scale subresource"));
        };
        wanted.insert(uid(&found).to_owned(), integer(&found, "/spec/replicas").unwrap_or(1));
    }
    Ok((wanted.into_values().sum(), unmanaged))
}

fn owner_of(cluster: &Cluster<'_>, object: &Value, owner: &Value) -> Option<Arc<Value>> {
    let (_, resource) = SCALED.iter().find(|(kind, _)| *kind == text(owner, "/kind"))?;
    let found = cluster.get(resource, namespace(object), text(owner, "/name"))?;
    (uid(&found) == text(owner, "/uid")).then_some(found)
}

/// The evicted pods that are yet to go, and when the first of them counts again.
fn disrupted(
    cluster: &mut Cluster<'_>,
    budget: &Value,
    pods: &[Arc<Value>],
) -> (Map<String, Value>, Option<DateTime<Utc>>) {
    let mut left = Map::new();
    let mut recheck: Option<DateTime<Utc>> = None;
    let noted = at(budget, "/status/disruptedPods").as_object().cloned().unwrap_or_default();
    for (pod_name, since) in noted {
        let Some(pod) = pods.iter().find(|pod| name(pod) == pod_name).filter(|pod| !is_terminating(pod)) else {
            continue;
        };
        let Some(until) = since.as_str().and_then(|since| since.parse::<DateTime<Utc>>().ok()) else { continue };
        let until = until + DELETION_TIMEOUT;
        if until <= cluster.now() {
            let message =
                format!("Pod was expected by PDB {}/{} to be deleted but it wasn't", namespace(budget), name(budget));
            cluster.record(pod, "Warning", "NotDeleted", message);
        } else {
            recheck = Some(recheck.map_or(until, |first| first.min(until)));
            left.insert(pod_name, since);
        }
    }
    (left, recheck)
}

fn allowed_condition(budget: &Value, allowed: i64, now: DateTime<Utc>) -> Value {
    let (is, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    with_condition(budget, is, reason, "", now)
}

fn with_condition(budget: &Value, is: &str, reason: &str, message: &str, now: DateTime<Utc>) -> Value {
    let old = condition(budget, "DisruptionAllowed").filter(|old| text(old, "/status") == is);
    let since = old.map_or_else(|| rfc3339(now), |old| at(old, "/lastTransitionTime").clone());
    let mut conditions = pods::without(items(budget, "/status/conditions"), "DisruptionAllowed");
    conditions.push(json!({
        "type": "DisruptionAllowed", "status": is, "reason": reason, "message": message,
        "lastTransitionTime": since, "observedGeneration": integer(budget, "/metadata/generation").unwrap_or(1),
    }));
    Value::Array(conditions)
}

/// What can't be counted allows no disruption.
fn fail_safe(cluster: &mut Cluster<'_>, budget: &Value, why: &str) -> Result<Option<DateTime<Utc>>, Failure> {
    let mut status = at(budget, "/status").clone();
    crate::value::set(&mut status, "/disruptionsAllowed", json!(0));
    for field in ["currentHealthy", "desiredHealthy", "expectedPods"] {
        if status.get(field).is_none() {
            crate::value::set(&mut status, &format!("/{field}"), json!(0));
        }
    }
    let mut conditions = with_condition(budget, "False", "SyncFailed", why, cluster.now());
    for condition in conditions.as_array_mut().into_iter().flatten() {
        // It says of no generation that it was observed.
        crate::value::unset(condition, "/observedGeneration");
    }
    crate::value::set(&mut status, "/conditions", conditions);
    pods::write_status(cluster, RESOURCE, budget, status)?;
    Ok(None)
}

#[cfg(test)]
mod tests;

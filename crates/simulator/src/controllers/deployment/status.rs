//! A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::sets::{Sets, available, replicas};
use super::{NEVER, Next, RESOURCE, Rollout, proportions};
use crate::controllers::pods::{Status, without};
use crate::value::{at, condition as condition_of, integer, items, name, rfc3339, set, text, time};

/// A condition that became so now.
pub(super) fn condition(of: &str, is: &str, reason: &str, message: &str, now: DateTime<Utc>) -> Value {
    json!({
        "type": of, "status": is, "reason": reason, "message": message,
        "lastUpdateTime": rfc3339(now), "lastTransitionTime": rfc3339(now),
    })
}

/// The conditions with this one. Nothing changes where one with the same status and reason is there; the
/// transition time stays where the status does.
pub(super) fn with(conditions: &[Value], mut new: Value) -> Vec<Value> {
    let of = text(&new, "/type").to_owned();
    if let Some(old) = conditions.iter().find(|condition| text(condition, "/type") == of)
        && text(old, "/status") == text(&new, "/status")
    {
        if text(old, "/reason") == text(&new, "/reason") {
            return conditions.to_vec();
        }
        let since = at(old, "/lastTransitionTime").clone();
        set(&mut new, "/lastTransitionTime", since);
    }
    let mut conditions = without(conditions, &of);
    conditions.push(new);
    conditions
}

/// How long a rollout may go without progress; none where it may for ever.
pub(super) fn deadline(deployment: &Value) -> Option<TimeDelta> {
    let seconds = integer(deployment, "/spec/progressDeadlineSeconds").filter(|seconds| *seconds != NEVER);
    seconds.map(TimeDelta::seconds)
}

fn count(status: &Value, field: &str) -> i64 {
    status.get(field).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether all pods are new and available, and no others are there.
pub(super) fn is_complete(deployment: &Value, status: &Value) -> bool {
    let wanted = replicas(deployment);
    ["updatedReplicas", "replicas", "availableReplicas"].iter().all(|field| count(status, field) == wanted)
        && count(status, "observedGeneration") >= integer(deployment, "/metadata/generation").unwrap_or(0)
}

/// Whether there are more new, fewer old, more ready or more available pods than before.
fn progressed(old: &Value, new: &Value) -> bool {
    let of_old = |status| count(status, "replicas") - count(status, "updatedReplicas");
    of_old(new) < of_old(old)
        || ["updatedReplicas", "readyReplicas", "availableReplicas"]
            .iter()
            .any(|field| count(new, field) > count(old, field))
}

impl Rollout<'_, '_> {
    pub(super) fn calculate_status(&self, sets: &Sets) -> Value {
        let sum =
            |field: &str| -> i64 { sets.all().map(|set| integer(set, &format!("/status/{field}")).unwrap_or(0)).sum() };
        let now_available: i64 = sets.all().map(available).sum();
        let deployment = &self.deployment;
        let enough = now_available >= replicas(deployment) - proportions::max_unavailable(deployment);
        let conditions = items(deployment, "/status/conditions");
        let conditions = with(
            conditions,
            if enough {
                let message = "Deployment has minimum availability.";
                condition("Available", "True", "MinimumReplicasAvailable", message, self.cluster.now())
            } else {
                let message = "Deployment does not have minimum availability.";
                condition("Available", "False", "MinimumReplicasUnavailable", message, self.cluster.now())
            },
        );
        let updated = sets.new.as_ref().and_then(|new| integer(new, "/status/replicas")).unwrap_or(0);
        let mut status = Status::default();
        status
            .count("observedGeneration", integer(deployment, "/metadata/generation").unwrap_or(0))
            .count("replicas", sum("replicas"))
            .count("updatedReplicas", updated)
            .count("readyReplicas", sum("readyReplicas"))
            .count("availableReplicas", now_available)
            .count("unavailableReplicas", (sets.total() - now_available).max(0))
            .some("collisionCount", at(deployment, "/status/collisionCount").clone())
            .some("conditions", Value::Array(conditions));
        // Not known as long as one ReplicaSet does not say.
        if sets.all().all(|set| integer(set, "/status/terminatingReplicas").is_some()) {
            status.put("terminatingReplicas", json!(sum("terminatingReplicas")));
        }
        status.into_value()
    }

    /// The status in the course of a rollout: with its progress, or the lack of it.
    pub(super) fn sync_rollout_status(&mut self, sets: &Sets) -> Next {
        let mut status = self.calculate_status(sets);
        let mut conditions = items(&status, "/conditions").to_vec();
        let deadline = deadline(&self.deployment);
        let current = condition_of(&self.deployment, "Progressing").cloned();
        match deadline {
            None => conditions = without(&conditions, "Progressing"),
            Some(deadline) => {
                let done = current.as_ref().is_some_and(|found| text(found, "/reason") == "NewReplicaSetAvailable");
                if !(done && count(&status, "replicas") == count(&status, "updatedReplicas")) {
                    conditions = self.with_progress(&status, conditions, (current.as_ref(), deadline), sets);
                }
            }
        }
        conditions = match replica_failure(sets) {
            Some(failure) => with(&conditions, failure),
            None => without(&conditions, "ReplicaFailure"),
        };
        set(&mut status, "/conditions", Value::Array(conditions));
        let unchanged = *at(&self.deployment, "/status") == status;
        if !unchanged {
            set(&mut self.deployment, "/status", status.clone());
            self.deployment = (*self.cluster.update_status(RESOURCE, self.deployment.clone())?).clone();
        }
        Ok(self.deadline_check(&status))
    }

    fn with_progress(
        &self,
        status: &Value,
        conditions: Vec<Value>,
        (current, deadline): (Option<&Value>, TimeDelta),
        sets: &Sets,
    ) -> Vec<Value> {
        let now = self.cluster.now();
        let who = match &sets.new {
            Some(new) => format!("ReplicaSet \"{}\"", name(new)),
            None => format!("Deployment \"{}\"", name(&self.deployment)),
        };
        if is_complete(&self.deployment, status) {
            let message = format!("{who} has successfully progressed.");
            return with(&conditions, condition("Progressing", "True", "NewReplicaSetAvailable", &message, now));
        }
        if progressed(at(&self.deployment, "/status"), status) {
            let message = format!("{who} is progressing.");
            let mut new = condition("Progressing", "True", "ReplicaSetUpdated", &message, now);
            // With each step its time moves on, though status and reason be the same.
            if let Some(current) = current.filter(|current| text(current, "/status") == "True") {
                set(&mut new, "/lastTransitionTime", at(current, "/lastTransitionTime").clone());
            }
            let mut conditions = without(&conditions, "Progressing");
            conditions.push(new);
            return conditions;
        }
        let timed_out = current.is_some_and(|current| match text(current, "/reason") {
            "NewReplicaSetAvailable" => false,
            "ProgressDeadlineExceeded" => true,
            _ => time(current, "/lastUpdateTime").is_some_and(|since| since + deadline < now),
        });
        if timed_out {
            let message = format!("{who} has timed out progressing.");
            return with(&conditions, condition("Progressing", "False", "ProgressDeadlineExceeded", &message, now));
        }
        conditions
    }
}

/// The ReplicaFailure of the new ReplicaSet, else of any.
fn replica_failure(sets: &Sets) -> Option<Value> {
    let found = sets.new.iter().chain(&sets.old).find_map(|set| condition_of(set, "ReplicaFailure"))?;
    let mut failure = found.clone();
    set(&mut failure, "/lastUpdateTime", at(found, "/lastTransitionTime").clone());
    Some(failure)
}

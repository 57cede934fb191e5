//! Deployments: ReplicaSets of one application, the new one growing while the old ones shrink.

mod proportions;
mod sets;
mod status;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

pub(super) use self::proportions::rounded_up;
use self::sets::{Sets, available, replicas};
use super::queue::{self, Queue};
use super::{Cluster, Controller, pods};
use crate::failure::Failure;
use crate::store::Key;
use crate::value::{
    at, condition, controller, integer, is_terminating, is_true, name, namespace, set, text, time, uid,
};

const RESOURCE: &str = "deployments.apps";
const WATCHED: &[&str] = &[RESOURCE, SETS, "pods"];
const SETS: &str = "replicasets.apps";
/// What stands for "no deadline" and "no limit".
const NEVER: i64 = i32::MAX as i64;

/// The Deployment controller.
#[derive(Debug, Default)]
pub(crate) struct Deployments {
    queue: Queue,
}

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        WATCHED
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let concerns = |cluster: &Cluster<'_>, seen: queue::Seen<'_>, keys: &mut _| {
            if seen.is(SETS) {
                queue::owners(cluster, seen, (RESOURCE, "Deployment"), keys);
            } else if let (true, Some(pod), None) = (seen.is("pods"), seen.before, seen.after) {
                // `Recreate` waits for the last old pod to go; nothing else here looks at pods.
                let owner = controller(pod).filter(|owner| text(owner, "/kind") == "ReplicaSet");
                let set = owner.and_then(|owner| cluster.get(SETS, &seen.key.namespace, text(owner, "/name")));
                if let Some(owner) = set.as_deref().and_then(controller) {
                    keys.insert(Key::new(RESOURCE, &seen.key.namespace, text(owner, "/name")));
                }
            }
        };
        self.queue.run(cluster, WATCHED, concerns, |cluster, deployment| {
            Rollout { cluster, deployment: deployment.clone() }.sync()
        })
    }
}

/// One look at one Deployment.
struct Rollout<'r, 'c> {
    cluster: &'r mut Cluster<'c>,
    /// As it was last written.
    deployment: Value,
}

type Next = Result<Option<DateTime<Utc>>, Failure>;

impl Rollout<'_, '_> {
    fn sync(mut self) -> Next {
        self.claim_sets()?;
        if is_terminating(&self.deployment) {
            let sets = self.sets()?;
            return self.sync_status(&sets);
        }
        self.note_pause()?;
        if is_true(&self.deployment, "/spec/paused") {
            let sets = self.sets()?;
            return self.sync_scale(sets);
        }
        let sets = self.sets()?;
        if self.is_scaling(&sets) {
            return self.sync_scale(sets);
        }
        if text(&self.deployment, "/spec/strategy/type") == "Recreate" { self.recreate(sets) } else { self.roll(sets) }
    }

    /// Adopts ReplicaSets that the selector selects, and lets go of those that it no longer does.
    fn claim_sets(&mut self) -> Result<(), Failure> {
        let selector = at(&self.deployment, "/spec/selector").clone();
        for set in self.cluster.list_in(SETS, namespace(&self.deployment)) {
            let selected = super::selector::selects_object(&selector, &set);
            if crate::value::is_controlled_by(&set, uid(&self.deployment)) {
                if !selected && !is_terminating(&self.deployment) {
                    pods::release(self.cluster, SETS, &set, uid(&self.deployment))?;
                }
            } else if selected
                && controller(&set).is_none()
                && !is_terminating(&set)
                && !is_terminating(&self.deployment)
            {
                pods::adopt(self.cluster, SETS, &set, &self.deployment)?;
            }
        }
        Ok(())
    }

    /// Whether replicas were changed: an active ReplicaSet remembers another number.
    fn is_scaling(&self, sets: &Sets) -> bool {
        let wanted = replicas(&self.deployment);
        sets.active().any(|set| sets::annotated(set, sets::DESIRED).is_some_and(|desired| desired != wanted))
    }

    /// Scales without rolling on, which is also all that happens while paused.
    fn sync_scale(&mut self, mut sets: Sets) -> Next {
        self.scale(&mut sets)?;
        if is_true(&self.deployment, "/spec/paused") {
            self.clean_up(&sets)?;
        }
        self.sync_status(&sets)
    }

    fn roll(&mut self, sets: Sets) -> Next {
        let mut sets = self.with_new(sets)?;
        if self.grow_new(&mut sets)? || self.shrink_old(&mut sets)? {
            return self.sync_rollout_status(&sets);
        }
        if status::is_complete(&self.deployment, at(&self.deployment, "/status")) {
            self.clean_up(&sets)?;
        }
        self.sync_rollout_status(&sets)
    }

    fn recreate(&mut self, mut sets: Sets) -> Next {
        let mut shrunk = false;
        for index in 0..sets.old.len() {
            shrunk |= self.scale_old(&mut sets, index, 0)?;
        }
        if shrunk || self.old_pods_run(&sets) {
            return self.sync_rollout_status(&sets);
        }
        if sets.new.is_none() {
            sets = self.with_new(sets)?;
        }
        self.scale_new(&mut sets, replicas(&self.deployment))?;
        if status::is_complete(&self.deployment, at(&self.deployment, "/status")) {
            self.clean_up(&sets)?;
        }
        self.sync_rollout_status(&sets)
    }

    /// Whether a pod of an old ReplicaSet is still there and has not ended.
    fn old_pods_run(&self, sets: &Sets) -> bool {
        if sets.old.iter().any(|set| integer(set, "/status/replicas").unwrap_or(0) > 0) {
            return true;
        }
        let pods = self.cluster.list_in("pods", namespace(&self.deployment));
        let of_old = |pod: &Value| sets.old.iter().any(|set| crate::value::is_controlled_by(pod, uid(set)));
        pods.iter().any(|pod| of_old(pod) && !pods::is_finished(pod))
    }

    /// Lets the new ReplicaSet grow as far as the surge allows.
    fn grow_new(&mut self, sets: &mut Sets) -> Result<bool, Failure> {
        let wanted = replicas(&self.deployment);
        let Some(now) = sets.new.as_deref().map(replicas) else { return Ok(false) };
        if now == wanted {
            return Ok(false);
        }
        let to = if now > wanted { wanted } else { proportions::new_replicas(&self.deployment, sets.total(), now) };
        self.scale_new(sets, to)
    }

    /// Lets the old ones shrink as far as availability allows: unhealthy pods first.
    fn shrink_old(&mut self, sets: &mut Sets) -> Result<bool, Failure> {
        if sets.old.iter().map(|set| replicas(set)).sum::<i64>() == 0 {
            return Ok(false);
        }
        let minimum = replicas(&self.deployment) - proportions::max_unavailable(&self.deployment);
        let new_unavailable = sets.new.as_ref().map_or(0, |new| replicas(new) - available(new));
        let most = sets.total() - minimum - new_unavailable;
        if most <= 0 {
            return Ok(false);
        }
        let mut shrunk = 0;
        for index in 0..sets.old.len() {
            let Some((has, healthy)) = sets.old.get(index).map(|set| (replicas(set), available(set))) else { break };
            if shrunk >= most || has == 0 || has == healthy {
                continue;
            }
            let less = (most - shrunk).min(has - healthy);
            self.scale_old(sets, index, has - less)?;
            shrunk += less;
        }
        let spare = sets.all().map(available).sum::<i64>() - minimum;
        let mut taken = 0;
        for index in 0..sets.old.len() {
            let Some(has) = sets.old.get(index).map(|set| replicas(set)) else { break };
            if taken >= spare || has == 0 {
                continue;
            }
            let less = has.min(spare - taken);
            self.scale_old(sets, index, has - less)?;
            taken += less;
        }
        Ok(shrunk + taken.max(0) > 0)
    }

    /// Writes the status as the deployment has it in memory.
    fn write_status(&mut self) -> Result<(), Failure> {
        self.deployment = (*self.cluster.update_status(RESOURCE, self.deployment.clone())?).clone();
        Ok(())
    }

    /// So that time spent paused is not held against the rollout.
    fn note_pause(&mut self) -> Result<(), Failure> {
        if status::deadline(&self.deployment).is_none() {
            return Ok(());
        }
        let reason = condition(&self.deployment, "Progressing").map(|found| text(found, "/reason"));
        let paused = is_true(&self.deployment, "/spec/paused");
        match reason {
            Some("ProgressDeadlineExceeded") => return Ok(()),
            Some("DeploymentPaused") if !paused => {
                self.set_condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed");
            }
            Some("DeploymentPaused") => return Ok(()),
            _ if paused => self.set_condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"),
            _ => return Ok(()),
        }
        self.write_status()
    }

    fn set_condition(&mut self, of: &str, is: &str, reason: &str, message: &str) {
        let new = status::condition(of, is, reason, message, self.cluster.now());
        let conditions = status::with(crate::value::items(&self.deployment, "/status/conditions"), new);
        set(&mut self.deployment, "/status/conditions", Value::Array(conditions));
    }

    /// Deletes the ReplicaSets that history has no room for.
    fn clean_up(&mut self, sets: &Sets) -> Result<(), Failure> {
        let limit = integer(&self.deployment, "/spec/revisionHistoryLimit").unwrap_or(10);
        if limit == NEVER {
            return Ok(());
        }
        let mut old: Vec<_> = sets.old.iter().filter(|set| !is_terminating(set)).collect();
        old.sort_by_key(|set| sets::revision(set));
        let over = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        for set in old.into_iter().take(over) {
            let settled = integer(set, "/metadata/generation") <= integer(set, "/status/observedGeneration");
            let has = integer(set, "/status/replicas").unwrap_or(0);
            if has == 0 && replicas(set) == 0 && settled {
                match self.cluster.delete(SETS, set, None) {
                    Err(failure) if failure.code != 404 => return Err(failure),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// When a rollout that makes no progress is to be looked at again.
    fn deadline_check(&self, status: &Value) -> Option<DateTime<Utc>> {
        let deadline = status::deadline(&self.deployment)?;
        let condition = condition(&self.deployment, "Progressing")?;
        if status::is_complete(&self.deployment, status) || text(condition, "/reason") == "ProgressDeadlineExceeded" {
            return None;
        }
        // A second is added, as the real one does, so that the deadline has passed for certain.
        let at = time(condition, "/lastUpdateTime")? + deadline + chrono::TimeDelta::seconds(1);
        Some(at).filter(|at| *at > self.cluster.now())
    }

    fn sync_status(&mut self, sets: &Sets) -> Next {
        let status = self.calculate_status(sets);
        pods::write_status(self.cluster, RESOURCE, &self.deployment, status)?;
        Ok(None)
    }

    fn record(&mut self, message: String) {
        self.cluster.record(&self.deployment, "Normal", "ScalingReplicaSet", message);
    }

    fn scale_set(&mut self, old: &Arc<Value>, to: i64) -> Result<(Arc<Value>, bool), Failure> {
        let from = replicas(old);
        let surge = proportions::max_surge(&self.deployment);
        let mut changed = (**old).clone();
        set(&mut changed, "/spec/replicas", json!(to));
        sets::annotate_replicas(&mut changed, replicas(&self.deployment), surge);
        if changed == **old {
            return Ok((Arc::clone(old), false));
        }
        let changed = self.cluster.update(SETS, changed)?;
        if from != to {
            let direction = if from < to { "up" } else { "down" };
            self.record(format!("Scaled {direction} replica set {} from {from} to {to}", name(old)));
        }
        Ok((changed, true))
    }

    fn scale_new(&mut self, sets: &mut Sets, to: i64) -> Result<bool, Failure> {
        match sets.new.take() {
            Some(new) if replicas(&new) != to => {
                let (changed, scaled) = self.scale_set(&new, to)?;
                sets.new = Some(changed);
                Ok(scaled)
            }
            new => {
                sets.new = new;
                Ok(false)
            }
        }
    }

    fn scale_old(&mut self, sets: &mut Sets, index: usize, to: i64) -> Result<bool, Failure> {
        let Some(old) = sets.old.get_mut(index).filter(|old| replicas(old) != to) else { return Ok(false) };
        let (changed, scaled) = self.scale_set(old, to)?;
        *old = changed;
        Ok(scaled)
    }
}

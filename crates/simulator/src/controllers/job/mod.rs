//! Jobs: pods that run to their end, as many as must succeed, with back-off between failures.

mod count;
mod finish;
pub(crate) mod ttl;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use self::count::Counted;
use super::pods::{self, Status};
use super::queue::{self, Queue};
use super::replica_set::{create_all, delete_pod};
use super::{Cluster, Controller};
use crate::failure::Failure;
use crate::store::Key;
use crate::value::{
    at, condition, controller, integer, is_controlled_by, is_terminating, is_true, items, name, namespace, rfc3339,
    set, text, time, uid,
};

pub(super) const RESOURCE: &str = "jobs.batch";
const WATCHED: &[&str] = &[RESOURCE, "pods"];
/// Keeps a pod until its end is counted.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The wait after the first failure of a pod; it doubles with each further one.
const FIRST_WAIT: i64 = 10;
const LONGEST_WAIT: i64 = 600;

/// The Job controller.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    queue: Queue,
    /// Pods, for those whose Job is gone.
    orphans: Queue,
    backoff: BTreeMap<Key, Backoff>,
}

/// The failures since the last success, and when the last one was.
#[derive(Debug, Default, Clone, Copy)]
struct Backoff {
    failures: u32,
    last: Option<DateTime<Utc>>,
}

impl Backoff {
    /// When the next pod may be made.
    fn until(self) -> Option<DateTime<Utc>> {
        let doublings = self.failures.checked_sub(1)?.min(30);
        let wait = FIRST_WAIT.checked_shl(doublings).map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT));
        self.last.map(|last| last + TimeDelta::seconds(wait))
    }
}

impl Controller for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        WATCHED
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let concerns = |_: &Cluster<'_>, seen: queue::Seen<'_>, keys: &mut std::collections::BTreeSet<Key>| {
            if seen.is("pods") {
                let controllers = [seen.before, seen.after].map(|pod| pod.and_then(controller));
                for owner in controllers.into_iter().flatten().filter(|owner| text(owner, "/kind") == "Job") {
                    keys.insert(Key::new(RESOURCE, &seen.key.namespace, text(owner, "/name")));
                }
            }
        };
        let backoff = &mut self.backoff;
        let due = self.queue.run(cluster, WATCHED, concerns, |cluster, job| {
            let key = Key::new(RESOURCE, namespace(job), name(job));
            sync(cluster, job, backoff.entry(key).or_default())
        });
        self.backoff.retain(|key, _| cluster.state.store.get(key).is_some());
        let of_gone = |cluster: &Cluster<'_>, seen: queue::Seen<'_>, keys: &mut std::collections::BTreeSet<Key>| {
            if let (true, Some(job), None) = (seen.is(RESOURCE), seen.before, seen.after) {
                let pods = cluster.list_in("pods", &seen.key.namespace);
                let owned = pods.iter().filter(|pod| is_controlled_by(pod, uid(job)));
                keys.extend(owned.map(|pod| Key::new("pods", namespace(pod), name(pod))));
            }
        };
        let also = self.orphans.run(cluster, &["pods", RESOURCE], of_gone, |cluster, pod| {
            if is_tracked(pod)
                && let Some(owner) = controller(pod).filter(|owner| text(owner, "/kind") == "Job")
                && cluster
                    .get(RESOURCE, namespace(pod), text(owner, "/name"))
                    .is_none_or(|job| uid(&job) != text(owner, "/uid"))
            {
                untrack(cluster, pod)?;
            }
            Ok(None)
        });
        due.into_iter().chain(also).min()
    }
}

fn is_tracked(pod: &Value) -> bool {
    items(pod, "/metadata/finalizers").iter().any(|found| found.as_str() == Some(TRACKING))
}

/// Lets go of a pod whose end is counted.
fn untrack(cluster: &mut Cluster<'_>, pod: &Value) -> Result<(), Failure> {
    let left = items(pod, "/metadata/finalizers").iter().filter(|found| found.as_str() != Some(TRACKING));
    let left: Vec<Value> = left.cloned().collect();
    let mut pod = pod.clone();
    set(&mut pod, "/metadata/finalizers", Value::Array(left));
    match cluster.update("pods", pod) {
        Err(failure) if failure.code != 404 => Err(failure),
        _ => Ok(()),
    }
}

/// Whether it is over: Complete or Failed.
pub(super) fn finished(job: &Value) -> Option<&Value> {
    ["Complete", "Failed"]
        .into_iter()
        .find_map(|of| condition(job, of).filter(|found| text(found, "/status") == "True"))
}

fn parallelism(job: &Value) -> i64 {
    integer(job, "/spec/parallelism").unwrap_or(1)
}

/// The pods as they are now: what runs, what is ready, what is on its way out.
struct Pods {
    active: Vec<Arc<Value>>,
    ready: i64,
    terminating: i64,
}

impl Pods {
    fn of(all: &[Arc<Value>]) -> Self {
        let active: Vec<_> = all.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
        let ready = active.iter().filter(|pod| pods::is_ready(pod)).count();
        let terminating = all.iter().filter(|pod| is_terminating(pod) && !pods::is_finished(pod)).count();
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        Self { ready: number(ready), terminating: number(terminating), active }
    }

    fn count(&self) -> i64 {
        i64::try_from(self.active.len()).unwrap_or(i64::MAX)
    }
}

/// What a look at a Job has found so far, to become its status.
struct Look {
    succeeded: i64,
    failed: i64,
    conditions: Vec<Value>,
    start: Option<DateTime<Utc>>,
    completed: Option<DateTime<Utc>>,
    next: Option<DateTime<Utc>>,
}

impl Look {
    fn again(&mut self, at: DateTime<Utc>) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

fn owned(cluster: &Cluster<'_>, job: &Value) -> Vec<Arc<Value>> {
    let mut all = cluster.list_in("pods", namespace(job));
    all.retain(|pod| is_controlled_by(pod, uid(job)));
    all
}

fn sync(cluster: &mut Cluster<'_>, job: &Value, backoff: &mut Backoff) -> Result<Option<DateTime<Utc>>, Failure> {
    let now = cluster.now();
    let all = owned(cluster, job);
    if finished(job).is_some() {
        // A pod may still end after its Job has.
        for pod in all.iter().filter(|pod| is_tracked(pod)) {
            untrack(cluster, pod)?;
        }
        return Ok(None);
    }
    if text(job, "/spec/completionMode") == "Indexed" {
        // Left alone, and said aloud, rather than run as if it were not indexed.
        cluster.record(job, "Warning", "NotSimulated", "Indexed Jobs are not simulated: no pods will be created");
        return Ok(None);
    }
    let mut look = Look {
        succeeded: integer(job, "/status/succeeded").unwrap_or(0),
        failed: integer(job, "/status/failed").unwrap_or(0),
        conditions: items(job, "/status/conditions").to_vec(),
        start: time(job, "/status/startTime"),
        completed: None,
        next: None,
    };
    let suspended = is_true(job, "/spec/suspend");
    if look.start.is_none() && !suspended {
        look.start = Some(now);
    }
    let counted = Counted::of(job, &all, now);
    counted.note(backoff);
    look.succeeded += counted.succeeded;
    look.failed += counted.failed;
    let pods = Pods::of(&all);
    let mut ending = finish::ending(job, &look, &counted, &pods, now);
    let mut managed = Ok(());
    if ending.is_some() {
        pods.active.iter().try_for_each(|pod| delete_pod(cluster, job, pod))?;
    } else {
        if !is_terminating(job) {
            managed = manage(cluster, job, (&pods, backoff), &mut look);
        }
        if finish::is_complete(job, &look, &pods) {
            ending = Some(finish::success(now));
        } else if !is_terminating(job) {
            note_suspension(cluster, job, suspended, &mut look);
        }
    }
    counted.untrack(cluster)?;
    if let Some(deadline) = integer(job, "/spec/activeDeadlineSeconds").filter(|_| !suspended && ending.is_none())
        && let Some(start) = look.start
    {
        look.again(start + TimeDelta::seconds(deadline));
    }
    // What was made and deleted just now is in the status at once, and so is the end when none is left.
    let after = owned(cluster, job);
    let pods = Pods::of(&after);
    if let Some(ending) = ending {
        finish::enact(cluster, job, ending, &pods, &mut look);
    }
    write_status(cluster, job, &look, &pods)?;
    managed.map(|()| look.next)
}

fn note_suspension(cluster: &mut Cluster<'_>, job: &Value, suspended: bool, look: &mut Look) {
    let now = cluster.now();
    let known = condition(job, "Suspended").is_some_and(|found| text(found, "/status") == "True");
    let (is, reason, event, message) = match (suspended, known) {
        (true, false) => ("True", "JobSuspended", "Suspended", "Job suspended"),
        (false, true) => ("False", "JobResumed", "Resumed", "Job resumed"),
        _ => return,
    };
    let at_place = look.conditions.iter().position(|found| text(found, "/type") == "Suspended");
    let new = finish::condition("Suspended", is, reason, message, now);
    match at_place.and_then(|place| look.conditions.get_mut(place)) {
        Some(old) => *old = new,
        None => look.conditions.push(new),
    }
    look.start = (!suspended).then_some(now);
    cluster.record(job, "Normal", event, message);
}

/// Makes and deletes pods until as many run as should.
fn manage(
    cluster: &mut Cluster<'_>,
    job: &Value,
    (pods, backoff): (&Pods, &Backoff),
    look: &mut Look,
) -> Result<(), Failure> {
    let active = pods.count();
    let wanted = match integer(job, "/spec/completions") {
        _ if is_true(job, "/spec/suspend") => 0,
        None if look.succeeded > 0 => active,
        None => parallelism(job),
        Some(completions) => (completions - look.succeeded).clamp(0, parallelism(job)),
    };
    if active > wanted {
        let now = cluster.now();
        let mut ranked = pods.active.clone();
        ranked.sort_by(|one, other| pods::rather_lose(one, other, &|_| 0, now));
        let over = usize::try_from(active - wanted).unwrap_or(0);
        return ranked.iter().take(over).try_for_each(|pod| {
            // It did not fail: it is let go first, so that it isn't counted.
            untrack(cluster, pod)?;
            match cluster.get("pods", namespace(pod), name(pod)) {
                Some(pod) => delete_pod(cluster, job, &pod),
                None => Ok(()),
            }
        });
    }
    let waits_for_end = text(job, "/spec/podReplacementPolicy") == "Failed";
    let missing = wanted - active - if waits_for_end { pods.terminating } else { 0 };
    if missing <= 0 {
        return Ok(());
    }
    if let Some(until) = backoff.until().filter(|until| *until > cluster.now()) {
        look.again(until);
        return Ok(());
    }
    let mut pod = pods::from_template(at(job, "/spec/template"), job);
    let mut finalizers = items(&pod, "/metadata/finalizers").to_vec();
    finalizers.push(json!(TRACKING));
    set(&mut pod, "/metadata/finalizers", Value::Array(finalizers));
    create_all(cluster, job, std::iter::repeat_n(pod, usize::try_from(missing.min(500)).unwrap_or(0)))
}

fn write_status(cluster: &mut Cluster<'_>, job: &Value, look: &Look, pods: &Pods) -> Result<(), Failure> {
    let mut status = Status::default();
    status
        .some("conditions", Value::Array(look.conditions.clone()))
        .some("startTime", look.start.map_or(Value::Null, rfc3339))
        .some("completionTime", look.completed.map_or(Value::Null, rfc3339))
        .count("active", pods.count())
        .count("succeeded", look.succeeded)
        .count("failed", look.failed)
        .put("ready", json!(pods.ready))
        .put("terminating", json!(pods.terminating))
        .put("uncountedTerminatedPods", json!({}));
    pods::write_status(cluster, RESOURCE, job, status.into_value())
}

#[cfg(test)]
mod tests;

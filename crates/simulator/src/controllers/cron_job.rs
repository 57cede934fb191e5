//! CronJobs: a Job whenever the schedule says so.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use serde_json::{Value, json};

use super::job::{RESOURCE as JOBS, finished};
use super::pods::{self, Status};
use super::queue::{self, Queue};
use super::{Cluster, Controller};
use crate::failure::Failure;
use crate::value::{
    at, controller, integer, is_controlled_by, is_terminating, is_true, items, name, namespace, rfc3339, set, text,
    time, uid,
};

const RESOURCE: &str = "cronjobs.batch";
const WATCHED: &[&str] = &[RESOURCE, JOBS];
/// Runs are looked for a little after their time.
const AFTER: TimeDelta = TimeDelta::milliseconds(100);
/// More missed runs than this are a mistake somewhere.
const TOO_MANY: usize = 100;

/// The CronJob controller.
#[derive(Debug, Default)]
pub(crate) struct CronJobs {
    queue: Queue,
}

impl Controller for CronJobs {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        WATCHED
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let concerns = |cluster: &Cluster<'_>, seen: queue::Seen<'_>, keys: &mut _| {
            let owned = [seen.before, seen.after].into_iter().flatten().any(|job| controller(job).is_some());
            if seen.is(JOBS) && owned {
                queue::owners(cluster, seen, (RESOURCE, "CronJob"), keys);
            }
        };
        self.queue.run(cluster, WATCHED, concerns, |cluster, cron| {
            let mut sync = Sync { cron, active: Vec::new(), scheduled: None, succeeded: None };
            sync.run(cluster)
        })
    }
}

/// A schedule in its time zone.
struct Schedule {
    cron: croner::Cron,
    zone: Tz,
}

impl Schedule {
    fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let found = self.cron.find_next_occurrence(&after.with_timezone(&self.zone), false).ok()?;
        Some(found.with_timezone(&Utc))
    }

    /// The last run after one time and not after another, and how many there were.
    fn last(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> (Option<DateTime<Utc>>, usize) {
        let (mut last, mut count) = (None, 0);
        let mut from = after;
        while let Some(next) = self.next(from).filter(|next| *next <= until) {
            (last, from) = (Some(next), next);
            count += 1;
        }
        (last, count)
    }
}

struct Sync<'s> {
    cron: &'s Value,
    active: Vec<Value>,
    scheduled: Option<DateTime<Utc>>,
    succeeded: Option<DateTime<Utc>>,
}

impl Sync<'_> {
    fn run(&mut self, cluster: &mut Cluster<'_>) -> Result<Option<DateTime<Utc>>, Failure> {
        self.active = items(self.cron, "/status/active").to_vec();
        self.scheduled = time(self.cron, "/status/lastScheduleTime");
        self.succeeded = time(self.cron, "/status/lastSuccessfulTime");
        let mut jobs = cluster.list_in(JOBS, namespace(self.cron));
        jobs.retain(|job| is_controlled_by(job, uid(self.cron)));
        self.clean_up(cluster, &jobs)?;
        self.look_at(cluster, &jobs);
        let done = self.schedule(cluster, &jobs);
        let mut status = Status::default();
        status
            .some("active", Value::Array(std::mem::take(&mut self.active)))
            .some("lastScheduleTime", self.scheduled.map_or(Value::Null, rfc3339))
            .some("lastSuccessfulTime", self.succeeded.map_or(Value::Null, rfc3339));
        pods::write_status(cluster, RESOURCE, self.cron, status.into_value())?;
        done
    }

    fn event(&self, cluster: &mut Cluster<'_>, of: &str, reason: &str, message: String) {
        cluster.record(self.cron, of, reason, message);
    }

    fn is_active(&self, job: &Value) -> bool {
        self.active.iter().any(|known| text(known, "/uid") == uid(job))
    }

    /// What the known Jobs have become.
    fn look_at(&mut self, cluster: &mut Cluster<'_>, jobs: &[Arc<Value>]) {
        for job in jobs {
            let known = self.is_active(job);
            match finished(job) {
                Some(end) => {
                    if known {
                        self.active.retain(|found| text(found, "/uid") != uid(job));
                        let (job, end) = (name(job), text(end, "/type"));
                        let message = format!("Saw completed job: {job}, condition: {end}");
                        self.event(cluster, "Normal", "SawCompletedJob", message);
                    }
                    if text(end, "/type") == "Complete" {
                        self.succeeded = self.succeeded.max(time(job, "/status/completionTime"));
                    }
                }
                None if !known => {
                    let message = format!("Saw a job that the controller did not create or forgot: {}", name(job));
                    self.event(cluster, "Warning", "UnexpectedJob", message);
                }
                None => {}
            }
        }
        let (there, missing): (Vec<_>, Vec<_>) = std::mem::take(&mut self.active)
            .into_iter()
            .partition(|known| jobs.iter().any(|job| uid(job) == text(known, "/uid")));
        self.active = there;
        for job in missing {
            let message = format!("Active job went missing: {}", text(&job, "/name"));
            self.event(cluster, "Normal", "MissingJob", message);
        }
    }

    fn parse(&self, cluster: &mut Cluster<'_>) -> Option<Schedule> {
        let (text_of, zone) = (text(self.cron, "/spec/schedule"), text(self.cron, "/spec/timeZone"));
        let zone = match zone.parse() {
            Ok(zone) => zone,
            Err(_) if zone.is_empty() => Tz::UTC,
            Err(_) => {
                let message = format!("invalid timeZone: \"{zone}\": unknown time zone {zone}");
                self.event(cluster, "Warning", "UnknownTimeZone", message);
                return None;
            }
        };
        match CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(text_of) {
            Ok(cron) => Some(Schedule { cron, zone }),
            Err(error) => {
                let message = format!("unparseable schedule: \"{text_of}\" : {error}");
                self.event(cluster, "Warning", "UnparseableSchedule", message);
                None
            }
        }
    }

    /// Makes a Job if it is time, and says when it will be.
    fn schedule(&mut self, cluster: &mut Cluster<'_>, jobs: &[Arc<Value>]) -> Result<Option<DateTime<Utc>>, Failure> {
        if is_terminating(self.cron) || is_true(self.cron, "/spec/suspend") {
            return Ok(None);
        }
        let Some(schedule) = self.parse(cluster) else { return Ok(None) };
        let now = cluster.now();
        let next = schedule.next(now).map(|next| next + AFTER);
        let made = time(self.cron, "/metadata/creationTimestamp").unwrap_or(now);
        let deadline = integer(self.cron, "/spec/startingDeadlineSeconds").map(TimeDelta::seconds);
        let since = self.scheduled.unwrap_or(made).max(deadline.map_or(made, |deadline| now - deadline));
        let (last, count) = schedule.last(since, now);
        if count > TOO_MANY {
            let message = format!(
                "too many missed start times: {count}. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            );
            self.event(cluster, "Warning", "TooManyMissedTimes", message);
        }
        let Some(at) = last.filter(|at| Some(*at) != self.scheduled) else { return Ok(next) };
        if deadline.is_some_and(|deadline| at + deadline < now) {
            let message = format!("Missed scheduled time to start a job: {}", at.format("%a, %d %b %Y %H:%M:%S %z"));
            self.event(cluster, "Warning", "MissSchedule", message);
            return Ok(next);
        }
        let job_name = format!("{}-{}", name(self.cron), at.timestamp() / 60);
        if self.active.iter().any(|known| text(known, "/name") == job_name) {
            return Ok(next);
        }
        match text(self.cron, "/spec/concurrencyPolicy") {
            "Forbid" if !self.active.is_empty() => {
                let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.event(cluster, "Normal", "JobAlreadyActive", message.to_owned());
                return Ok(next);
            }
            "Replace" => {
                for known in self.active.clone() {
                    if let Some(job) = jobs.iter().find(|job| uid(job) == text(&known, "/uid")) {
                        self.delete(cluster, job)?;
                    }
                }
            }
            _ => {}
        }
        self.create(cluster, &schedule, at, &job_name)?;
        Ok(next)
    }

    fn create(
        &mut self,
        cluster: &mut Cluster<'_>,
        schedule: &Schedule,
        at_time: DateTime<Utc>,
        job_name: &str,
    ) -> Result<(), Failure> {
        let template = at(self.cron, "/spec/jobTemplate");
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": job_name, "namespace": namespace(self.cron),
                "ownerReferences": [pods::controller_ref(self.cron)],
            },
            "spec": at(template, "/spec"),
        });
        for field in ["labels", "annotations"] {
            if let Some(found) = template.get("metadata").and_then(|metadata| metadata.get(field)) {
                set(&mut job, &format!("/metadata/{field}"), found.clone());
            }
        }
        let local = at_time.with_timezone(&schedule.zone).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        set(&mut job, "/metadata/annotations/batch.kubernetes.io~1cronjob-scheduled-timestamp", json!(local));
        match cluster.create(JOBS, job) {
            Ok(job) => {
                self.event(cluster, "Normal", "SuccessfulCreate", format!("Created job {job_name}"));
                self.active.push(json!({
                    "apiVersion": "batch/v1", "kind": "Job", "name": job_name, "namespace": namespace(self.cron),
                    "uid": uid(&job), "resourceVersion": text(&job, "/metadata/resourceVersion"),
                }));
                self.scheduled = Some(at_time);
                Ok(())
            }
            Err(failure) if failure.code == 409 => {
                // It ran already, and was taken off the list since.
                self.scheduled = Some(at_time);
                Ok(())
            }
            Err(failure) => {
                let message = format!("Error creating job: {}", pods::said(&failure));
                self.event(cluster, "Warning", "FailedCreate", message);
                Err(failure)
            }
        }
    }

    fn delete(&mut self, cluster: &mut Cluster<'_>, job: &Value) -> Result<(), Failure> {
        match cluster.delete(JOBS, job, None) {
            Err(failure) if failure.code != 404 => {
                let message = format!("Deleted job: {}", pods::said(&failure));
                self.event(cluster, "Warning", "FailedDelete", message);
                return Err(failure);
            }
            _ => {}
        }
        self.active.retain(|found| text(found, "/uid") != uid(job));
        self.event(cluster, "Normal", "SuccessfulDelete", format!("Deleted job {}", name(job)));
        Ok(())
    }

    /// Deletes the oldest finished Jobs that history has no room for.
    fn clean_up(&mut self, cluster: &mut Cluster<'_>, jobs: &[Arc<Value>]) -> Result<(), Failure> {
        let limits = [("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")];
        for (of, limit) in limits {
            let Some(limit) = integer(self.cron, &format!("/spec/{limit}")) else { continue };
            let is_of = |job: &Value| finished(job).is_some_and(|end| text(end, "/type") == of);
            let mut ended: Vec<_> = jobs.iter().filter(|job| is_of(job) && !is_terminating(job)).collect();
            ended.sort_by_key(|job| (time(job, "/status/startTime"), name(job).to_owned()));
            let over = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
            for job in ended.into_iter().take(over) {
                if !self.is_active(job) {
                    self.delete(cluster, job)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

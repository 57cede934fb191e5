//! The loop: watch, index, a queue ordered by (due, name), bounded workers. Not kube-runtime's
//! Controller, whose order is a hash's and whose clock is the wall's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use evenkeel_model::Remediation;
use evenkeel_runtime::{Backoff, BoxError, HealthPart, Shutdown};
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::follow::Follow;
use crate::plane::{DriveError, Next, Plane, count};
use crate::queue::Queue;
use crate::{remediations, retention};

/// How long the loop sleeps when nothing is due: a clock that was moved must not put it to sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// First and longest wait after a step that could not be taken.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How often what need not be kept is looked for.
const TIDY_EVERY: Duration = Duration::from_secs(300);
/// Deletions at a time; the rest next time.
const TIDY_AT_MOST: usize = 100;

impl Plane {
    /// Keeps the index true to the API server until shutdown.
    pub(crate) async fn watch_remediations(
        self: Arc<Self>,
        health: HealthPart,
        shutdown: Shutdown,
    ) -> Result<(), BoxError> {
        let reader = self.remediations.reader().clone();
        let mut watch = Follow::new("watch remediations", reader, health, self.metrics.clone(), shutdown);
        let mut listing: Vec<String> = Vec::new();
        while let Some(event) = watch.next().await? {
            match event {
                Event::Init => {
                    listing.clear();
                    self.index().begin_relist();
                }
                Event::InitApply(object) | Event::Apply(object) => {
                    let name = object.name_any();
                    let news = self.take_in(&name, Some(remediations::read(object)));
                    if !self.listed.initialized() {
                        listing.push(name);
                    } else if news {
                        self.asks.send(name)?;
                    }
                }
                Event::InitDone => {
                    self.index().end_relist();
                    // An error says that it has been set: they were listed anew.
                    let _ = self.listed.set(());
                    for name in listing.drain(..) {
                        self.asks.send(name)?;
                    }
                }
                Event::Delete(object) => {
                    self.take_in(&object.name_any(), None);
                }
            }
        }
        Ok(())
    }

    /// Works on what is due until shutdown; then finishes the steps begun and leaves the rest to others.
    pub(crate) async fn work(
        self: Arc<Self>,
        mut asks: mpsc::UnboundedReceiver<String>,
        shutdown: Shutdown,
    ) -> Result<(), BoxError> {
        let mut queue = Queue::default();
        let mut trouble: BTreeMap<String, Backoff> = BTreeMap::new();
        let mut workers: JoinSet<(String, Result<Next, DriveError>)> = JoinSet::new();
        let mut tidy = tokio::time::interval(TIDY_EVERY);
        tidy.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let draining = shutdown.is_cancelled();
            if draining && workers.is_empty() {
                return Ok(());
            }
            let now = self.now();
            while !draining && workers.len() < self.config.workers {
                let Some(name) = queue.take(now) else { break };
                match self.index().get(&name) {
                    Some(remediation) => {
                        self.approvals.seen(&name);
                        let plane = Arc::clone(&self);
                        workers.spawn(async move { (name, Box::pin(plane.advance(&remediation)).await) });
                    }
                    // Gone, or not understood any more.
                    None => {
                        trouble.remove(&name);
                        queue.done(&name, None, true);
                    }
                }
            }
            let late = queue.next_due().map_or(0, |due| (now - due).num_milliseconds().max(0));
            self.metrics.queue_age.set(late);
            self.metrics.queued.set(count(queue.len()));
            let busy = workers.len() >= self.config.workers;
            let sleep = if busy { LONGEST_SLEEP } else { until(queue.next_due(), now) };
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if !draining => {}
                Some(worked) = workers.join_next() => {
                    // A step that panics has left its Remediation as a crash would: begin as after one.
                    let (name, result) = worked.map_err(|error| Error::Ended(format!("a worker failed: {error}")))?;
                    let next = self.after(&name, result, &mut trouble).await;
                    // The watch tells of our own writes too, and may be faster than their answers.
                    let known = self.index().get(&name).map(|remediation| remediation.resource_version());
                    let ours = self.saved().get(&name).cloned();
                    queue.done(&name, next, known != ours || self.approvals.has_news(&name));
                    if next.is_none() {
                        self.saved().remove(&name);
                    }
                }
                asked = asks.recv() => match asked {
                    Some(name) if self.index().get(&name).is_some() => queue.ask(&name, self.now()),
                    Some(name) => {
                        self.approvals.seen(&name);
                        trouble.remove(&name);
                        queue.forget(&name);
                    }
                    None => return Err(Error::Ended("nobody asks any more".to_owned()).into()),
                },
                _ = tidy.tick(), if !draining => self.tidy().await,
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// When a Remediation is looked at again after a step.
    async fn after(
        &self,
        name: &str,
        result: Result<Next, DriveError>,
        trouble: &mut BTreeMap<String, Backoff>,
    ) -> Option<DateTime<Utc>> {
        let error = match result {
            Ok(next) => {
                trouble.remove(name);
                return match next {
                    Next::At(at) => Some(at),
                    Next::Done => None,
                };
            }
            Err(error) => error,
        };
        if let DriveError::Conflict(_) = &error {
            tracing::debug!(remediation = name, "changed by somebody else; reading it again");
            if let Err(error) = self.refresh(name).await {
                tracing::debug!(remediation = name, %error, "could not be read again yet");
            }
        } else {
            self.metrics.error("step");
            // Once a streak: people need to hear it once.
            if trouble.contains_key(name) {
                tracing::debug!(remediation = name, %error, "step not taken");
            } else {
                tracing::warn!(remediation = name, %error, "step not taken; it is tried again");
            }
        }
        let seed = name.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let backoff = trouble.entry(name.to_owned()).or_insert_with(|| Backoff::new(RETRY.0, RETRY.1, seed));
        Some(self.now() + chrono::Duration::from_std(backoff.next()).unwrap_or_default())
    }

    /// Deletes what need not be kept.
    async fn tidy(&self) {
        self.approvals.use_room();
        self.recorder.forget_all_but(|name| self.index().get(name).is_some());
        let mut expendable: Vec<Arc<Remediation>> = retention::expendable(&self.index(), &self.config, self.now());
        expendable.truncate(TIDY_AT_MOST);
        for remediation in self.sealed(expendable).await {
            if let Err(error) = self.remediations.delete(&remediation).await {
                self.metrics.error("tidy");
                tracing::warn!(remediation = remediation.name_any(), %error, "not deleted; tried again later");
                return;
            }
        }
        if !self.listed.initialized() {
            return;
        }
        // An approval of what is not there is no use, once it can't only be that we have not heard of it.
        let before = self.now() - chrono::Duration::hours(2);
        let orphans = self.approvals.orphans(before, |name| self.index().contains(name));
        for approval in orphans.into_iter().take(TIDY_AT_MOST) {
            if let Err(error) = self.approvals.delete(&approval).await {
                self.metrics.error("tidy");
                tracing::warn!(approval = approval.name_any(), %error, "not deleted; tried again later");
                return;
            }
        }
    }
}

fn until(due: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Duration {
    due.map_or(LONGEST_SLEEP, |due| (due - now).to_std().unwrap_or_default().min(LONGEST_SLEEP))
}

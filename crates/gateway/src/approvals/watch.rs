//! Keeps the index of Approvals true to the API server, and has what they are for looked at.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::Approval;
use evenkeel_runtime::{Backoff, BoxError, HealthPart, Shutdown};
use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use kube::runtime::watcher;

use crate::error::Error;
use crate::index;
use crate::plane::Plane;

/// First and longest wait after an error of the watch.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

impl Plane {
    /// Follows Approvals until shutdown.
    pub(crate) async fn watch_approvals(
        self: Arc<Self>,
        health: HealthPart,
        shutdown: Shutdown,
    ) -> Result<(), BoxError> {
        let mut backoff = Backoff::new(RETRY.0, RETRY.1, 3);
        let mut watch = watcher(self.approvals.reader.clone(), watcher::Config::default()).boxed();
        let mut listing = true;
        loop {
            let heard = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                heard = watch.next() => heard,
            };
            let event = match heard {
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    self.metrics.error("watch approvals");
                    health.not_ready(error.to_string());
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(backoff.next()) => {}
                    }
                    continue;
                }
                None => return Err(Error::Ended("the watch on approvals ended".to_owned()).into()),
            };
            backoff.reset();
            match event {
                watcher::Event::Init => {
                    listing = true;
                    self.approvals.index().begin_relist();
                }
                watcher::Event::InitApply(object) => self.take_in_approval(object, listing).await?,
                watcher::Event::Apply(object) => {
                    self.take_in_approval(object, false).await?;
                    health.ready();
                }
                watcher::Event::InitDone => {
                    listing = false;
                    self.approvals.index().end_relist();
                    health.ready();
                }
                watcher::Event::Delete(object) => {
                    let gone = self.approvals.index().remove(&object.name_any());
                    if let Some(gone) = gone {
                        self.asks.send(gone.spec.remediation.clone())?;
                    }
                }
            }
        }
    }

    async fn take_in_approval(&self, object: DynamicObject, listing: bool) -> Result<(), BoxError> {
        let name = object.name_any();
        let approval = match object.try_parse::<Approval>() {
            Ok(approval) => Arc::new(approval),
            Err(error) => {
                self.metrics.error("approval not understood");
                tracing::warn!(approval = name, %error, "not understood; it does not count");
                return Ok(());
            }
        };
        if !self.approvals.index().apply(Arc::clone(&approval)) {
            self.metrics.error("approval without room");
            tracing::warn!(approval = name, "too many approvals are there; it does not count");
        }
        self.asks.send(approval.spec.remediation.clone())?;
        if !listing {
            self.tell_if_late(&approval).await;
        }
        Ok(())
    }

    /// Says of an Approval that comes when nothing is asked any more, or never was, that it does not count.
    async fn tell_if_late(&self, approval: &Approval) {
        let name = &approval.spec.remediation;
        if !*self.listed.borrow() {
            return;
        }
        // The watch on Remediations may be behind.
        if self.index().get(name).is_none()
            && let Err(error) = self.refresh(name).await
        {
            tracing::debug!(remediation = name, %error, "could not be read for an approval of it");
            return;
        }
        let known = self.index().get(name);
        let reason = match known.as_deref().map(|known| (index::phase(known), index::status(known))) {
            None => format!("there is no remediation {name}"),
            Some((phase, _)) if phase.is_waiting() => return,
            Some((phase, status)) => {
                let given = status.approval.iter().flat_map(|asked| &asked.given);
                if given.into_iter().any(|given| given.name == approval.name_any()) {
                    return;
                }
                format!("nobody is asked about {name} any more: it is {phase} ({})", status.reason)
            }
        };
        self.events.try_refuse(approval, &reason).await;
    }
}

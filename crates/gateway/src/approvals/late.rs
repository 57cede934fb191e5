//! Approvals of what nobody is asked about (any more): their authors are told, by and by. Not by the watch, which has
//! others' answers to bring; and whoever makes many of them is not told of each.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::Approval;
use evenkeel_runtime::{BoxError, Shutdown};
use kube::ResourceExt as _;
use tokio::sync::mpsc;

use crate::index;
use crate::plane::Plane;

/// So many wait to be told of; the rest is left out.
pub(crate) const WAITING: usize = 64;
/// Between one and the next: each leaves an Event on the API server for an hour.
const PAUSE: Duration = Duration::from_secs(1);

impl Plane {
    /// Whether nothing waits for it, as far as is known here.
    pub(super) fn is_for_nothing(&self, approval: &Approval) -> bool {
        let known = self.index().get(&approval.spec.remediation);
        !known.is_some_and(|known| index::phase(&known).is_waiting())
    }

    /// Tells of late ones until shutdown.
    pub(crate) async fn tell_late(
        self: Arc<Self>,
        mut late: mpsc::Receiver<Arc<Approval>>,
        shutdown: Shutdown,
    ) -> Result<(), BoxError> {
        loop {
            let approval = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                approval = late.recv() => approval,
            };
            let Some(approval) = approval else { return Ok(()) };
            if !self.tell_if_late(&approval).await {
                continue;
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Says of an Approval that comes when nothing is asked any more, or never was, that it does not count.
    async fn tell_if_late(&self, approval: &Approval) -> bool {
        let name = &approval.spec.remediation;
        if !self.listed.initialized() {
            return false;
        }
        // The watch on Remediations may be behind.
        if self.index().get(name).is_none()
            && let Err(error) = self.refresh(name).await
        {
            tracing::debug!(remediation = name, %error, "could not be read for an approval of it");
            return false;
        }
        let known = self.index().get(name);
        let reason = match known.as_deref().map(|known| (index::phase(known), index::status(known))) {
            None => format!("there is no remediation {name}"),
            Some((phase, _)) if phase.is_waiting() => return false,
            Some((phase, status)) => {
                let given = status.approval.iter().flat_map(|asked| &asked.given);
                if given.into_iter().any(|given| given.name == approval.name_any()) {
                    return false;
                }
                format!("nobody is asked about {name} any more: it is {phase} ({})", status.reason)
            }
        };
        self.events.try_refuse(approval, &reason).await;
        true
    }
}

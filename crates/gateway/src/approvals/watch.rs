//! Keeps the index of Approvals true to the API server, and has what they are for looked at.

use std::sync::Arc;

use evenkeel_model::Approval;
use evenkeel_runtime::{BoxError, HealthPart, Shutdown};
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use kube::runtime::watcher::Event;
use tokio::sync::mpsc;

use super::index::Taken;
use crate::follow::Follow;
use crate::plane::Plane;

impl Plane {
    /// Follows Approvals until shutdown. Those that nobody waits for go to `late`.
    pub(crate) async fn watch_approvals(
        self: Arc<Self>,
        late: mpsc::Sender<Arc<Approval>>,
        health: HealthPart,
        shutdown: Shutdown,
    ) -> Result<(), BoxError> {
        let reader = self.approvals.reader.clone();
        let mut watch = Follow::new("watch approvals", reader, health, self.metrics.clone(), shutdown);
        loop {
            let event = tokio::select! {
                biased;
                () = self.approvals.room.notified() => {
                    watch.list_anew();
                    continue;
                }
                event = watch.next() => event?,
            };
            let Some(event) = event else { return Ok(()) };
            self.hear_of_approvals(event, &late)?;
        }
    }

    /// Never waits: a denial may be next.
    fn hear_of_approvals(
        &self,
        event: Event<DynamicObject>,
        late: &mpsc::Sender<Arc<Approval>>,
    ) -> Result<(), BoxError> {
        match event {
            Event::Init => self.approvals.index().begin_relist(),
            Event::InitApply(object) => drop(self.take_in_approval(object)?),
            Event::Apply(object) => {
                let taken = self.take_in_approval(object)?;
                if let Some(approval) = taken.filter(|approval| self.is_for_nothing(approval))
                    && late.try_send(Arc::new(approval)).is_err()
                {
                    self.metrics.error("late approvals");
                }
            }
            Event::InitDone => {
                let gone = self.approvals.index().end_relist();
                gone.into_iter().try_for_each(|remediation| self.asks.send(remediation))?;
            }
            Event::Delete(object) => {
                let gone = self.approvals.index().remove(&object.name_any());
                if let Some(gone) = gone {
                    self.asks.send(gone.spec.remediation.clone())?;
                }
            }
        }
        Ok(())
    }

    /// Gives it back where it is news.
    fn take_in_approval(&self, object: DynamicObject) -> Result<Option<Approval>, BoxError> {
        let name = object.name_any();
        let approval = match object.try_parse::<Approval>() {
            Ok(approval) => approval,
            Err(error) => {
                self.metrics.error("approval not understood");
                tracing::warn!(approval = name, %error, "not understood; it does not count");
                return Ok(None);
            }
        };
        let taken = self.approvals.index().apply(approval.clone());
        match taken {
            Taken::Known => return Ok(None),
            Taken::New => {}
            Taken::LeftOut => {
                self.metrics.error("approval without room");
                tracing::debug!(
                    approval = name,
                    "more than are held; those of its remediation are read when they matter"
                );
            }
        }
        self.asks.send(approval.spec.remediation.clone())?;
        Ok(Some(approval))
    }
}

use std::sync::Arc;

use evenkeel_bus::{Bus, Key, WakeUp};
use evenkeel_model::{Clock, Incident, Kind, ObjectRef};
use evenkeel_playbook::Playbooks;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::incidents::{Incidents, ReadError};
use crate::{Config, Metrics};

/// What all tasks of the reasoner share.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) cluster: String,
    pub(crate) namespace: String,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) incidents: Incidents,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) playbooks: watch::Receiver<Arc<Playbooks>>,
    pub(crate) planning: Arc<Semaphore>,
    /// Plans under way; waited for at shutdown.
    pub(crate) plans: TaskTracker,
}

impl Core {
    /// The object to speak of where a signal names none.
    pub(crate) fn fallback(&self) -> ObjectRef {
        ObjectRef::cluster_scoped(Kind::Namespace, self.namespace.clone())
    }

    /// Has the incident taken up again at its wake time, by whichever worker.
    pub(crate) async fn schedule(&self, key: &Key, incident: &Incident) -> Result<(), ReadError> {
        let Some(at) = incident.wake_at else { return Ok(()) };
        self.bus.wake_at(WakeUp { key: key.clone(), at, payload: key.as_str().to_owned().into() }).await?;
        Ok(())
    }

    pub(crate) fn count_conflict(&self) {
        self.metrics.conflicts.inc();
    }
}

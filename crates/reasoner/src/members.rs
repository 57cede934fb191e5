use std::collections::BTreeSet;

use evenkeel_bus::Key;
use evenkeel_model::{Incident, ObjectRef, SignalState};
use evenkeel_planner::{Arrival, close_if_over, wave};

use crate::core::Core;
use crate::incidents::ReadError;

impl Core {
    /// Notes the incident's root with the causes that its signals name.
    pub(crate) async fn note_causes(&self, arrivals: &[Arrival], incident: &Incident) -> Result<(), ReadError> {
        let Some(root) = &incident.root else { return Ok(()) };
        let now = self.clock.now();
        let firing = arrivals.iter().filter(|arrival| arrival.signal.state == SignalState::Firing);
        let causes: BTreeSet<&ObjectRef> = firing.flat_map(|arrival| &arrival.signal.causes).collect();
        for cause in causes.into_iter().filter(|cause| !cause.is_same(root)) {
            let key = Key::new(cause.key(&self.cluster)).map_err(ReadError::from)?;
            let traceparent = incident.traceparent.as_deref();
            let changed = self
                .incidents
                .change(
                    &key,
                    || self.count_conflict(),
                    |current| wave::note_member(current.cloned(), cause, &self.cluster, root, traceparent, now),
                )
                .await?;
            if let Some(changed) = changed {
                self.schedule(&key, &changed.incident).await?;
            }
        }
        Ok(())
    }

    /// Takes the root of an incident that has closed out of the waves of all its causes. Repeated, it
    /// changes nothing.
    pub(crate) async fn leave_causes(&self, incident: &Incident) -> Result<(), ReadError> {
        let Some(root) = &incident.root else { return Ok(()) };
        let now = self.clock.now();
        for cause in &incident.causes {
            let key = Key::new(cause.key(&self.cluster)).map_err(ReadError::from)?;
            let changed = self
                .incidents
                .change(
                    &key,
                    || self.count_conflict(),
                    |current| {
                        let mut next = current?.clone();
                        if !wave::forget_member(&mut next, root, now) {
                            return None;
                        }
                        if next.closed_at.is_none() && !close_if_over(&mut next, now) {
                            next.wake_at = Some(next.wake_at.map_or(now, |at| at.min(now)));
                        }
                        Some(next)
                    },
                )
                .await?;
            if let Some(changed) = changed {
                self.schedule(&key, &changed.incident).await?;
            }
        }
        Ok(())
    }
}

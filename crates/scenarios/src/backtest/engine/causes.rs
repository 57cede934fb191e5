//! What several roots suffer from: waves, as the reasoner sees them.

use evenkeel_model::SignalState;
use evenkeel_planner::{Arrival, wave};

use super::Engine;
use crate::backtest::course::Class;

impl Engine<'_> {
    /// Notes the root with the causes that its signals name, as the reasoner does.
    pub(super) fn note_causes(&mut self, arrival: &Arrival, key: &str) {
        let signal = &arrival.signal;
        if signal.causes.is_empty() || signal.state != SignalState::Firing {
            return;
        }
        let Some(incident) = self.incidents.get(key).and_then(|entry| entry.incident.as_ref()) else { return };
        let Some(root) = incident.root.clone().filter(|_| incident.closed_at.is_none()) else { return };
        let now = self.now;
        for cause in signal.causes.iter().filter(|cause| !cause.is_same(&root)) {
            let cause_key = cause.key(&signal.cluster);
            let entry = self.incidents.entry(cause_key.clone()).or_default();
            let was_open = entry.incident.as_ref().is_some_and(|incident| incident.closed_at.is_none());
            let known = entry.incident.clone();
            let Some(noted) = wave::note_member(known, cause, &signal.cluster, &root, None, now) else { continue };
            let opens = !was_open && noted.closed_at.is_none();
            entry.incident = Some(noted);
            if opens {
                entry.class = Some(Class {
                    signal: wave::SIGNAL.to_owned(),
                    kind: Some(cause.kind),
                    namespace: cause.namespace.clone(),
                });
            }
            if opens || was_open {
                self.after_change(&cause_key, was_open);
            }
        }
    }

    /// Takes a root that has recovered out of its causes' members.
    pub(super) fn free_causes(&mut self, key: &str) {
        let now = self.now;
        let Some(incident) = self.incidents.get(key).and_then(|entry| entry.incident.as_ref()) else { return };
        let Some(root) = incident.root.clone() else { return };
        let keys: Vec<String> = incident.causes.iter().map(|cause| cause.key(&incident.cluster)).collect();
        for cause in keys.into_iter().filter(|cause| cause != key) {
            let found = self.incidents.get_mut(&cause).and_then(|entry| entry.incident.as_mut());
            let Some(incident) = found else { continue };
            let was_open = incident.closed_at.is_none();
            if wave::forget_member(incident, &root, now) && was_open {
                self.after_change(&cause, was_open);
            }
        }
    }
}

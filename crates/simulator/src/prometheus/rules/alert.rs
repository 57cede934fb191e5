//! An alert's life: pending, firing, resolved; as Prometheus' `AlertingRule.Eval` has it.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::super::labels::{Labels, NAME};
use super::super::promql::{QueryError, Sample};
use super::super::storage::{Millis, Storage};
use super::template::Template;
use super::template::{exponent, number};
use super::{Alerting, alert_labels, show};

/// How long a resolved alert is remembered, so that Alertmanager surely hears of it.
const REMEMBERED: Millis = 15 * 60 * 1000;

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Inactive,
    Pending,
    Firing,
}

/// An alert.
#[derive(Debug, Clone)]
pub(crate) struct Active {
    pub(crate) phase: Phase,
    pub(crate) value: f64,
    pub(crate) annotations: Labels,
    pub(crate) active_at: Millis,
    pub(crate) fired_at: Millis,
    pub(crate) resolved_at: Option<Millis>,
    kept_since: Option<Millis>,
}

impl Active {
    /// One as Alertmanager may be sent it.
    #[cfg(test)]
    pub(crate) fn at(phase: Phase, fired_at: Millis, resolved_at: Option<Millis>) -> Self {
        let annotations = Labels::of([("summary", "s")]);
        Self { phase, value: 1.0, annotations, active_at: fired_at, fired_at, resolved_at, kept_since: None }
    }

    /// Whether time alone brings it on.
    pub(super) fn is_waiting(&self) -> bool {
        self.phase == Phase::Pending || self.kept_since.is_some()
    }

    pub(super) fn json(&self, labels: &Labels) -> Value {
        let mut alert = json!({
            "labels": labels.json(),
            "annotations": self.annotations.json(),
            "state": if self.phase == Phase::Firing { "firing" } else { "pending" },
            "activeAt": time(self.active_at),
            "value": exponent(self.value),
        });
        if let (Some(since), Some(map)) = (self.kept_since, alert.as_object_mut()) {
            map.insert("keepFiringSince".to_owned(), time(since));
        }
        alert
    }
}

/// A time as Go writes it into JSON: no more digits of a second than are needed.
pub(crate) fn time(at: Millis) -> Value {
    let text = DateTime::<Utc>::from_timestamp_millis(at).map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    Value::from(text.unwrap_or_default())
}

impl Alerting {
    /// Goes on by one evaluation. No samples: they are what they were the last time.
    pub(super) fn take(
        &mut self,
        storage: &mut Storage,
        labels: &[(String, Template)],
        samples: Option<&Vec<Sample>>,
        step: Millis,
        at: Millis,
    ) -> Result<(), QueryError> {
        let before: Vec<Phase> = self.active.values().map(|active| active.phase).collect();
        if let Some(samples) = samples {
            self.see(labels, samples, at)?;
        }
        self.age(at);
        let is_same = samples.is_none() && before.iter().copied().eq(self.active.values().map(|active| active.phase));
        if !is_same {
            self.show(storage, step, at);
        }
        Ok(())
    }

    fn see(&mut self, labels: &[(String, Template)], samples: &[Sample], at: Millis) -> Result<(), QueryError> {
        let mut seen: BTreeMap<Labels, &Sample> = BTreeMap::new();
        for sample in samples {
            if seen.insert(alert_labels(&self.name, labels, sample), sample).is_some() {
                let reason = "vector contains metrics with the same labelset after applying alert labels";
                return Err(QueryError::Execution(reason.to_owned()));
            }
        }
        let gone = |labels: &Labels| !seen.contains_key(labels);
        let keep = self.keep;
        for (_, active) in self.active.iter_mut().filter(|(labels, _)| gone(labels)) {
            if active.phase == Phase::Firing && keep > 0 {
                active.kept_since = active.kept_since.or(Some(at));
            }
        }
        self.active.retain(|labels, active| !(gone(labels) && active.phase == Phase::Pending));
        for (_, active) in self.active.iter_mut().filter(|(labels, _)| gone(labels)) {
            if active.phase == Phase::Firing && active.kept_since.is_none() {
                active.phase = Phase::Inactive;
                active.resolved_at = Some(at);
            }
        }
        for (labels, sample) in seen {
            let nameless = sample.labels.nameless();
            let text = |template: &Template| template.render(&nameless, sample.value);
            let texts = self.annotations.iter().map(|(name, template)| (name.as_str(), text(template)));
            let annotations = Labels::of(texts);
            match self.active.get_mut(&labels).filter(|active| active.phase != Phase::Inactive) {
                Some(active) => {
                    active.value = sample.value;
                    active.annotations = annotations;
                    active.kept_since = None;
                }
                None => {
                    let active = Active {
                        phase: Phase::Pending,
                        value: sample.value,
                        annotations,
                        active_at: at,
                        fired_at: at,
                        resolved_at: None,
                        kept_since: None,
                    };
                    self.active.insert(labels, active);
                }
            }
        }
        Ok(())
    }

    /// What time does.
    fn age(&mut self, at: Millis) {
        let (hold, keep) = (self.hold, self.keep);
        self.active.retain(|_, active| active.resolved_at.is_none_or(|resolved| at - resolved <= REMEMBERED));
        for active in self.active.values_mut() {
            if active.phase == Phase::Pending && at - active.active_at >= hold {
                active.phase = Phase::Firing;
                active.fired_at = at;
            }
            if active.phase == Phase::Firing && active.kept_since.is_some_and(|since| at - since >= keep) {
                active.phase = Phase::Inactive;
                active.resolved_at = Some(at);
                active.kept_since = None;
            }
        }
    }

    /// `ALERTS` and `ALERTS_FOR_STATE`.
    fn show(&mut self, storage: &mut Storage, step: Millis, at: Millis) {
        let mut now = BTreeMap::new();
        for (labels, active) in &self.active {
            let state = match active.phase {
                Phase::Inactive => continue,
                Phase::Pending => "pending",
                Phase::Firing => "firing",
            };
            now.insert(labels.with(NAME, "ALERTS").with("alertstate", state), 1.0);
            let since = number(active.active_at / 1000);
            now.insert(labels.with(NAME, "ALERTS_FOR_STATE"), since);
        }
        show(storage, &mut self.shown, &now, step, at);
    }
}

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use evenkeel_model::{Clock, SignalState, Source, Span};
use serde::Deserialize;

use super::{HttpError, Server};
use crate::alert::{Alert, Labels, Normalizer, Text, fingerprint};
use crate::metrics::Metrics;
use crate::sight::Sight;
use crate::tracker::{Found, Group};
use crate::webhook::Heartbeat;
use crate::world;

/// Turns the alerts that Prometheus says are firing into signals; one that is no longer among
/// them has ended, unless the watchdog is missing, too.
pub(crate) struct Alerts {
    pub(crate) sight: Arc<Sight>,
    pub(crate) normalizer: Arc<Normalizer>,
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) watchdog: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) before: Mutex<Before>,
}

/// What the answer before had.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// Whether any answer had the watchdog.
    had_watchdog: bool,
    /// Without one: what was missing then, too.
    missing: BTreeSet<String>,
    /// Which alerts were left out for being named like ours.
    named_like_ours: BTreeSet<String>,
}

impl Before {
    /// Which of the alerts that are missing have ended. One that has just been restarted answers before it
    /// has evaluated its rules: then its watchdog is missing, too, or, where there is none, only the next
    /// answer is believed.
    fn ended(&mut self, missing: BTreeSet<String>, watchdog: bool, blind: bool) -> Vec<String> {
        if watchdog {
            (self.had_watchdog, self.missing) = (true, BTreeSet::new());
            return missing.into_iter().collect();
        }
        if self.had_watchdog || blind {
            return Vec::new();
        }
        let (ended, once): (BTreeSet<String>, BTreeSet<String>) =
            missing.into_iter().partition(|subject| self.missing.contains(subject));
        self.missing = once;
        ended.into_iter().collect()
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    alerts: Vec<Polled<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Polled<'a> {
    #[serde(borrow)]
    labels: Labels<'a>,
    #[serde(borrow, default)]
    annotations: Labels<'a>,
    #[serde(borrow)]
    state: Text<'a>,
    active_at: DateTime<Utc>,
}

impl Alerts {
    pub(crate) async fn poll(&self, server: &Server) -> Result<(), HttpError> {
        let body = server.get("api/v1/alerts").await?;
        self.take(&body)
    }

    fn take(&self, body: &[u8]) -> Result<(), HttpError> {
        let malformed = |error: serde_json::Error| HttpError::Malformed {
            expected: "Prometheus' alerts",
            reason: error.to_string(),
        };
        let answer: Answer<'_> = serde_json::from_slice(body).map_err(malformed)?;
        let now = self.clock.now();
        let firing = answer.data.alerts.into_iter().filter(|alert| alert.state.as_str() == "firing");
        let alerts: Vec<Alert<'_>> = firing.map(alert).collect();
        let is_watchdog = |alert: &&Alert<'_>| alert.name() == self.watchdog;
        // It fires there, though nothing says that it comes through Alertmanager.
        let watchdog = alerts.iter().any(|alert| is_watchdog(&alert));
        let mut firing = BTreeSet::new();
        let mut found = Vec::new();
        {
            let world = world::read(&self.sight.world);
            for alert in alerts.iter().filter(|alert| !alert.is_ours() && !is_watchdog(alert)) {
                let mut signal = self.normalizer.signal(alert, Source::Prometheus, &world, now);
                signal.suppressed = signal.suppressed.take().or_else(|| world.quiet.holds_alert(&alert.labels));
                firing.insert(alert.fingerprint.to_string());
                found.push((
                    alert.fingerprint.to_string(),
                    Found {
                        mark: Group::alert_mark(alert.starts_at),
                        since: Some(alert.starts_at),
                        after: Span::seconds(0),
                        until: None,
                        signal,
                    },
                ));
            }
        }
        let mut tracker = self.sight.tracker();
        for (subject, found) in found {
            tracker.see(&subject, Group::Alerts, found, now);
        }
        let missing = tracker.subjects(Group::Alerts).difference(&firing).cloned().collect();
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        for subject in before.ended(missing, watchdog, self.heartbeat.is_blind(now)) {
            tracker.observe(&subject, Group::Alerts, Vec::new(), now);
        }
        let left_out = alerts.iter().filter(|alert| alert.is_named_like_ours());
        let left_out: BTreeSet<String> = left_out.map(|alert| alert.fingerprint.to_string()).collect();
        // Each poll tells them again.
        left_out.difference(&before.named_like_ours).for_each(|_| self.metrics.ignored("named like ours"));
        before.named_like_ours = left_out;
        drop(before);
        drop(tracker);
        self.sight.news.notify_one();
        Ok(())
    }
}

fn alert(polled: Polled<'_>) -> Alert<'_> {
    Alert {
        state: SignalState::Firing,
        fingerprint: fingerprint(&polled.labels).into(),
        labels: polled.labels,
        annotations: polled.annotations,
        starts_at: polled.active_at,
        ends_at: None,
    }
}

#[cfg(test)]
mod tests;

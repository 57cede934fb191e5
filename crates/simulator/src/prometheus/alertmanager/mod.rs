//! An Alertmanager: groups alerts, holds back what is silenced or inhibited, and notifies as the real one does.

mod group;
mod matcher;
mod notification;
mod silence;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::labels::Labels;
use super::promql::millis;
use super::rules::Phase;
use super::storage::Millis;
use crate::images::span;
use group::Groups;
pub(crate) use matcher::Matcher;
pub use notification::Notification;
pub(crate) use silence::Silences;

/// How long an alert that is no longer sent stays: four times the resend delay of a minute.
const VALID: Millis = 4 * 60 * 1000;
/// How often Prometheus sends an alert again that still fires.
const RESEND: Millis = 60 * 1000;

/// How Alertmanager is configured; the defaults are those of Alertmanager and kube-prometheus-stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AlertmanagerOptions {
    /// Labels by which alerts share a notification. Default alertname and namespace.
    pub group_by: Vec<String>,
    /// How long a new group waits for more alerts. Default 30s.
    #[serde(with = "span")]
    #[schemars(with = "String")]
    pub group_wait: Duration,
    /// How long a group waits until it tells what changed. Default 5m.
    #[serde(with = "span")]
    #[schemars(with = "String")]
    pub group_interval: Duration,
    /// After how long it says again what did not change. Default 4h.
    #[serde(with = "span")]
    #[schemars(with = "String")]
    pub repeat_interval: Duration,
    /// How often the Watchdog is notified. Default 1m.
    #[serde(with = "span")]
    #[schemars(with = "String")]
    pub watchdog_every: Duration,
    /// The receiver's name.
    pub receiver: String,
    /// `externalURL` of notifications.
    pub external_url: String,
}

impl Default for AlertmanagerOptions {
    fn default() -> Self {
        Self {
            group_by: vec!["alertname".to_owned(), "namespace".to_owned()],
            group_wait: Duration::from_secs(30),
            group_interval: Duration::from_secs(300),
            repeat_interval: Duration::from_secs(4 * 3600),
            watchdog_every: Duration::from_secs(60),
            receiver: "evenkeel".to_owned(),
            external_url: "http://alertmanager.monitoring:9093".to_owned(),
        }
    }
}

/// An alert as Prometheus sends it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Alert {
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
    pub(crate) starts_at: Millis,
    /// Set once it is resolved.
    pub(crate) ends_at: Option<Millis>,
    pub(crate) generator_url: String,
}

impl Alert {
    fn is_resolved(&self, now: Millis) -> bool {
        self.ends_at.is_some_and(|ends| ends <= now)
    }

    fn fingerprint(&self) -> String {
        format!("{:016x}", self.labels.fingerprint())
    }
}

/// Where alerts go.
#[derive(Debug)]
struct Route {
    matchers: Vec<Matcher>,
    /// None drops them.
    receiver: Option<String>,
    key: String,
    group_by: Vec<String>,
    wait: Millis,
    interval: Millis,
    repeat: Millis,
}

/// Alerts that hold back others.
#[derive(Debug)]
struct Inhibition {
    source: Vec<Matcher>,
    target: Vec<Matcher>,
    equal: Vec<&'static str>,
}

/// The whole Alertmanager.
#[derive(Debug)]
pub(crate) struct Alertmanager {
    routes: Vec<Route>,
    inhibitions: Vec<Inhibition>,
    external_url: String,
    alerts: BTreeMap<Labels, Alert>,
    groups: Groups,
    pub(crate) silences: Silences,
}

impl Alertmanager {
    pub(crate) fn new(options: &AlertmanagerOptions) -> Self {
        let root = |matchers: Vec<Matcher>, receiver: Option<String>| Route {
            key: if matchers.is_empty() { "{}".to_owned() } else { format!("{{}}/{}", Matcher::all(&matchers)) },
            matchers,
            receiver,
            group_by: options.group_by.clone(),
            wait: millis(options.group_wait),
            interval: millis(options.group_interval),
            repeat: millis(options.repeat_interval),
        };
        let receiver = Some(options.receiver.clone());
        let every = millis(options.watchdog_every);
        let watchdog = Route {
            wait: 0,
            interval: every,
            // Less than the interval, or every second one would be taken for too early.
            repeat: every / 2,
            ..root(vec![Matcher::equal("alertname", "Watchdog")], receiver.clone())
        };
        let inhibitor = root(vec![Matcher::equal("alertname", "InfoInhibitor")], None);
        // As kube-prometheus-stack configures it.
        let same = vec!["namespace", "alertname"];
        let inhibitions = vec![
            Inhibition {
                source: vec![Matcher::equal("severity", "critical")],
                target: vec![Matcher::like("severity", "warning|info")],
                equal: same.clone(),
            },
            Inhibition {
                source: vec![Matcher::equal("severity", "warning")],
                target: vec![Matcher::equal("severity", "info")],
                equal: same,
            },
            Inhibition {
                source: vec![Matcher::equal("alertname", "InfoInhibitor")],
                target: vec![Matcher::equal("severity", "info")],
                equal: vec!["namespace"],
            },
        ];
        Self {
            routes: vec![watchdog, inhibitor, root(Vec::new(), receiver)],
            inhibitions,
            external_url: options.external_url.clone(),
            alerts: BTreeMap::new(),
            groups: Groups::default(),
            silences: Silences::default(),
        }
    }

    /// Takes what Prometheus has: alerts that fire, and those resolved of late.
    pub(crate) fn receive<'a>(
        &mut self,
        alerts: impl Iterator<Item = (&'a str, &'a Labels, &'a super::rules::Active)>,
        now: Millis,
    ) {
        for (expression, labels, active) in alerts {
            let ends_at = match active.phase {
                Phase::Pending => continue,
                Phase::Firing => None,
                Phase::Inactive => active.resolved_at,
            };
            let alert = Alert {
                labels: labels.clone(),
                annotations: active.annotations.clone(),
                starts_at: active.fired_at,
                ends_at,
                generator_url: notification::generator_url(expression),
            };
            if self.alerts.get(labels) == Some(&alert) {
                continue;
            }
            let route = self.routes.iter().find(|route| Matcher::match_all(&route.matchers, labels));
            if let Some(route) = route.filter(|route| route.receiver.is_some()) {
                self.groups.take(route, &alert, now);
            }
            self.alerts.insert(labels.clone(), alert);
        }
        // Those that are long resolved and told.
        self.alerts.retain(|_, alert| alert.ends_at.is_none_or(|ends| now - ends < 2 * VALID));
    }

    /// When a group tells next.
    pub(crate) fn due(&self) -> Option<Millis> {
        self.groups.due()
    }

    /// What is told now.
    pub(crate) fn notify(&mut self, now: Millis) -> Vec<Notification> {
        let mut told = Vec::new();
        while let Some((key, mut group)) = self.groups.next(now) {
            let is_heard = |alert: &&Alert| {
                self.inhibited_by(&alert.labels, now).is_empty() && self.silences.of(&alert.labels, now).is_empty()
            };
            let alerts: Vec<Alert> = group.alerts.values().filter(is_heard).cloned().collect();
            if let Some((alerts, reason)) = group.flush(alerts, now) {
                let url = &self.external_url;
                told.push(notification::of(&group.receiver, url, &key, &group.labels, &alerts, reason, now));
            }
            self.groups.put_back(key, group, now);
        }
        told
    }

    /// Fingerprints of the alerts that hold this one back.
    fn inhibited_by(&self, labels: &Labels, now: Millis) -> BTreeSet<String> {
        let mut by = BTreeSet::new();
        for inhibition in &self.inhibitions {
            if !Matcher::match_all(&inhibition.target, labels) {
                continue;
            }
            let is_source_too = Matcher::match_all(&inhibition.source, labels);
            let source = self.alerts.values().find(|source| {
                !source.is_resolved(now)
                    && Matcher::match_all(&inhibition.source, &source.labels)
                    && inhibition.equal.iter().all(|name| source.labels.get(name) == labels.get(name))
                    // Two that are both would hold back each other.
                    && !(is_source_too && Matcher::match_all(&inhibition.target, &source.labels))
            });
            by.extend(source.map(Alert::fingerprint));
        }
        by
    }

    /// `/api/v2/alerts`
    pub(crate) fn json(&self, query: &BTreeMap<String, Vec<String>>, now: Millis) -> Result<Value, String> {
        let wanted = |name: &str| query.get(name).and_then(|values| values.last()).is_none_or(|value| value != "false");
        let filters: Result<Vec<Matcher>, String> =
            query.get("filter").into_iter().flatten().map(|text| Matcher::parse(text)).collect();
        let filters = filters?;
        let mut listed: Vec<(String, Value)> = Vec::new();
        for alert in self.alerts.values().filter(|alert| !alert.is_resolved(now)) {
            let route = self.routes.iter().find(|route| Matcher::match_all(&route.matchers, &alert.labels));
            let receiver = route.and_then(|route| route.receiver.as_deref()).unwrap_or("null");
            let silenced = self.silences.of(&alert.labels, now);
            let inhibited = self.inhibited_by(&alert.labels, now);
            let is_active = silenced.is_empty() && inhibited.is_empty();
            let is_left_out = (is_active && !wanted("active"))
                || (!silenced.is_empty() && !wanted("silenced"))
                || (!inhibited.is_empty() && !wanted("inhibited"))
                || !Matcher::match_all(&filters, &alert.labels);
            if is_left_out {
                continue;
            }
            let updated = now - (now - alert.starts_at).rem_euclid(RESEND);
            let json = json!({
                "annotations": alert.annotations.json(),
                "endsAt": silence::time(updated + VALID),
                "fingerprint": alert.fingerprint(),
                "receivers": [{"name": receiver}],
                "startsAt": silence::time(alert.starts_at),
                "status": {
                    "inhibitedBy": inhibited, "mutedBy": [], "silencedBy": silenced,
                    "state": if is_active { "active" } else { "suppressed" },
                },
                "updatedAt": silence::time(updated),
                "generatorURL": alert.generator_url,
                "labels": alert.labels.json(),
            });
            listed.push((alert.fingerprint(), json));
        }
        listed.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(listed.into_iter().map(|(_, json)| json).collect())
    }
}

#[cfg(test)]
mod tests;

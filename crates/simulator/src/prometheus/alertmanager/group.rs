//! Alerts that share a notification, and when they are told: Alertmanager's dispatcher, its deduplication and its
//! notification log.

use std::collections::{BTreeMap, BTreeSet};

use super::super::labels::Labels;
use super::super::storage::Millis;
use super::{Alert, Route};

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) receiver: String,
    pub(super) labels: Labels,
    pub(super) alerts: BTreeMap<Labels, Alert>,
    interval: Millis,
    repeat: Millis,
    next: Millis,
    has_flushed: bool,
    log: Option<Told>,
}

/// What was told last.
#[derive(Debug, Clone)]
struct Told {
    at: Millis,
    firing: BTreeSet<Labels>,
    resolved: BTreeSet<Labels>,
}

/// All groups by their key.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: BTreeMap<String, Group>,
    /// What groups that are gone had told.
    log: BTreeMap<String, Told>,
}

impl Groups {
    /// An alert comes, new or changed.
    pub(super) fn take(&mut self, route: &Route, alert: &Alert, now: Millis) {
        let labels = alert.labels.filtered(|name| route.group_by.iter().any(|by| by == name));
        let key = format!("{}:{labels}", route.key);
        let log = self.log.get(&key).cloned();
        let group = self.groups.entry(key).or_insert_with(|| Group {
            receiver: route.receiver.clone().unwrap_or_default(),
            labels,
            alerts: BTreeMap::new(),
            interval: route.interval,
            repeat: route.repeat,
            next: now + route.wait,
            has_flushed: false,
            log,
        });
        group.alerts.insert(alert.labels.clone(), alert.clone());
        // One that has waited elsewhere does not wait here again.
        if !group.has_flushed && alert.starts_at + route.wait < now {
            group.next = now;
        }
    }

    pub(super) fn due(&self) -> Option<Millis> {
        self.groups.values().map(|group| group.next).min()
    }

    /// Takes out the first group that is due.
    pub(super) fn next(&mut self, now: Millis) -> Option<(String, Group)> {
        let due = self.groups.iter().filter(|(_, group)| group.next <= now);
        let key = due.min_by_key(|(_, group)| group.next)?.0.clone();
        let group = self.groups.remove(&key)?;
        Some((key, group))
    }

    /// Puts it back, unless it is empty.
    pub(super) fn put_back(&mut self, key: String, mut group: Group, now: Millis) {
        if let Some(told) = &group.log {
            self.log.insert(key.clone(), told.clone());
        }
        if !group.alerts.is_empty() {
            group.next = now + group.interval;
            self.groups.insert(key, group);
        }
    }
}

impl Group {
    /// What is to be told of the alerts that may be heard, and why; none when all of it is known.
    pub(super) fn flush(&mut self, heard: Vec<Alert>, now: Millis) -> Option<(Vec<Alert>, &'static str)> {
        self.has_flushed = true;
        let of = |is_resolved: bool| -> BTreeSet<Labels> {
            let those = heard.iter().filter(|alert| alert.is_resolved(now) == is_resolved);
            those.map(|alert| alert.labels.clone()).collect()
        };
        let (firing, resolved) = (of(false), of(true));
        // Told or not, they need not be told again.
        self.alerts.retain(|_, alert| !alert.is_resolved(now));
        let reason = match &self.log {
            None if firing.is_empty() => return None,
            None => "first notification",
            Some(told) if !firing.is_subset(&told.firing) => "new alerts added",
            Some(told) if firing.is_empty() => {
                if heard.is_empty() || told.firing.is_empty() {
                    return None;
                }
                "all alerts resolved"
            }
            Some(told) if !resolved.is_subset(&told.resolved) => "some alerts resolved",
            Some(told) if told.at < now - self.repeat => "repeat interval elapsed",
            Some(_) => return None,
        };
        self.log = Some(Told { at: now, firing, resolved });
        Some((heard, reason))
    }
}

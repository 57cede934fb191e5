//! Alerts out of a recording, as signals: what the observer would have made of them with no cluster
//! to look into.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use evenkeel_model::{Signal, SignalState, Source};

use crate::Config;
use crate::alert::{Alert, Labels, Normalizer, fingerprint};
use crate::targets::{BadTable, Resolver};
use crate::world::World;

/// One alert as a recording has it.
#[derive(Debug, Clone, Copy)]
pub struct RecordedAlert<'a> {
    /// Whether it began or ended.
    pub state: SignalState,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: &'a BTreeMap<String, String>,
    /// When it began.
    pub starts_at: DateTime<Utc>,
    /// When it ended, for resolved ones.
    pub ends_at: Option<DateTime<Utc>>,
    /// Alertmanager's fingerprint; made from the labels when absent.
    pub fingerprint: Option<&'a str>,
}

/// Makes signals of recorded alerts. Who owns a pod, and what a node's address is, no recording tells.
#[derive(Debug)]
pub struct RecordedAlerts {
    normalizer: Normalizer,
    world: World,
    watchdog: String,
}

impl RecordedAlerts {
    /// For a cluster of that name, with the observer's settings.
    ///
    /// # Errors
    /// [`BadTable`] when the shipped table of targets is not what it should be.
    pub fn new(cluster: &str, config: &Config) -> Result<Self, BadTable> {
        let targets = Resolver::new(config.targets.exporters.clone())?;
        Ok(Self {
            normalizer: Normalizer::new(cluster.to_owned(), targets),
            world: World::default(),
            watchdog: config.alertmanager.watchdog.clone(),
        })
    }

    /// The signal of an alert; none of the watchdog's and of our own alerts.
    pub fn signal(&self, recorded: &RecordedAlert<'_>, source: Source) -> Option<Signal> {
        let labels = Labels::from_pairs(pairs(recorded.labels));
        let alert = Alert {
            state: recorded.state,
            fingerprint: recorded.fingerprint.map_or_else(|| fingerprint(&labels).into(), Into::into),
            labels,
            annotations: Labels::from_pairs(pairs(recorded.annotations)),
            starts_at: recorded.starts_at,
            ends_at: recorded.ends_at,
        };
        let seen_at = recorded.ends_at.unwrap_or(recorded.starts_at);
        let is_news = !alert.is_ours() && alert.name() != self.watchdog;
        is_news.then(|| self.normalizer.signal(&alert, source, &self.world, seen_at))
    }
}

fn pairs(map: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    map.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_recorded_alert_is_about_what_the_table_says() {
        let alerts = RecordedAlerts::new("prod", &Config::default()).unwrap();
        let labels = map(&[
            ("alertname", "KubeDeploymentReplicasMismatch"),
            ("namespace", "shop"),
            ("deployment", "cart"),
            ("pod", "kube-state-metrics-0"),
        ]);
        let at = DateTime::from_timestamp(1_767_600_000, 0).unwrap();
        let none = BTreeMap::new();
        let signal_of = |labels: &BTreeMap<String, String>| {
            let alert = RecordedAlert {
                state: SignalState::Firing,
                labels,
                annotations: &none,
                starts_at: at,
                ends_at: None,
                fingerprint: None,
            };
            alerts.signal(&alert, Source::Alertmanager)
        };
        let signal = signal_of(&labels).unwrap();
        assert_eq!(signal.target.unwrap().to_string(), "deployment/shop/cart");
        assert_eq!(signal.observed_at, at);
        for quiet in ["Watchdog", "EvenkeelIncidentNeedsHuman"] {
            assert_eq!(signal_of(&map(&[("alertname", quiet)])), None, "{quiet}");
        }
    }
}

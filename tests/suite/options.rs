//! What a test asks for.

use evenkeel_xtask::cluster::{Addon, ClusterOptions};

/// What a test needs of its world.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster, NATS included.
    pub cluster: ClusterOptions,
    /// `Audit` or `Enforce`.
    pub mode: &'static str,
    /// Whether the observer watches the cluster; without, only alerts tell it anything.
    pub watches: bool,
}

impl Options {
    /// A real node with NATS; the engine may act.
    pub fn real() -> Self {
        Self { cluster: ClusterOptions::real().with(Addon::Nats), mode: "Enforce", watches: true }
    }

    /// Fake nodes with NATS; the engine may act.
    pub fn kwok() -> Self {
        Self { cluster: ClusterOptions::kwok().with(Addon::Nats), mode: "Enforce", watches: true }
    }

    /// With Prometheus evaluating `rules`, and so many Alertmanagers.
    #[must_use]
    pub fn with_alerts(mut self, rules: &str, alertmanagers: u8) -> Self {
        self.cluster = self.cluster.with(Addon::Prometheus).with(Addon::Alertmanager);
        self.cluster.prometheus_rules = Some(rules.to_owned());
        self.cluster.alertmanagers = alertmanagers;
        self
    }
}

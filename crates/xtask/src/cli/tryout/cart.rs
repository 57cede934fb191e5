//! The Deployment that is broken and repaired.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::story;
use crate::cluster::Cluster;
use crate::wait;

/// The Deployment as it is.
pub(super) struct Cart {
    found: Value,
    pub(super) image: String,
}

impl Cart {
    pub(super) fn read(cluster: &Cluster) -> Result<Self> {
        let text = cluster.kubectl(&["--namespace", "shop", "get", "deployment", "cart", "-o", "json"])?;
        let found: Value = serde_json::from_str(&text)?;
        let image = found.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
        let image = image.context("deployment/shop/cart has no image")?.to_owned();
        Ok(Self { found, image })
    }

    fn number(&self, pointer: &str) -> u64 {
        self.found.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Whether its rollout is complete.
    pub(super) fn is_whole(&self) -> bool {
        let desired = self.number("/spec/replicas");
        let counts = ["/status/updatedReplicas", "/status/availableReplicas", "/status/replicas"];
        self.number("/status/observedGeneration") >= self.number("/metadata/generation")
            && counts.into_iter().all(|count| self.number(count) == desired)
    }

    /// For how long it has been available.
    pub(super) fn available_for(&self) -> Duration {
        let conditions = self.found.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        let since = conditions
            .filter(|condition| condition.get("type").is_some_and(|kind| kind == "Available"))
            .filter_map(|condition| story::time(condition, "/lastTransitionTime"))
            .next();
        since.and_then(|since| (wait::wall() - since).to_std().ok()).unwrap_or_default()
    }
}

impl fmt::Display for Cart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (available, desired) = (self.number("/status/availableReplicas"), self.number("/spec/replicas"));
        write!(f, "{available} of {desired} replicas, image {}", self.image)
    }
}

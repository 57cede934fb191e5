use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_bus::{BucketName, Bus, Change};
use evenkeel_playbook::{Loaded, Playbooks};
use evenkeel_runtime::{Backoff, BoxError, HealthPart, Shutdown};
use futures::StreamExt as _;
use tokio::sync::watch;

use crate::Metrics;

/// Keeps the playbooks as the observer publishes them. One that can't be read is left out and
/// named; the others keep working.
pub(crate) async fn follow(
    bus: Arc<dyn Bus>,
    current: watch::Sender<Arc<Playbooks>>,
    health: HealthPart,
    metrics: Metrics,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10), 11);
    while !shutdown.is_cancelled() {
        let result = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            result = watch_once(bus.as_ref(), &current, &health, &metrics) => result,
        };
        if let Err(error) = result {
            tracing::warn!(%error, "the playbooks bucket can't be watched; trying again");
        }
        let pause = backoff.next();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

async fn watch_once(
    bus: &dyn Bus,
    current: &watch::Sender<Arc<Playbooks>>,
    health: &HealthPart,
    metrics: &Metrics,
) -> Result<(), BoxError> {
    let mut changes = bus.bucket(BucketName::Playbooks).await?.watch().await?;
    let mut loaded: BTreeMap<String, Loaded> = BTreeMap::new();
    let mut complete = false;
    while let Some(change) = changes.next().await {
        match change? {
            Change::Put { key, entry } => match read(&entry.value) {
                Ok(playbook) => {
                    loaded.insert(key, playbook);
                }
                Err(error) => {
                    tracing::warn!(key, %error, "a playbook on the bus can't be read; it is left out");
                    loaded.remove(&key);
                }
            },
            Change::Removed { key } => {
                loaded.remove(&key);
            }
            Change::Current => complete = true,
        }
        if complete {
            let (playbooks, problems) = Playbooks::new(loaded.values().cloned().collect());
            for problem in problems {
                tracing::warn!(%problem, "playbooks contradict each other");
            }
            metrics.playbooks.set(i64::try_from(loaded.len()).unwrap_or(i64::MAX));
            current.send_replace(Arc::new(playbooks));
            health.ready();
        }
    }
    Ok(())
}

fn read(value: &Bytes) -> Result<Loaded, serde_json::Error> {
    serde_json::from_slice(value)
}

//! What is asked of Prometheus and Alertmanager every so often: firing alerts, silences.

mod alerts;

pub(crate) use alerts::Alerts;
pub use evenkeel_runtime::http::HttpError;
pub(crate) use evenkeel_runtime::http::Server;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_runtime::{BoxError, HealthPart, Shutdown};
use tokio::sync::Notify;

use crate::metrics::{Metrics, count};
use crate::silences::{self, ApiAlert, ApiSilence, Quiet};
use crate::world::{self, SharedWorld};

/// Polls until shutdown, and at once when `now` is told. Failures are said once.
async fn every<F: Future<Output = Result<(), HttpError>>>(
    name: &'static str,
    interval: Duration,
    now: Arc<Notify>,
    metrics: &Metrics,
    health: &HealthPart,
    shutdown: &Shutdown,
    mut poll: impl FnMut() -> F,
) {
    let mut failing = false;
    loop {
        match poll().await {
            Ok(()) => {
                if failing {
                    tracing::info!(poll = name, "works again");
                }
                failing = false;
            }
            Err(error) => {
                metrics.error(name);
                if !failing {
                    tracing::warn!(poll = name, %error, "failed; what was known before stays");
                }
                failing = true;
            }
        }
        // Tried once is enough: a Prometheus that is away must not keep the watches' signals away.
        health.ready();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = now.notified() => {}
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// Polls firing alerts.
pub(crate) async fn alerts(
    alerts: Alerts,
    server: Server,
    interval: Duration,
    now: Arc<Notify>,
    health: HealthPart,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let metrics = alerts.metrics.clone();
    every("poll alerts", interval, now, &metrics, &health, &shutdown, || alerts.poll(&server)).await;
    Ok(())
}

/// Polls silences and inhibitions.
pub(crate) async fn quiet(
    server: Server,
    world: SharedWorld,
    interval: Duration,
    metrics: Metrics,
    health: HealthPart,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let now = Arc::new(Notify::new());
    every("poll silences", interval, now, &metrics, &health, &shutdown, || async {
        let quiet = read_quiet(&server).await?;
        metrics.silences.set(count(quiet.len()));
        world::write(&world).quiet = quiet;
        Ok(())
    })
    .await;
    Ok(())
}

async fn read_quiet(server: &Server) -> Result<Quiet, HttpError> {
    let malformed =
        |expected| move |error: serde_json::Error| HttpError::Malformed { expected, reason: error.to_string() };
    let body = server.get("api/v2/silences").await?;
    let all: Vec<ApiSilence> = serde_json::from_slice(&body).map_err(malformed("Alertmanager's silences"))?;
    let body = server.get("api/v2/alerts?active=false&silenced=false&inhibited=true&unprocessed=false").await?;
    let alerts: Vec<ApiAlert> = serde_json::from_slice(&body).map_err(malformed("Alertmanager's alerts"))?;
    let inhibited: BTreeSet<String> = silences::inhibited(alerts);
    Ok(Quiet::new(silences::active(all), inhibited))
}

#[cfg(test)]
mod tests;

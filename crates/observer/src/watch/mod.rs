//! Runs the watches: list, watch, and list again after a disconnect or 410, with back-off. Signals'
//! ids are stable, so that a list repeats nothing.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::Clock;
use evenkeel_runtime::{Backoff, BoxError, HealthPart, Shutdown};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Event as KubeEvent;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::metrics::Metrics;
use crate::sight::Sight;
use crate::world::Watched;

/// A watch that fails for longer is no longer ready.
const PATIENCE: Duration = Duration::from_secs(15);

/// What one watch is given.
#[derive(Clone)]
pub(crate) struct Watching {
    pub(crate) client: Client,
    pub(crate) sight: Arc<Sight>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    /// The name of the watch: of its health part and in [`Sight`].
    pub(crate) name: &'static str,
    pub(crate) health: HealthPart,
    pub(crate) shutdown: Shutdown,
    /// Another in every process: watches that failed together must not come back together.
    pub(crate) seed: u64,
}

/// Watches all objects of a kind into the world.
pub(crate) async fn objects<K: Watched>(watching: Watching) -> Result<(), BoxError> {
    let Watching { sight, clock, name, .. } = watching.clone();
    run::<K>(watching, watcher::Config::default(), move |event| {
        let now = clock.now();
        match event {
            Event::Init => sight.begin::<K>(),
            Event::InitApply(object) | Event::Apply(object) => sight.apply(object, now),
            Event::Delete(object) => sight.delete(&object, now),
            Event::InitDone => sight.listed::<K>(name, now),
        }
    })
    .await
}

/// Watches warning Events.
pub(crate) async fn events(watching: Watching) -> Result<(), BoxError> {
    let Watching { sight, clock, name, .. } = watching.clone();
    run::<KubeEvent>(watching, watcher::Config::default().fields("type=Warning"), move |event| {
        let now = clock.now();
        match event {
            Event::InitApply(event) | Event::Apply(event) => sight.event(&event, now),
            Event::InitDone => sight.events_listed(name, now),
            // An Event that expires says nothing.
            Event::Init | Event::Delete(_) => {}
        }
    })
    .await
}

async fn run<K>(watching: Watching, config: watcher::Config, mut take: impl FnMut(Event<K>)) -> Result<(), BoxError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let Watching { client, sight, metrics, name, health, shutdown, seed, .. } = watching;
    let mut events = watcher::watcher(Api::<K>::all(client), config).boxed();
    let kind: &'static str = name.strip_prefix("watch ").unwrap_or(name);
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(20), seed_of(seed, name));
    let mut failing_since: Option<tokio::time::Instant> = None;
    let mut listed = false;
    loop {
        let event = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            event = events.try_next() => event,
        };
        match event {
            Ok(Some(event)) => {
                let is_list = matches!(event, Event::Init | Event::InitApply(_));
                listed |= matches!(event, Event::InitDone);
                if matches!(event, Event::Init) && listed {
                    metrics.watch_restarted(kind);
                }
                take(event);
                // While a list is under way the watch is not back yet.
                if !is_list {
                    if failing_since.take().is_some() {
                        tracing::info!(watch = name, "works again");
                        backoff.reset();
                    }
                    sight.set_broken(name, false);
                    if listed {
                        health.ready();
                    }
                }
            }
            Ok(None) => return Err(format!("{name} ended").into()),
            Err(error) => {
                metrics.error(name);
                sight.set_broken(name, true);
                let reason = reason(&error);
                let since = *failing_since.get_or_insert_with(|| {
                    tracing::warn!(watch = name, reason, "failed; trying again");
                    tokio::time::Instant::now()
                });
                if !listed || since.elapsed() > PATIENCE {
                    health.not_ready(reason);
                }
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return Ok(()),
                    () = tokio::time::sleep(backoff.next()) => {}
                }
            }
        }
    }
}

/// What failed, and what is to be done where that is known.
fn reason(error: &watcher::Error) -> String {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    if text.contains("orbidden") {
        text.push_str("; grant list and watch to the observer (evenkeel rbac)");
    }
    crate::alert::bounded(&evenkeel_runtime::redact::text(&text), 512).into_owned()
}

/// Another for each watch of a process.
fn seed_of(seed: u64, name: &str) -> u64 {
    name.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()))
}

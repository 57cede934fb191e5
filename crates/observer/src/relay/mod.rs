//! Tells the bus what the tracker holds to be news, and keeps a copy of what was told, and of what is about to be, in
//! the `baselines` bucket, so that trouble which ends while no observer runs is told to have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_bus::{Bucket, BucketName, Bus, BusError, Key, MAX_VALUE_BYTES};
use evenkeel_model::Clock;
use evenkeel_runtime::{Backoff, Shutdown};
use futures::StreamExt as _;
use tracing::Instrument as _;

use crate::metrics::Metrics;
use crate::publish::Publisher;
use crate::sight::Sight;
use crate::tracker::{SHARDS, Stored, Telling, shard};
use crate::world;

/// So many signals are taken at a time.
const BATCH: usize = 256;
/// So many of them are under way to the bus at a time.
const CONCURRENT: usize = 64;
/// How often time is looked at.
const TICK: Duration = Duration::from_millis(500);
/// A chain of owners is waited for so long.
const FRESH: chrono::Duration = chrono::Duration::seconds(5);
/// Every so often suppression of all that fires is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Relay {
    sight: Arc<Sight>,
    publisher: Publisher,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// Of the shards in the bucket, as this process wrote them last.
    revisions: Mutex<BTreeMap<usize, u64>>,
}

impl Relay {
    pub(crate) fn new(
        sight: Arc<Sight>,
        publisher: Publisher,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        Self { sight, publisher, bus, clock, metrics, revisions: Mutex::default() }
    }

    /// Takes over what an earlier process had told. Until it can be read, nothing is told: an
    /// empty memory would tell everything again, and never the ends.
    pub(crate) async fn restore(&self, shutdown: &Shutdown) -> Option<Arc<dyn Bucket>> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10), 1);
        loop {
            match self.try_restore().await {
                Ok(bucket) => return Some(bucket),
                Err(error) => {
                    self.metrics.error("restore");
                    tracing::warn!(%error, "what was told before can't be read; waiting for the bus");
                }
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    async fn try_restore(&self) -> Result<Arc<dyn Bucket>, BusError> {
        let bucket = self.bus.bucket(BucketName::Baselines).await?;
        for shard in 0..SHARDS {
            let Some(entry) = bucket.get(&key(shard)?).await? else { continue };
            match serde_json::from_slice::<Vec<Stored>>(&entry.value) {
                Ok(stored) => self.sight.tracker().restore(stored, self.clock.now()),
                Err(error) => {
                    // Of another version, perhaps: what it told will not be told to have ended.
                    self.metrics.error("restore");
                    tracing::error!(shard, %error, "stored troubles can't be read and are left out");
                }
            }
        }
        Ok(bucket)
    }

    /// Runs until shutdown.
    pub(crate) async fn run(&self, bucket: &Arc<dyn Bucket>, shutdown: &Shutdown) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), 2);
        let mut look_again = tokio::time::Instant::now() + LOOK_AGAIN;
        let mut away = false;
        loop {
            let now = self.clock.now();
            self.sight.tick(now);
            if tokio::time::Instant::now() >= look_again {
                look_again = tokio::time::Instant::now() + LOOK_AGAIN;
                self.sight.tracker().look_again();
            }
            let batch = if self.sight.is_whole() { self.take() } else { Vec::new() };
            let more = batch.len() == BATCH;
            let failed = self.tell(bucket, batch).await;
            let stored = self.store(bucket).await;
            let trouble = failed.or(stored.err().map(|error| error.to_string()));
            if let Some(reason) = &trouble {
                self.metrics.error("relay");
                if !away {
                    tracing::warn!(reason, "signals wait for the bus");
                }
            } else if away {
                tracing::info!("the bus takes signals again");
            }
            away = trouble.is_some();
            let wait = if away {
                backoff.next().max(Duration::from_millis(20))
            } else {
                backoff.reset();
                if more { Duration::ZERO } else { TICK }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
                () = self.sight.news.notified(), if !away => {}
            }
        }
        // What is news now can still be told; what can't be is told by the next process.
        let batch = if self.sight.is_whole() { self.take() } else { Vec::new() };
        self.tell(bucket, batch).await;
        if let Err(error) = self.store(bucket).await {
            tracing::warn!(%error, "what was told could not be stored");
        }
    }

    fn take(&self) -> Vec<Telling> {
        let now = self.clock.now();
        let world = world::read(&self.sight.world);
        self.sight
            .tracker()
            .take(BATCH, now, |signal, entry| Sight::complete(&world, signal, now - entry.first_seen < FRESH))
    }

    /// Returns why some could not be told.
    async fn tell(&self, bucket: &Arc<dyn Bucket>, batch: Vec<Telling>) -> Option<String> {
        if let Err(error) = self.announce(bucket, &batch).await {
            let mut tracker = self.sight.tracker();
            batch.into_iter().for_each(|telling| tracker.not_told(telling.key));
            return Some(error.to_string());
        }
        let told = futures::stream::iter(batch.into_iter().map(|telling| self.tell_one(telling)));
        let mut told = told.buffer_unordered(CONCURRENT);
        let mut failed = None;
        while let Some((telling, result)) = told.next().await {
            match result {
                Ok(()) => self.sight.tracker().told(telling),
                Err(reason) => {
                    self.sight.tracker().not_told(telling.key);
                    failed = Some(reason);
                }
            }
        }
        failed
    }

    /// Writes down which beginnings are about to be told.
    async fn announce(&self, bucket: &Arc<dyn Bucket>, batch: &[Telling]) -> Result<(), BusError> {
        let announced = self.sight.tracker().announce(batch);
        let shards: BTreeSet<usize> = announced.iter().map(|key| shard(&key.subject)).collect();
        for number in shards {
            if let Err(error) = self.store_shard(bucket, number).await {
                let mut tracker = self.sight.tracker();
                announced.iter().for_each(|key| tracker.retract(key));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn tell_one(&self, telling: Telling) -> (Telling, Result<(), String>) {
        let signal = &telling.signal;
        let span = tracing::info_span!(
            "observe",
            source = signal.source.token(),
            signal = %signal.name,
            target = signal.target.as_ref().map(tracing::field::display),
            state = ?signal.state,
            id = %signal.id,
        );
        let traceparent = evenkeel_runtime::trace::traceparent(&span);
        let result = self.publisher.publish(signal, traceparent).instrument(span).await;
        let result = match result {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => {
                // It will never be taken: counted and said, and not tried for ever.
                self.metrics.error("signal");
                tracing::error!(%error, signal = signal.name, "a signal can't be stored and is left out");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        };
        (telling, result)
    }

    async fn store(&self, bucket: &Arc<dyn Bucket>) -> Result<(), BusError> {
        let stale = self.sight.tracker().take_stale();
        let mut failed = None;
        for shard in stale {
            if let Err(error) = self.store_shard(bucket, shard).await {
                self.sight.tracker().still_stale(shard);
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn revisions(&self) -> MutexGuard<'_, BTreeMap<usize, u64>> {
        self.revisions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn store_shard(&self, bucket: &Arc<dyn Bucket>, shard: usize) -> Result<(), BusError> {
        let key = key(shard)?;
        let mut stored = self.sight.tracker().stored(shard);
        let mut value = Vec::new();
        // A storm beyond what a value holds: the rest is remembered in this process only.
        while !stored.is_empty() {
            value = serde_json::to_vec(&stored).unwrap_or_default();
            if value.len() <= MAX_VALUE_BYTES {
                break;
            }
            stored.truncate(stored.len() / 2);
        }
        let value = Bytes::from(if stored.is_empty() { b"[]".to_vec() } else { value });
        // One observer writes it; were there two, both would write what the cluster shows.
        for _ in 0..5 {
            let known = self.revisions().get(&shard).copied();
            let written = match known {
                Some(revision) => bucket.update(&key, value.clone(), revision).await,
                None => match bucket.get(&key).await? {
                    Some(entry) => bucket.update(&key, value.clone(), entry.revision).await,
                    None => bucket.create(&key, value.clone()).await,
                },
            };
            match written {
                Ok(revision) => {
                    self.revisions().insert(shard, revision);
                    return Ok(());
                }
                // After a lost answer too: it may have been written.
                Err(error) => {
                    self.revisions().remove(&shard);
                    if !matches!(error, BusError::Conflict { .. }) {
                        return Err(error);
                    }
                }
            }
        }
        Err(BusError::Conflict { key: key.as_str().to_owned() })
    }
}

fn key(shard: usize) -> Result<Key, BusError> {
    Key::new(format!("told.{shard:x}"))
}

#[cfg(test)]
mod tests;

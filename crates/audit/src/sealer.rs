//! From the bus to the log: one sealer at a time takes records off the stream, appends them, and
//! acknowledges only what is signed and in place.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_bus::{Bucket, BucketName, Bus, BusError, Consume, ConsumerName, Delivery};
use evenkeel_runtime::{Backoff, BoxError, HealthPart, Shutdown};

use crate::lease::Lease;
use crate::log::{self, Log, LogError};
use crate::message::MessageKey;
use crate::record::Record;
use crate::{Config, Metrics, SigningKey, Store};

/// Records taken at a time.
const BATCH: usize = 256;
/// How long a fetch for more waits, once there is something.
const NO_WAIT: Duration = Duration::from_millis(1);
/// First and longest wait after trouble.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// When records that could not be sealed are to come again.
const AGAIN: Duration = Duration::from_secs(1);

/// What a sealer is made of.
pub struct SealerParts {
    /// Where records come from, and where lease and checkpoint lie.
    pub bus: Arc<dyn Bus>,
    /// Where the log lies.
    pub store: Arc<dyn Store>,
    /// What signs.
    pub key: Arc<SigningKey>,
    /// What authenticates records of gateways that have another key.
    pub accepted: Vec<MessageKey>,
    /// This process, distinct for every start.
    pub holder: String,
    /// Its settings.
    pub config: Config,
    /// Readiness.
    pub health: HealthPart,
    /// What it counts.
    pub metrics: Metrics,
}

/// Seals until shutdown, while this process holds the lease. Trouble is survived and told by
/// readiness: whoever waits for records to be sealed sees that they are not.
///
/// # Errors
/// None; it ends at shutdown.
pub async fn seal(parts: SealerParts, shutdown: Shutdown) -> Result<(), BoxError> {
    let messages = [MessageKey::of(&parts.key)].into_iter().chain(parts.accepted.clone()).collect();
    let sealer = Sealer { parts, messages };
    let mut backoff = Backoff::new(WAITS.0, WAITS.1, 3);
    let mut lease = None;
    while !shutdown.is_cancelled() {
        let wait = match sealer.term(&mut lease, &shutdown).await {
            Ok(wait) => {
                backoff.reset();
                wait
            }
            Err(error) => {
                tracing::warn!(%error, "audit records are not sealed");
                sealer.parts.health.not_ready(error.to_string());
                sealer.parts.metrics.error(place(&error));
                backoff.next()
            }
        };
        sealer.parts.metrics.sealing.set(0);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    if let Some(mut lease) = lease {
        lease.release().await;
    }
    Ok(())
}

fn place(error: &LogError) -> &'static str {
    match error {
        LogError::Store(_) => "store",
        LogError::Bus(_) => "bus",
        LogError::Overtaken => "overtaken",
        LogError::NotOurs { .. } | LogError::Forked { .. } | LogError::Lost { .. } => "log",
        LogError::TooLarge(_) => "record",
    }
}

struct Sealer {
    parts: SealerParts,
    messages: Vec<MessageKey>,
}

impl Sealer {
    /// Seals for as long as the lease is ours. Says how long to wait before the next look at it.
    async fn term(&self, lease: &mut Option<Lease>, shutdown: &Shutdown) -> Result<Duration, LogError> {
        let SealerParts { bus, store, key, holder, config, health, metrics, .. } = &self.parts;
        let bucket = bus.bucket(BucketName::Audit).await?;
        let lease = match lease {
            Some(lease) => lease,
            None => lease.insert(Lease::new(Arc::clone(&bucket), holder, config.lease.get())?),
        };
        if !lease.hold().await? {
            health.ready();
            return Ok(lease.interval());
        }
        let mut log = self.open(store, bucket, key).await?;
        let mut records = bus.consume(ConsumerName::GatewayAudit).await?;
        health.ready();
        metrics.sealing.set(1);
        tracing::info!(records = log.size(), log = %key.public(), "sealing audit records");
        while lease.hold().await? {
            let Some(taken) = self.take(&mut *records, lease.interval(), shutdown).await? else {
                return Ok(Duration::ZERO);
            };
            log = self.append(log, taken).await?;
            health.ready();
        }
        Ok(lease.interval())
    }

    async fn open(
        &self,
        store: &Arc<dyn Store>,
        bucket: Arc<dyn Bucket>,
        key: &Arc<SigningKey>,
    ) -> Result<Log, LogError> {
        let parts = log::Parts { store: Arc::clone(store), bucket, key: Arc::clone(key) };
        let log = Log::open(parts).await?;
        self.parts.metrics.size.set(i64::try_from(log.size()).unwrap_or(i64::MAX));
        Ok(log)
    }

    /// Takes what there is, and what comes while it is gathered. `None` at shutdown.
    async fn take(
        &self,
        records: &mut dyn Consume,
        wait: Duration,
        shutdown: &Shutdown,
    ) -> Result<Option<Vec<Delivery>>, BusError> {
        let fetched = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(None),
            fetched = records.fetch(BATCH, wait) => fetched,
        };
        let mut taken = fetched?;
        if taken.is_empty() || taken.len() >= BATCH {
            return Ok(Some(taken));
        }
        tokio::select! {
            biased;
            // What is in hand is sealed all the same.
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(self.parts.config.seal_every.get()) => {
                taken.extend(records.fetch(BATCH, NO_WAIT).await?);
            }
        }
        Ok(Some(taken))
    }

    /// Appends what was taken and acknowledges it.
    async fn append(&self, log: Log, mut taken: Vec<Delivery>) -> Result<Log, LogError> {
        taken.sort_by_key(|delivery| delivery.sequence);
        let (mut records, mut ids) = (Vec::<Bytes>::new(), BTreeSet::new());
        let mut ours: Vec<&Delivery> = Vec::new();
        let metrics = &self.parts.metrics;
        // There is no limit of deliveries: nothing is looked at before its code fits, and while the
        // store is away everything comes again and again.
        for delivery in &taken {
            let record = self.messages.iter().find_map(|key| key.open(&delivery.payload));
            let read = record.as_ref().and_then(|record| Record::decode(record).ok());
            let (Some(record), Some(read)) = (record, read) else {
                metrics.foreign.inc();
                tracing::warn!(
                    id = delivery.id,
                    "a message on the audit stream was not written by a gateway of this log"
                );
                delivery.dead("no record by a gateway with this log's key").await?;
                continue;
            };
            if log.has_lately(&read.id) || !ids.insert(read.id) {
                metrics.repeats.inc();
            } else {
                records.push(record);
            }
            ours.push(delivery);
        }
        let log = match log.append(&records).await {
            Ok(log) => log,
            Err(error) => {
                hand_back(&ours).await;
                return Err(error);
            }
        };
        metrics.sealed.inc_by(records.len() as u64);
        metrics.size.set(i64::try_from(log.size()).unwrap_or(i64::MAX));
        if let Some(checkpoint) = log.checkpoint().filter(|_| !records.is_empty()) {
            // So that whoever keeps our logs keeps a witness.
            tracing::info!(size = checkpoint.size, root = %checkpoint.root, "audit checkpoint");
        }
        for delivery in ours {
            // If it is lost, the record comes again and is known.
            if let Err(error) = delivery.ack().await {
                tracing::warn!(%error, "a sealed record was not acknowledged");
            }
        }
        Ok(log)
    }
}

async fn hand_back(deliveries: &[&Delivery]) {
    for delivery in deliveries {
        // If it is lost, it comes again all the same, only later.
        let _ = delivery.nak(AGAIN).await;
    }
}

#[cfg(test)]
mod tests;

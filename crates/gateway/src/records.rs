use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_bus::{Bucket, BucketName, Bus, BusError, Key};
use evenkeel_cluster::AvailabilityLookup;
use evenkeel_model::AvailabilityRecord;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::metrics::Metrics;

/// The longest one look-up may take: the bus is on the way to an action, but not needed for it.
const PATIENCE: Duration = Duration::from_millis(500);
/// For how long the bus is not asked again after it did not answer.
const AWAY_FOR: Duration = Duration::from_secs(5);
/// Answers remembered; beyond that they are asked again.
const MOST_KNOWN: usize = 10_000;

/// The observer's records of revisions that were available, read from its bucket. They only choose
/// among revisions that the API server holds; what is written never comes from here.
pub(crate) struct Records {
    bus: Arc<dyn Bus>,
    bucket: OnceCell<Arc<dyn Bucket>>,
    metrics: Metrics,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What was once available has been so for ever.
    available: BTreeSet<String>,
    away_until: Option<Instant>,
}

impl Records {
    pub(crate) fn new(bus: Arc<dyn Bus>, metrics: Metrics) -> Self {
        Self { bus, bucket: OnceCell::new(), metrics, known: Mutex::default() }
    }

    fn known<T>(&self, f: impl FnOnce(&mut Known) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn read(&self, revision_uid: &str) -> Result<bool, BusError> {
        let key = Key::new(AvailabilityRecord::key(revision_uid))?;
        let bucket = self.bucket.get_or_try_init(|| self.bus.bucket(BucketName::Baselines)).await?;
        let entry = bucket.get(&key).await?;
        // The key is a hash of the uid: the record says for itself whose it is.
        Ok(entry
            .and_then(|entry| serde_json::from_slice::<AvailabilityRecord>(&entry.value).ok())
            .is_some_and(|record| record.revision_uid == revision_uid))
    }
}

#[async_trait]
impl AvailabilityLookup for Records {
    async fn was_available(&self, revision_uid: &str) -> bool {
        let (known, away) = self.known(|known| {
            (known.available.contains(revision_uid), known.away_until.is_some_and(|until| Instant::now() < until))
        });
        if known || away {
            return known;
        }
        let late = || BusError::Unavailable(format!("no answer within {} ms", PATIENCE.as_millis()));
        match tokio::time::timeout(PATIENCE, self.read(revision_uid)).await.unwrap_or_else(|_| Err(late())) {
            Ok(available) => {
                if available {
                    self.known(|known| {
                        if known.available.len() >= MOST_KNOWN {
                            known.available.clear();
                        }
                        known.available.insert(revision_uid.to_owned())
                    });
                }
                available
            }
            Err(error) => {
                self.metrics.error("baselines");
                tracing::warn!(revision_uid, %error, "no record could be read; taken as never available");
                self.known(|known| known.away_until = Some(Instant::now() + AWAY_FOR));
                false
            }
        }
    }
}

//! One sealer at a time, by compare-and-set on a key of the bus' bucket. It saves work and keeps the
//! peace; that nothing goes wrong when two believe to hold it is [`crate::Log`]'s business.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_bus::{Bucket, BusError, Key};
use tokio::time::Instant;

/// The value of a lease nobody holds.
const FREE: &[u8] = b"";

/// A lease on sealing. Who holds it writes it again and again; it is over when it was not written
/// for its time, as the one who wants it has watched: clocks that are apart do not matter.
pub(crate) struct Lease {
    bucket: Arc<dyn Bucket>,
    key: Key,
    holder: Bytes,
    lasts: Duration,
    /// The revision somebody else holds it at, and since when we know.
    seen: Option<(u64, Instant)>,
    renewed: Option<Instant>,
}

impl Lease {
    pub(crate) fn new(bucket: Arc<dyn Bucket>, holder: &str, lasts: Duration) -> Result<Self, BusError> {
        let holder = Bytes::copy_from_slice(holder.as_bytes());
        Ok(Self { bucket, key: Key::new("sealer")?, holder, lasts, seen: None, renewed: None })
    }

    /// How often it wants to be held on to, or asked for.
    pub(crate) fn interval(&self) -> Duration {
        self.lasts / 3
    }

    /// Takes it or holds on to it. True when it is ours.
    pub(crate) async fn hold(&mut self) -> Result<bool, BusError> {
        if self.renewed.is_some_and(|at| at.elapsed() < self.interval()) {
            return Ok(true);
        }
        self.renewed = None;
        let entry = self.bucket.get(&self.key).await?;
        let written = match entry {
            None => self.bucket.create(&self.key, self.holder.clone()).await,
            Some(entry) => {
                let over = match self.seen {
                    Some((revision, since)) if revision == entry.revision => since.elapsed() >= self.lasts,
                    _ => {
                        self.seen = Some((entry.revision, Instant::now()));
                        false
                    }
                };
                if !(over || entry.value == self.holder || entry.value == FREE) {
                    return Ok(false);
                }
                self.bucket.update(&self.key, self.holder.clone(), entry.revision).await
            }
        };
        match written {
            Ok(_) => {
                self.renewed = Some(Instant::now());
                Ok(true)
            }
            Err(BusError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets go of it, so that another need not wait.
    pub(crate) async fn release(&mut self) {
        if self.renewed.take().is_none() {
            return;
        }
        let released = async {
            match self.bucket.get(&self.key).await? {
                Some(entry) if entry.value == self.holder => {
                    self.bucket.update(&self.key, Bytes::from_static(FREE), entry.revision).await.map(drop)
                }
                _ => Ok(()),
            }
        };
        if let Err(error) = released.await {
            tracing::warn!(%error, "the lease on sealing was not let go; another waits until it is over");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test(start_paused = true)]
    async fn one_holds_it_until_it_lets_go_or_stops() {
        let bucket = testing::bucket().await;
        let lasts = Duration::from_secs(30);
        let lease = |holder| Lease::new(Arc::clone(&bucket), holder, lasts).unwrap();
        let (mut a, mut b) = (lease("a"), lease("b"));
        assert!(a.hold().await.unwrap());
        for _ in 0..20 {
            tokio::time::advance(a.interval()).await;
            assert!(a.hold().await.unwrap());
            assert!(!b.hold().await.unwrap(), "it is held on to");
        }
        // a stops.
        tokio::time::advance(lasts - Duration::from_millis(1)).await;
        assert!(!b.hold().await.unwrap());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(b.hold().await.unwrap());
        assert!(!a.hold().await.unwrap());
        b.release().await;
        assert!(a.hold().await.unwrap());
    }
}

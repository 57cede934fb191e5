use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_bus::{Bucket, BucketName, Bus, BusError, Key};
use evenkeel_chat::Store;
use evenkeel_runtime::BoxError;
use tokio::sync::OnceCell;

/// How often a value is put before another writer wins.
const ATTEMPTS: usize = 3;

/// What outlives a restart, in a bucket that all gateways share and that nobody else may write.
pub(super) struct BusStore {
    bus: Arc<dyn Bus>,
    bucket: OnceCell<Arc<dyn Bucket>>,
}

impl BusStore {
    pub(super) fn new(bus: Arc<dyn Bus>) -> Self {
        Self { bus, bucket: OnceCell::new() }
    }

    async fn bucket(&self) -> Result<&Arc<dyn Bucket>, BusError> {
        self.bucket.get_or_try_init(|| self.bus.bucket(BucketName::Chat)).await
    }
}

#[async_trait]
impl Store for BusStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BoxError> {
        let key = Key::new(key)?;
        Ok(self.bucket().await?.get(&key).await?.map(|entry| entry.value))
    }

    async fn create(&self, key: &str, value: Bytes) -> Result<bool, BoxError> {
        let key = Key::new(key)?;
        match self.bucket().await?.create(&key, value).await {
            Ok(_) => Ok(true),
            Err(BusError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn put(&self, key: &str, value: Bytes) -> Result<(), BoxError> {
        let (key, bucket) = (Key::new(key)?, self.bucket().await?);
        for _ in 0..ATTEMPTS {
            let written = match bucket.get(&key).await? {
                Some(entry) => bucket.update(&key, value.clone(), entry.revision).await,
                None => bucket.create(&key, value.clone()).await,
            };
            match written {
                Ok(_) => return Ok(()),
                Err(BusError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(BusError::Conflict { key: key.as_str().to_owned() }.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evenkeel_bus::{Cluster, MemoryBus, MemoryOptions};
    use evenkeel_model::FixedClock;

    use super::*;

    #[tokio::test]
    async fn what_is_created_once_stays_created_for_whoever_shares_the_bus() {
        let clock = Arc::new(FixedClock::new(chrono::DateTime::UNIX_EPOCH));
        let bus = MemoryBus::new(MemoryOptions::new(Cluster::new("prod").unwrap(), clock));
        let (one, other) = (BusStore::new(Arc::new(bus.clone())), BusStore::new(Arc::new(bus)));
        assert!(one.create("click.ab12", Bytes::from("1")).await.unwrap());
        assert!(!other.create("click.ab12", Bytes::from("1")).await.unwrap());
        assert_eq!(other.get("click.cd34").await.unwrap(), None);
        one.put("message.ab", Bytes::from("1")).await.unwrap();
        other.put("message.ab", Bytes::from("2")).await.unwrap();
        assert_eq!(one.get("message.ab").await.unwrap().unwrap(), "2");
        assert!(one.get("Not a key").await.is_err());
    }
}

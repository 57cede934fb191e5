//! A bucket and a store that fail when they are told to, and a log of made-up records.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_bus::{Bucket, BucketName, Bus as _, BusError, Change, Cluster, Entry, Key, MemoryBus, MemoryOptions};
use evenkeel_model::FixedClock;
use futures::stream::BoxStream;

use crate::log::Parts;
use crate::record::tests::record;
use crate::{Log, MemoryStore, SigningKey, Store, StoreError};

pub(crate) fn bus() -> MemoryBus {
    let clock = Arc::new(FixedClock::new(chrono::DateTime::UNIX_EPOCH));
    MemoryBus::new(MemoryOptions::new(Cluster::new("test").unwrap(), clock))
}

pub(crate) async fn bucket() -> Arc<dyn Bucket> {
    bus().bucket(BucketName::Audit).await.unwrap()
}

pub(crate) fn key() -> Arc<SigningKey> {
    static KEY: OnceLock<Arc<SigningKey>> = OnceLock::new();
    Arc::clone(KEY.get_or_init(|| Arc::new(SigningKey::new("test", [7; 32]).unwrap())))
}

/// Records `from` to `to`, the last left out.
pub(crate) fn made_up(from: u64, to: u64) -> Vec<Bytes> {
    (from..to).map(|n| record(n).encode().unwrap()).collect()
}

/// A log of so many records, sealed 100 at a time.
pub(crate) async fn log_of(records: u64) -> (Arc<MemoryStore>, Log) {
    let store = Arc::new(MemoryStore::default());
    let parts = Parts { store: store.clone(), bucket: bucket().await, key: key() };
    let mut log = Log::open(parts).await.unwrap();
    for from in (0..records).step_by(100) {
        log = log.append(&made_up(from, records.min(from + 100))).await.unwrap();
    }
    (store, log)
}

/// What a write was cut off by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It was not done.
    Before,
    /// It was done, and nobody heard of it.
    After,
}

/// Burns down with each write; then everything fails, as in a process that was killed.
pub(crate) struct Fuse {
    left: AtomicUsize,
    cut: Cut,
}

impl Fuse {
    pub(crate) fn of(writes: usize, cut: Cut) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(writes), cut })
    }

    pub(crate) fn is_burnt(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// Does a write while there is something left.
    async fn write<T, E>(&self, write: impl Future<Output = Result<T, E>>, gone: E) -> Result<T, E> {
        if self.is_burnt() {
            return Err(gone);
        }
        let last = self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        match (last, self.cut) {
            (true, Cut::Before) => Err(gone),
            (true, Cut::After) => {
                write.await?;
                Err(gone)
            }
            (false, _) => write.await,
        }
    }
}

/// A store that a fuse cuts off.
pub(crate) struct Fused<T> {
    pub(crate) inner: T,
    pub(crate) fuse: Arc<Fuse>,
}

fn store_gone() -> StoreError {
    StoreError { what: "writing", path: "anything".to_owned(), why: "killed".to_owned() }
}

fn bus_gone() -> BusError {
    BusError::Unavailable("killed".to_owned())
}

#[async_trait]
impl Store for Fused<Arc<MemoryStore>> {
    async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        if self.fuse.is_burnt() { Err(store_gone()) } else { self.inner.get(path).await }
    }

    async fn put(&self, path: &str, body: Bytes) -> Result<(), StoreError> {
        self.fuse.write(self.inner.put(path, body), store_gone()).await
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.fuse.write(self.inner.remove(path), store_gone()).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        if self.fuse.is_burnt() { Err(store_gone()) } else { self.inner.list(folder).await }
    }
}

#[async_trait]
impl Bucket for Fused<Arc<dyn Bucket>> {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, BusError> {
        if self.fuse.is_burnt() { Err(bus_gone()) } else { self.inner.get(key).await }
    }

    async fn create(&self, key: &Key, value: Bytes) -> Result<u64, BusError> {
        self.fuse.write(self.inner.create(key, value), bus_gone()).await
    }

    async fn update(&self, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        self.fuse.write(self.inner.update(key, value, revision), bus_gone()).await
    }

    async fn remove(&self, key: &Key) -> Result<(), BusError> {
        self.fuse.write(self.inner.remove(key), bus_gone()).await
    }

    async fn remove_at(&self, key: &Key, revision: u64) -> Result<(), BusError> {
        self.fuse.write(self.inner.remove_at(key, revision), bus_gone()).await
    }

    async fn keys(&self) -> Result<Vec<String>, BusError> {
        self.inner.keys().await
    }

    async fn watch(&self) -> Result<BoxStream<'static, Result<Change, BusError>>, BusError> {
        self.inner.watch().await
    }
}

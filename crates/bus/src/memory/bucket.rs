use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::Shared;
use super::state::State;
use crate::{Bucket, BucketName, BusError, Change, Entry, Key};

pub(super) struct MemoryBucket {
    shared: Arc<Shared>,
    name: BucketName,
}

impl MemoryBucket {
    pub(super) fn new(shared: Arc<Shared>, name: BucketName) -> Self {
        Self { shared, name }
    }

    fn put(&self, key: &Key, value: Bytes, expected: Option<u64>) -> Result<u64, BusError> {
        State::check_size(&value)?;
        let revision = {
            let mut state = self.shared.lock();
            state.ready()?;
            let lost = |_| BusError::Conflict { key: key.as_str().to_owned() };
            state.table(self.name).put(key.as_str(), value, expected).map_err(lost)?
        };
        self.shared.changed.notify_waiters();
        Ok(revision)
    }
}

#[async_trait]
impl Bucket for MemoryBucket {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, BusError> {
        let mut state = self.shared.lock();
        state.ready()?;
        Ok(state.table(self.name).get(key.as_str()))
    }

    async fn create(&self, key: &Key, value: Bytes) -> Result<u64, BusError> {
        self.put(key, value, None)
    }

    async fn update(&self, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        self.put(key, value, Some(revision))
    }

    async fn remove(&self, key: &Key) -> Result<(), BusError> {
        {
            let mut state = self.shared.lock();
            state.ready()?;
            state.table(self.name).remove(key.as_str());
        }
        self.shared.changed.notify_waiters();
        Ok(())
    }

    async fn remove_at(&self, key: &Key, revision: u64) -> Result<(), BusError> {
        {
            let mut state = self.shared.lock();
            state.ready()?;
            let lost = |_| BusError::Conflict { key: key.as_str().to_owned() };
            state.table(self.name).remove_at(key.as_str(), revision).map_err(lost)?;
        }
        self.shared.changed.notify_waiters();
        Ok(())
    }

    async fn keys(&self) -> Result<Vec<String>, BusError> {
        let mut state = self.shared.lock();
        state.ready()?;
        Ok(state.table(self.name).keys())
    }

    async fn watch(&self) -> Result<BoxStream<'static, Result<Change, BusError>>, BusError> {
        let present = {
            let mut state = self.shared.lock();
            state.ready()?;
            state.table(self.name).last()
        };
        let watcher = Watcher { shared: Arc::clone(&self.shared), name: self.name, seen: 0, present: Some(present) };
        Ok(futures::stream::unfold(watcher, |mut watcher| async move { Some((Ok(watcher.next().await), watcher)) })
            .boxed())
    }
}

struct Watcher {
    shared: Arc<Shared>,
    name: BucketName,
    seen: u64,
    /// The bucket's revision when the watch began, until [`Change::Current`] was sent.
    present: Option<u64>,
}

impl Watcher {
    async fn next(&mut self) -> Change {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let change = {
                let mut state = self.shared.lock();
                let until = self.present.unwrap_or(u64::MAX);
                state.table(self.name).change_after(self.seen, until)
            };
            match (change, self.present) {
                (Some((revision, change)), present) => {
                    self.seen = revision;
                    // What was removed before the watch began is not there to be told.
                    if present.is_none() || matches!(change, Change::Put { .. }) {
                        return change;
                    }
                }
                (None, Some(_)) => {
                    self.present = None;
                    return Change::Current;
                }
                (None, None) => changed.await,
            }
        }
    }
}

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_runtime::BoxError;

/// A few small values that must outlive a restart, and that all gateways of an installation share:
/// which clicks were seen, and where messages are. Keys are at most 128 lower-case letters, digits,
/// hyphens and dots, as the bus' buckets take them; values are below 1 KiB.
///
/// Keys that begin with `click.` may be forgotten after an hour, those that begin with `message.`
/// after 30 days.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads a key.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BoxError>;

    /// Gives a value to a key that has none: true. False when it has one, whoever gave it. Of two
    /// that try at once, one is told true.
    async fn create(&self, key: &str, value: Bytes) -> Result<bool, BoxError>;

    /// Gives a key a value, whatever it had.
    async fn put(&self, key: &str, value: Bytes) -> Result<(), BoxError>;
}

/// In the process' own memory: nothing outlives it. Bounded: the oldest keys are forgotten.
#[derive(Debug)]
pub struct MemoryStore {
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    values: BTreeMap<String, Bytes>,
    order: VecDeque<String>,
}

impl MemoryStore {
    /// Holds at most so many keys.
    pub fn new(most: usize) -> Self {
        Self { most, inner: Mutex::default() }
    }
}

impl Inner {
    fn insert(&mut self, key: &str, value: Bytes, most: usize) {
        if self.values.insert(key.to_owned(), value).is_none() {
            self.order.push_back(key.to_owned());
        }
        while self.order.len() > most {
            if let Some(oldest) = self.order.pop_front() {
                self.values.remove(&oldest);
            }
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BoxError> {
        Ok(self.inner.lock().unwrap_or_else(PoisonError::into_inner).values.get(key).cloned())
    }

    async fn create(&self, key: &str, value: Bytes) -> Result<bool, BoxError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.values.contains_key(key) {
            return Ok(false);
        }
        inner.insert(key, value, self.most);
        Ok(true)
    }

    async fn put(&self, key: &str, value: Bytes) -> Result<(), BoxError> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value, self.most);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_created_once_and_the_oldest_is_forgotten() {
        let store = MemoryStore::new(2);
        assert!(store.create("a", Bytes::new()).await.unwrap());
        assert!(!store.create("a", Bytes::new()).await.unwrap());
        store.put("b", Bytes::from("1")).await.unwrap();
        store.put("b", Bytes::from("2")).await.unwrap();
        assert_eq!(store.get("b").await.unwrap().unwrap(), "2");
        store.put("c", Bytes::new()).await.unwrap();
        assert_eq!(store.get("a").await.unwrap(), None);
        assert!(store.get("b").await.unwrap().is_some());
    }
}

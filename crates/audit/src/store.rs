//! Where the log lies: a few operations on named objects, so that tests can fail any of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

/// A store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("audit store: {what} {path}: {why}")]
pub struct StoreError {
    /// What was asked: `reading`, `writing`, `removing` or `listing`.
    pub what: &'static str,
    /// Of which object.
    pub path: String,
    /// The store's words.
    pub why: String,
}

/// Objects by their path. A write is whole or not there; what was written is read from then on.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads an object; `None` when there is none.
    async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError>;
    /// Writes an object, over one of the same path.
    async fn put(&self, path: &str, body: Bytes) -> Result<(), StoreError>;
    /// Removes an object; nothing happens when there is none.
    async fn remove(&self, path: &str) -> Result<(), StoreError>;
    /// The paths of the objects below a folder, sorted.
    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError>;
}

/// A store in this process' memory, for simulations and tests.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, Bytes>>);

impl MemoryStore {
    /// All there is.
    pub fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.objects().get(path).cloned())
    }

    async fn put(&self, path: &str, body: Bytes) -> Result<(), StoreError> {
        self.objects().insert(path.to_owned(), body);
        Ok(())
    }

    async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.objects().remove(path);
        Ok(())
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let folder = format!("{folder}/");
        Ok(self.objects().keys().filter(|path| path.starts_with(&folder)).cloned().collect())
    }
}

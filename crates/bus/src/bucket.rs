use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::BusError;

/// Values are at most 1 MiB, as they lie on the bus.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;

/// The buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BucketName {
    /// Incidents, written by reasoners with compare-and-set.
    Incidents,
    /// What the observer knows to have been good.
    Baselines,
    /// Playbooks as the observer read them, for reasoners, which have no cluster credential.
    Playbooks,
    /// The audit log's newest checkpoint and the lease on sealing.
    Audit,
    /// Which clicks in chats the gateway has taken, and where it has told what. Forgotten after 30 days.
    Chat,
}

impl BucketName {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Incidents, Self::Baselines, Self::Playbooks, Self::Audit, Self::Chat];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incidents => "incidents",
            Self::Baselines => "baselines",
            Self::Playbooks => "playbooks",
            Self::Audit => "audit",
            Self::Chat => "chat",
        }
    }
}

/// A bucket key: lower-case hexadecimal or a prefix with it (`wave.3f…`). Names from the cluster
/// are hashed first, since RBAC names contain characters that NATS refuses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// Takes 1 to 128 lower-case letters, digits, hyphens and dots, no dot at either end.
    ///
    /// # Errors
    /// [`BusError::Name`] for anything else.
    pub fn new(key: impl Into<String>) -> Result<Self, BusError> {
        let key = key.into();
        let fits = (1..=128).contains(&key.len())
            && !key.starts_with('.')
            && !key.ends_with('.')
            && !key.contains("..")
            && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        if fits {
            Ok(Self(key))
        } else {
            Err(BusError::Name { found: key, expected: "1 to 128 lower-case letters, digits, hyphens and single dots" })
        }
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value and the revision to name when it is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// The bucket's revision of it.
    pub revision: u64,
}

/// One change of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key got a value.
    Put {
        /// The key.
        key: String,
        /// The value with its revision.
        entry: Entry,
    },
    /// A key was removed.
    Removed {
        /// The key.
        key: String,
    },
    /// All values that were there when the watch began have been sent.
    Current,
}

/// Keys and values with compare-and-set.
#[async_trait]
pub trait Bucket: Send + Sync {
    /// Reads a key.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, BusError>;

    /// Creates a key that has no value. Returns its revision.
    ///
    /// # Errors
    /// [`BusError::Conflict`] when it has one.
    async fn create(&self, key: &Key, value: Bytes) -> Result<u64, BusError>;

    /// Replaces the value of `revision`. Returns the new revision.
    ///
    /// # Errors
    /// [`BusError::Conflict`] when the key is at another revision.
    async fn update(&self, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError>;

    /// Removes a key; nothing happens when it is not there.
    async fn remove(&self, key: &Key) -> Result<(), BusError>;

    /// Removes a key that is at `revision`.
    ///
    /// # Errors
    /// [`BusError::Conflict`] when it is at another revision, or is not there.
    async fn remove_at(&self, key: &Key, revision: u64) -> Result<(), BusError>;

    /// All keys that have a value, sorted.
    async fn keys(&self) -> Result<Vec<String>, BusError>;

    /// Every present value, then [`Change::Current`], then changes as they happen.
    async fn watch(&self) -> Result<BoxStream<'static, Result<Change, BusError>>, BusError>;
}

//! Appending, so that a crash between any two writes leaves nothing in doubt.
//!
//! What the log holds is decided in one place: the newest signed checkpoint in the bus' bucket,
//! replaced by compare-and-set. An append
//!
//! 1. writes the new records to `staging/<size>-<root>`,
//! 2. replaces the checkpoint in the bucket: from here on they are in the log,
//! 3. writes bundles and tiles, then the checkpoint beside them, and removes what was staged.
//!
//! Whoever opens the log finishes what somebody began: a checkpoint in the bucket that is newer than
//! the store's is brought into place from what was staged. Two that append at once write different
//! staged objects, one wins the compare-and-set, and only the winner touches tiles; so nothing that
//! was signed is ever overwritten with something else. (This is how Sunlight does it.)
//!
//! A bucket that was lost or restored is no harm: the store's checkpoint carries our signature, and
//! is taken when the bucket has none or an older one that it extends. What does not fit together
//! stops the log with [`LogError::Forked`] or [`LogError::Lost`]: then a person has to look.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use evenkeel_bus::{Bucket, BusError, Key};
use serde::Deserialize;
use tlog_tiles::{Hash, record_hash};

use crate::layout::{self, CHECKPOINT, MAX_RECORD_BYTES, STAGING};
use crate::note::{Checkpoint, NoteError, SigningKey, VerifyingKey};
use crate::read;
use crate::store::{Store, StoreError};
use crate::tree::{Edge, TILE_WIDTH, Tile};

/// How many records back a repeat is recognised by its id.
pub const REMEMBERED: usize = 2048;

/// Why the log can't go on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bus did not answer; whether the checkpoint was replaced is not known.
    #[error("audit log: {0}")]
    Bus(#[from] BusError),
    /// Somebody else appended. Open it again.
    #[error("somebody else appended to the audit log")]
    Overtaken,
    /// A checkpoint is not ours.
    #[error(
        "the checkpoint in the {place}: {source}. Another key begins another log, in a store or below a prefix of its own"
    )]
    NotOurs {
        /// `store` or `bucket`.
        place: &'static str,
        /// What is wrong with it.
        #[source]
        source: NoteError,
    },
    /// Two signed checkpoints contradict each other.
    #[error(
        "the audit log has two pasts: the bus has a checkpoint of {bucket} records, the store one of {store}, and they \
         do not fit together. One of them was restored or changed. Keep both, find out which is true, and remove the other"
    )]
    Forked {
        /// Records, as the bucket has it.
        bucket: u64,
        /// Records, as the store has it.
        store: u64,
    },
    /// The store holds less than was signed.
    #[error(
        "the audit store lacks what was signed: {missing} of a log of {size} records. It was emptied, restored or \
         exchanged. Bring it back, or begin a log of another name"
    )]
    Lost {
        /// What is missing.
        missing: String,
        /// Records signed for.
        size: u64,
    },
    /// A record that can't be kept.
    #[error("a record of {0} bytes is more than a bundle takes")]
    TooLarge(usize),
}

/// A log that can be appended to.
#[derive(Debug)]
pub struct Log {
    parts: Parts,
    edge: Edge,
    /// The records of the last bundle while it is not full.
    tail: Vec<Bytes>,
    /// Ids of the last records.
    recent: Recent,
    /// The bucket's revision of our checkpoint; `None` while there is none.
    revision: Option<u64>,
    checkpoint: Option<Checkpoint>,
}

/// What a log is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where the log lies.
    pub store: Arc<dyn Store>,
    /// Where its newest checkpoint is decided.
    pub bucket: Arc<dyn Bucket>,
    /// What signs.
    pub key: Arc<SigningKey>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Parts").field(&self.key).finish()
    }
}

impl Log {
    /// Opens the log and finishes what somebody began.
    ///
    /// # Errors
    /// [`LogError`]: when store or bus don't answer it may be tried again; `NotOurs`, `Forked` and
    /// `Lost` need a person.
    pub async fn open(parts: Parts) -> Result<Self, LogError> {
        let decided = parts.bucket.get(&bucket_key(parts.key.public())?).await?;
        let revision = decided.as_ref().map(|entry| entry.revision);
        let ours = |place, note: &[u8]| {
            let note = std::str::from_utf8(note).unwrap_or_default();
            Checkpoint::open(note, parts.key.public()).map_err(|source| LogError::NotOurs { place, source })
        };
        let decided = decided.map(|entry| ours("bucket", &entry.value)).transpose()?;
        let published = parts.store.get(CHECKPOINT).await?;
        let published = published.map(|note| ours("store", &note)).transpose()?;
        let size = |it: &Option<Checkpoint>| it.as_ref().map_or(0, |it| it.size);
        let forked = LogError::Forked { bucket: size(&decided), store: size(&published) };

        // The smaller has to be the past of the larger, as the store has it.
        let (newer, older) =
            if size(&decided) > size(&published) { (decided, &published) } else { (published.clone(), &decided) };
        let mut log = match &newer {
            None => Self::at(parts, 0, None).await?,
            Some(newest) if newest.size == size(&published) => Self::at(parts, newest.size, Some(newest.root)).await?,
            Some(begun) => Self::finish(parts, begun).await?,
        };
        if let Some(older) = older {
            let then = read::edge(&*log.parts.store, older.size).await?;
            if then.is_none_or(|edge| edge.root() != older.root) {
                return Err(forked);
            }
        }
        if let Some(newest) = newer.as_ref().filter(|newest| newest.size > size(&published)) {
            log.parts.store.put(CHECKPOINT, Bytes::from(newest.note.clone())).await?;
        }
        log.revision = revision;
        log.checkpoint = newer;
        for left in log.parts.store.list(STAGING).await? {
            // What is larger may be of somebody who is about to decide it.
            if staged_size(&left).is_some_and(|size| size <= log.size()) {
                log.parts.store.remove(&left).await?;
            }
        }
        Ok(log)
    }

    /// Brings into place what was decided and, as it seems, not finished.
    async fn finish(parts: Parts, decided: &Checkpoint) -> Result<Self, LogError> {
        let path = staging(decided);
        let Some(staged) = parts.store.get(&path).await? else {
            // In place already; only the checkpoint beside it is older.
            return Self::at(parts, decided.size, Some(decided.root)).await;
        };
        let lost = || LogError::Lost { missing: format!("whole records in {path}"), size: decided.size };
        let records = layout::decode_bundle(staged).ok_or_else(lost)?;
        let begun = decided.size.checked_sub(records.len() as u64).ok_or_else(lost)?;
        let mut log = Self::at(parts, begun, None).await?;
        let grown = log.grow(&records);
        if log.edge.root() != decided.root {
            return Err(LogError::Lost { missing: format!("what {path} was added to"), size: decided.size });
        }
        log.publish(grown).await?;
        Ok(log)
    }

    /// The log as the store has it at a size; its root has to be as given.
    async fn at(parts: Parts, size: u64, root: Option<Hash>) -> Result<Self, LogError> {
        let lost = |missing: String| LogError::Lost { missing, size };
        let edge = read::edge(&*parts.store, size).await?;
        let edge = edge.ok_or_else(|| lost("a tile of hashes at its end".to_owned()))?;
        if root.is_some_and(|root| root != edge.root()) {
            return Err(lost("the hashes that were signed".to_owned()));
        }
        let bundles = read::bundles(size);
        let first = bundles.saturating_sub((REMEMBERED / TILE_WIDTH) as u64 + 1);
        let (mut recent, mut tail) = (Recent::default(), Vec::new());
        for index in first..bundles {
            let width = read::bundle_width(size, index);
            let records = read::bundle(&*parts.store, index, width).await?;
            let records = records.filter(|records| records.len() == width);
            tail = records.ok_or_else(|| lost(format!("the records in {}", layout::bundle(index, width))))?;
            tail.iter().for_each(|record| recent.note(record));
        }
        tail.truncate((size % TILE_WIDTH as u64) as usize);
        Ok(Self { parts, edge, tail, recent, revision: None, checkpoint: None })
    }

    /// How many records it holds.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The newest checkpoint; `None` while it is empty.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Whether one of the last [`REMEMBERED`] records has this id.
    pub fn has_lately(&self, id: &str) -> bool {
        self.recent.ids.contains(id)
    }

    /// Appends records, signs, and brings them into place. The log is handed back only when all of
    /// that is done; after an error it has to be opened again, which finds out what was.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn append(mut self, records: &[Bytes]) -> Result<Self, LogError> {
        if records.is_empty() {
            return Ok(self);
        }
        if let Some(record) = records.iter().find(|record| record.len() > MAX_RECORD_BYTES) {
            return Err(LogError::TooLarge(record.len()));
        }
        let grown = self.grow(records);
        let checkpoint = Checkpoint::sign(&self.parts.key, self.edge.size(), self.edge.root());
        let staged = staging(&checkpoint);
        self.parts.store.put(&staged, layout::encode_bundle(records)).await?;
        let (key, note) = (bucket_key(self.parts.key.public())?, Bytes::from(checkpoint.note.clone()));
        let decided = match self.revision {
            None => self.parts.bucket.create(&key, note).await,
            Some(revision) => self.parts.bucket.update(&key, note, revision).await,
        };
        self.revision = match decided {
            Ok(revision) => Some(revision),
            Err(BusError::Conflict { .. }) => return Err(LogError::Overtaken),
            Err(error) => return Err(error.into()),
        };
        let full = self.publish(grown).await?;
        self.parts.store.put(CHECKPOINT, Bytes::from(checkpoint.note.clone())).await?;
        self.checkpoint = Some(checkpoint);
        self.tidy(&staged, &full).await;
        Ok(self)
    }

    /// Grows edge and tail; what became full by it is handed back.
    fn grow(&mut self, records: &[Bytes]) -> Grown {
        let mut grown = Grown::default();
        for record in records {
            let index = self.edge.size() / TILE_WIDTH as u64;
            self.edge.push(record_hash(record), &mut grown.tiles);
            self.tail.push(record.clone());
            self.recent.note(record);
            if self.tail.len() == TILE_WIDTH {
                grown.bundles.push((index, std::mem::take(&mut self.tail)));
            }
        }
        grown
    }

    /// Writes bundles and tiles. The paths of those that became full are handed back.
    async fn publish(&self, grown: Grown) -> Result<Vec<String>, LogError> {
        let (store, mut full) = (&self.parts.store, Vec::new());
        for (index, records) in grown.bundles {
            let path = layout::bundle(index, TILE_WIDTH);
            store.put(&path, layout::encode_bundle(&records)).await?;
            full.push(path);
        }
        for tile in grown.tiles {
            let path = layout::tile(tile.level, tile.index, TILE_WIDTH);
            store.put(&path, tile.bytes().into()).await?;
            full.push(path);
        }
        if !self.tail.is_empty() {
            let path = layout::bundle(self.edge.size() / TILE_WIDTH as u64, self.tail.len());
            store.put(&path, layout::encode_bundle(&self.tail)).await?;
        }
        for tile in self.edge.partials() {
            let path = layout::tile(tile.level, tile.index, tile.hashes.len());
            store.put(&path, tile.bytes().into()).await?;
        }
        Ok(full)
    }

    /// Removes what is not needed any more. What stays is harmless, and found by the next opening
    /// or by nobody.
    async fn tidy(&self, staged: &str, full: &[String]) {
        let store = &self.parts.store;
        let tidied = async {
            store.remove(staged).await?;
            for path in full {
                for partial in store.list(&layout::partials_of(path)).await? {
                    store.remove(&partial).await?;
                }
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = tidied.await {
            tracing::warn!(%error, "something stays in the audit store that is not needed any more");
        }
    }
}

#[derive(Default)]
struct Grown {
    bundles: Vec<(u64, Vec<Bytes>)>,
    tiles: Vec<Tile>,
}

/// One a key: another key begins another log, in a store of its own.
fn bucket_key(key: &VerifyingKey) -> Result<Key, BusError> {
    Key::new(format!("checkpoint-{}", key.id()))
}

fn staging(checkpoint: &Checkpoint) -> String {
    format!("{STAGING}/{}-{}", checkpoint.size, hex::encode(checkpoint.root.0))
}

fn staged_size(path: &str) -> Option<u64> {
    path.strip_prefix(STAGING)?.strip_prefix('/')?.split_once('-')?.0.parse().ok()
}

/// Ids of the last records.
#[derive(Debug, Default)]
struct Recent {
    ids: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Recent {
    fn note(&mut self, record: &[u8]) {
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let Ok(Named { id }) = serde_json::from_slice(record) else { return };
        if self.ids.insert(id.clone()) {
            self.order.push_back(id);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.ids.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Checking a copy of a log with nothing but its public key.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use tlog_tiles::{Hash, record_hash};

use crate::layout::{self, CHECKPOINT};
use crate::note::{Checkpoint, NoteError, VerifyingKey};
use crate::read;
use crate::store::{Store, StoreError};
use crate::tree::{Edge, TILE_WIDTH, Tile};

/// Differences that are kept to be told; the rest is counted.
const MAX_DIFFERENCES: usize = 10_000;

/// One thing that is wrong with a copy. Records are numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// There is no checkpoint: nothing says what the log should hold.
    NoCheckpoint,
    /// The copy's checkpoint is not one of this log.
    Checkpoint(NoteError),
    /// A checkpoint that was kept elsewhere is not one of this log.
    Kept(NoteError),
    /// A checkpoint that was kept elsewhere counts more records than the copy's: its end was cut off.
    Truncated {
        /// Records, as kept elsewhere.
        kept: u64,
        /// Records, as the copy has it.
        found: u64,
    },
    /// A checkpoint that was kept elsewhere has another past: the log was rewritten and signed anew.
    Forked {
        /// Records, as kept elsewhere.
        size: u64,
    },
    /// Records are not there.
    Missing {
        /// The first that is missing.
        from: u64,
        /// The last that is missing.
        to: u64,
        /// Where they should be.
        path: String,
    },
    /// A bundle has more records than belong in it.
    Extra {
        /// Which.
        path: String,
    },
    /// A record is not what was signed.
    Changed {
        /// Which.
        index: u64,
    },
    /// A record is in another one's place.
    Moved {
        /// Where it is.
        index: u64,
        /// Where it belongs.
        belongs: u64,
    },
    /// A tile of hashes is missing or is not what the records make.
    Tile {
        /// Where it should be.
        path: String,
    },
    /// The records do not add up to what was signed, and neither do the hashes.
    Root {
        /// How many there should be.
        size: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCheckpoint => write!(f, "checkpoint: there is none, so nothing says what the log should hold"),
            Self::Checkpoint(error) => write!(f, "checkpoint: {error}"),
            Self::Kept(error) => write!(f, "the checkpoint kept elsewhere: {error}"),
            Self::Truncated { kept, found } => write!(
                f,
                "checkpoint: it counts {found} records, but {kept} were signed for: its end was cut off, or an older \
                 state put in its place"
            ),
            Self::Forked { size } => write!(
                f,
                "checkpoint: the first {size} records are not those that were signed for earlier: the log was \
                 rewritten and signed anew"
            ),
            Self::Missing { from, to, path } if from == to => write!(f, "{path}: record {from} is missing"),
            Self::Missing { from, to, path } => write!(f, "{path}: records {from} to {to} are missing"),
            Self::Extra { path } => write!(f, "{path}: it has more records than belong in it"),
            Self::Changed { index } => write!(f, "{}: record {index} was changed", place(*index)),
            Self::Moved { index, belongs } => {
                write!(f, "{}: in the place of record {index} stands record {belongs}", place(*index))
            }
            Self::Tile { path } => write!(f, "{path}: these hashes are missing, or not those of the records"),
            Self::Root { size } => write!(
                f,
                "checkpoint: the {size} records do not add up to the root that was signed, and neither do the hashes \
                 beside them"
            ),
        }
    }
}

fn place(index: u64) -> String {
    layout::bundle(index / TILE_WIDTH as u64, TILE_WIDTH)
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// The copy's checkpoint, if it is one of this log.
    pub checkpoint: Option<Checkpoint>,
    /// What is wrong, in the order of the records.
    pub faults: Vec<Fault>,
}

impl Findings {
    /// With a fault more when the log has fewer records than it is known to have had.
    #[must_use]
    pub fn expecting(mut self, at_least: u64) -> Self {
        if let Some(checkpoint) = self.checkpoint.as_ref().filter(|it| it.size < at_least) {
            self.faults.insert(0, Fault::Truncated { kept: at_least, found: checkpoint.size });
        }
        self
    }
}

/// Checks a copy of a log: every record against the signed root, every tile against the records,
/// and checkpoints that were kept elsewhere against both.
///
/// # Errors
/// [`StoreError`] when the copy can't be read. What is wrong with it is no error but a finding.
pub async fn verify(store: &dyn Store, key: &VerifyingKey, kept: &[String]) -> Result<Findings, StoreError> {
    let found = |checkpoint, faults| Ok(Findings { checkpoint, faults });
    let checkpoint = match store.get(CHECKPOINT).await? {
        None => return found(None, vec![Fault::NoCheckpoint]),
        Some(note) => match Checkpoint::open(std::str::from_utf8(&note).unwrap_or_default(), key) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return found(None, vec![Fault::Checkpoint(error)]),
        },
    };
    let mut faults = Vec::new();
    let mut pasts: Vec<Checkpoint> = Vec::new();
    for note in kept {
        match Checkpoint::open(note, key) {
            Ok(past) if past.size > checkpoint.size => {
                faults.push(Fault::Truncated { kept: past.size, found: checkpoint.size });
            }
            Ok(past) => pasts.push(past),
            Err(error) => faults.push(Fault::Kept(error)),
        }
    }
    let walk = Walk::through(store, &checkpoint, &pasts).await?;
    faults.extend(walk.faults(store, &checkpoint, &pasts).await?);
    found(Some(checkpoint), faults)
}

/// A record whose hash is not the one beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Difference {
    index: u64,
    found: Hash,
    expected: Hash,
}

/// Compares records with the tile of their hashes.
fn differences(first: u64, records: &[Hash], tile: &[Hash]) -> Vec<Difference> {
    let pairs = (first..).zip(records.iter().zip(tile)).filter(|(_, (found, expected))| found != expected);
    pairs.map(|(index, (found, expected))| Difference { index, found: *found, expected: *expected }).collect()
}

/// A tree as it was at each size that was asked for.
#[derive(Default)]
struct Grown {
    edge: Edge,
    full: Vec<Tile>,
    roots: BTreeMap<u64, Hash>,
}

impl Grown {
    fn push(&mut self, hash: Hash, pasts: &[Checkpoint]) {
        self.edge.push(hash, &mut self.full);
        let size = self.edge.size();
        if pasts.iter().any(|past| past.size == size) {
            self.roots.insert(size, self.edge.root());
        }
    }

    fn is(&self, checkpoint: &Checkpoint) -> bool {
        self.edge.size() == checkpoint.size && self.edge.root() == checkpoint.root
    }

    fn forks(&self, pasts: &[Checkpoint]) -> Vec<Fault> {
        let differs = |past: &&Checkpoint| self.roots.get(&past.size).is_some_and(|root| *root != past.root);
        pasts.iter().filter(differs).map(|past| Fault::Forked { size: past.size }).collect()
    }
}

/// Everything read once, in order.
#[derive(Default)]
struct Walk {
    /// The tree of the records.
    records: Grown,
    /// The tree of the hashes beside them.
    hashes: Grown,
    /// Bundles with fewer or more records than belong in them.
    uncounted: Vec<Fault>,
    differences: Vec<Difference>,
}

impl Walk {
    async fn through(store: &dyn Store, checkpoint: &Checkpoint, pasts: &[Checkpoint]) -> Result<Self, StoreError> {
        let mut walk = Self::default();
        for index in 0..read::bundles(checkpoint.size) {
            let (first, width) = (index * TILE_WIDTH as u64, read::bundle_width(checkpoint.size, index));
            let records = read::bundle(store, index, width).await?.unwrap_or_default();
            if records.len() != width {
                let (from, path) = (first + records.len() as u64, layout::bundle(index, width));
                walk.uncounted.push(match records.len() < width {
                    true => Fault::Missing { from, to: first + width as u64 - 1, path },
                    false => Fault::Extra { path },
                });
            }
            let records: Vec<Hash> = records.iter().take(width).map(|record| record_hash(record)).collect();
            if let Some(tile) = read::tile(store, 0, index, width).await? {
                if walk.differences.len() < MAX_DIFFERENCES {
                    walk.differences.extend(differences(first, &records, &tile.hashes));
                }
                tile.hashes.iter().for_each(|hash| walk.hashes.push(*hash, pasts));
            }
            records.iter().for_each(|hash| walk.records.push(*hash, pasts));
        }
        Ok(walk)
    }

    async fn faults(
        self,
        store: &dyn Store,
        checkpoint: &Checkpoint,
        pasts: &[Checkpoint],
    ) -> Result<Vec<Fault>, StoreError> {
        if self.records.is(checkpoint) {
            let mut faults = self.records.forks(pasts);
            faults.extend(self.uncounted);
            let partials = self.records.edge.partials();
            for tile in self.records.full.iter().chain(&partials) {
                let stored = read::tile(store, tile.level, tile.index, tile.hashes.len()).await?;
                if stored.as_ref() != Some(tile) {
                    faults.push(Fault::Tile { path: layout::tile(tile.level, tile.index, tile.hashes.len()) });
                }
            }
            return Ok(faults);
        }
        let mut faults = Vec::new();
        if self.hashes.is(checkpoint) {
            faults.extend(self.hashes.forks(pasts));
        } else {
            faults.push(Fault::Root { size: checkpoint.size });
        }
        faults.extend(self.uncounted);
        faults.extend(told(&self.differences));
        Ok(faults)
    }
}

/// What differs: in its own place, or in another's.
fn told(differences: &[Difference]) -> Vec<Fault> {
    let places: BTreeMap<[u8; 32], u64> = differences.iter().map(|it| (it.expected.0, it.index)).collect();
    let tell = |it: &Difference| match places.get(&it.found.0) {
        Some(belongs) => Fault::Moved { index: it.index, belongs: *belongs },
        None => Fault::Changed { index: it.index },
    };
    differences.iter().map(tell).collect()
}

/// The records of a log of `size`, oldest first, with their numbers.
pub fn records(store: &dyn Store, size: u64) -> BoxStream<'_, Result<(u64, Bytes), StoreError>> {
    let bundles = stream::iter(0..read::bundles(size)).then(move |index| async move {
        let width = read::bundle_width(size, index);
        let records = read::bundle(store, index, width).await?.unwrap_or_default();
        let numbered = (index * TILE_WIDTH as u64..).zip(records.into_iter().take(width)).map(Ok);
        Ok::<_, StoreError>(stream::iter(numbered))
    });
    bundles.try_flatten().boxed()
}

/// Copies a log of a checkpoint: everything that belongs to it, and the checkpoint last.
/// What is missing is left out; [`verify`] on the copy tells.
///
/// # Errors
/// [`StoreError`] of either.
pub async fn export(from: &dyn Store, to: &dyn Store, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    let mut level_size = checkpoint.size;
    let mut level = 0;
    while level_size > 0 {
        for index in 0..read::bundles(level_size) {
            let width = read::bundle_width(level_size, index);
            if let Some(tile) = read::tile(from, level, index, width).await? {
                to.put(&layout::tile(level, index, width), tile.bytes().into()).await?;
            }
            if level == 0
                && let Some(records) = read::bundle(from, index, width).await?
            {
                to.put(&layout::bundle(index, width), layout::encode_bundle(&records)).await?;
            }
        }
        level_size /= TILE_WIDTH as u64;
        level += 1;
    }
    to.put(CHECKPOINT, Bytes::from(checkpoint.note.clone())).await
}

#[cfg(test)]
mod tests;

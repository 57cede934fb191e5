//! What outlives the process: without it, trouble that ends while no observer runs would never
//! be told to have ended.

use chrono::{DateTime, Utc};
use evenkeel_model::{Signal, short_digest};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Version};
use super::{Key, Tracker};

/// Into so many values the entries are divided; each is far below what a bucket takes.
pub(crate) const SHARDS: usize = 16;

/// One entry as it lies in the bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stored {
    pub(crate) key: Key,
    pub(crate) told: Version,
    /// It was about to be told; whether it was, only the bus knows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) in_doubt: bool,
    pub(crate) signal: Signal,
}

/// Where a subject's entries are kept.
pub(crate) fn shard(subject: &str) -> usize {
    usize::from_str_radix(&short_digest([subject], 1), 16).unwrap_or_default() % SHARDS
}

impl Tracker {
    /// Shards that are not stored as they are; asking marks them as stored.
    pub(crate) fn take_stale(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.stale).into_iter().collect()
    }

    /// Storing a shard failed.
    pub(crate) fn still_stale(&mut self, shard: usize) {
        self.stale.insert(shard);
    }

    /// What is to be stored of a shard.
    pub(crate) fn stored(&self, number: usize) -> Vec<Stored> {
        let entries = self.entries.iter().filter(|(key, _)| shard(&key.subject) == number);
        entries
            .filter_map(|(key, entry)| {
                let told = entry.announced.as_ref().or(entry.told.as_ref())?.clone();
                let mut signal = entry.signal.clone();
                signal.starts_at = entry.starts_at;
                signal.ends_at = entry.ended_at;
                // Labels and summary are told again when it is seen again.
                signal.labels.clear();
                Some(Stored { key: key.clone(), told, in_doubt: entry.announced.is_some(), signal })
            })
            .collect()
    }

    /// Takes over what an earlier process had told, or was about to.
    pub(crate) fn restore(&mut self, stored: Vec<Stored>, now: DateTime<Utc>) {
        for Stored { key, told, in_doubt, signal } in stored {
            if self.entries.len() < self.most {
                self.entries.entry(key).or_insert_with(|| Entry::restored(signal, told, in_doubt, now));
            }
        }
    }
}

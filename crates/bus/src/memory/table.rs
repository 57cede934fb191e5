use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Change, Entry};

/// One bucket. Revisions count over all keys, as on the server.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: BTreeMap<String, Slot>,
    /// The newest revision of every key, for watchers: a slow one sees the newest value only.
    order: BTreeMap<u64, String>,
    last: u64,
}

#[derive(Debug)]
struct Slot {
    revision: u64,
    value: Option<Bytes>,
}

/// Somebody else wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        let slot = self.slots.get(key)?;
        Some(Entry { value: slot.value.clone()?, revision: slot.revision })
    }

    /// Writes when the key is at `expected`; `None`: has no value.
    pub(super) fn put(&mut self, key: &str, value: Bytes, expected: Option<u64>) -> Result<u64, Lost> {
        let found = self.get(key).map(|entry| entry.revision);
        if found != expected {
            return Err(Lost);
        }
        Ok(self.write(key, Some(value)))
    }

    /// Says whether there was anything.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        let there = self.get(key).is_some();
        if there {
            self.write(key, None);
        }
        there
    }

    /// Removes when the key is at `expected`.
    pub(super) fn remove_at(&mut self, key: &str, expected: u64) -> Result<(), Lost> {
        if self.get(key).map(|entry| entry.revision) != Some(expected) {
            return Err(Lost);
        }
        self.write(key, None);
        Ok(())
    }

    fn write(&mut self, key: &str, value: Option<Bytes>) -> u64 {
        self.last += 1;
        let slot = Slot { revision: self.last, value };
        if let Some(before) = self.slots.insert(key.to_owned(), slot) {
            self.order.remove(&before.revision);
        }
        self.order.insert(self.last, key.to_owned());
        self.last
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.slots.iter().filter(|(_, slot)| slot.value.is_some()).map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The first change after `revision` up to `until`, with its revision.
    pub(super) fn change_after(&self, revision: u64, until: u64) -> Option<(u64, Change)> {
        let (revision, key) = self.order.range(revision.checked_add(1)?..=until.max(revision + 1)).next()?;
        if *revision > until {
            return None;
        }
        let change = match self.get(key) {
            Some(entry) => Change::Put { key: key.clone(), entry },
            None => Change::Removed { key: key.clone() },
        };
        Some((*revision, change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_key_can_be_created_again_but_not_updated() {
        let mut table = Table::default();
        let first = table.put("a", Bytes::from_static(b"1"), None).unwrap();
        assert_eq!(table.put("a", Bytes::new(), None), Err(Lost));
        assert!(table.remove("a"));
        assert!(!table.remove("a"));
        assert_eq!(table.put("a", Bytes::new(), Some(first)), Err(Lost));
        assert!(table.put("a", Bytes::new(), None).is_ok());
    }

    #[test]
    fn a_slow_watcher_sees_the_newest_value_once() {
        let mut table = Table::default();
        let first = table.put("a", Bytes::from_static(b"1"), None).unwrap();
        table.put("b", Bytes::from_static(b"2"), None).unwrap();
        let third = table.put("a", Bytes::from_static(b"3"), Some(first)).unwrap();
        let (second, change) = table.change_after(0, table.last()).unwrap();
        assert!(matches!(change, Change::Put { key, .. } if key == "b"));
        let (revision, _) = table.change_after(second, table.last()).unwrap();
        assert_eq!(revision, third);
        assert!(table.change_after(third, table.last()).is_none());
        assert!(table.change_after(first, first).is_none());
    }
}

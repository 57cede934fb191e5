use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

/// What is to be worked on and when, ordered by (due, key). A key is handed out to one worker at a
/// time; what is asked for meanwhile is done afterwards.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    order: BTreeSet<(DateTime<Utc>, String)>,
    due: BTreeMap<String, DateTime<Utc>>,
    /// Being worked on, and the earliest time asked for meanwhile.
    running: BTreeMap<String, Option<DateTime<Utc>>>,
}

impl Queue {
    /// Asks for a key at a time; an earlier time asked for before stays.
    pub(crate) fn ask(&mut self, key: &str, at: DateTime<Utc>) {
        if let Some(again) = self.running.get_mut(key) {
            *again = Some(again.map_or(at, |before| before.min(at)));
            return;
        }
        match self.due.get(key) {
            Some(before) if *before <= at => return,
            Some(before) => {
                self.order.remove(&(*before, key.to_owned()));
            }
            None => {}
        }
        self.due.insert(key.to_owned(), at);
        self.order.insert((at, key.to_owned()));
    }

    /// Hands out the first key that is due.
    pub(crate) fn take(&mut self, now: DateTime<Utc>) -> Option<String> {
        if self.next_due()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.due.remove(&key);
        self.running.insert(key.clone(), None);
        Some(key)
    }

    /// A worker is done with a key and wants it again at `next`, or not. What was asked for
    /// meanwhile counts when it is news to the worker.
    pub(crate) fn done(&mut self, key: &str, next: Option<DateTime<Utc>>, news: bool) {
        let meanwhile = self.running.remove(key).flatten().filter(|_| news);
        if let Some(at) = [meanwhile, next].into_iter().flatten().min() {
            self.ask(key, at);
        }
    }

    /// Nothing more is to be done about a key.
    pub(crate) fn forget(&mut self, key: &str) {
        if let Some(at) = self.due.remove(key) {
            self.order.remove(&(at, key.to_owned()));
        }
        if let Some(again) = self.running.get_mut(key) {
            *again = None;
        }
    }

    /// When the first is due.
    pub(crate) fn next_due(&self) -> Option<DateTime<Utc>> {
        self.order.first().map(|(at, _)| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn keys_come_by_time_and_then_by_name() {
        let mut queue = Queue::default();
        queue.ask("b", at(1));
        queue.ask("c", at(0));
        queue.ask("a", at(1));
        assert_eq!(queue.take(at(5)).as_deref(), Some("c"));
        assert_eq!(queue.take(at(5)).as_deref(), Some("a"));
        assert_eq!(queue.take(at(0)), None);
        assert_eq!(queue.next_due(), Some(at(1)));
    }

    #[test]
    fn the_earliest_time_asked_for_counts() {
        let mut queue = Queue::default();
        queue.ask("a", at(10));
        queue.ask("a", at(20));
        assert_eq!(queue.next_due(), Some(at(10)));
        queue.ask("a", at(5));
        assert_eq!((queue.next_due(), queue.len()), (Some(at(5)), 1));
    }

    #[test]
    fn one_worker_at_a_time_and_nothing_asked_for_meanwhile_is_lost() {
        let mut queue = Queue::default();
        queue.ask("a", at(0));
        assert_eq!(queue.take(at(0)).as_deref(), Some("a"));
        queue.ask("a", at(1));
        assert_eq!(queue.take(at(9)), None);
        queue.done("a", Some(at(60)), true);
        assert_eq!(queue.next_due(), Some(at(1)));
        queue.take(at(1));
        queue.ask("a", at(1));
        queue.done("a", None, false);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn what_is_forgotten_does_not_come_back() {
        let mut queue = Queue::default();
        queue.ask("a", at(0));
        queue.ask("b", at(0));
        queue.forget("a");
        assert_eq!(queue.take(at(0)).as_deref(), Some("b"));
        queue.ask("b", at(0));
        queue.forget("b");
        queue.done("b", None, true);
        assert_eq!(queue.next_due(), None);
    }
}

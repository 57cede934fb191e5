use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use chrono::{DateTime, Utc};
use evenkeel_model::Span;

use super::Recorded;

/// Puts signals in order of time that are out of it by a bounded length.
pub(super) struct InOrder {
    held: BinaryHeap<Reverse<Held>>,
    bound: chrono::Duration,
    newest: DateTime<Utc>,
    /// The time of the last that was given out.
    reached: DateTime<Utc>,
    serial: u64,
}

struct Held {
    at: DateTime<Utc>,
    serial: u64,
    recorded: Box<Recorded>,
}

impl Held {
    fn key(&self) -> (DateTime<Utc>, u64) {
        (self.at, self.serial)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl InOrder {
    pub(super) fn new(bound: Span) -> Self {
        Self {
            held: BinaryHeap::new(),
            bound: bound.chrono(),
            newest: DateTime::<Utc>::MIN_UTC,
            reached: DateTime::<Utc>::MIN_UTC,
            serial: 0,
        }
    }

    /// Takes one. True when later ones were given out already: it comes at the time that is reached by then.
    pub(super) fn push(&mut self, recorded: Recorded) -> bool {
        let at = recorded.at;
        let is_late = at < self.reached;
        self.newest = self.newest.max(at);
        self.serial += 1;
        self.held.push(Reverse(Held { at, serial: self.serial, recorded: Box::new(recorded) }));
        is_late
    }

    /// Those before which none can come any more.
    pub(super) fn ready(&mut self) -> impl Iterator<Item = Recorded> + '_ {
        std::iter::from_fn(|| {
            let is_ready = self.held.peek().is_some_and(|Reverse(held)| held.at <= self.newest - self.bound);
            is_ready.then(|| self.pop()).flatten()
        })
    }

    /// All that are left.
    pub(super) fn rest(&mut self) -> impl Iterator<Item = Recorded> + '_ {
        std::iter::from_fn(|| self.pop())
    }

    fn pop(&mut self) -> Option<Recorded> {
        let Reverse(held) = self.held.pop()?;
        self.reached = self.reached.max(held.at);
        Some(*held.recorded)
    }
}

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::log::{Log, Message};
use super::trouble::{Dice, Trouble};

/// One durable consumer's place: what it has seen and what it still owes an answer for.
#[derive(Debug)]
pub(super) struct Worklist {
    /// The next sequence nobody has been given.
    next: u64,
    owed: BTreeMap<u64, Owed>,
    /// `owed` by the time it comes again.
    due: BTreeSet<(Instant, u64)>,
    ack_wait: Duration,
    max_ack_pending: usize,
}

#[derive(Debug, Clone, Copy)]
struct Owed {
    /// Zero while a new message is held back on purpose.
    delivered: u64,
    due: Instant,
    /// It came once more after its acknowledgement; the next one counts.
    echoed: bool,
}

impl Worklist {
    pub(super) fn new(ack_wait: Duration, max_ack_pending: usize) -> Self {
        Self { next: 1, owed: BTreeMap::new(), due: BTreeSet::new(), ack_wait, max_ack_pending }
    }

    fn owe(&mut self, sequence: u64, owed: Owed) {
        if let Some(before) = self.owed.insert(sequence, owed) {
            self.due.remove(&(before.due, sequence));
        }
        self.due.insert((owed.due, sequence));
    }

    /// At most `max` messages with their delivery counts: what is due again first, then new ones.
    pub(super) fn take(
        &mut self,
        log: &Log,
        max: usize,
        now: Instant,
        trouble: &Trouble,
        dice: &mut Dice,
    ) -> Vec<(Arc<Message>, u64)> {
        let mut batch = Vec::new();
        while batch.len() < max
            && let Some((due, sequence)) = self.due.first().copied()
            && due <= now
        {
            let delivered = self.owed.get(&sequence).map_or(0, |owed| owed.delivered);
            match log.get(sequence) {
                Some(message) => self.hand_out(message, delivered, &mut batch, max, now, trouble, dice),
                // Its age removed it from the stream.
                None => self.end(sequence),
            }
        }
        while batch.len() < max
            && self.owed.len() < self.max_ack_pending
            && let Some(message) = log.from(self.next)
        {
            self.next = message.sequence + 1;
            if dice.chance(trouble.delay) {
                let due = now + dice.up_to(trouble.delay_at_most);
                self.owe(message.sequence, Owed { delivered: 0, due, echoed: false });
            } else {
                self.hand_out(message, 0, &mut batch, max, now, trouble, dice);
            }
        }
        if dice.chance(trouble.reorder) {
            dice.shuffle(&mut batch);
        }
        batch
    }

    #[expect(clippy::too_many_arguments, reason = "one step of `take`, which owns them all")]
    fn hand_out(
        &mut self,
        message: &Arc<Message>,
        before: u64,
        batch: &mut Vec<(Arc<Message>, u64)>,
        max: usize,
        now: Instant,
        trouble: &Trouble,
        dice: &mut Dice,
    ) {
        let times = if batch.len() + 1 < max && dice.chance(trouble.duplicate) { 2 } else { 1 };
        batch.extend((1..=times).map(|time| (Arc::clone(message), before + time)));
        let echoed = self.owed.get(&message.sequence).is_some_and(|owed| owed.echoed);
        let owed = Owed { delivered: before + times, due: now + self.ack_wait, echoed };
        self.owe(message.sequence, owed);
    }

    pub(super) fn ack(&mut self, sequence: u64, now: Instant, trouble: &Trouble, dice: &mut Dice) {
        let Some(owed) = self.owed.get(&sequence).copied() else { return };
        if !owed.echoed && dice.chance(trouble.redeliver) {
            let due = now + dice.up_to(trouble.delay_at_most);
            self.owe(sequence, Owed { due, echoed: true, ..owed });
        } else {
            self.end(sequence);
        }
    }

    /// Never again, whatever the trouble.
    pub(super) fn end(&mut self, sequence: u64) {
        if let Some(owed) = self.owed.remove(&sequence) {
            self.due.remove(&(owed.due, sequence));
        }
    }

    pub(super) fn nak(&mut self, sequence: u64, delay: Duration, now: Instant) {
        if let Some(owed) = self.owed.get(&sequence).copied() {
            self.owe(sequence, Owed { due: now + delay, ..owed });
        }
    }

    pub(super) fn in_progress(&mut self, sequence: u64, now: Instant) {
        self.nak(sequence, self.ack_wait, now);
    }

    /// When something comes again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(super) fn pending(&self, log: &Log) -> u64 {
        let held = self.owed.values().filter(|owed| owed.delivered == 0).count() as u64;
        let unseen = log.from(self.next).map_or(0, |first| log.last() + 1 - first.sequence);
        unseen + held
    }

    pub(super) fn unacknowledged(&self) -> u64 {
        self.owed.values().filter(|owed| owed.delivered > 0).count() as u64
    }

    /// Up to where nothing is owed any more.
    pub(super) fn settled(&self) -> u64 {
        self.owed.keys().next().copied().unwrap_or(self.next).saturating_sub(1)
    }
}

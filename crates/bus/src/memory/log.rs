use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::{Published, TraceContext};

/// A stored message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) sequence: u64,
    pub(super) at: DateTime<Utc>,
    pub(super) subject: String,
    pub(super) id: String,
    pub(super) payload: Bytes,
    pub(super) trace: TraceContext,
    pub(super) reason: Option<String>,
    /// When it was stored, by the runtime's clock: the age limit goes by it.
    stored: Instant,
}

/// A message about to be stored.
pub(super) struct Draft {
    pub(super) subject: String,
    /// What the consumer gets as id.
    pub(super) id: String,
    /// What the duplicate window looks at; `None`: never a duplicate.
    pub(super) deduplicate: Option<String>,
    pub(super) payload: Bytes,
    pub(super) trace: TraceContext,
    pub(super) reason: Option<String>,
}

/// One stream: messages in order, and the ids of the duplicate window.
#[derive(Debug)]
pub(super) struct Log {
    messages: VecDeque<Arc<Message>>,
    last: u64,
    bytes: u64,
    window: BTreeMap<String, u64>,
    window_order: VecDeque<(Instant, String)>,
    limits: LogLimits,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct LogLimits {
    pub(super) max_messages: usize,
    pub(super) max_age: Duration,
    pub(super) duplicate_window: Duration,
}

/// The stream holds as many messages as it may.
#[derive(Debug)]
pub(super) struct AtLimit;

impl Log {
    pub(super) fn new(limits: LogLimits) -> Self {
        Self {
            messages: VecDeque::new(),
            last: 0,
            bytes: 0,
            window: BTreeMap::new(),
            window_order: VecDeque::new(),
            limits,
        }
    }

    pub(super) fn append(&mut self, draft: Draft, at: DateTime<Utc>, now: Instant) -> Result<Published, AtLimit> {
        self.forget(now);
        if let Some(sequence) = draft.deduplicate.as_ref().and_then(|id| self.window.get(id)) {
            return Ok(Published { sequence: *sequence, duplicate: true });
        }
        if self.messages.len() >= self.limits.max_messages {
            return Err(AtLimit);
        }
        self.last += 1;
        self.bytes += draft.payload.len() as u64;
        if let Some(id) = draft.deduplicate {
            self.window_order.push_back((now, id.clone()));
            self.window.insert(id, self.last);
        }
        self.messages.push_back(Arc::new(Message {
            sequence: self.last,
            at,
            subject: draft.subject,
            id: draft.id,
            payload: draft.payload,
            trace: draft.trace,
            reason: draft.reason,
            stored: now,
        }));
        Ok(Published { sequence: self.last, duplicate: false })
    }

    /// Drops what is past its age, from messages and from the duplicate window.
    fn forget(&mut self, now: Instant) {
        let past = |since: Instant, age: Duration| now.duration_since(since) >= age;
        while let Some((_, id)) = self.window_order.pop_front_if(|(at, _)| past(*at, self.limits.duplicate_window)) {
            self.window.remove(&id);
        }
        while let Some(message) = self.messages.pop_front_if(|m| past(m.stored, self.limits.max_age)) {
            self.bytes -= message.payload.len() as u64;
        }
    }

    /// The first message at or after `sequence`.
    pub(super) fn from(&self, sequence: u64) -> Option<&Arc<Message>> {
        let first = self.messages.front()?.sequence;
        let offset = usize::try_from(sequence.saturating_sub(first)).ok()?;
        self.messages.get(offset)
    }

    /// The message of that sequence, unless its age removed it.
    pub(super) fn get(&self, sequence: u64) -> Option<&Arc<Message>> {
        self.from(sequence).filter(|message| message.sequence == sequence)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.messages.iter()
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn len(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(id: &str) -> Draft {
        Draft {
            subject: "s".to_owned(),
            id: id.to_owned(),
            deduplicate: Some(id.to_owned()),
            payload: Bytes::from_static(b"12345"),
            trace: TraceContext::default(),
            reason: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn age_frees_room_and_the_window_ends() {
        let mut log = Log::new(LogLimits {
            max_messages: 2,
            max_age: Duration::from_secs(600),
            duplicate_window: Duration::from_secs(120),
        });
        let start = Instant::now();
        let at = DateTime::UNIX_EPOCH;
        assert_eq!(log.append(draft("a"), at, start).unwrap().sequence, 1);
        assert!(log.append(draft("a"), at, start).unwrap().duplicate);
        let later = start + Duration::from_secs(120);
        assert_eq!(log.append(draft("a"), at, later).unwrap(), Published { sequence: 2, duplicate: false });
        assert!(log.append(draft("b"), at, later).is_err());
        let aged = start + Duration::from_secs(600);
        assert_eq!(log.append(draft("b"), at, aged).unwrap().sequence, 3);
        assert!(log.get(1).is_none());
        assert_eq!(log.from(0).unwrap().sequence, 2);
        assert_eq!(log.bytes(), 10);
    }
}

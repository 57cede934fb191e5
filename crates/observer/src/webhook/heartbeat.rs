use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use evenkeel_model::Span;

/// The alert that always fires. While it is silent, the way from Prometheus to us is broken
/// somewhere, and an alert that is no longer heard of has not ended.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    every: Option<Span>,
    /// Milliseconds since the epoch.
    last: AtomicI64,
}

impl Heartbeat {
    /// Expected every so often from `now` on; never, when `every` is absent.
    pub(crate) fn new(every: Option<Span>, now: DateTime<Utc>) -> Self {
        Self { every, last: AtomicI64::new(now.timestamp_millis()) }
    }

    /// It was heard.
    pub(crate) fn beat(&self, now: DateTime<Utc>) {
        self.last.fetch_max(now.timestamp_millis(), Ordering::Relaxed);
    }

    /// It was said to have ended, which it never does.
    pub(crate) fn lost(&self) {
        self.last.store(0, Ordering::Relaxed);
    }

    /// Whether it has been silent for too long.
    pub(crate) fn is_blind(&self, now: DateTime<Utc>) -> bool {
        let silent = now.timestamp_millis().saturating_sub(self.last.load(Ordering::Relaxed));
        self.every
            .is_some_and(|every| i128::from(silent) > i128::try_from(every.get().as_millis()).unwrap_or(i128::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_for_longer_than_expected_is_blindness() {
        let at = DateTime::UNIX_EPOCH + chrono::Duration::days(20_000);
        let heartbeat = Heartbeat::new(Some(Span::minutes(2)), at);
        assert!(!heartbeat.is_blind(at + chrono::Duration::minutes(2)));
        assert!(heartbeat.is_blind(at + chrono::Duration::seconds(121)));
        heartbeat.beat(at + chrono::Duration::seconds(121));
        assert!(!heartbeat.is_blind(at + chrono::Duration::seconds(122)));
        heartbeat.lost();
        assert!(heartbeat.is_blind(at + chrono::Duration::seconds(122)));
        assert!(!Heartbeat::new(None, at).is_blind(at + chrono::Duration::days(9)));
    }
}

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

/// More requests at one instant are a livelock: nothing that has work to do makes so many.
const MOST_AT_ONCE: u64 = 20_000;

/// Counts the engine's requests, and those at one instant.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    all: AtomicU64,
    instant: Mutex<(Option<DateTime<Utc>>, u64)>,
    livelock: Mutex<Option<DateTime<Utc>>>,
}

impl Meter {
    /// One more. False when it is one too many: it must not be carried out.
    pub(crate) fn one_more(&self, now: DateTime<Utc>) -> bool {
        self.all.fetch_add(1, Ordering::SeqCst);
        let mut instant = self.instant.lock().unwrap_or_else(PoisonError::into_inner);
        if instant.0 != Some(now) {
            *instant = (Some(now), 0);
        }
        instant.1 += 1;
        if instant.1 <= MOST_AT_ONCE {
            return true;
        }
        self.livelock.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
        false
    }

    pub(crate) fn all(&self) -> u64 {
        self.all.load(Ordering::SeqCst)
    }

    /// When there was a livelock first.
    pub(crate) fn livelock(&self) -> Option<DateTime<Utc>> {
        *self.livelock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_livelock_is_told_from_much_work_over_time() {
        let meter = Meter::default();
        let start = DateTime::from_timestamp(1_780_477_200, 0).unwrap();
        assert!((0..100_000).all(|second| meter.one_more(start + chrono::Duration::seconds(second))));
        assert_eq!(meter.livelock(), None);
        let all_at_once = (0..=MOST_AT_ONCE).map(|_| meter.one_more(start)).filter(|fits| !fits).count();
        assert_eq!((all_at_once, meter.livelock()), (1, Some(start)));
    }
}

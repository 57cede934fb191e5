//! How many Events a kubelet sends about one pod: 25 of each type at once, then one in five minutes.

use chrono::{DateTime, Duration, Utc};

const BURST: i64 = 25;
const REFILL: Duration = Duration::seconds(300);

/// Type of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

/// What may still be sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget {
    normal: Tokens,
    warning: Tokens,
}

/// How many were spent of the full bucket, and since when it fills.
#[derive(Debug, Clone, Copy, Default)]
struct Tokens {
    spent: i64,
    since: Option<DateTime<Utc>>,
}

impl Tokens {
    fn refill(&mut self, now: DateTime<Utc>) {
        let Some(since) = self.since else { return };
        let back = (now - since).num_seconds() / REFILL.num_seconds();
        if back >= self.spent {
            *self = Self::default();
        } else if back > 0 {
            self.spent -= back;
            self.since = Some(since + REFILL * i32::try_from(back).unwrap_or(1));
        }
    }
}

impl Budget {
    fn of(&mut self, kind: Kind) -> &mut Tokens {
        match kind {
            Kind::Normal => &mut self.normal,
            Kind::Warning => &mut self.warning,
        }
    }

    /// Whether one more may be sent; it then counts as sent.
    pub(crate) fn spend(&mut self, kind: Kind, now: DateTime<Utc>) -> bool {
        let tokens = self.of(kind);
        tokens.refill(now);
        if tokens.spent >= BURST {
            return false;
        }
        tokens.since.get_or_insert(now);
        tokens.spent += 1;
        true
    }

    /// When the next one may be sent.
    pub(crate) fn next(&mut self, kind: Kind, now: DateTime<Utc>) -> DateTime<Utc> {
        let tokens = self.of(kind);
        tokens.refill(now);
        match tokens.since.filter(|_| tokens.spent >= BURST) {
            Some(since) => since + REFILL,
            None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_in_five_minutes() {
        let start: DateTime<Utc> = "2026-06-03T09:00:00Z".parse().unwrap();
        let mut budget = Budget::default();
        let sent = |budget: &mut Budget, second: i64| budget.spend(Kind::Warning, start + Duration::seconds(second));
        assert_eq!((0..60).filter(|second| sent(&mut budget, *second)).count(), 25);
        assert_eq!(budget.next(Kind::Warning, start + Duration::seconds(60)), start + Duration::seconds(300));
        assert_eq!((60..660).filter(|second| sent(&mut budget, *second)).count(), 2);
        assert!(budget.spend(Kind::Normal, start));
    }
}

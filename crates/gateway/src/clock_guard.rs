use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{Clock, Span};

/// Compares our clock with the API server's, as its Date headers tell. Claims, rates and expiries
/// are meaningless when the two are apart: no new action is begun then. As a [`Clock`] it goes by the API server's: what
/// is waited for ends in time, and people are told, whatever our clock says.
pub(crate) struct ClockGuard {
    clock: Arc<dyn Clock>,
    tolerance: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Copy)]
enum Seen {
    Nothing,
    NoDate,
    /// Our clock minus the server's lies between the first two, as it was when our clock said `ours` and so much time
    /// had passed.
    Between {
        least: Duration,
        most: Duration,
        ours: DateTime<Utc>,
        passed: Duration,
    },
}

impl ClockGuard {
    pub(crate) fn new(clock: Arc<dyn Clock>, tolerance: Span) -> Self {
        Self { clock, tolerance: tolerance.chrono(), seen: Mutex::new(Seen::Nothing) }
    }

    /// When a request leaves, for [`ClockGuard::note`].
    pub(crate) fn ours(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Notes one answer that has come just now: when the request left by our clock, what its Date header said.
    pub(crate) fn note(&self, sent: DateTime<Utc>, date: Option<&http::HeaderValue>) {
        let date = date.and_then(|date| date.to_str().ok()).and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        let (came, passed) = (self.clock.now(), self.clock.passed());
        let seen = match date.map(|date| date.to_utc()) {
            Some(date) => Seen::Between {
                // The header has whole seconds: the server's clock said something up to a second later.
                least: sent - date - Duration::seconds(1),
                most: came - date,
                ours: came,
                passed,
            },
            None => Seen::NoDate,
        };
        *self.seen() = seen;
    }

    /// Why no new action may be begun, if so.
    pub(crate) fn trouble(&self) -> Option<String> {
        match *self.seen() {
            Seen::Nothing => Some("the API server's clock is not known yet".to_owned()),
            Seen::NoDate => Some("the API server's answer has no Date header to compare our clock with".to_owned()),
            Seen::Between { least, .. } if least > self.tolerance => Some(self.apart(least, "ahead of")),
            Seen::Between { most, .. } if most < -self.tolerance => Some(self.apart(-most, "behind")),
            Seen::Between { ours, passed, .. } => {
                let set = self.set_since(ours, passed);
                (set.abs() > self.tolerance)
                    .then(|| format!("our clock was set by {} s, and not compared since", set.num_seconds()))
            }
        }
    }

    /// Our clock minus the server's, milliseconds, where it is known.
    pub(crate) fn apart_milliseconds(&self) -> Option<i64> {
        match *self.seen() {
            Seen::Between { least, most, .. } => Some((least + most).num_milliseconds() / 2),
            Seen::Nothing | Seen::NoDate => None,
        }
    }

    /// By how much our clock was set since it said `ours`.
    fn set_since(&self, ours: DateTime<Utc>, passed: Duration) -> Duration {
        (self.clock.now() - ours) - (self.clock.passed() - passed)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apart(&self, by: Duration, how: &str) -> String {
        let (by, tolerance) = (by.num_seconds(), self.tolerance.num_seconds());
        format!("our clock is {by} s {how} the API server's, more than {tolerance} s: check NTP on both")
    }
}

impl Clock for ClockGuard {
    fn now(&self) -> DateTime<Utc> {
        let seen = *self.seen();
        let now = self.clock.now();
        let Seen::Between { least, most, ours, passed } = seen else { return now };
        let set = self.set_since(ours, passed);
        let now = if set.abs() > self.tolerance { now - set } else { now };
        if least > self.tolerance || most < -self.tolerance { now - (least + most) / 2 } else { now }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::testing::at;

    const NOON: http::HeaderValue = http::HeaderValue::from_static("Mon, 05 Jan 2026 12:00:00 GMT");

    /// What it says, and how much time has passed, in seconds.
    #[derive(Debug)]
    struct SetClock(AtomicI64, AtomicI64);

    impl Clock for SetClock {
        fn now(&self) -> DateTime<Utc> {
            at(self.0.load(Ordering::SeqCst))
        }

        fn passed(&self) -> Duration {
            Duration::seconds(self.1.load(Ordering::SeqCst))
        }
    }

    fn clocks(says: i64) -> (Arc<SetClock>, ClockGuard) {
        let clock = Arc::new(SetClock(AtomicI64::new(says), AtomicI64::default()));
        let guard = ClockGuard::new(Arc::clone(&clock) as Arc<dyn Clock>, Span::seconds(5));
        (clock, guard)
    }

    fn guard(date: Option<&'static str>) -> Option<String> {
        let (clock, guard) = clocks(0);
        assert!(guard.trouble().is_some(), "nothing is begun before the first answer");
        let sent = guard.ours();
        clock.0.store(1, Ordering::SeqCst);
        clock.1.store(1, Ordering::SeqCst);
        guard.note(sent, date.map(http::HeaderValue::from_static).as_ref());
        guard.trouble()
    }

    #[test]
    fn time_is_the_api_servers_when_ours_is_wrong_and_goes_on_when_it_is_set() {
        let (clock, guard) = clocks(3600);
        let after = |passed: i64, says: i64| {
            clock.0.store(says, Ordering::SeqCst);
            clock.1.store(passed, Ordering::SeqCst);
        };
        let is_about = |seconds: i64| (guard.now() - at(seconds)).abs() <= Duration::seconds(1);
        guard.note(guard.ours(), Some(&NOON));
        assert!(guard.trouble().is_some_and(|it| it.contains("ahead of")) && is_about(0), "{}", guard.now());
        // It is set right, and nobody has asked the API server since.
        after(10, 10);
        assert!(is_about(10), "{}", guard.now());
        guard.note(guard.ours(), Some(&http::HeaderValue::from_static("Mon, 05 Jan 2026 12:00:10 GMT")));
        assert_eq!((guard.trouble(), guard.now()), (None, at(10)));
        // And it is set wrong.
        after(20, -3580);
        assert!(guard.trouble().is_some_and(|it| it.contains("was set by -3600 s")), "{:?}", guard.trouble());
        assert!(is_about(20), "{}", guard.now());
    }

    #[test]
    fn clocks_that_agree_are_no_trouble() {
        // at(0) is 2026-01-05 12:00:00.
        for date in ["12:00:00", "12:00:05", "11:59:55"] {
            let date: &'static str = Box::leak(format!("Mon, 05 Jan 2026 {date} GMT").into_boxed_str());
            assert_eq!(guard(Some(date)), None, "{date}");
        }
    }

    #[test]
    fn clocks_apart_are_said_with_the_direction() {
        let ahead = guard(Some("Mon, 05 Jan 2026 11:59:50 GMT")).unwrap();
        assert!(ahead.contains("9 s ahead of"), "{ahead}");
        let behind = guard(Some("Mon, 05 Jan 2026 12:00:30 GMT")).unwrap();
        assert!(behind.contains("29 s behind"), "{behind}");
    }

    #[test]
    fn an_answer_that_does_not_tell_permits_nothing() {
        assert!(guard(None).is_some());
        assert!(guard(Some("yesterday")).is_some());
    }
}

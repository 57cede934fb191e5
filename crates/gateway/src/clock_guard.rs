use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::Span;

/// Compares our clock with the API server's, as its Date headers tell. Claims, rates and expiries
/// are meaningless when the two are apart: no new action is begun then.
#[derive(Debug)]
pub(crate) struct ClockGuard {
    tolerance: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
enum Seen {
    Nothing,
    NoDate,
    /// Our clock minus the server's lies between these.
    Between(Duration, Duration),
}

impl ClockGuard {
    pub(crate) fn new(tolerance: Span) -> Self {
        Self { tolerance: tolerance.chrono(), seen: Mutex::new(Seen::Nothing) }
    }

    /// Notes one answer: when the request left, when the answer came, what its Date header said.
    pub(crate) fn note(&self, sent: DateTime<Utc>, came: DateTime<Utc>, date: Option<&http::HeaderValue>) {
        let date = date.and_then(|date| date.to_str().ok()).and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        let seen = match date.map(|date| date.to_utc()) {
            // The header has whole seconds: the server's clock said something up to a second later.
            Some(date) => Seen::Between(sent - date - Duration::seconds(1), came - date),
            None => Seen::NoDate,
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// Why no new action may be begun, if so.
    pub(crate) fn trouble(&self) -> Option<String> {
        match *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            Seen::Nothing => Some("the API server's clock is not known yet".to_owned()),
            Seen::NoDate => Some("the API server's answer has no Date header to compare our clock with".to_owned()),
            Seen::Between(least, _) if least > self.tolerance => Some(self.apart(least, "ahead of")),
            Seen::Between(_, most) if most < -self.tolerance => Some(self.apart(-most, "behind")),
            Seen::Between(..) => None,
        }
    }

    /// Our clock minus the server's, milliseconds, where it is known.
    pub(crate) fn apart_milliseconds(&self) -> Option<i64> {
        match *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            Seen::Between(least, most) => Some((least + most).num_milliseconds() / 2),
            Seen::Nothing | Seen::NoDate => None,
        }
    }

    fn apart(&self, by: Duration, how: &str) -> String {
        let (by, tolerance) = (by.num_seconds(), self.tolerance.num_seconds());
        format!("our clock is {by} s {how} the API server's, more than {tolerance} s: check NTP on both")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    fn guard(date: Option<&'static str>) -> Option<String> {
        let guard = ClockGuard::new(Span::seconds(5));
        assert!(guard.trouble().is_some(), "nothing is begun before the first answer");
        guard.note(at(0), at(1), date.map(http::HeaderValue::from_static).as_ref());
        guard.trouble()
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

//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(25);

#[allow(clippy::disallowed_methods, reason = "no tokio here; this is the crate's one clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What a calendar would say, to compare with what others wrote down.
#[allow(clippy::disallowed_methods, reason = "no model::Clock here; this is the crate's one clock")]
pub(crate) fn wall() -> DateTime<Utc> {
    Utc::now()
}

#[allow(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
fn pause(step: Duration) {
    std::thread::sleep(step);
}

/// Polls `look` until it gives a value. An error from `look` ends the wait.
pub(crate) fn until<T>(what: &str, timeout: Duration, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_every(STEP, what, timeout, look)
}

/// The same, looking only as often as this.
pub(crate) fn until_every<T>(
    step: Duration,
    what: &str,
    timeout: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = now();
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if start.elapsed() >= timeout {
            bail!("waited {} s for {what}, in vain", timeout.as_secs());
        }
        pause(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_with_the_value_when_the_condition_holds() {
        let mut looks = 0;
        let found = until("three looks", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn says_what_it_waited_for() {
        let error = until::<()>("the moon", Duration::ZERO, || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s for the moon, in vain");
    }
}

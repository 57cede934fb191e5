use chrono::{DateTime, Utc};
use evenkeel_model::Clock;

/// The machine's clock. The only place that reads it.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

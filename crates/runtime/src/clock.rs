use std::sync::LazyLock;
use std::time::Instant;

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

    fn passed(&self) -> chrono::Duration {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        chrono::Duration::from_std(BEGAN.elapsed()).unwrap_or(chrono::Duration::MAX)
    }
}

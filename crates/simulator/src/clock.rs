use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// The time of a simulation: where it began, and what tokio's clock, paused, has passed since.
#[derive(Debug, Clone, Copy)]
pub struct VirtualClock {
    start: DateTime<Utc>,
    began: Instant,
}

impl VirtualClock {
    /// A clock that says `start` now.
    pub fn begin(start: DateTime<Utc>) -> Self {
        Self { start, began: Instant::now() }
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        self.start + self.began.elapsed()
    }

    /// When it is that time; the present for what has been.
    pub fn instant(&self, at: DateTime<Utc>) -> Instant {
        self.began + (at - self.start).to_std().unwrap_or(Duration::ZERO)
    }
}

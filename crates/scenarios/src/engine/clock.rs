use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::Clock;
use evenkeel_simulator::VirtualClock;

/// The clock of a machine: the simulation's, and off by so much.
#[derive(Debug, Clone)]
pub(crate) struct SkewedClock {
    truth: VirtualClock,
    seconds: Arc<AtomicI64>,
}

impl SkewedClock {
    pub(crate) fn new(truth: VirtualClock) -> Self {
        Self { truth, seconds: Arc::default() }
    }

    /// Sets by how many seconds it is off.
    pub(crate) fn skew(&self, seconds: i64) {
        self.seconds.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> DateTime<Utc> {
        self.truth.now() + Duration::seconds(self.seconds.load(Ordering::SeqCst))
    }

    fn passed(&self) -> Duration {
        self.truth.now() - DateTime::UNIX_EPOCH
    }
}

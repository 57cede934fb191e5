use std::time::Duration;

/// Waits between attempts: each is drawn from zero up to a ceiling that doubles from `first` to
/// `most` ("full jitter", so that many clients that failed together do not come back together).
/// The same seed draws the same waits.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    ceiling: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// Waits of up to `first`, then up to twice that, up to `most`.
    pub fn new(first: Duration, most: Duration, seed: u64) -> Self {
        Self { first, most, ceiling: first.min(most), random: fastrand::Rng::with_seed(seed) }
    }

    /// How long to wait before the next attempt.
    #[expect(clippy::should_implement_trait, reason = "waits never end, so an iterator would mislead")]
    pub fn next(&mut self) -> Duration {
        let wait = self.ceiling.mul_f64(self.random.f64());
        self.ceiling = self.ceiling.saturating_mul(2).min(self.most);
        wait
    }

    /// An attempt succeeded: the next wait is a short one again.
    pub fn reset(&mut self) {
        self.ceiling = self.first.min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_under_a_ceiling_that_doubles_to_the_most() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), seed);
            for most in [100, 200, 400, 800, 1000, 1000] {
                assert!(backoff.next() <= Duration::from_millis(most));
            }
            backoff.reset();
            assert!(backoff.next() <= Duration::from_millis(100));
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_waits_and_another_others() {
        let draw = |seed| {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30), seed);
            (0..8).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}

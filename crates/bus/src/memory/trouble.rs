use std::time::Duration;

/// What the memory bus does to its users on purpose. Chances are per cent; the same seed and the
/// same calls give the same trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Seed of every choice.
    pub seed: u64,
    /// A message is handed out twice in one batch.
    pub duplicate: u8,
    /// A message can be seen only some time after it was stored.
    pub delay: u8,
    /// The longest such time.
    pub delay_at_most: Duration,
    /// A batch is shuffled.
    pub reorder: u8,
    /// An acknowledged message comes once more.
    pub redeliver: u8,
    /// A message is stored, yet the publisher is told [`crate::BusError::Unavailable`].
    pub lose_answer: u8,
}

impl Trouble {
    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            seed: 0,
            duplicate: 0,
            delay: 0,
            delay_at_most: Duration::ZERO,
            reorder: 0,
            redeliver: 0,
            lose_answer: 0,
        }
    }

    /// Everything the bus is allowed to do to a consumer, often; publishing goes well.
    #[must_use]
    pub fn plenty(seed: u64) -> Self {
        Self {
            seed,
            duplicate: 20,
            delay: 20,
            delay_at_most: Duration::from_secs(5),
            reorder: 50,
            redeliver: 20,
            lose_answer: 0,
        }
    }
}

impl Default for Trouble {
    fn default() -> Self {
        Self::none()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, the same everywhere.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True in `per_cent` of a hundred.
    pub(super) fn chance(&mut self, per_cent: u8) -> bool {
        per_cent > 0 && self.next() % 100 < u64::from(per_cent)
    }

    /// A time from zero to `most`.
    pub(super) fn up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.next() % most.saturating_add(1).max(1))
    }

    /// Fisher-Yates.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.next() % (last as u64 + 1)).unwrap_or(0);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_order() {
        let order = |seed| {
            let mut items: Vec<u32> = (0..20).collect();
            Dice::new(seed).shuffle(&mut items);
            items
        };
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
    }

    #[test]
    fn chances_are_kept() {
        let mut dice = Dice::new(1);
        assert!((0..1000).all(|_| !dice.chance(0)));
        assert!((0..1000).all(|_| dice.chance(100)));
    }
}

//! Which ended Remediations have all their records in the audit log. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use evenkeel_model::Remediation;
use kube::ResourceExt as _;

/// Those that were asked about last, and where the stream of records ended then: what was told about them lies before.
#[derive(Debug, Default)]
pub(crate) struct Sealing {
    waiting: BTreeSet<String>,
    end: u64,
}

impl Sealing {
    /// Those of `expendable` whose records are sealed. `end` is the position of the last record on the bus, read after
    /// all about them was told, and everything up to `settled` is sealed.
    pub(crate) fn sealed(
        &mut self,
        expendable: Vec<Arc<Remediation>>,
        end: u64,
        settled: u64,
    ) -> Vec<Arc<Remediation>> {
        if end <= settled {
            *self = Self::default();
            return expendable;
        }
        let sealed: BTreeSet<String> = if self.end <= settled {
            std::mem::take(&mut self.waiting)
        } else if self.end <= end {
            return Vec::new();
        } else {
            // A stream that was made anew counts from 1 again, and has not what was told before.
            BTreeSet::new()
        };
        let (sealed, others): (Vec<_>, Vec<_>) =
            expendable.into_iter().partition(|remediation| sealed.contains(&remediation.name_any()));
        (self.waiting, self.end) = (others.iter().map(|it| it.name_any()).collect(), end);
        sealed
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Phase;

    use super::*;
    use crate::testing::remediation;

    fn some(numbers: &[u32]) -> Vec<Arc<Remediation>> {
        numbers.iter().map(|number| Arc::new(remediation(*number, Phase::Succeeded))).collect()
    }

    fn numbers(found: &[Arc<Remediation>]) -> Vec<u32> {
        found.iter().map(|it| it.spec.proposal.number).collect()
    }

    #[test]
    fn what_is_not_sealed_stays_until_it_is() {
        let mut sealing = Sealing::default();
        assert_eq!(numbers(&sealing.sealed(some(&[1, 2]), 20, 10)), [0; 0], "not sealed");
        assert_eq!(numbers(&sealing.sealed(some(&[1, 2, 3]), 30, 19)), [0; 0], "one record is not");
        assert_eq!(numbers(&sealing.sealed(some(&[1, 2, 3]), 40, 20)), [1, 2], "3 was not asked about then");
        assert_eq!(numbers(&sealing.sealed(some(&[3]), 50, 39)), [0; 0]);
        assert_eq!(numbers(&sealing.sealed(some(&[3]), 50, 40)), [3]);
    }

    #[test]
    fn where_everything_is_sealed_nobody_waits() {
        let mut sealing = Sealing::default();
        assert_eq!(numbers(&sealing.sealed(some(&[1]), 0, 0)), [1], "an empty stream");
        assert_eq!(numbers(&sealing.sealed(some(&[1]), 20, 10)), [0; 0]);
        assert_eq!(numbers(&sealing.sealed(some(&[1, 2]), 25, 25)), [1, 2]);
    }

    #[test]
    fn a_stream_that_was_made_anew_holds_nothing_up_for_ever() {
        let mut sealing = Sealing::default();
        assert_eq!(numbers(&sealing.sealed(some(&[1]), 5000, 10)), [0; 0]);
        assert_eq!(numbers(&sealing.sealed(some(&[1]), 3, 0)), [0; 0]);
        assert_eq!(numbers(&sealing.sealed(some(&[1]), 4, 3)), [1]);
    }
}

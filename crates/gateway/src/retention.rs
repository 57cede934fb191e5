//! Which Remediations need not be kept any longer. Pure.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::Remediation;
use kube::ResourceExt as _;

use crate::config::Config;
use crate::index::{self, Index};

/// A proposal lives for an hour and may be delivered as long: its object outlives it by far.
const AT_LEAST: Duration = Duration::hours(2);

/// Those to be deleted, oldest first. Never one whose Outcome is not on the bus, that a person has
/// still to look at, or that is needed to tell that a step did not help, or to count what was done.
pub(crate) fn expendable(index: &Index, config: &Config, now: DateTime<Utc>) -> Vec<Arc<Remediation>> {
    let mut ended: Vec<(DateTime<Utc>, &Arc<Remediation>)> =
        index.iter().filter_map(|it| Some((index::ended_at(it)?, it)).filter(|_| has_told(it))).collect();
    ended.sort_by_key(|(at, it)| (*at, it.name_any()));
    let beyond = ended.len().saturating_sub(config.keep_at_most);
    let old = now - config.keep_for.chrono();
    ended
        .into_iter()
        .enumerate()
        .filter(|(place, (at, it))| {
            let remembered = index::remembered_until(it).filter(|_| index::phase(it).did_not_help());
            let matters = [remembered, index::counted_until(it)].into_iter().flatten().any(|until| now <= until);
            *at < now - AT_LEAST && !matters && (*place < beyond || *at < old)
        })
        .map(|(_, (_, it))| Arc::clone(it))
        .collect()
}

fn has_told(remediation: &Remediation) -> bool {
    let phase = index::phase(remediation);
    let told = remediation.status.as_ref().and_then(|status| status.outcome_published) == Some(phase);
    phase.is_final() && told && !index::awaits_person(remediation)
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{Phase, Transition};

    use super::*;
    use crate::testing::{at, remediation};

    const DAY: i64 = 24 * 3600;

    fn ended(number: u32, phase: Phase, told: bool) -> Remediation {
        let mut remediation = remediation(number, phase);
        if let Some(status) = &mut remediation.status {
            status.outcome_published = told.then_some(phase);
        }
        remediation
    }

    fn deleted(all: Vec<Remediation>, config: &Config, now: i64) -> usize {
        let mut index = Index::default();
        for remediation in all {
            index.apply(Arc::new(remediation));
        }
        expendable(&index, config, at(now)).len()
    }

    #[test]
    fn what_ended_long_ago_goes_once_its_outcome_was_told() {
        let config = Config::default();
        assert_eq!(deleted(vec![ended(1, Phase::Succeeded, true)], &config, 31 * DAY), 1);
        assert_eq!(deleted(vec![ended(1, Phase::Succeeded, true)], &config, 29 * DAY), 0);
        assert_eq!(deleted(vec![ended(1, Phase::Succeeded, false)], &config, 31 * DAY), 0);
        assert_eq!(deleted(vec![remediation(1, Phase::Verifying)], &config, 31 * DAY), 0);
        assert_eq!(deleted(vec![ended(1, Phase::Unknown, true)], &config, 31 * DAY), 0, "nobody has looked");
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_but_not_while_they_matter() {
        let config = Config { keep_at_most: 1, ..Config::default() };
        let two = |phase| vec![ended(1, phase, true), ended(2, phase, true)];
        assert_eq!(deleted(two(Phase::Obsolete), &config, 3 * 3600), 1);
        assert_eq!(deleted(two(Phase::Obsolete), &config, 3600), 0, "its proposal may still be delivered");
        assert_eq!(deleted(two(Phase::RolledBack), &config, 3 * 3600), 0, "its step must not be repeated");
        let acted = |number| {
            let mut remediation = ended(number, Phase::Succeeded, true);
            let executing = Transition { at: at(0), phase: Phase::Executing, reason: "in a test".to_owned() };
            remediation.status.as_mut().unwrap().history.insert(0, executing);
            remediation
        };
        assert_eq!(deleted(vec![acted(1), acted(2)], &config, 6 * DAY), 0, "it counts in a rate");
        assert_eq!(deleted(vec![acted(1), acted(2)], &config, 8 * DAY), 1);
    }
}

//! Proposals that were refused. Delivered again, each is refused again in the same words: whoever
//! proposed it has gone on, also when it would pass by now.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::checks::Refused;

/// Refusals remembered; beyond that those that expire first are forgotten.
const MOST: usize = 10_000;

/// Refusals by the name that the Remediation would have had. Of this process: another asks anew.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<String, (DateTime<Utc>, Refused)>);

impl Refusals {
    /// The refusal of a proposal that has not expired since.
    pub(crate) fn get(&self, name: &str, now: DateTime<Utc>) -> Option<Refused> {
        self.0.get(name).filter(|(until, _)| now < *until).map(|(_, refused)| refused.clone())
    }

    /// Remembers one until its proposal expires.
    pub(crate) fn note(&mut self, name: &str, refused: &Refused, until: DateTime<Utc>, now: DateTime<Utc>) {
        self.0.retain(|_, (until, _)| now < *until);
        while self.0.len() >= MOST {
            let first = self.0.iter().min_by_key(|(name, (until, _))| (*until, (*name).clone()));
            let Some(first) = first.map(|(name, _)| name.clone()) else { break };
            self.0.remove(&first);
        }
        if now < until {
            self.0.insert(name.to_owned(), (until, refused.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Phase;

    use super::*;
    use crate::testing::at;

    #[test]
    fn a_refusal_is_remembered_until_its_proposal_expires() {
        let refused = Refused { phase: Phase::Denied, reason: "no room".to_owned() };
        let mut all = Refusals::default();
        all.note("r-1", &refused, at(60), at(0));
        assert_eq!(all.get("r-1", at(59)), Some(refused.clone()));
        assert_eq!((all.get("r-1", at(60)), all.get("r-2", at(0))), (None, None));
        all.note("r-2", &refused, at(120), at(60));
        assert_eq!(all.0.len(), 1, "what has expired is forgotten");
    }
}

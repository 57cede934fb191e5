//! What breakers count, told from Remediations and people's requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use evenkeel_model::{Answer, Ask, Origin, Phase, Remediation, Request};
use evenkeel_policy::breakers::{BreakerLimits, Breakers, Came, Rearmed, Tried};

use crate::index;
use crate::plane::{Plane, count};

/// What stands for all breakers in a request.
pub(crate) const ALL: &str = "*";

/// The breakers that are open, by what Remediations and people's requests say.
pub fn breakers<'a>(
    remediations: impl Iterator<Item = &'a Remediation>,
    requests: impl Iterator<Item = &'a Request>,
    limits: &BreakerLimits,
    now: DateTime<Utc>,
) -> Breakers {
    let tried: Vec<Tried> = remediations.filter_map(tried).collect();
    // Of what closes the same breaker only the last counts; everything tried is held against each.
    let mut last: BTreeMap<Option<String>, DateTime<Utc>> = BTreeMap::new();
    for Rearmed { playbook, at } in requests.flat_map(rearmed) {
        last.entry(playbook).and_modify(|last| *last = at.max(*last)).or_insert(at);
    }
    let rearmed: Vec<Rearmed> = last.into_iter().map(|(playbook, at)| Rearmed { playbook, at }).collect();
    Breakers::of(&tried, &rearmed, limits, now)
}

/// What a Remediation counts as; `None` when nothing was done, or a person asked for it.
fn tried(remediation: &Remediation) -> Option<Tried> {
    let proposal = &remediation.spec.proposal;
    if proposal.origin != Origin::Playbook {
        return None;
    }
    let begun_at = index::begun(remediation)?.at;
    let status = remediation.status.as_ref()?;
    let came = match status.phase {
        Phase::Succeeded => Came::Helped,
        phase if phase.did_not_help() => {
            let found =
                |entry: &&evenkeel_model::Transition| matches!(entry.phase, Phase::Ineffective | Phase::Regressed);
            let at = status.history.iter().rev().find(found).or(status.history.last()).map(|entry| entry.at);
            at.map_or(Came::Pending, Came::Failed)
        }
        _ => Came::Pending,
    };
    Some(Tried {
        cause: proposal.incident.clone(),
        root: proposal.root.to_string(),
        playbook: proposal.playbook.name.clone(),
        begun_at,
        came,
    })
}

/// Only what a gateway has answered counts: it has looked at who asked.
fn rearmed(request: &Request) -> Vec<Rearmed> {
    let (Ask::Rearm(rearm), Some(status)) = (&request.spec.ask, &request.status) else { return Vec::new() };
    if status.answer != Answer::Done {
        return Vec::new();
    }
    let of = |playbook: &String| Rearmed { playbook: (playbook != ALL).then(|| playbook.clone()), at: status.at };
    rearm.playbooks.iter().map(of).collect()
}

impl Plane {
    /// The breakers that are open now. Said and measured when that is news.
    pub(crate) fn breakers(&self) -> Breakers {
        let now = self.now();
        let breakers = {
            let (index, requests) = (self.index(), self.requests());
            breakers(index.iter().map(Arc::as_ref), requests.iter(), &self.config.breakers.limits(), now)
        };
        let (stopped, asking) = match &breakers.automatic {
            None => (0, 0),
            Some(stopped) => (i64::from(stopped.cause.is_none()), i64::from(stopped.cause.is_some())),
        };
        self.metrics.breakers("playbook", count(breakers.playbooks.len()));
        self.metrics.breakers("automatic", stopped);
        self.metrics.breakers("one_cause", asking);
        let said: BTreeSet<String> =
            breakers.playbooks.keys().cloned().chain(breakers.automatic.iter().map(|_| ALL.to_owned())).collect();
        let mut known = self.opened();
        for name in said.difference(&known) {
            let why = match breakers.playbooks.get(name) {
                Some(suspended) => suspended.said(name),
                None => breakers.automatic.as_ref().map(ToString::to_string).unwrap_or_default(),
            };
            tracing::warn!(breaker = name, why, "a breaker is open");
        }
        for name in known.difference(&said) {
            tracing::info!(breaker = name, "a breaker is closed");
        }
        *known = said;
        drop(known);
        breakers
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{Rearm, RequestSpec, RequestStatus, Transition};

    use super::*;
    use crate::testing::{at, remediation};

    fn failed(number: u32, phase: Phase) -> Remediation {
        let mut remediation = remediation(number, phase);
        let proposal = &mut remediation.spec.proposal;
        proposal.incident = format!("i-{number}");
        proposal.root.name = format!("web-{number}");
        let seconds = i64::from(number) * 60;
        let entry = |after, phase| Transition { at: at(seconds + after), phase, reason: "in a test".to_owned() };
        remediation.status.as_mut().unwrap().history =
            vec![entry(0, Phase::Executing), entry(10, Phase::Ineffective), entry(20, phase)];
        remediation
    }

    fn open(remediations: &[Remediation], requests: &[Request]) -> Breakers {
        breakers(remediations.iter(), requests.iter(), &BreakerLimits::default(), at(3600))
    }

    #[test]
    fn what_did_not_help_counts_and_what_can_not_be_told_does_not() {
        let all = |phase| [1, 2, 3].map(|n| failed(n, phase));
        for phase in Phase::ALL {
            let breakers = open(&all(phase), &[]);
            assert_eq!(breakers.playbooks.contains_key("bad-rollout"), phase.did_not_help(), "{phase}");
        }
    }

    #[test]
    fn what_a_person_ran_counts_for_nothing() {
        let all = [1, 2, 3].map(|n| {
            let mut remediation = failed(n, Phase::RolledBack);
            remediation.spec.proposal.origin = Origin::Person;
            remediation
        });
        assert!(open(&all, &[]).are_closed());
    }

    #[test]
    fn a_request_to_rearm_counts_once_it_was_answered() {
        let all = [1, 2, 3].map(|n| failed(n, Phase::NotUndoable));
        let request = |answer: Option<Answer>, playbook: &str| {
            let ask = Ask::Rearm(Rearm { playbooks: vec![playbook.to_owned()] });
            let mut request =
                Request::new("q-1", RequestSpec { ask, by: "jane".to_owned(), reason: "mended".to_owned() });
            let status = |answer| RequestStatus { answer, reason: String::new(), at: at(600), remediation: None };
            request.status = answer.map(status);
            request
        };
        for (request, closed) in [
            (request(None, "*"), false),
            (request(Some(Answer::Refused), "*"), false),
            (request(Some(Answer::Done), "other"), false),
            (request(Some(Answer::Done), "bad-rollout"), true),
            (request(Some(Answer::Done), "*"), true),
        ] {
            assert_eq!(open(&all, std::slice::from_ref(&request)).are_closed(), closed, "{request:?}");
        }
    }
}

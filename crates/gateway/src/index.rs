//! All Remediations as last heard of: a plain structure that is told what the watch and our own
//! writes say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use evenkeel_model::{ObjectRef, Phase, PlaybookStep, Remediation, RemediationStatus, Span, Transition};
use kube::ResourceExt as _;

/// The longest window a rate can have.
const LONGEST_WINDOW: Span = Span::hours(7 * 24);

/// Remediations by name.
#[derive(Debug, Default)]
pub(crate) struct Index {
    all: BTreeMap<String, Arc<Remediation>>,
    /// Not understood, with the reason: left alone, but known to be there.
    aside: BTreeMap<String, String>,
    /// While the watch lists anew: what it has named so far.
    relisted: Option<BTreeSet<String>>,
}

impl Index {
    /// Takes in an object. False when it says nothing new: it is known, or a newer one is.
    pub(crate) fn apply(&mut self, remediation: Arc<Remediation>) -> bool {
        let name = remediation.name_any();
        self.note(&name);
        self.aside.remove(&name);
        match self.all.get(&name) {
            Some(known) if self.relisted.is_none() && !is_newer(&remediation, known) => false,
            // A list is the truth, also after etcd was put back to an earlier state.
            Some(known) if known.resource_version() == remediation.resource_version() => false,
            _ => {
                self.all.insert(name, remediation);
                true
            }
        }
    }

    /// Takes in an object that can't be read. True when it was not known to be so.
    pub(crate) fn set_aside(&mut self, name: &str, reason: String) -> bool {
        self.note(name);
        self.all.remove(name);
        self.aside.insert(name.to_owned(), reason.clone()).as_ref() != Some(&reason)
    }

    /// The object is gone.
    pub(crate) fn remove(&mut self, name: &str) {
        self.all.remove(name);
        self.aside.remove(name);
    }

    /// The watch begins to list anew.
    pub(crate) fn begin_relist(&mut self) {
        self.relisted = Some(BTreeSet::new());
    }

    /// The watch has listed everything: what it has not named is gone.
    pub(crate) fn end_relist(&mut self) {
        if let Some(named) = self.relisted.take() {
            self.all.retain(|name, _| named.contains(name));
            self.aside.retain(|name, _| named.contains(name));
        }
    }

    fn note(&mut self, name: &str) {
        if let Some(named) = &mut self.relisted {
            named.insert(name.to_owned());
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Remediation>> {
        self.all.get(name).cloned()
    }

    /// Whether an object of that name exists, readable or not.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.all.contains_key(name) || self.aside.contains_key(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Remediation>> {
        self.all.values()
    }

    pub(crate) fn aside(&self) -> usize {
        self.aside.len()
    }

    /// Those that are not final.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Arc<Remediation>> {
        self.iter().filter(|remediation| !phase(remediation).is_final())
    }

    /// Those whose end a person has to look at, and nobody has.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = &Arc<Remediation>> {
        self.iter().filter(|remediation| awaits_person(remediation))
    }

    /// The Remediation for which `root` is held until a person has looked.
    pub(crate) fn held_for_person(&self, root: &ObjectRef) -> Option<&Arc<Remediation>> {
        self.unacknowledged().find(|remediation| {
            let proposal = &remediation.spec.proposal;
            names_same(&proposal.root, root) || names_same(&proposal.target, root)
        })
    }

    /// An earlier try of the same step on the same root or target that did not help, and whose
    /// `recurWithin` has not passed.
    pub(crate) fn did_not_help(
        &self,
        root: &ObjectRef,
        target: &ObjectRef,
        step: &PlaybookStep,
        now: DateTime<Utc>,
    ) -> Option<&Arc<Remediation>> {
        self.iter().find(|remediation| {
            let proposal = &remediation.spec.proposal;
            phase(remediation).did_not_help()
                && (proposal.playbook.name == step.name && proposal.playbook.step == step.step)
                && (names_same(&proposal.root, root) || proposal.target.is_same(target))
                && remembered_until(remediation).is_none_or(|until| now < until)
        })
    }
}

/// Where it stands; one without status has just been created.
pub(crate) fn phase(remediation: &Remediation) -> Phase {
    remediation.status.as_ref().map_or(Phase::Proposed, |status| status.phase)
}

/// Its status; one that was just created has none written yet.
pub(crate) fn status(remediation: &Remediation) -> RemediationStatus {
    let created = || {
        let at = remediation.metadata.creation_timestamp.as_ref();
        at.and_then(|at| DateTime::from_timestamp(at.0.as_second(), 0)).unwrap_or(remediation.spec.proposal.proposed_at)
    };
    remediation.status.clone().unwrap_or_else(|| RemediationStatus::proposed(created()))
}

/// Whether a person has to look at how it ended, and nobody has.
pub(crate) fn awaits_person(remediation: &Remediation) -> bool {
    let seen = remediation.status.as_ref().is_some_and(|status| status.acknowledged.is_some());
    phase(remediation).needs_acknowledgement() && !seen
}

/// When it ended; its last transition.
pub(crate) fn ended_at(remediation: &Remediation) -> Option<DateTime<Utc>> {
    remediation.status.as_ref().and_then(|status| status.history.last()).map(|last| last.at)
}

/// Until when the same trouble coming again means that its step did not help. Absent when it has
/// not ended, or its step is not known.
pub(crate) fn remembered_until(remediation: &Remediation) -> Option<DateTime<Utc>> {
    let within = remediation.spec.step.as_ref()?.recur_within;
    ended_at(remediation)?.checked_add_signed(within.chrono())
}

/// When a request that changes something may first have left; absent when none has, or nothing came of it.
pub(crate) fn begun(remediation: &Remediation) -> Option<&Transition> {
    let status = remediation.status.as_ref().filter(|status| status.phase != Phase::Failed)?;
    let begun = status.history.iter().find(|transition| transition.phase == Phase::Executing);
    begun.filter(|_| remediation.spec.proposal.action.name().is_mutating())
}

/// Until when it counts in a rate, however long its window.
pub(crate) fn counted_until(remediation: &Remediation) -> Option<DateTime<Utc>> {
    let begun = begun(remediation)?;
    Some(begun.at.checked_add_signed(LONGEST_WINDOW.chrono()).unwrap_or(begun.at))
}

/// The same object by name; a workload that was deleted and made again is the same to people.
pub(crate) fn names_same(a: &ObjectRef, b: &ObjectRef) -> bool {
    a.kind == b.kind && a.namespace == b.namespace && a.name == b.name
}

/// Resource versions are compared as numbers where both are (Kubernetes allows it since 1.35, and
/// etcd's revisions always were); else the later word counts.
fn is_newer(a: &Remediation, b: &Remediation) -> bool {
    let number = |remediation: &Remediation| remediation.resource_version().and_then(|it| it.parse::<u64>().ok());
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a > b,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, proposal, remediation};

    fn index(all: Vec<Remediation>) -> Index {
        let mut index = Index::default();
        for remediation in all {
            index.apply(Arc::new(remediation));
        }
        index
    }

    fn versioned(mut remediation: Remediation, version: &str) -> Arc<Remediation> {
        remediation.metadata.resource_version = Some(version.to_owned());
        Arc::new(remediation)
    }

    #[test]
    fn an_older_word_does_not_replace_a_newer() {
        let mut index = Index::default();
        let name = proposal(1).name();
        assert!(index.apply(versioned(remediation(1, Phase::Verifying), "10")));
        assert!(!index.apply(versioned(remediation(1, Phase::Proposed), "9")));
        assert!(!index.apply(versioned(remediation(1, Phase::Verifying), "10")));
        assert_eq!(phase(&index.get(&name).unwrap()), Phase::Verifying);
    }

    #[test]
    fn a_list_replaces_everything_also_by_older_objects() {
        let mut index = Index::default();
        index.apply(versioned(remediation(1, Phase::Verifying), "10"));
        index.apply(versioned(remediation(2, Phase::Verifying), "11"));
        index.begin_relist();
        assert!(index.apply(versioned(remediation(1, Phase::Proposed), "5")));
        index.end_relist();
        assert_eq!(index.iter().count(), 1);
        assert_eq!(phase(&index.get(&proposal(1).name()).unwrap()), Phase::Proposed);
    }

    #[test]
    fn what_is_not_understood_is_known_to_be_there() {
        let mut index = index(vec![remediation(1, Phase::Proposed)]);
        let name = proposal(1).name();
        assert!(index.set_aside(&name, "unknown phase".to_owned()));
        assert!(!index.set_aside(&name, "unknown phase".to_owned()));
        assert!(index.contains(&name) && index.get(&name).is_none());
        assert_eq!(index.aside(), 1);
    }

    #[test]
    fn a_step_that_did_not_help_is_remembered_for_its_time() {
        let index = index(vec![remediation(1, Phase::RolledBack)]);
        let next = proposal(2);
        let find = |now| index.did_not_help(&next.root, &next.target, &next.playbook, now).is_some();
        assert!(find(at(0)));
        assert!(find(at(23 * 3600)));
        assert!(!find(at(25 * 3600)));
        let other = PlaybookStep { step: "other".to_owned(), ..next.playbook.clone() };
        assert!(index.did_not_help(&next.root, &next.target, &other, at(0)).is_none());
    }

    #[test]
    fn a_root_is_held_until_somebody_has_looked() {
        let mut unknown = remediation(1, Phase::Unknown);
        let root = unknown.spec.proposal.root.clone();
        assert!(index(vec![unknown.clone()]).held_for_person(&root).is_some());
        unknown.status.as_mut().unwrap().acknowledged = Some(crate::testing::acknowledged());
        assert!(index(vec![unknown]).held_for_person(&root).is_none());
    }
}

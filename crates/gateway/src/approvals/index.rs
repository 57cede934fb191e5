use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_model::Approval;
use kube::ResourceExt as _;

/// Approvals held in memory; what comes beyond is not counted before others are gone.
const MOST: usize = 20_000;

/// All Approvals as the watch tells of them.
#[derive(Debug, Default)]
pub(super) struct Index {
    all: BTreeMap<String, Arc<Approval>>,
    by_remediation: BTreeMap<String, BTreeSet<String>>,
    relisted: Option<BTreeSet<String>>,
    /// Remediations of which something was heard since they were looked at.
    news: BTreeSet<String>,
    /// Refusals that were told, by the Approval's name.
    told: BTreeMap<String, String>,
}

impl Index {
    /// Takes one in. False when there is no room.
    pub(super) fn apply(&mut self, approval: Arc<Approval>) -> bool {
        let name = approval.name_any();
        if let Some(named) = &mut self.relisted {
            named.insert(name.clone());
        }
        let uid = approval.metadata.uid.as_ref();
        if uid.is_some() && self.all.get(&name).is_some_and(|known| known.metadata.uid.as_ref() == uid) {
            // It never changes.
            return true;
        }
        // One of another object's name: it was deleted and made again.
        self.remove(&name);
        if self.all.len() >= MOST {
            return false;
        }
        self.news.insert(approval.spec.remediation.clone());
        self.by_remediation.entry(approval.spec.remediation.clone()).or_default().insert(name.clone());
        self.all.insert(name, approval);
        true
    }

    /// It is gone.
    pub(super) fn remove(&mut self, name: &str) -> Option<Arc<Approval>> {
        let gone = self.all.remove(name)?;
        self.told.remove(name);
        self.news.insert(gone.spec.remediation.clone());
        if let Some(names) = self.by_remediation.get_mut(&gone.spec.remediation) {
            names.remove(name);
            if names.is_empty() {
                self.by_remediation.remove(&gone.spec.remediation);
            }
        }
        Some(gone)
    }

    /// The watch begins to list anew.
    pub(super) fn begin_relist(&mut self) {
        self.relisted = Some(BTreeSet::new());
    }

    /// The watch has listed everything: what it has not named is gone.
    pub(super) fn end_relist(&mut self) {
        let Some(named) = self.relisted.take() else { return };
        let gone: Vec<String> = self.all.keys().filter(|name| !named.contains(*name)).cloned().collect();
        for name in gone {
            self.remove(&name);
        }
    }

    /// Those for a Remediation, oldest first.
    pub(super) fn of(&self, remediation: &str) -> Vec<Arc<Approval>> {
        let names = self.by_remediation.get(remediation).into_iter().flatten();
        let mut found: Vec<Arc<Approval>> = names.filter_map(|name| self.all.get(name).cloned()).collect();
        found.sort_by_key(|approval| (super::created(approval), approval.name_any()));
        found
    }

    /// A Remediation is about to be looked at.
    pub(super) fn seen(&mut self, remediation: &str) {
        self.news.remove(remediation);
    }

    /// Whether something was heard of it since.
    pub(super) fn has_news(&self, remediation: &str) -> bool {
        self.news.contains(remediation)
    }

    /// Notes a refusal. True when it is not the one that was told last.
    pub(super) fn refuse(&mut self, name: &str, reason: &str) -> bool {
        self.all.contains_key(name) && self.told.insert(name.to_owned(), reason.to_owned()).as_deref() != Some(reason)
    }

    pub(super) fn all(&self) -> Vec<Arc<Approval>> {
        self.all.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::approval;

    fn names(index: &Index, remediation: &str) -> Vec<String> {
        index.of(remediation).iter().map(|approval| approval.name_any()).collect()
    }

    #[test]
    fn approvals_are_found_by_what_they_are_for_oldest_first() {
        let mut index = Index::default();
        for (name, remediation, at) in [("b", "r-1", 0), ("a", "r-1", 10), ("c", "r-2", 0)] {
            assert!(index.apply(Arc::new(approval(name, remediation, "jane", at))));
        }
        assert_eq!(names(&index, "r-1"), ["b", "a"]);
        index.apply(Arc::new(approval("a", "r-2", "jane", 20)));
        assert_eq!((names(&index, "r-1"), names(&index, "r-2")), (vec!["b".to_owned()], vec!["c".into(), "a".into()]));
        index.begin_relist();
        index.apply(Arc::new(approval("c", "r-2", "jane", 0)));
        index.end_relist();
        assert_eq!((names(&index, "r-1").len(), names(&index, "r-2")), (0, vec!["c".to_owned()]));
    }
}

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use evenkeel_model::{Approval, ApprovalSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;

/// What all Approvals together may weigh, bytes.
const MOST: usize = 64 * 1024 * 1024;
/// What those of one person may, bytes: some hundred of usual size. The oldest make room for newer ones.
const MOST_OF_ONE: usize = 1024 * 1024;
/// Answers of one person to one Remediation with the same decision that are held; the newest.
const MOST_TO_ONE: usize = 8;
/// What one weighs besides its text, bytes.
const EACH: usize = 512;
/// Remediations of which it is remembered that answers to them were left out; with more of them, all are suspect.
const MOST_THINNED: usize = 1000;

/// Approvals, as a watch or a list tells of them. What it holds is bounded; where something was left out it says so,
/// and the API server has to be asked instead.
#[derive(Debug)]
pub(super) struct Index {
    /// What it may hold, bytes.
    most: usize,
    bytes: usize,
    all: BTreeMap<String, Arc<Approval>>,
    by_remediation: BTreeMap<String, BTreeSet<String>>,
    by_person: BTreeMap<String, Share>,
    left_out: LeftOut,
    relisted: Option<Relist>,
    /// All have been listed once.
    listed: bool,
    /// Remediations of which something was heard since they were looked at.
    news: BTreeSet<String>,
    /// Refusals that were told, by the Approval's name.
    told: BTreeMap<String, String>,
}

/// One person's.
#[derive(Debug, Default)]
struct Share {
    oldest_first: BTreeSet<(DateTime<Utc>, String)>,
    bytes: usize,
}

/// What is not here.
#[derive(Debug, Default)]
struct LeftOut {
    /// There was no room for it.
    no_room: bool,
    /// Answers to these, older than others of the same person.
    thinned: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Relist {
    named: BTreeSet<String>,
    left_out: LeftOut,
}

/// What became of one that was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is news.
    New,
    /// It was here before; it never changes.
    Known,
    /// It is news, and not held: there is no room.
    LeftOut,
}

impl Default for Index {
    fn default() -> Self {
        Self::of_size(MOST)
    }
}

impl Index {
    /// One that holds so many bytes.
    pub(super) fn of_size(most: usize) -> Self {
        Self {
            most,
            bytes: 0,
            all: BTreeMap::new(),
            by_remediation: BTreeMap::new(),
            by_person: BTreeMap::new(),
            left_out: LeftOut::default(),
            relisted: None,
            listed: false,
            news: BTreeSet::new(),
            told: BTreeMap::new(),
        }
    }

    /// Takes one in, without what of its metadata is not needed.
    pub(super) fn apply(&mut self, approval: Approval) -> Taken {
        let approval = stripped(approval);
        let name = approval.name_any();
        if let Some(relist) = &mut self.relisted {
            relist.named.insert(name.clone());
        }
        let uid = approval.metadata.uid.as_ref();
        if uid.is_some() && self.all.get(&name).is_some_and(|known| known.metadata.uid.as_ref() == uid) {
            return Taken::Known;
        }
        // One of another object's name: it was deleted and made again.
        self.remove(&name);
        self.news.insert(approval.spec.remediation.clone());
        if !self.make_room(&approval) {
            return Taken::LeftOut;
        }
        let bytes = weight(&approval.spec);
        self.bytes += bytes;
        let share = self.by_person.entry(approval.spec.person().to_owned()).or_default();
        share.bytes += bytes;
        share.oldest_first.insert((super::created(&approval), name.clone()));
        self.by_remediation.entry(approval.spec.remediation.clone()).or_default().insert(name.clone());
        self.all.insert(name, Arc::new(approval));
        Taken::New
    }

    /// Whether there is room for it, once older ones of the same person have made it.
    fn make_room(&mut self, approval: &Approval) -> bool {
        let spec = &approval.spec;
        let age = (super::created(approval), approval.name_any());
        let is_alike = |it: &Arc<Approval>| it.spec.person() == spec.person() && it.spec.decision == spec.decision;
        let alike: Vec<_> = self.of(&spec.remediation).into_iter().filter(is_alike).collect();
        if let Some(oldest) = alike.first().filter(|_| alike.len() >= MOST_TO_ONE)
            && !self.replace(&(super::created(oldest), oldest.name_any()), &age, &spec.remediation)
        {
            return false;
        }
        let bytes = weight(spec);
        while let Some(share) = self.by_person.get(spec.person()).filter(|share| share.bytes + bytes > MOST_OF_ONE) {
            let Some(oldest) = share.oldest_first.first().cloned() else { break };
            if !self.replace(&oldest, &age, &spec.remediation) {
                return false;
            }
        }
        if self.bytes + bytes > self.most {
            self.leave_out(None);
            return false;
        }
        true
    }

    /// Drops `oldest` for one of that age, which is for `remediation`; or says that the newcomer is older.
    fn replace(&mut self, oldest: &(DateTime<Utc>, String), age: &(DateTime<Utc>, String), remediation: &str) -> bool {
        if oldest >= age {
            self.leave_out(Some(remediation.to_owned()));
            return false;
        }
        let gone = self.remove(&oldest.1);
        self.leave_out(gone.map(|gone| gone.spec.remediation.clone()));
        true
    }

    /// Notes that something is not held: of a Remediation, or for want of room.
    fn leave_out(&mut self, of: Option<String>) {
        let relisted = self.relisted.as_mut().map(|relist| &mut relist.left_out);
        for left_out in [Some(&mut self.left_out), relisted].into_iter().flatten() {
            match &of {
                Some(remediation) if left_out.thinned.len() < MOST_THINNED => {
                    left_out.thinned.insert(remediation.clone());
                }
                Some(_) | None => left_out.no_room = true,
            }
        }
    }

    /// It is gone.
    pub(super) fn remove(&mut self, name: &str) -> Option<Arc<Approval>> {
        let gone = self.all.remove(name)?;
        self.told.remove(name);
        let spec = &gone.spec;
        self.news.insert(spec.remediation.clone());
        let bytes = weight(spec);
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(share) = self.by_person.get_mut(spec.person()) {
            share.bytes = share.bytes.saturating_sub(bytes);
            share.oldest_first.remove(&(super::created(&gone), name.to_owned()));
            if share.oldest_first.is_empty() {
                self.by_person.remove(spec.person());
            }
        }
        if let Some(names) = self.by_remediation.get_mut(&spec.remediation) {
            names.remove(name);
            if names.is_empty() {
                self.by_remediation.remove(&spec.remediation);
            }
        }
        Some(gone)
    }

    /// The watch begins to list anew.
    pub(super) fn begin_relist(&mut self) {
        self.relisted = Some(Relist::default());
    }

    /// The watch has listed everything: what it has not named is gone. Says for which Remediations.
    pub(super) fn end_relist(&mut self) -> BTreeSet<String> {
        let Some(Relist { named, left_out }) = self.relisted.take() else { return BTreeSet::new() };
        let gone: Vec<String> = self.all.keys().filter(|name| !named.contains(*name)).cloned().collect();
        let gone = gone.iter().filter_map(|name| self.remove(name)).map(|gone| gone.spec.remediation.clone()).collect();
        self.left_out = left_out;
        self.listed = true;
        gone
    }

    /// Whether all that there are for a Remediation are here, as far as was told.
    pub(super) fn is_whole(&self, remediation: &str) -> bool {
        self.listed && !self.left_out.no_room && !self.left_out.thinned.contains(remediation)
    }

    /// Whether something was left out for want of room.
    pub(super) fn is_short(&self) -> bool {
        self.left_out.no_room
    }

    /// Whether what was left out for want of room would find some now.
    pub(super) fn has_room_again(&self) -> bool {
        self.left_out.no_room && self.bytes < self.most / 4 * 3
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

/// Without annotations and whatever else its author may have filled it with.
fn stripped(mut approval: Approval) -> Approval {
    let ObjectMeta { name, namespace, uid, creation_timestamp, .. } = approval.metadata;
    approval.metadata = ObjectMeta { name, namespace, uid, creation_timestamp, ..ObjectMeta::default() };
    approval
}

fn weight(spec: &ApprovalSpec) -> usize {
    let ApprovalSpec { remediation, digest, decision: _, tier: _, namespace, approver, groups, reason } = spec;
    let texts = [remediation, digest, approver, reason].into_iter().chain(namespace).chain(groups);
    EACH + texts.map(|text| text.len() + size_of::<String>()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use evenkeel_model::ApprovalDecision;

    use super::*;
    use crate::testing::approval;

    fn names(index: &Index, remediation: &str) -> Vec<String> {
        index.of(remediation).iter().map(|approval| approval.name_any()).collect()
    }

    fn listed(most: usize) -> Index {
        let mut index = Index::of_size(most);
        index.begin_relist();
        index.end_relist();
        index
    }

    #[test]
    fn approvals_are_found_by_what_they_are_for_oldest_first() {
        let mut index = Index::default();
        for (name, remediation, at) in [("b", "r-1", 0), ("a", "r-1", 10), ("c", "r-2", 0)] {
            assert_eq!(index.apply(approval(name, remediation, "jane", at)), Taken::New);
        }
        assert_eq!(names(&index, "r-1"), ["b", "a"]);
        index.apply(approval("a", "r-2", "jane", 20));
        assert_eq!((names(&index, "r-1"), names(&index, "r-2")), (vec!["b".to_owned()], vec!["c".into(), "a".into()]));
        index.begin_relist();
        assert_eq!(index.apply(approval("c", "r-2", "jane", 0)), Taken::Known);
        let gone = index.end_relist();
        assert_eq!((names(&index, "r-1").len(), names(&index, "r-2")), (0, vec!["c".to_owned()]));
        assert_eq!(gone, ["r-1".to_owned(), "r-2".to_owned()].into(), "they have to be looked at");
    }

    #[test]
    fn before_all_are_listed_it_is_not_whole() {
        let mut index = Index::default();
        assert!(!index.is_whole("r-1"));
        index.begin_relist();
        index.apply(approval("a", "r-1", "jane", 0));
        assert!(!index.is_whole("r-1"), "a denial may be on the next page");
        index.end_relist();
        assert!(index.is_whole("r-1"));
        index.begin_relist();
        assert!(index.is_whole("r-1"), "what was known is known meanwhile");
    }

    #[test]
    fn what_an_author_fills_it_with_is_not_held() {
        let mut index = Index::default();
        let mut large = approval("a", "r-1", "jane", 0);
        large.metadata.annotations = Some(BTreeMap::from([("x".to_owned(), "y".repeat(200 * 1024))]));
        large.metadata.labels = Some(BTreeMap::from([("x".to_owned(), "y".to_owned())]));
        index.apply(large);
        let held = &index.of("r-1")[0].metadata;
        assert_eq!((held.annotations.as_ref(), held.labels.as_ref()), (None, None));
        assert!(held.uid.is_some() && held.creation_timestamp.is_some());
    }

    #[test]
    fn one_person_fills_nothing_but_their_own_share() {
        let mut index = listed(MOST);
        index.apply(approval("of-joe", "r-1", "joe", 0));
        for n in 0..20_000 {
            index.apply(approval(&format!("a-{n}"), &format!("r-{n}"), "mallory", n));
        }
        assert!(index.bytes < MOST_OF_ONE + 4096, "{} bytes", index.bytes);
        assert_eq!(names(&index, "r-1"), ["of-joe"]);
        assert_eq!(names(&index, "r-19999"), ["a-19999"], "the newest are held");
        let mut joes = approval("b-of-joe", "r-19998", "joe", 20_001);
        joes.spec.decision = ApprovalDecision::Deny;
        assert_eq!(index.apply(joes), Taken::New);
    }

    #[test]
    fn of_one_persons_many_answers_to_one_the_newest_are_held_and_it_says_that_it_is_not_whole() {
        let mut index = listed(MOST);
        for n in 0..9 {
            assert!(index.is_whole("r-1"), "{n}");
            // A person's two names are one.
            let who = if n % 2 == 0 { "jane" } else { "slack:jane" };
            index.apply(approval(&format!("a-{n}"), "r-1", who, n));
        }
        assert_eq!(names(&index, "r-1"), (1..9).map(|n| format!("a-{n}")).collect::<Vec<_>>());
        assert!(!index.is_whole("r-1") && index.is_whole("r-2"));
        assert_eq!(index.apply(approval("old", "r-1", "jane", 0)), Taken::LeftOut, "older than all that are held");
        let mut no = approval("no", "r-1", "jane", 20);
        no.spec.decision = ApprovalDecision::Deny;
        assert_eq!(index.apply(no), Taken::New);
        assert_eq!(index.apply(approval("of-joe", "r-1", "joe", 0)), Taken::New);
    }

    #[test]
    fn what_found_no_room_is_told_and_taken_in_when_there_is_some() {
        let one = weight(&approval("a", "r-1", "jane", 0).spec);
        let mut index = listed(one * 4);
        for n in 0..4 {
            assert_eq!(index.apply(approval(&format!("a-{n}"), "r-1", &format!("p-{n}"), n)), Taken::New);
        }
        assert!(index.is_whole("r-1"));
        assert_eq!(index.apply(approval("no", "r-2", "joe", 9)), Taken::LeftOut);
        assert!(!index.is_whole("r-1") && !index.is_whole("r-2"), "whatever it was for");
        assert!(index.has_news("r-2"), "it is looked at all the same");
        assert!(!index.has_room_again());
        index.remove("a-0");
        index.remove("a-1");
        assert!(index.has_room_again());
        index.begin_relist();
        for (name, of, who, at) in [("a-2", "r-1", "p-2", 2), ("a-3", "r-1", "p-3", 3), ("no", "r-2", "joe", 9)] {
            index.apply(approval(name, of, who, at));
        }
        index.end_relist();
        assert_eq!(names(&index, "r-2"), ["no"]);
        assert!(index.is_whole("r-1") && !index.has_room_again());
    }
}

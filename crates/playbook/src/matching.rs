use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{Match, ObjectRef};

use crate::check::{clashes, each};
use crate::{Loaded, Problem};

/// The signal name that matches any.
pub(crate) const ANY_SIGNAL: &str = "*";

/// The playbooks that may be used.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Playbooks {
    by_name: BTreeMap<String, Loaded>,
}

/// A playbook that matches, and the object it would act on.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate<'a> {
    /// The playbook.
    pub playbook: &'a Loaded,
    /// The object it would act on; absent for incidents about no object.
    pub target: Option<ObjectRef>,
}

impl Playbooks {
    /// The playbooks without those that [`crate::check`] finds fault with, and what it found. Of
    /// two that clash neither is kept: which of them was meant can't be told.
    pub fn new(loaded: Vec<Loaded>) -> (Self, Vec<Problem>) {
        let problems = crate::check(&loaded);
        let clashing: BTreeSet<usize> =
            clashes(&loaded).into_iter().flat_map(|clash| [clash.first, clash.second]).collect();
        let by_name = loaded
            .into_iter()
            .enumerate()
            .filter(|(n, playbook)| !clashing.contains(n) && each(playbook).is_empty())
            .map(|(_, playbook)| (playbook.name.clone(), playbook))
            .collect();
        (Self { by_name }, problems)
    }

    /// All that match, best first: by priority, then by name. A playbook whose conditions are known
    /// not to hold leaves the incident to the next: the planner takes the first whose conditions hold.
    ///
    /// `targets` are the firing signals' targets, in order.
    pub fn candidates(
        &self,
        signals: &BTreeSet<String>,
        root: Option<&ObjectRef>,
        targets: &[ObjectRef],
    ) -> Vec<Candidate<'_>> {
        let mut found: Vec<_> = self
            .by_name
            .values()
            .filter(|playbook| signals.iter().any(|signal| playbook.is_for(signal)))
            .filter_map(|playbook| {
                let target = target(&playbook.spec.matches, root, targets)?;
                Some(Candidate { playbook, target })
            })
            .collect();
        found.sort_by(|a, b| {
            let by_priority = b.playbook.spec.priority.cmp(&a.playbook.spec.priority);
            by_priority.then_with(|| a.playbook.name.cmp(&b.playbook.name))
        });
        found
    }

    /// The first of [`Playbooks::candidates`].
    pub fn find(
        &self,
        signals: &BTreeSet<String>,
        root: Option<&ObjectRef>,
        targets: &[ObjectRef],
    ) -> Option<(&Loaded, Option<ObjectRef>)> {
        self.candidates(signals, root, targets).into_iter().next().map(|found| (found.playbook, found.target))
    }

    /// The playbook of that name.
    pub fn get(&self, name: &str) -> Option<&Loaded> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Loaded> {
        self.by_name.values()
    }
}

/// The object a playbook would act on: `None` when it does not match, `Some(None)` when it matches
/// and there is no object.
fn target(matches: &Match, root: Option<&ObjectRef>, targets: &[ObjectRef]) -> Option<Option<ObjectRef>> {
    let fits = |object: &&ObjectRef| {
        let kind = matches.kinds.as_ref().is_none_or(|kinds| kinds.contains(&object.kind));
        let namespace = matches
            .namespaces
            .as_ref()
            .is_none_or(|namespaces| object.namespace.as_ref().is_some_and(|namespace| namespaces.contains(namespace)));
        kind && namespace
    };
    if let Some(object) = root.into_iter().chain(targets).find(fits) {
        return Some(Some(object.clone()));
    }
    let is_about_nothing = root.is_none() && targets.is_empty();
    (is_about_nothing && matches.kinds.is_none() && matches.namespaces.is_none()).then_some(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use evenkeel_model::Kind;

    const TEXT: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: pods}
spec:
  summary: s
  priority: 20
  match: {signals: [Stuck], kinds: [Pod]}
  when: [{fact: target.podStuckTerminating, op: Equals, value: true}]
  steps: [{name: a, do: {deletePod: {}}, verify: {within: 5m, hold: 1m, that: [{fact: target.exists, op: Equals, value: false}]}}]
---
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: workloads}
spec:
  summary: s
  priority: 10
  match: {signals: [Stuck, Other], kinds: [Deployment], namespaces: [shop]}
  steps: [{name: a, do: {escalate: {severity: Page}}}]
---
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: rest}
spec:
  summary: s
  priority: -1
  match: {signals: ["*"]}
  steps: [{name: a, do: {notify: {message: "{{incident.signals}}"}}}]
"#;

    fn playbooks() -> Playbooks {
        let (playbooks, problems) = Playbooks::new(parse(TEXT, "p.yaml").unwrap());
        assert_eq!(problems, []);
        playbooks
    }

    fn found(signal: &str, root: Option<&ObjectRef>, targets: &[ObjectRef]) -> Vec<(String, Option<ObjectRef>)> {
        let signals = BTreeSet::from([signal.to_owned()]);
        let playbooks = playbooks();
        let found = playbooks.candidates(&signals, root, targets);
        found.into_iter().map(|found| (found.playbook.name.clone(), found.target)).collect()
    }

    #[test]
    fn the_highest_priority_comes_first_and_each_names_its_object() {
        let root = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
        let pod = ObjectRef::namespaced(Kind::Pod, "shop", "cart-1");
        let all = found("Stuck", Some(&root), std::slice::from_ref(&pod));
        assert_eq!(
            all,
            [
                ("pods".to_owned(), Some(pod.clone())),
                ("workloads".to_owned(), Some(root.clone())),
                ("rest".to_owned(), Some(root.clone()))
            ]
        );
        assert_eq!(found("Other", Some(&root), std::slice::from_ref(&pod)).first().unwrap().0, "workloads");
    }

    #[test]
    fn another_namespace_another_kind_or_no_object_matches_only_what_takes_any() {
        let elsewhere = ObjectRef::namespaced(Kind::Deployment, "bank", "cart");
        let node = ObjectRef::cluster_scoped(Kind::Node, "n1");
        assert_eq!(found("Stuck", Some(&elsewhere), &[]), [("rest".to_owned(), Some(elsewhere.clone()))]);
        assert_eq!(found("Stuck", Some(&node), &[]), [("rest".to_owned(), Some(node.clone()))]);
        assert_eq!(found("Stuck", None, &[]), [("rest".to_owned(), None)]);
        assert_eq!(found("Whatever", None, &[]), [("rest".to_owned(), None)]);
    }

    #[test]
    fn a_faulty_playbook_and_both_of_a_clash_are_left_out_and_the_rest_is_kept() {
        let text = TEXT.replace("priority: 10", "priority: 20\n  x: 1").replace("\n  x: 1", "").replace(
            "match: {signals: [Stuck], kinds: [Pod]}",
            "match: {signals: [Stuck], kinds: [Pod]}\n  settle: 90h",
        );
        let (playbooks, problems) = Playbooks::new(parse(&text, "p.yaml").unwrap());
        assert_eq!(problems.len(), 1);
        assert_eq!(playbooks.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["rest", "workloads"]);

        let same = TEXT.replace("name: workloads", "name: again").replace("priority: 10", "priority: -1");
        let (playbooks, problems) = Playbooks::new(parse(&same, "p.yaml").unwrap());
        assert_eq!(problems.len(), 1);
        assert_eq!(playbooks.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["pods"]);
    }
}

//! Which rights the gateway needs for which policies: what RBAC is made of, and what the cluster is held against.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::rbac::mutation;
use super::{Place, carries_out, is_about, is_possible, mutating, named};
use crate::{PolicySource, Protected};

/// API group, resource, verb.
pub(super) type Right = (&'static str, &'static str, &'static str);

/// A right to write that policies need the gateway to have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Where; in all namespaces when `None`.
    pub namespace: Option<String>,
    /// API group.
    pub group: &'static str,
    /// Plural, with the subresource after a slash.
    pub resource: &'static str,
    /// Verb.
    pub verb: &'static str,
    /// The policies that can let it be used.
    pub policies: BTreeSet<String>,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, resource, verb, .. } = self;
        let (dot, group) = if group.is_empty() { ("", "") } else { (".", *group) };
        write!(f, "{verb} {resource}{dot}{group} ")?;
        match &self.namespace {
            Some(namespace) => write!(f, "in namespace {namespace}"),
            None if *resource == "nodes" => f.write_str("in the cluster"),
            None => f.write_str("in all namespaces"),
        }
    }
}

/// The rights that [`super::rbac`] grants, each with the policies that need it, in order of place and right.
pub fn needs(policies: &[PolicySource], engine: &str, protected: &Protected) -> Vec<Need> {
    let everywhere = in_place(policies, Place::Elsewhere);
    let mut needs: BTreeMap<(Option<&str>, Right), BTreeSet<&str>> = BTreeMap::new();
    for (right, by) in &everywhere {
        needs.entry((None, *right)).or_default().extend(by);
    }
    for namespace in within_bounds(policies, engine, protected) {
        for (right, by) in in_place(policies, Place::Named(namespace)) {
            let place = if everywhere.contains_key(&right) { None } else { Some(namespace) };
            needs.entry((place, right)).or_default().extend(by);
        }
    }
    needs
        .into_iter()
        .map(|((namespace, (group, resource, verb)), by)| Need {
            namespace: namespace.map(str::to_owned),
            group,
            resource,
            verb,
            policies: by.into_iter().map(str::to_owned).collect(),
        })
        .collect()
}

/// The namespaces that policies name and in which something may be done at all.
pub(super) fn within_bounds<'a>(
    policies: &'a [PolicySource],
    engine: &str,
    protected: &Protected,
) -> impl Iterator<Item = &'a str> {
    named(policies).into_iter().filter(move |name| *name != engine && !protected.namespaces.contains_key(*name))
}

/// What can ever be needed in a place, and by which policies.
pub(super) fn in_place<'a>(policies: &'a [PolicySource], place: Place<'_>) -> BTreeMap<Right, BTreeSet<&'a str>> {
    let mut rights: BTreeMap<Right, BTreeSet<&str>> = BTreeMap::new();
    for (action, kind) in mutating().flat_map(|action| action.kinds().iter().map(move |kind| (action, *kind))) {
        let is_there = kind.is_namespaced() || place == Place::Elsewhere;
        if !is_there || !is_possible(policies, place, action, kind) {
            continue;
        }
        let Some(right) = mutation(action, kind) else { continue };
        let by = policies.iter().filter(|it| is_about(it, place, kind) && carries_out(it, action).is_some());
        rights.entry(right).or_default().extend(by.map(PolicySource::name));
    }
    rights
}

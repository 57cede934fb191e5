//! What the API server can enforce by itself, made from the policies: RBAC for the gateway's writes,
//! and an admission policy over them. It has no clock and sees no other objects, so rates, windows,
//! tiers, approvals and unavailability are the gateway's alone.

mod admission;
mod approvals;
mod enforceable;
mod gatekeeper;
mod kyverno;
mod needs;
mod people;
mod rbac;
mod records;
mod written;

use std::collections::BTreeSet;

use evenkeel_model::{ActionName, ActionRule, Kind, Maxima, Mode, Tier};

pub use admission::{Admission, GATEWAY_WRITES, admission};
pub use approvals::{APPROVALS, approvals};
pub use enforceable::{Admitted, Finding, Held, enforceable};
pub use gatekeeper::gatekeeper;
pub use kyverno::kyverno;
pub use needs::{Need, needs};
pub use people::{PEOPLE, people};
pub use rbac::{mutation, rbac};
pub use records::{RECORDS, records};

use crate::check::fault_of;
use crate::judge::ANY_NAMESPACE;
use crate::{PolicySource, windows};

/// Where an object lives, as far as policies tell places apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    /// In a namespace that a policy names.
    Named(&'a str),
    /// In any other, or in none.
    Elsewhere,
}

/// The rule by which a policy can let an action be carried out, whatever the time, if it has one.
fn carries_out(policy: &PolicySource, action: ActionName) -> Option<&ActionRule> {
    let PolicySource::Loaded { spec, .. } = policy else { return None };
    let mut rules = spec.actions.iter().filter(|rule| rule.action == action);
    let rule = rules.next()?;
    // Of two the stricter counts; which one that is, is not worth finding out: it is a finding of `check`.
    let sound = rules.next().is_none() && rule.tier != Tier::Forbidden && fault_of(rule).is_none();
    let opens = spec.windows.allow.iter().any(windows::ever_hold) && windows::fault(&spec.windows).is_none();
    (spec.mode == Mode::Enforce && sound && opens && !rule.origins.is_empty()).then_some(rule)
}

/// Whether a policy is about objects of a kind in a place, its selector aside.
fn is_about(policy: &PolicySource, place: Place<'_>, kind: Kind) -> bool {
    let covers = |namespaces: &[String]| {
        namespaces.iter().any(|name| name == ANY_NAMESPACE || place == Place::Named(name.as_str()))
    };
    match policy {
        PolicySource::Loaded { spec, .. } => covers(&spec.matches.namespaces) && spec.matches.kinds.contains(&kind),
        PolicySource::Broken { namespaces, kinds, .. } => {
            namespaces.as_deref().is_none_or(covers) && kinds.as_deref().is_none_or(|kinds| kinds.contains(&kind))
        }
    }
}

/// Whether objects it is about may have labels that it does not match.
fn selects(policy: &PolicySource) -> bool {
    matches!(policy, PolicySource::Loaded { spec, .. } if !spec.matches.selector.is_empty())
}

/// Whether an action can ever be carried out on some object of a kind in a place.
fn is_possible(policies: &[PolicySource], place: Place<'_>, action: ActionName, kind: Kind) -> bool {
    let about = || policies.iter().filter(|policy| is_about(policy, place, kind));
    action.kinds().contains(&kind)
        && about().any(|policy| carries_out(policy, action).is_some())
        && about().all(|policy| selects(policy) || carries_out(policy, action).is_some())
}

/// The namespaces that policies name.
fn named(policies: &[PolicySource]) -> BTreeSet<&str> {
    let names = policies.iter().filter_map(|policy| match policy {
        PolicySource::Loaded { spec, .. } => Some(spec.matches.namespaces.as_slice()),
        PolicySource::Broken { namespaces, .. } => namespaces.as_deref(),
    });
    names.flatten().map(String::as_str).filter(|name| *name != ANY_NAMESPACE).collect()
}

/// Actions that write.
fn mutating() -> impl Iterator<Item = ActionName> {
    ActionName::ALL.into_iter().filter(|action| action.is_mutating())
}

/// Maxima of the rule by which a policy can let workloads be scaled.
fn maxima(policy: &PolicySource) -> Option<Maxima> {
    carries_out(policy, ActionName::ScaleWorkload)?.max
}

#[cfg(test)]
mod tests;

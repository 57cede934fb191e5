use std::collections::BTreeSet;
use std::str::FromStr as _;

use evenkeel_model::{ActionName, ActionPolicySpec, ApprovalDecision, Mode, ObjectRef, Origin, Tier};

use super::Seen;
use crate::engine::NAMESPACE;
use crate::runner::{Violation, WriteSeen};

/// Namespaces in which nothing may ever be done.
const PROTECTED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", NAMESPACE];

/// Whether a policy is about an action on an object.
pub(super) fn matches(policy: &ActionPolicySpec, action: ActionName, object: &ObjectRef) -> bool {
    // Selectors can only narrow; policies of scenarios have none where this matters.
    let namespaces = &policy.matches.namespaces;
    let named = object.namespace.as_ref().is_none_or(|namespace| namespaces.contains(namespace));
    (named || namespaces.iter().any(|all| all == "*"))
        && policy.matches.kinds.contains(&object.kind)
        && policy.actions.iter().any(|rule| rule.action == action)
}

/// How many people had approved a write when it was done; none, where one had denied it.
fn approvers(seen: &Seen<'_>, write: &WriteSeen) -> usize {
    let about =
        seen.answers.iter().filter(|it| Some(&it.remediation) == write.remediation.as_ref() && it.at <= write.at);
    let (yes, no): (Vec<_>, Vec<_>) = about.partition(|answer| answer.decision == ApprovalDecision::Approve);
    let people: BTreeSet<&str> = yes.iter().map(|answer| answer.by.as_str()).collect();
    if no.is_empty() { people.len() } else { 0 }
}

/// Writes that no policy allowed.
pub(super) fn outside(seen: &Seen<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for write in seen.effects() {
        let at = write.at;
        let Some((action, object)) = write.action.zip(ObjectRef::from_str(&write.object).ok()) else {
            found.push(Violation::new(
                "policy",
                format!("{} {} at {at} is no action of ours", write.verb, write.object),
            ));
            continue;
        };
        if write.undo {
            continue;
        }
        let what = format!("{action} on {object} at {at}");
        if object.namespace.as_deref().is_some_and(|namespace| PROTECTED.contains(&namespace)) {
            found.push(Violation::new("policy", format!("{what}: its namespace is out of bounds")));
        }
        if seen.mode != Mode::Enforce {
            found.push(Violation::new("policy", format!("{what}: the installation only audits")));
        }
        let about: Vec<_> = seen.policies.values().filter(|policy| matches(policy, action, &object)).collect();
        if about.is_empty() {
            found.push(Violation::new("policy", format!("{what}: no policy allows it")));
        }
        for policy in about {
            let rules = policy.actions.iter().filter(|rule| rule.action == action);
            let narrow = rules.filter(|rule| {
                let wanted = usize::try_from(rule.approvers.unwrap_or(1)).unwrap_or(usize::MAX);
                let may = match rule.tier {
                    Tier::Low => true,
                    Tier::Medium | Tier::High => approvers(seen, write) >= wanted,
                    Tier::Forbidden => false,
                };
                !may || !rule.origins.contains(&Origin::Playbook)
            });
            if policy.mode != Mode::Enforce || narrow.count() > 0 {
                found.push(Violation::new("policy", format!("{what}: a policy about it does not let playbooks do it")));
            }
        }
    }
    found
}

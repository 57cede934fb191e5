use std::collections::BTreeSet;

use evenkeel_model::{ActionName, ActionPolicySpec, Kind, Tier};

use crate::judge::{ANY_NAMESPACE, fits_any};

/// Something wrong with a policy: the path of the field (`spec.actions[0].max`), and what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The field's path.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// What is wrong with a policy that its types let through. Whatever it finds denies at run time, or
/// never applies.
pub fn check(spec: &ActionPolicySpec) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |path: String, message: String| findings.push(Finding { path, message });
    let matches = &spec.matches;
    if matches.namespaces.is_empty() {
        add("spec.match.namespaces".to_owned(), "expected namespaces, or [\"*\"] for all; found none".to_owned());
    }
    let is_any = matches.namespaces.iter().any(|name| name == ANY_NAMESPACE);
    if is_any && matches.namespaces.len() > 1 {
        add("spec.match.namespaces".to_owned(), "\"*\" is all namespaces; leave out the others".to_owned());
    }
    for (n, name) in matches.namespaces.iter().enumerate() {
        if name != ANY_NAMESPACE && !is_label(name) {
            add(
                format!("spec.match.namespaces[{n}]"),
                format!("expected the name of a namespace or \"*\"; patterns are not taken; found {name:?}"),
            );
        }
    }
    if matches.kinds.is_empty() {
        add("spec.match.kinds".to_owned(), "expected kinds, found none".to_owned());
    }
    for (n, kind) in matches.kinds.iter().enumerate() {
        if !kind.is_namespaced() && !is_any {
            let message = format!("a {kind} is in no namespace, so it is matched by namespaces: [\"*\"] only");
            add(format!("spec.match.kinds[{n}]"), message);
        }
    }
    if spec.limits.concurrent == 0 || spec.limits.concurrent > 1000 {
        let message = format!("expected 1 to 1000, found {}", spec.limits.concurrent);
        add("spec.limits.concurrent".to_owned(), message);
    }
    let mut seen = BTreeSet::new();
    for (n, rule) in spec.actions.iter().enumerate() {
        let (path, action) = (format!("spec.actions[{n}]"), rule.action);
        if !seen.insert(action) {
            add(format!("{path}.do"), format!("{action} is given twice"));
        }
        if !action.is_mutating() {
            add(format!("{path}.do"), format!("{action} writes nothing and needs no policy; leave it out"));
        } else if !matches.kinds.is_empty() && !fits_any(action, &matches.kinds) {
            let can: Vec<&str> = action.kinds().iter().map(|kind| kind.as_str()).collect();
            let these: Vec<&str> = matches.kinds.iter().map(|kind: &Kind| kind.as_str()).collect();
            let message = format!("{action} is done to {}; this policy is about {}", can.join(", "), these.join(", "));
            add(format!("{path}.do"), message);
        }
        if rule.origins.is_empty() && rule.tier != Tier::Forbidden {
            add(format!("{path}.origins"), "expected Playbook, Person or both, found none".to_owned());
        }
        match (action, rule.max) {
            (ActionName::ScaleWorkload, None) => {
                let message =
                    "the field \"max\" is missing: how many replicas scaleWorkload may set, and by how many change";
                add(path, message.to_owned());
            }
            (ActionName::ScaleWorkload, Some(_)) | (_, None) => {}
            (_, Some(_)) => add(format!("{path}.max"), format!("{action} has no maxima; leave it out")),
        }
    }
    findings.sort();
    findings
}

/// As RFC 1123 has it, which namespaces are named by.
fn is_label(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.starts_with(fits)
        && name.ends_with(fits)
        && name.chars().all(|c| fits(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_would_deny_or_never_apply_is_told() {
        let spec: ActionPolicySpec = serde_json::from_value(json!({
            "mode": "Enforce",
            "match": {"namespaces": ["shop-*"], "kinds": ["Deployment", "Node"], "selector": {}},
            "actions": [
                {"do": "scaleWorkload", "tier": "Low", "origins": ["Playbook"],
                 "rate": {"target": "1/1h", "namespace": "1/1h", "cluster": "1/1h"}},
                {"do": "deletePod", "tier": "Low", "origins": [], "max": {"replicas": 1, "change": 1},
                 "rate": {"target": "1/1h", "namespace": "1/1h", "cluster": "1/1h"}},
                {"do": "deletePod", "tier": "Low", "origins": ["Person"],
                 "rate": {"target": "1/1h", "namespace": "1/1h", "cluster": "1/1h"}},
                {"do": "escalate", "tier": "Low", "origins": ["Person"],
                 "rate": {"target": "1/1h", "namespace": "1/1h", "cluster": "1/1h"}},
            ],
            "limits": {"concurrent": 0},
        }))
        .unwrap();
        let told: Vec<_> = check(&spec).into_iter().map(|found| format!("{}: {}", found.path, found.message)).collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}

use std::collections::BTreeSet;

use evenkeel_model::{ActionName, ActionPolicySpec, ActionRule, Kind, Rate, Tier, Windows};

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
        if action != ActionName::ScaleWorkload && rule.max.is_some() {
            add(format!("{path}.max"), format!("{action} has no maxima; leave it out"));
        }
        if let Some((fault, remedy)) = fault_of(rule) {
            add(path, format!("{fault}: {remedy}"));
        } else if rule.tier == Tier::High && rule.approvers == Some(1) {
            add(format!("{path}.approvers"), "tier High takes two persons at least; found 1".to_owned());
        }
    }
    check_windows(&spec.windows, &mut add);
    if spec.limits.unavailable.percent > 100 {
        let message = format!("expected 0 to 100, found {}", spec.limits.unavailable.percent);
        add("spec.limits.unavailable.percent".to_owned(), message);
    }
    findings.sort();
    findings
}

fn check_windows(windows: &Windows, add: &mut impl FnMut(String, String)) {
    if windows.allow.is_empty() {
        let message =
            "it never opens: every action is denied; [{days: [\"*\"], from: \"00:00\", to: \"24:00\"}] is always";
        add("spec.windows.allow".to_owned(), message.to_owned());
    }
    for (n, hours) in windows.allow.iter().enumerate() {
        if hours.days.is_empty() {
            add(format!("spec.windows.allow[{n}].days"), "expected days, or [\"*\"] for all; found none".to_owned());
        }
        if hours.from == hours.to {
            let message = format!("it begins and ends at {}, and so never holds", hours.from);
            add(format!("spec.windows.allow[{n}]"), message);
        }
    }
    for (n, days) in windows.freeze.iter().enumerate() {
        if days.from > days.to {
            add(format!("spec.windows.freeze[{n}]"), format!("it ends ({}) before it begins ({})", days.to, days.from));
        }
    }
    if windows.allow.iter().any(|hours| hours.from.minutes() == 24 * 60) {
        add("spec.windows.allow".to_owned(), "hours can't begin at 24:00; write 00:00 of the next day".to_owned());
    }
}

/// What of a rule's fields is missing or of no use, and what to do about it. Such a rule denies: it is
/// not known what was meant.
pub(crate) fn fault_of(rule: &ActionRule) -> Option<(String, &'static str)> {
    let action = rule.action;
    if action == ActionName::ScaleWorkload && rule.max.is_none() {
        let fault = "scaleWorkload has no max, which it needs".to_owned();
        return Some((fault, "say how many replicas it may set, and by how many change"));
    }
    match (rule.tier, rule.approvers) {
        (Tier::Medium | Tier::High, None | Some(0)) => {
            let fault = format!("{action} has no approvers, which tier {:?} needs", rule.tier);
            return Some((fault, "say how many persons have to approve"));
        }
        (Tier::Low, Some(_)) => {
            let fault = format!("{action} has approvers, which tier Low does not ask for");
            return Some((fault, "leave them out, or make it Medium"));
        }
        (Tier::Medium | Tier::High, Some(_)) | (Tier::Low, None) | (Tier::Forbidden, _) => {}
    }
    let (namespace, playbook) = (rule.rate.namespace, rule.rate.playbook?);
    (!never_bites_before(playbook, namespace)).then(|| {
        let fault = format!("the rate of a playbook ({playbook}) is less than that of a namespace ({namespace})");
        (fault, "raise rate.playbook, or lower rate.namespace: so its absence can't permit more")
    })
}

/// Whether what keeps to `narrow` keeps to `wide` as well, in any window.
fn never_bites_before(wide: Rate, narrow: Rate) -> bool {
    let windows = wide.window.get().as_secs().div_ceil(narrow.window.get().as_secs().max(1));
    u64::from(wide.count.get()) >= u64::from(narrow.count.get()).saturating_mul(windows)
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
                {"do": "restartWorkload", "tier": "High", "origins": ["Person"],
                 "rate": {"target": "1/1h", "namespace": "1/1h", "cluster": "1/1h"}},
                {"do": "rollbackWorkload", "tier": "Low", "origins": ["Person"],
                 "rate": {"target": "1/1h", "namespace": "2/1h", "playbook": "3/2h", "cluster": "1/1h"}},
                {"do": "cordonNode", "tier": "High", "approvers": 1, "origins": ["Person"],
                 "rate": {"target": "1/1h", "namespace": "1/1h", "playbook": "2/2h", "cluster": "1/1h"}},
            ],
            "windows": {
                "timeZone": "UTC",
                "allow": [{"days": [], "from": "08:00", "to": "08:00"}, {"days": ["*"], "from": "24:00", "to": "06:00"}],
                "freeze": [{"from": "2026-12-24", "to": "2026-12-23", "reason": "slip"}],
            },
            "limits": {"concurrent": 0, "unavailable": {"count": 1, "percent": 101}},
            "gitOps": "Never",
        }))
        .unwrap();
        let told: Vec<_> = check(&spec).into_iter().map(|found| format!("{}: {}", found.path, found.message)).collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}

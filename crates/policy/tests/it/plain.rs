//! What policies mean, written down as plainly as can be: every rule in turn, nothing remembered, nothing quick.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{Action, ActionName, ActionPolicySpec, GitOpsRule, Hours, Mode, Rate, Tier, Windows};
use evenkeel_policy::{GitOps, PolicySource, Protected};

use crate::generated::Plan;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Allow,
    Audit,
    People(Tier, u32),
    /// Not now, by these windows (none when it is not for the time of day).
    Wait(Vec<Windows>),
    No,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Counted {
    pub(crate) target: BTreeSet<Rate>,
    pub(crate) namespace: BTreeSet<Rate>,
    pub(crate) playbook: BTreeSet<Rate>,
    pub(crate) cluster: BTreeSet<Rate>,
}

pub(crate) fn judge(plan: &Plan, policies: &[PolicySource], protected: &Protected) -> (Answer, Counted) {
    let action = plan.action.name();
    if action == ActionName::Notify || action == ActionName::Escalate {
        return (Answer::Allow, Counted::default());
    }
    let no = (Answer::No, Counted::default());

    // What no policy can allow.
    if !action.kinds().contains(&plan.target.kind) {
        return no;
    }
    if plan.target.namespace.as_ref().is_some_and(|namespace| protected.namespaces.contains_key(namespace)) {
        return no;
    }
    if plan.target.kind == evenkeel_model::Kind::Node {
        if protected.nodes.contains_key(&plan.target.name) {
            return no;
        }
        if plan.labels.keys().any(|label| label.starts_with("node-role.kubernetes.io/")) {
            return no;
        }
    }
    if plan.narrowed.is_some() && plan.narrowed != Some("audit") {
        return no;
    }
    // The API server's own rule.
    if action == ActionName::EvictPod && plan.context.budgets >= 2 {
        return no;
    }

    // A policy that can't be read denies what it might match.
    for policy in policies {
        if let PolicySource::Broken { namespaces, kinds, .. } = policy {
            let other_namespace = namespaces.as_ref().is_some_and(|names| {
                !names.contains(&"*".to_owned()) && !plan.target.namespace.as_ref().is_some_and(|it| names.contains(it))
            });
            let other_kind = kinds.as_ref().is_some_and(|kinds| !kinds.contains(&plan.target.kind));
            if !other_namespace && !other_kind {
                return no;
            }
        }
    }

    // All that match have to allow it.
    let matching: Vec<&ActionPolicySpec> = policies.iter().filter_map(|policy| about(policy, plan)).collect();
    if matching.is_empty() {
        return no;
    }
    let mut tier = Tier::Low;
    let mut approvers = 0;
    let mut audit = plan.ceiling == Mode::Audit || plan.narrowed == Some("audit");
    let mut waits = false;
    let mut closed = Vec::new();
    let mut counted = Counted::default();
    let takes_capacity = plan.context.takes_capacity && plan.context.available > 0;
    for spec in matching {
        if spec.mode == Mode::Audit {
            audit = true;
        }
        let rules: Vec<_> = spec.actions.iter().filter(|rule| rule.action == action).collect();
        if rules.is_empty() {
            return no;
        }
        for rule in rules {
            if rule.tier == Tier::Forbidden || !rule.origins.contains(&plan.origin) {
                return no;
            }
            // Fields that are missing, or that say what makes no sense.
            match rule.tier {
                Tier::Low if rule.approvers.is_some() => return no,
                Tier::Medium | Tier::High if rule.approvers.unwrap_or(0) == 0 => return no,
                _ => {}
            }
            if let Some(playbook) = rule.rate.playbook {
                // As many as a namespace's rate lets through in the window of the playbook's.
                let (mut most, mut seconds) = (0, 0);
                while seconds < playbook.window.get().as_secs() {
                    most += rule.rate.namespace.count.get();
                    seconds += rule.rate.namespace.window.get().as_secs();
                }
                if playbook.count.get() < most {
                    return no;
                }
            }
            if let Action::ScaleWorkload(scale) = &plan.action {
                let (Some(max), Some(now)) = (rule.max, plan.context.replicas) else { return no };
                let change = (i64::from(scale.replicas) - i64::from(now)).abs();
                if scale.replicas > max.replicas || change > i64::from(max.change) {
                    return no;
                }
            }
            tier = tier.max(rule.tier);
            approvers = approvers.max(rule.approvers.unwrap_or(0));
            counted.target.insert(rule.rate.target);
            counted.namespace.insert(rule.rate.namespace);
            counted.playbook.insert(rule.rate.playbook.unwrap_or(rule.rate.namespace));
            counted.cluster.insert(rule.rate.cluster);
        }
        match plan.context.git_ops {
            GitOps::Untracked => {}
            GitOps::FieldsFree if spec.git_ops == GitOpsRule::UnownedFields => {}
            _ => return no,
        }
        if takes_capacity {
            let Some(disruption) = plan.context.disruption else { return no };
            let percent = (f64::from(disruption.desired) * f64::from(spec.limits.unavailable.percent) / 100.0).ceil();
            let most = f64::from(spec.limits.unavailable.count).min(percent);
            if f64::from(disruption.takes) > most {
                return no;
            }
            if disruption.takes > 0 && f64::from(disruption.unavailable + disruption.takes) > most {
                waits = true;
            }
        }
        if spec.windows.freeze.iter().any(|days| days.from > days.to) {
            return no;
        }
        if !is_open(&spec.windows, plan.now) {
            // From 24:00 to 00:00 is no time at all.
            let never = |hours: &Hours| {
                let (from, to) = (hours.from.to_string(), hours.to.to_string());
                hours.days.is_empty() || from == to || (from == "24:00" && to == "00:00")
            };
            if spec.windows.allow.iter().all(never) {
                return no;
            }
            closed.push(spec.windows.clone());
            waits = true;
        }
    }
    if takes_capacity
        && let Some(disruption) = plan.context.disruption
        && disruption.budget.is_some_and(|budget| budget < disruption.takes)
    {
        waits = true;
    }
    if waits {
        return (Answer::Wait(closed), counted);
    }
    if audit {
        return (Answer::Audit, counted);
    }
    let mut raises = u32::from(plan.context.stateful) + u32::from(takes_capacity);
    while raises > 0 {
        tier = if tier == Tier::Low { Tier::Medium } else { Tier::High };
        raises -= 1;
    }
    match tier {
        Tier::Low => (Answer::Allow, counted),
        Tier::Medium => (Answer::People(tier, approvers.max(1)), counted),
        _ => (Answer::People(tier, approvers.max(2)), counted),
    }
}

pub(crate) fn about<'a>(policy: &'a PolicySource, plan: &Plan) -> Option<&'a ActionPolicySpec> {
    let PolicySource::Loaded { spec, .. } = policy else { return None };
    let in_namespace =
        spec.matches.namespaces.iter().any(|name| name == "*" || Some(name) == plan.target.namespace.as_ref());
    let labelled = spec.matches.selector.iter().all(|(key, value)| plan.labels.get(key).is_some_and(|it| it == value));
    (in_namespace && spec.matches.kinds.contains(&plan.target.kind) && labelled).then_some(spec)
}

/// By what a clock on the wall shows, read as people do.
pub(crate) fn is_open(windows: &Windows, at: DateTime<Utc>) -> bool {
    let clock = at.with_timezone(&windows.time_zone.tz());
    let date = clock.format("%F").to_string();
    if windows.freeze.iter().any(|days| days.from.to_string() <= date && date <= days.to.to_string()) {
        return false;
    }
    let (today, time) = (clock.format("%a").to_string(), clock.format("%R").to_string());
    let yesterday = (clock.date_naive() - Duration::days(1)).format("%a").to_string();
    windows.allow.iter().any(|hours| {
        let on = |day: &String| hours.days.iter().any(|it| format!("{it:?}") == *day || format!("{it:?}") == "All");
        let (from, to) = (hours.from.to_string(), hours.to.to_string());
        if from < to {
            on(&today) && from <= time && time < to
        } else if from > to {
            (on(&today) && from <= time) || (on(&yesterday) && time < to)
        } else {
            false
        }
    })
}

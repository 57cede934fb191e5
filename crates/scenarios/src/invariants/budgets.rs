use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use evenkeel_model::{ActionName, ObjectRef, Phase, Rate};

use super::{Seen, policy};
use crate::runner::Violation;

/// Rates of policies that were exceeded, over any window.
pub(super) fn rates(seen: &Seen<'_>) -> Vec<Violation> {
    let done: Vec<(DateTime<Utc>, ActionName, ObjectRef)> = seen
        .effects()
        .filter(|write| !write.undo)
        .filter_map(|write| Some((write.at, write.action?, ObjectRef::from_str(&write.object).ok()?)))
        .collect();
    let mut found = Vec::new();
    for (name, policy) in seen.policies {
        for rule in &policy.actions {
            let of_rule: Vec<_> = done
                .iter()
                .filter(|(_, action, object)| *action == rule.action && policy::matches(policy, *action, object))
                .collect();
            for (at, action, object) in &of_rule {
                let within = |rate: Rate, same: &dyn Fn(&ObjectRef) -> bool| {
                    let since = *at - rate.window.chrono();
                    let count =
                        of_rule.iter().filter(|(other, _, it)| *other > since && other <= at && same(it)).count();
                    (count > usize::try_from(rate.count.get()).unwrap_or(usize::MAX)).then_some((count, rate))
                };
                let scopes = [
                    ("target", within(rule.rate.target, &|other| other.is_same(object))),
                    ("namespace", within(rule.rate.namespace, &|other| other.namespace == object.namespace)),
                    ("cluster", within(rule.rate.cluster, &|_| true)),
                ];
                for (scope, exceeded) in scopes {
                    if let Some((count, rate)) = exceeded {
                        let what = format!("{action} {count} times for one {scope} up to {at}; {name} allows {rate}");
                        found.push(Violation::new("rates", what));
                    }
                }
            }
        }
    }
    found
}

/// Concurrency limits of policies that were exceeded.
pub(super) fn concurrency(seen: &Seen<'_>) -> Vec<Violation> {
    let under_way =
        |phase| matches!(phase, Phase::Executing | Phase::Verifying | Phase::Ineffective | Phase::RollingBack);
    let mut spans = Vec::new();
    for remediation in seen.report.remediations.iter().filter(|it| it.action.is_mutating()) {
        let Ok(target) = ObjectRef::from_str(&remediation.target) else { continue };
        let begun = remediation.phases.iter().find(|seen| under_way(seen.phase)).map(|seen| seen.at);
        let ended = remediation.phases.iter().rev().find(|seen| !under_way(seen.phase)).map(|seen| seen.at);
        let Some(begun) = begun else { continue };
        spans.push((begun, ended.filter(|ended| *ended > begun).unwrap_or(seen.report.end), remediation, target));
    }
    let mut found = Vec::new();
    for (name, policy) in seen.policies {
        for (begun, _, remediation, target) in &spans {
            if !policy::matches(policy, remediation.action, target) {
                continue;
            }
            let together = spans.iter().filter(|(from, to, other, target)| {
                from <= begun && begun < to && policy::matches(policy, other.action, target)
            });
            let count = together.count();
            if count > usize::try_from(policy.limits.concurrent).unwrap_or(usize::MAX) {
                let limit = policy.limits.concurrent;
                let what = format!("{count} remediations under way at {begun}; {name} allows {limit}");
                found.push(Violation::new("concurrency", what));
            }
        }
    }
    found
}

use chrono::Duration;
use evenkeel_model::{ActionName, Phase};

use super::Seen;
use crate::runner::{HealthSeries, Violation};

/// What was well for so long needed nothing. Shorter: between the gateway's look and its act it may just have healed.
const WELL_FOR: Duration = Duration::minutes(1);
/// So long may a success take to be written down after the look that found it.
const NOTED_WITHIN: Duration = Duration::seconds(15);

fn series<'a>(seen: &Seen<'a>, object: &str) -> Option<&'a HealthSeries> {
    seen.report.health.iter().find(|series| series.object == object)
}

/// Acts on objects that were well.
pub(super) fn unneeded(seen: &Seen<'_>) -> Vec<Violation> {
    // A node that is back, and a workload of another size, are well and to be acted on all the same.
    let on_the_well = [ActionName::UncordonNode, ActionName::ScaleWorkload];
    let acts = seen.effects().filter(|write| !write.undo && write.action.is_some_and(|it| !on_the_well.contains(&it)));
    let unneeded = acts.filter(|write| {
        let since = write.at - WELL_FOR;
        series(seen, &write.object).is_some_and(|series| {
            let meanwhile = series.points.iter().filter(|point| point.at > since && point.at <= write.at);
            series.at(since).is_some_and(|point| point.well) && meanwhile.into_iter().all(|point| point.well)
        })
    });
    unneeded
        .map(|write| {
            let action = write.action.map_or_else(|| write.verb.clone(), |action| action.to_string());
            let what = format!("{action} on {} at {}, which had long been well", write.object, write.at);
            Violation::new("needed", what)
        })
        .collect()
}

/// Remediations that ended as successes though their target, or what it belongs to, was not well.
pub(super) fn hollow(seen: &Seen<'_>) -> Vec<Violation> {
    // These set out to heal nothing.
    let heals_nothing = [ActionName::CordonNode, ActionName::UncordonNode, ActionName::DeleteJob];
    let mut found = Vec::new();
    for remediation in &seen.report.remediations {
        let succeeded = remediation.phases.iter().find(|it| it.phase == Phase::Succeeded).map(|it| it.at);
        let heals = remediation.action.is_mutating() && !heals_nothing.contains(&remediation.action);
        let Some(at) = succeeded.filter(|_| heals) else { continue };
        let own = || series(seen, &remediation.target);
        // A pod's incident may be its node's, which no other pod heals.
        let owner = || series(seen, &remediation.root).filter(|series| !series.object.starts_with("node/"));
        let Some(series) = own().or_else(owner) else { continue };
        let since = at - NOTED_WITHIN;
        let lately = series.points.iter().filter(|point| point.at > since && point.at <= at);
        if !series.at(since).into_iter().chain(lately).any(|point| point.well) {
            let what = format!("{} ended Succeeded at {at}, and {} was not well", remediation.name, series.object);
            found.push(Violation::new("success", what));
        }
    }
    found
}

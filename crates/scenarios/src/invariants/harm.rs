use evenkeel_model::Phase;

use super::Seen;
use crate::runner::Violation;

/// Objects that were worse after an act than before it, with nothing else to blame.
pub(super) fn worse(seen: &Seen<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for write in seen.effects().filter(|write| !write.undo) {
        let remediation = seen.report.remediations.iter().find(|it| Some(&it.name) == write.remediation.as_ref());
        let Some(remediation) = remediation else { continue };
        let over =
            |phase| !matches!(phase, Phase::Executing | Phase::Verifying | Phase::Ineffective | Phase::RollingBack);
        let ended = remediation.phases.iter().find(|it| it.at > write.at && over(it.phase)).map(|it| it.at);
        let Some(ended) = ended else { continue };
        if seen.disturbed.iter().any(|at| *at >= write.at && *at <= ended) {
            continue;
        }
        let Some(series) = seen.report.health.iter().find(|series| series.object == remediation.root) else { continue };
        let Some((before, after)) = series.at(write.at).zip(series.at(ended)) else { continue };
        // With fewer pods wanted, fewer are no harm.
        if after.available < before.available.min(after.desired) {
            let what = format!(
                "{} had {} available before {} and {} when it ended ({})",
                remediation.root,
                before.available,
                remediation.name,
                after.available,
                remediation.phase()
            );
            found.push(Violation::new("no harm", what));
        }
    }
    found
}

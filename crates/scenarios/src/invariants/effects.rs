use std::collections::BTreeMap;

use evenkeel_model::Phase;

use super::Seen;
use crate::runner::Violation;

/// Remediations with more than one effect, and objects deleted twice.
pub(super) fn twice(seen: &Seen<'_>) -> Vec<Violation> {
    let mut counts: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    let mut found = Vec::new();
    for write in seen.effects() {
        match &write.remediation {
            Some(name) => *counts.entry((name, write.undo)).or_default() += 1,
            None => {
                let what = format!("{} {} at {} belongs to no Remediation", write.verb, write.object, write.at);
                found.push(Violation::new("one effect", what));
            }
        }
    }
    let many = counts.into_iter().filter(|(_, count)| *count > 1);
    found.extend(many.map(|((name, undo), count)| {
        let what = if undo { "was undone" } else { "had effects" };
        Violation::new("one effect", format!("{name} {what} {count} times"))
    }));
    found
}

/// Steps that did not help and were taken again for the same root and incident.
pub(super) fn again(seen: &Seen<'_>) -> Vec<Violation> {
    let helped_not = |phase| {
        matches!(
            phase,
            Phase::Ineffective
                | Phase::RollingBack
                | Phase::RolledBack
                | Phase::RollbackFailed
                | Phase::NotUndoable
                | Phase::Regressed
        )
    };
    let mut found = Vec::new();
    let acted: Vec<_> =
        seen.report.remediations.iter().filter(|it| it.action.is_mutating() && it.acted_at.is_some()).collect();
    for (index, first) in acted.iter().enumerate() {
        let Some(ended) = first.phases.iter().find(|seen| helped_not(seen.phase)).map(|seen| seen.at) else { continue };
        let again = acted.iter().skip(index + 1).filter(|later| {
            later.incident == first.incident
                && later.root == first.root
                && later.step == first.step
                && later.acted_at.is_some_and(|at| at > ended)
        });
        found.extend(again.map(|later| {
            let what = format!(
                "{} took {} for {} again, after it had not helped as {}",
                later.name, later.step, later.root, first.name
            );
            Violation::new("no step again", what)
        }));
    }
    found
}

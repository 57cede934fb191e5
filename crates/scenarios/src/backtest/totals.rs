use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{ActionName, Phase};
use serde::Serialize;

use super::course::{Course, Said};

/// One side's figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Incidents opened.
    pub incidents: u64,
    /// Incidents that were over before anything was proposed.
    pub healed_alone: u64,
    /// Incidents that were only told of.
    pub only_told: u64,
    /// Incidents handed to people.
    pub escalated: u64,
    /// Incidents for which an action was allowed and carried out.
    pub acted_on: u64,
    /// Incidents that were part of a wave.
    pub part_of_wave: u64,
    /// Incidents that were open when the recording ended.
    pub still_open: u64,
    /// Mutating actions.
    pub actions: BTreeMap<ActionName, ActionTotals>,
    /// Playbooks that would have asked the cluster, and how often.
    pub asked: BTreeMap<String, u64>,
}

/// Figures of one action.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionTotals {
    /// How often it was proposed.
    pub proposed: u64,
    /// Verdicts: Allow.
    pub allowed: u64,
    /// Verdicts: Allow in Audit mode.
    pub audited: u64,
    /// Verdicts: NeedsApproval.
    pub needs_approval: u64,
    /// Verdicts: Deny.
    pub denied: u64,
    /// Proposals that a rate or a limit made wait.
    pub deferred: u64,
    /// Proposals that ran out of time waiting.
    pub expired: u64,
    /// How often it was carried out.
    pub acted: u64,
    /// How often it is taken to have helped.
    pub succeeded: u64,
    /// How often it is taken not to have helped.
    pub ineffective: u64,
    /// How often what had helped came again.
    pub regressed: u64,
    /// The most that were carried out in any hour.
    pub busiest_hour: u64,
    #[serde(skip)]
    lately: VecDeque<DateTime<Utc>>,
}

impl Totals {
    fn action(&mut self, action: ActionName) -> Option<&mut ActionTotals> {
        super::engine::is_counted(action).then(|| self.actions.entry(action).or_default())
    }

    pub(super) fn proposed(&mut self, action: ActionName, verdict: Said) {
        let Some(totals) = self.action(action) else { return };
        totals.proposed += 1;
        match verdict {
            Said::Allow => totals.allowed += 1,
            Said::Audit => totals.audited += 1,
            Said::NeedsApproval(_) => totals.needs_approval += 1,
            // Counted when it is known to wait.
            Said::Defer => {}
            Said::Deny => totals.denied += 1,
        }
    }

    pub(super) fn deferred(&mut self, action: ActionName) {
        if let Some(totals) = self.action(action) {
            totals.deferred += 1;
        }
    }

    pub(super) fn acted(&mut self, action: ActionName, at: DateTime<Utc>) {
        let Some(totals) = self.action(action) else { return };
        totals.acted += 1;
        totals.lately.push_back(at);
        while totals.lately.front().is_some_and(|first| at - *first >= Duration::hours(1)) {
            totals.lately.pop_front();
        }
        totals.busiest_hour = totals.busiest_hour.max(u64::try_from(totals.lately.len()).unwrap_or(u64::MAX));
    }

    pub(super) fn ended(&mut self, action: ActionName, phase: Phase) {
        let Some(totals) = self.action(action) else { return };
        match phase {
            Phase::Succeeded => totals.succeeded += 1,
            Phase::NotUndoable | Phase::RolledBack => totals.ineffective += 1,
            Phase::Expired => totals.expired += 1,
            Phase::Regressed => totals.regressed += 1,
            _ => {}
        }
    }

    pub(super) fn asked(&mut self, playbook: &str) {
        *self.asked.entry(playbook.to_owned()).or_default() += 1;
    }

    pub(super) fn incident(&mut self, course: &Course, still_open: bool) {
        self.incidents += 1;
        let mutates = course.steps.iter().any(|step| step.action.is_mutating());
        let acted = course.steps.iter().any(|step| {
            matches!(step.end, Some(Phase::Succeeded | Phase::NotUndoable | Phase::RolledBack))
                && step.action.is_mutating()
        });
        let escalated = course.steps.iter().any(|step| step.action == ActionName::Escalate);
        self.acted_on += u64::from(acted);
        self.escalated += u64::from(escalated);
        self.only_told += u64::from(!course.steps.is_empty() && !mutates && !escalated);
        self.part_of_wave += u64::from(course.part_of.is_some());
        self.still_open += u64::from(still_open);
        let nothing = course.steps.is_empty() && course.asks.is_empty() && course.part_of.is_none();
        self.healed_alone += u64::from(nothing && !still_open);
    }
}

//! What must hold in every scenario, at every step, whatever was expected of it.
//!
//! Each is worked out anew from the API server's request log, the policies, the Remediations and the bus: never from
//! the ledger or from what the engine says of itself, which are what is being checked.

mod audit;
mod budgets;
mod effects;
mod harm;
mod outcomes;
mod policy;
mod sense;
mod targets;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use evenkeel_model::{ActionPolicySpec, ApprovalDecision, Mode, Outcome, Signal};

use crate::runner::{RunReport, Violation, WriteSeen};

/// What the invariants are worked out from.
pub(crate) struct Seen<'a> {
    pub(crate) report: &'a RunReport,
    pub(crate) policies: &'a BTreeMap<String, ActionPolicySpec>,
    /// The installation's mode.
    pub(crate) mode: Mode,
    pub(crate) signals: &'a [(DateTime<Utc>, Signal)],
    pub(crate) outcomes: &'a [(DateTime<Utc>, Outcome)],
    /// Alerts that the webhook took: name and start.
    pub(crate) taken: &'a [(String, DateTime<Utc>)],
    /// Whether the scenario or chance touched anything between two times.
    pub(crate) disturbed: &'a [DateTime<Utc>],
    /// What people answered when they were asked.
    pub(crate) answers: &'a [Answer],
}

/// One person's answer, as the API server's log has it.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) at: DateTime<Utc>,
    /// Who.
    pub(crate) by: String,
    /// About which Remediation.
    pub(crate) remediation: String,
    pub(crate) decision: ApprovalDecision,
}

impl Seen<'_> {
    /// The engine's changes that were carried out.
    fn effects(&self) -> impl Iterator<Item = &WriteSeen> {
        self.report.writes.iter().filter(|write| write.is_effect())
    }
}

/// All that is violated.
pub(crate) fn violated(seen: &Seen<'_>) -> Vec<Violation> {
    let mut found = policy::outside(seen);
    found.extend(effects::twice(seen));
    found.extend(effects::again(seen));
    found.extend(budgets::rates(seen));
    found.extend(budgets::concurrency(seen));
    found.extend(harm::worse(seen));
    found.extend(sense::unneeded(seen));
    found.extend(sense::hollow(seen));
    found.extend(targets::wrong(seen));
    found.extend(outcomes::missing(seen));
    found.extend(outcomes::lost(seen));
    found.extend(audit::untold(seen));
    found.sort();
    found.dedup();
    found
}

use evenkeel_model::Span;
use evenkeel_planner::PlanLimits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The reasoner's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Signals fetched and folded at once.
    pub batch: usize,
    /// Incidents planned at the same time.
    pub concurrency: usize,
    /// A message handed out more often than this is moved to the dead stream, unread.
    pub max_deliveries: u64,
    /// How long the observer may take for one evidence request.
    pub evidence_timeout: Span,
    /// How often all open incidents are looked through for a wake-up that got lost.
    pub sweep: Span,
    /// How long closed incidents are kept.
    pub keep_closed: Span,
    /// How long a proposal may wait before it is begun; at most an hour.
    pub proposal_expiry: Span,
    /// How often an incident is looked at again while no playbook's conditions hold.
    pub recheck: Span,
    /// How long conditions may take to hold or become known before people are told.
    pub patience: Span,
    /// How long signals may take to end after a step succeeded before it counts as not having helped.
    pub resolve_within: Span,
}

impl Default for Config {
    fn default() -> Self {
        let limits = PlanLimits::default();
        Self {
            batch: 256,
            concurrency: 16,
            max_deliveries: 20,
            evidence_timeout: Span::seconds(10),
            sweep: Span::minutes(1),
            keep_closed: Span::hours(7 * 24),
            proposal_expiry: limits.expiry,
            recheck: limits.recheck,
            patience: limits.patience,
            resolve_within: limits.resolve_within,
        }
    }
}

impl Config {
    /// How patient the planner is.
    pub fn limits(&self) -> PlanLimits {
        PlanLimits {
            expiry: self.proposal_expiry.min(Span::hours(1)),
            recheck: self.recheck,
            patience: self.patience,
            resolve_within: self.resolve_within,
            ..PlanLimits::default()
        }
    }
}

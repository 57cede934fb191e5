use chrono::{DateTime, Utc};
use evenkeel_model::{Decision, Phase, RemediationSpec, RemediationStatus, Spoken, Tier};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All that people are told about one remediation as it stands now. Text in it comes from clusters
/// and is believed nowhere: whoever renders it bounds and escapes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// The Remediation's name.
    pub remediation: String,
    /// What an approval is for, lower-case hexadecimal; absent where nothing can be approved.
    pub digest: Option<String>,
    /// The cluster's name.
    pub cluster: String,
    /// The action and its target: `rollbackWorkload deployment/shop/cart`.
    pub title: String,
    /// The target: `deployment/shop/cart`.
    pub target: String,
    /// The action: `rollbackWorkload`.
    pub action: String,
    /// The playbook, its step, and the playbook's own summary.
    pub playbook: String,
    /// The step.
    pub step: String,
    /// What the playbook says about itself; empty where it is not known.
    pub summary: String,
    /// Names of the signals.
    pub signals: Vec<String>,
    /// Why it is proposed.
    pub rationale: String,
    /// What was found out.
    pub evidence: Vec<Found>,
    /// The exact change, a line a field: `spec.replicas: 3 → 5`.
    pub changes: Vec<String>,
    /// What it can do harm to, for people; empty where it was not worked out.
    pub blast_radius: Vec<String>,
    /// Every policy rule that spoke.
    pub rules: Vec<Spoken>,
    /// The tier that asks for people; absent where none does.
    pub tier: Option<Tier>,
    /// How many persons have to approve.
    pub approvers: u32,
    /// Nothing is begun after this.
    pub expires_at: DateTime<Utc>,
    /// Who approved or denied so far.
    pub voices: Vec<Voice>,
    /// Where it stands.
    pub phase: Phase,
    /// Why, in a line.
    pub reason: String,
    /// When it came there.
    pub at: DateTime<Utc>,
}

/// Something that was found out: `recent.podTemplateChanged` is `true`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// What was asked.
    pub name: String,
    /// What was found.
    pub value: String,
}

/// What one person said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Voice {
    /// The Kubernetes user.
    pub person: String,
    /// Whether they approved.
    pub approved: bool,
    /// When.
    pub at: DateTime<Utc>,
}

impl Story {
    /// What the Remediation itself tells. The caller adds what it knows besides: the playbook's
    /// summary, evidence, blast radius, how many persons have to approve, the digest they approve,
    /// and who spoke.
    pub fn of(remediation: &str, spec: &RemediationSpec, status: &RemediationStatus) -> Self {
        let proposal = &spec.proposal;
        let tier = status.verdict.as_ref().and_then(|verdict| match verdict.decision {
            Decision::NeedsApproval { tier } => Some(tier),
            _ => None,
        });
        let checks = status.verification.iter().flat_map(|verification| &verification.checks);
        Self {
            remediation: remediation.to_owned(),
            digest: None,
            cluster: proposal.cluster.clone(),
            title: spec.title.clone(),
            target: proposal.target.to_string(),
            action: proposal.action.name().as_str().to_owned(),
            playbook: proposal.playbook.name.clone(),
            step: proposal.playbook.step.clone(),
            summary: String::new(),
            signals: proposal.signals.clone(),
            rationale: proposal.rationale.clone(),
            evidence: checks.map(|check| Found { name: check.condition.clone(), value: check.found.clone() }).collect(),
            changes: status.plan.as_ref().map(|plan| plan.changes.clone()).unwrap_or_default(),
            blast_radius: Vec::new(),
            rules: status.verdict.as_ref().map(|verdict| verdict.rules.clone()).unwrap_or_default(),
            tier,
            approvers: 1,
            expires_at: proposal.expires_at,
            voices: Vec::new(),
            phase: status.phase,
            reason: status.reason.clone(),
            at: status.history.last().map_or(proposal.proposed_at, |last| last.at),
        }
    }

    /// Where it stands, as people see it.
    pub fn stage(&self) -> Stage {
        Stage::of(self.phase)
    }
}

/// Where a remediation stands, as people see it: phases that mean the same to them are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    /// Nothing is decided yet, or not now.
    Waiting,
    /// People decide.
    AwaitingApproval,
    /// It will be carried out.
    Approved,
    /// It is being carried out.
    Executing,
    /// It was carried out; whether it helped is being watched.
    Verifying,
    /// It helped.
    Succeeded,
    /// It had helped, and the trouble came again.
    Regressed,
    /// It did not help and is being undone.
    Undoing,
    /// It did not help and was undone.
    Undone,
    /// A person has to look.
    NeedsPerson,
    /// It was refused, by people or by policy.
    Denied,
    /// Its time ran out before anything was done.
    Expired,
    /// A person took it back.
    Cancelled,
    /// The target does not need it any more.
    Obsolete,
    /// Nothing was written.
    Failed,
    /// Audit mode: it would have been carried out.
    WouldExecute,
}

impl Stage {
    /// The stage a phase belongs to.
    pub fn of(phase: Phase) -> Self {
        match phase {
            Phase::Proposed | Phase::Deferred => Self::Waiting,
            Phase::AwaitingApproval => Self::AwaitingApproval,
            Phase::Authorized | Phase::Claimed => Self::Approved,
            Phase::Executing => Self::Executing,
            Phase::Verifying => Self::Verifying,
            Phase::Succeeded => Self::Succeeded,
            Phase::Regressed => Self::Regressed,
            Phase::Ineffective | Phase::RollingBack => Self::Undoing,
            Phase::RolledBack => Self::Undone,
            Phase::Unknown | Phase::Unverified | Phase::RollbackFailed | Phase::NotUndoable => Self::NeedsPerson,
            Phase::Denied => Self::Denied,
            Phase::Expired => Self::Expired,
            Phase::Cancelled => Self::Cancelled,
            Phase::Obsolete => Self::Obsolete,
            Phase::Failed => Self::Failed,
            Phase::WouldExecute => Self::WouldExecute,
        }
    }

    /// The name as configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Approved => "Approved",
            Self::Executing => "Executing",
            Self::Verifying => "Verifying",
            Self::Succeeded => "Succeeded",
            Self::Regressed => "Regressed",
            Self::Undoing => "Undoing",
            Self::Undone => "Undone",
            Self::NeedsPerson => "NeedsPerson",
            Self::Denied => "Denied",
            Self::Expired => "Expired",
            Self::Cancelled => "Cancelled",
            Self::Obsolete => "Obsolete",
            Self::Failed => "Failed",
            Self::WouldExecute => "WouldExecute",
        }
    }

    /// In three words or so.
    pub fn headline(self) -> &'static str {
        match self {
            Self::Waiting => "Not decided yet",
            Self::AwaitingApproval => "Approval needed",
            Self::Approved => "Will be done",
            Self::Executing => "Being done",
            Self::Verifying => "Done, watching whether it helps",
            Self::Succeeded => "Helped",
            Self::Regressed => "Had helped, and came again",
            Self::Undoing => "Did not help, being undone",
            Self::Undone => "Did not help, undone",
            Self::NeedsPerson => "A person has to look",
            Self::Denied => "Refused",
            Self::Expired => "Expired, nothing was done",
            Self::Cancelled => "Taken back, nothing was done",
            Self::Obsolete => "Not needed any more",
            Self::Failed => "Failed, nothing was written",
            Self::WouldExecute => "Would be done (Audit mode)",
        }
    }

    /// How loud a pager is told: one of PagerDuty's severities.
    pub fn severity(self) -> &'static str {
        match self {
            Self::NeedsPerson => "critical",
            Self::AwaitingApproval | Self::Regressed | Self::Undoing => "warning",
            _ => "info",
        }
    }

    /// What a pager does with it: one of PagerDuty's event actions. What waits for a person is
    /// opened, what goes its way is acknowledged, what ended is closed.
    pub fn event_action(self) -> &'static str {
        match self {
            Self::AwaitingApproval | Self::NeedsPerson | Self::Regressed => "trigger",
            Self::Waiting | Self::Approved | Self::Executing | Self::Verifying | Self::Undoing => "acknowledge",
            Self::Succeeded
            | Self::Undone
            | Self::Denied
            | Self::Expired
            | Self::Cancelled
            | Self::Obsolete
            | Self::Failed
            | Self::WouldExecute => "resolve",
        }
    }
}

/// What a tier is called in YAML.
pub(crate) fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Low => "Low",
        Tier::Medium => "Medium",
        Tier::High => "High",
        Tier::Forbidden => "Forbidden",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn names_are_those_of_the_configuration() {
        for phase in Phase::ALL {
            let stage = Stage::of(phase);
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
        }
    }

    #[test]
    fn the_remediation_tells_what_it_knows() {
        let (spec, status) = testing::remediation();
        let story = Story::of("r-1", &spec, &status);
        assert_eq!(story.title, "rollbackWorkload deployment/shop/cart");
        assert_eq!(story.tier, Some(Tier::Medium));
        assert_eq!(story.changes, ["spec.template.spec.containers[web].image: web:2 → web:1"]);
        assert_eq!(story.stage(), Stage::AwaitingApproval);
        assert_eq!(story.rules.len(), 1);
    }

    #[test]
    fn what_ended_is_closed_at_the_pager_and_what_needs_a_person_is_not() {
        for phase in Phase::ALL {
            let stage = Stage::of(phase);
            if stage == Stage::NeedsPerson || phase.needs_acknowledgement() {
                assert_eq!(stage.event_action(), "trigger", "{phase}");
            }
            if stage.event_action() == "resolve" {
                assert!(phase.is_final(), "{phase}");
            }
        }
    }
}

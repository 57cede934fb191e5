use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a Remediation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Recorded, not judged yet.
    Proposed,
    /// Policy says no, or a person.
    Denied,
    /// Policy says not yet.
    Deferred,
    /// People decide.
    AwaitingApproval,
    /// May be carried out.
    Authorized,
    /// Audit mode: it would have been carried out.
    WouldExecute,
    /// Its time ran out before anything was done.
    Expired,
    /// A person took it back before anything was done.
    Cancelled,
    /// The target does not need it (any more).
    Obsolete,
    /// The ledger holds the root for it; nothing has been sent.
    Claimed,
    /// The request may have left.
    Executing,
    /// Done; watching whether it helps.
    Verifying,
    /// Nothing was written.
    Failed,
    /// It can't be told whether it was done. A person has to look.
    Unknown,
    /// It helped, so far.
    Succeeded,
    /// It did not help.
    Ineffective,
    /// Whether it helped can't be told: a source is away. Nothing is undone.
    Unverified,
    /// It did not help and is being undone.
    RollingBack,
    /// It did not help and was undone.
    RolledBack,
    /// It did not help and undoing it failed. A person has to look.
    RollbackFailed,
    /// It did not help and there is no way, or no leave, to undo it.
    NotUndoable,
    /// It had helped, and the same trouble came again.
    Regressed,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Proposed,
        Self::Denied,
        Self::Deferred,
        Self::AwaitingApproval,
        Self::Authorized,
        Self::WouldExecute,
        Self::Expired,
        Self::Cancelled,
        Self::Obsolete,
        Self::Claimed,
        Self::Executing,
        Self::Verifying,
        Self::Failed,
        Self::Unknown,
        Self::Succeeded,
        Self::Ineffective,
        Self::Unverified,
        Self::RollingBack,
        Self::RolledBack,
        Self::RollbackFailed,
        Self::NotUndoable,
        Self::Regressed,
    ];

    /// Nothing more is done about it; an Outcome is due. (Succeeded can still become Regressed.)
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Denied
                | Self::WouldExecute
                | Self::Expired
                | Self::Cancelled
                | Self::Obsolete
                | Self::Failed
                | Self::Unknown
                | Self::Succeeded
                | Self::Unverified
                | Self::RolledBack
                | Self::RollbackFailed
                | Self::NotUndoable
                | Self::Regressed
        )
    }

    /// Nothing has been sent to the cluster, and it may still be taken back.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Proposed | Self::Deferred | Self::AwaitingApproval | Self::Authorized | Self::Claimed)
    }

    /// The ledger holds the root for it.
    pub fn holds_claim(self) -> bool {
        matches!(self, Self::Claimed | Self::Executing | Self::Verifying | Self::Ineffective | Self::RollingBack)
    }

    /// The step was tried and is not to be tried again for this incident.
    pub fn did_not_help(self) -> bool {
        matches!(
            self,
            Self::Ineffective
                | Self::RollingBack
                | Self::RolledBack
                | Self::RollbackFailed
                | Self::NotUndoable
                | Self::Regressed
        )
    }

    /// A person has to look, and the root is held until then.
    pub fn needs_acknowledgement(self) -> bool {
        matches!(self, Self::Unknown | Self::RollbackFailed)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// What happens to a Remediation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Policy says no, or a person.
    Deny,
    /// Policy says not yet.
    Defer,
    /// Policy asks for people.
    AskPeople,
    /// Policy says yes.
    Authorize,
    /// Policy says yes, in Audit mode.
    AuthorizeInAudit,
    /// The time it was deferred to has come, or people need not be asked any more.
    Reconsider,
    /// Its time ran out.
    Expire,
    /// A person took it back.
    Cancel,
    /// The target does not need it.
    FindObsolete,
    /// The ledger gave it the root.
    Claim,
    /// Intent is about to be written; the request leaves after it.
    Begin,
    /// Known not to have been written.
    FailUnwritten,
    /// Done.
    Act,
    /// Can't be told whether it was done.
    LoseTrack,
    /// All conditions held long enough.
    Confirm,
    /// They did not in time.
    FindIneffective,
    /// A source was away for too long to tell.
    FindUnverifiable,
    /// Undo begins.
    BeginUndo,
    /// There is no way, or no leave, to undo it.
    RefuseUndo,
    /// Undone.
    Undo,
    /// Undoing failed.
    FailUndo,
    /// The same trouble came again.
    Recur,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Deny,
        Self::Defer,
        Self::AskPeople,
        Self::Authorize,
        Self::AuthorizeInAudit,
        Self::Reconsider,
        Self::Expire,
        Self::Cancel,
        Self::FindObsolete,
        Self::Claim,
        Self::Begin,
        Self::FailUnwritten,
        Self::Act,
        Self::LoseTrack,
        Self::Confirm,
        Self::FindIneffective,
        Self::FindUnverifiable,
        Self::BeginUndo,
        Self::RefuseUndo,
        Self::Undo,
        Self::FailUndo,
        Self::Recur,
    ];
}

/// A step that can't be taken from a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a remediation that is {phase} can't {step:?}")]
pub struct NotPossible {
    /// Where it stands.
    pub phase: Phase,
    /// What was tried.
    pub step: Step,
}

impl Phase {
    /// The one transition function: where `step` leads from here.
    ///
    /// # Errors
    /// [`NotPossible`] when it leads nowhere.
    pub fn after(self, step: Step) -> Result<Self, NotPossible> {
        use Phase as P;
        use Step as S;
        let waiting = self.is_waiting();
        Ok(match (self, step) {
            (P::Proposed | P::AwaitingApproval | P::Authorized | P::Claimed, S::Deny) => P::Denied,
            (P::Proposed | P::Authorized | P::Claimed, S::Defer) => P::Deferred,
            (P::Proposed | P::Authorized | P::Claimed, S::AskPeople) => P::AwaitingApproval,
            (P::Proposed, S::Authorize) => P::Authorized,
            (P::Proposed | P::Authorized | P::Claimed, S::AuthorizeInAudit) => P::WouldExecute,
            (P::Deferred | P::AwaitingApproval, S::Reconsider) => P::Proposed,
            (_, S::Expire) if waiting => P::Expired,
            (_, S::Cancel) if waiting => P::Cancelled,
            (_, S::FindObsolete) if waiting => P::Obsolete,
            (P::Authorized, S::Claim) => P::Claimed,
            (P::Claimed, S::Begin) => P::Executing,
            (P::Claimed | P::Executing, S::FailUnwritten) => P::Failed,
            (P::Executing, S::Act) => P::Verifying,
            (P::Executing, S::LoseTrack) => P::Unknown,
            (P::Verifying, S::Confirm) => P::Succeeded,
            (P::Verifying, S::FindIneffective) => P::Ineffective,
            (P::Verifying, S::FindUnverifiable) => P::Unverified,
            (P::Ineffective, S::BeginUndo) => P::RollingBack,
            (P::Ineffective, S::RefuseUndo) => P::NotUndoable,
            (P::RollingBack, S::Undo) => P::RolledBack,
            (P::RollingBack, S::FailUndo) => P::RollbackFailed,
            (P::Succeeded, S::Recur) => P::Regressed,
            (phase, step) => return Err(NotPossible { phase, step }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table as text, so that a change of it is seen in review.
    #[test]
    fn the_table_is_as_designed() {
        let mut table = String::new();
        for phase in Phase::ALL {
            for step in Step::ALL {
                if let Ok(next) = phase.after(step) {
                    table.push_str(&format!("{phase} --{step:?}--> {next}\n"));
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn final_phases_stay_final_but_for_a_recurrence() {
        for phase in Phase::ALL.into_iter().filter(|phase| phase.is_final()) {
            for step in Step::ALL {
                let next = phase.after(step);
                assert!(next.is_err() || (phase, step) == (Phase::Succeeded, Step::Recur), "{phase} {step:?}");
            }
        }
    }

    #[test]
    fn every_phase_that_is_not_final_has_a_way_to_an_end() {
        for phase in Phase::ALL {
            let mut reached = std::collections::BTreeSet::from([phase]);
            loop {
                let more: Vec<Phase> = reached
                    .iter()
                    .flat_map(|from| Step::ALL.into_iter().filter_map(|step| from.after(step).ok()))
                    .filter(|next| !reached.contains(next))
                    .collect();
                if more.is_empty() {
                    break;
                }
                reached.extend(more);
            }
            assert!(reached.iter().any(|phase| phase.is_final()), "{phase}");
        }
    }

    #[test]
    fn nothing_is_sent_twice() {
        // Executing is entered from Claimed alone, and never again.
        for phase in Phase::ALL {
            for step in Step::ALL {
                if phase.after(step) == Ok(Phase::Executing) {
                    assert_eq!((phase, step), (Phase::Claimed, Step::Begin));
                }
            }
        }
    }
}

//! The words of evenkeel as types: signals, incidents, playbooks, policies, remediations and
//! their lifecycle. Pure: no clock, no randomness, no I/O.

mod action;
mod approval;
mod clock;
mod digest;
mod evidence;
mod freeze;
mod incident;
mod ledger;
mod lifecycle;
mod object;
mod outcome;
mod playbook;
mod policy;
mod policy_status;
mod proposal;
mod remediation;
mod request;
mod signal;
mod snapshot;
mod span;
mod windows;

pub use action::{
    Action, ActionName, Empty, Escalate, EscalationSeverity, Notify, RollbackTo, RollbackWorkload, ScaleWorkload,
};
pub use approval::{
    APPROVE_GROUP, APPROVE_RESOURCE, APPROVE_VERB, Approval, ApprovalDecision, ApprovalGuard, ApprovalSpec, Asked,
    GivenApproval, MAX_REFUSED_APPROVALS, RefusedApproval, SLACK_APPROVER, Signed,
};
pub use clock::{Clock, FixedClock};
pub use digest::{digest, digest_parts, short_digest};
pub use evidence::{ChangeKind, Evidence, Fact, Finding, Happened, ObservedChange, Query};
pub use freeze::{Freeze, FreezeSpec, FrozenUndo};
pub use incident::{
    Attempt, Decided, FoldedSignal, Incident, Instance, MAX_CAUSES, MAX_EARLIER, MAX_INSTANCES, MAX_MEMBERS, MAX_SEEN,
    MAX_SIGNALS, Member,
};
pub use ledger::{Debit, LEDGER_NAME, Ledger, LedgerClaim, LedgerSpec};
pub use lifecycle::{NotPossible, Phase, Step};
pub use object::{BadObjectRef, Kind, ObjectRef, UnknownKind};
pub use outcome::Outcome;
pub use playbook::{
    Condition, Diagnose, Lately, LogLines, Match, Of, Operator, Playbook, PlaybookSpec, Step as PlaybookStepSpec, Undo,
    Verify,
};
pub use policy::{
    ActionPolicy, ActionPolicySpec, ActionRule, Decision, GitOpsRule, Limits, Maxima, Mode, Origin, PolicyMatch, Rates,
    Spoken, Tier, Unavailable, Verdict,
};
pub use policy_status::{ActionPolicyStatus, ConditionStatus, StatusCondition};
pub use proposal::{BUILT_IN_PLAYBOOK, PlaybookStep, Proposal};
pub use remediation::{
    Acknowledged, ApiRequest, Check, Claim, MAX_HISTORY, Plan, Remediation, RemediationSpec, RemediationStatus,
    Transition, Verb, Verification,
};
pub use request::{Answer, Ask, OfRemediation, Rearm, Request, RequestSpec, RequestStatus, RunStep};
pub use signal::{Severity, Signal, SignalState, Source, is_same_trouble};
pub use snapshot::{
    AvailabilityRecord, Job, MAX_PODS, MAX_REVISIONS, Meta, Node, OwnerReplicas, Pod, Revision, Snapshot, Workload,
    Writer,
};
pub use span::{BadRate, BadSpan, Rate, Span};
pub use windows::{BadTimeOfDay, Day, FrozenDays, Hours, TimeOfDay, TimeZone, UnknownTimeZone, Windows};

/// Annotation with which namespaces and objects narrow what may be done to them: `off` or `audit`.
pub const MODE_ANNOTATION: &str = "evenkeel.dev/mode";
/// Annotation written with every change of ours: `<remediation>/<epoch>`.
pub const STAMP_ANNOTATION: &str = "evenkeel.dev/remediation";
/// The field manager of our writes.
pub const FIELD_MANAGER: &str = "evenkeel";

#[cfg(test)]
mod tests {
    use kube_core::CustomResourceExt as _;

    /// Everything the API server reads of our types; a change is seen in review, and is additive only.
    #[test]
    fn the_custom_resources_have_structural_schemas() {
        let all = [
            crate::Playbook::crd(),
            crate::ActionPolicy::crd(),
            crate::Freeze::crd(),
            crate::Remediation::crd(),
            crate::Approval::crd(),
            crate::Request::crd(),
            crate::Ledger::crd(),
        ];
        for crd in all {
            let name = crd.spec.names.kind.clone();
            insta::assert_json_snapshot!(name, crd);
        }
    }
}

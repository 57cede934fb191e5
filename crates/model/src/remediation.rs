use chrono::{DateTime, Utc};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::approval::Asked;
use crate::lifecycle::Phase;
use crate::object::ObjectRef;
use crate::playbook::{Diagnose, PlaybookSpec, Step};
use crate::policy::Verdict;
use crate::proposal::Proposal;

/// One proposal's whole life. Its status is the authority; its spec never changes.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    crates(kube_core = "::kube_core", k8s_openapi = "::k8s_openapi"),
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Remediation",
    namespaced,
    status = "RemediationStatus",
    shortname = "rem",
    category = "evenkeel",
    printcolumn = r#"{"name":"What","type":"string","jsonPath":".spec.title"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Why","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Playbook","type":"string","jsonPath":".spec.proposal.playbook.name"}"#,
    printcolumn = r#"{"name":"Step","type":"string","jsonPath":".spec.proposal.playbook.step"}"#,
    printcolumn = r#"{"name":"Signals","type":"string","jsonPath":".spec.proposal.signals","priority":1}"#,
    printcolumn = r#"{"name":"Incident","type":"string","jsonPath":".spec.proposal.incident","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "a Remediation's spec can't be changed"}]))]
pub struct RemediationSpec {
    /// The action and its target, for people: `rollbackWorkload deployment/shop/cart`.
    #[schemars(length(max = 512))]
    pub title: String,
    /// The proposal, as it came.
    pub proposal: Proposal,
    /// The step as its playbook declared it when the proposal was accepted: what is verified and
    /// undone does not change when the playbook does. Absent for built-in steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// The questions that the step's verification needs, of the same playbook.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnose: Vec<Diagnose>,
    /// The Kubernetes user who asked for it, where a person did: one who can't approve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub requested_by: Option<String>,
}

impl RemediationSpec {
    /// A spec with its title.
    pub fn new(proposal: Proposal) -> Self {
        let title = format!("{} {}", proposal.action.name(), proposal.target);
        Self { title, proposal, step: None, diagnose: Vec::new(), requested_by: None }
    }

    /// With the step of `playbook` that the proposal names, and the questions its verification needs.
    #[must_use]
    pub fn with_step_of(mut self, playbook: &PlaybookSpec) -> Self {
        self.step = playbook.step(&self.proposal.playbook.step).cloned();
        let verify = self.step.as_ref().and_then(|step| step.verify.as_ref());
        let asks = |name: &str| {
            let conditions = verify.map(|verify| verify.that.as_slice()).unwrap_or_default();
            conditions.iter().any(|condition| condition.fact.split('.').next() == Some(name))
        };
        self.diagnose = playbook.diagnose.iter().filter(|question| asks(&question.name)).cloned().collect();
        self
    }
}

/// At most so many entries of [`RemediationStatus::history`]; the first stays, the oldest after it go.
pub const MAX_HISTORY: usize = 40;

/// Where a Remediation stands, and all that was written before anything was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemediationStatus {
    /// Where it stands.
    pub phase: Phase,
    /// Why, in a line.
    #[serde(default)]
    pub reason: String,
    /// Every phase it was in.
    #[serde(default)]
    pub history: Vec<Transition>,
    /// What the policies said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What people are asked, and what they have answered; absent when they need not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Asked>,
    /// Not to be reconsidered before, for Deferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// The ledger's claim it acts under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// What is sent and how it is taken back; written before it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// When the API server answered that it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acted_at: Option<DateTime<Utc>>,
    /// Whether it helped, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Whether the target was well when last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_well: Option<bool>,
    /// Who has looked at it, where it ended so that somebody has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledged>,
    /// The final phase whose Outcome is on the bus. Nothing is deleted before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome_published: Option<Phase>,
}

/// Somebody has looked: the root need not be held any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// The Request that said so.
    pub request: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// One change of phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// When.
    pub at: DateTime<Utc>,
    /// Into which phase.
    pub phase: Phase,
    /// Why.
    pub reason: String,
}

/// A claim on a root, given by the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Rises with every claim given; a later claim on the root has a higher one.
    pub epoch: u64,
    /// Nothing may be sent after this.
    pub until: DateTime<Utc>,
    /// The gateway process that holds it.
    pub holder: String,
}

/// What is sent to the API server and how it is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The request.
    pub request: ApiRequest,
    /// The request that takes it back; absent when nothing can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inverse: Option<ApiRequest>,
    /// What changes, for people: `spec.template.spec.containers[web].image: web:2 → web:1`.
    pub changes: Vec<String>,
    /// Lines kept from before a delete or restart: logs, last state, events. Redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captured: Vec<String>,
}

/// One mutating request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiRequest {
    /// What is done.
    pub verb: Verb,
    /// To which object; the uid is sent as a precondition.
    pub object: ObjectRef,
    /// JSON Patch operations, for Patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub body: Option<serde_json::Value>,
}

fn any_value(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// The mutating verbs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// JSON Patch, with tests on uid and replaced fields, stamped.
    Patch,
    /// Delete, with the uid as precondition.
    Delete,
    /// Eviction, with the uid as precondition.
    Evict,
    /// Nothing is written to the object; people are told.
    Tell,
}

/// Whether it helped, as far as is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// By when all conditions must hold.
    pub deadline: DateTime<Utc>,
    /// Since when all hold without a break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holding_since: Option<DateTime<Utc>>,
    /// Each condition as last looked at: `target.well is true: yes`.
    #[serde(default)]
    pub checks: Vec<Check>,
}

/// One condition as last looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The condition, for people.
    pub condition: String,
    /// Whether it held; absent when it can't be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
    /// What was found.
    pub found: String,
}

impl RemediationStatus {
    /// The status of a new Remediation.
    pub fn proposed(at: DateTime<Utc>) -> Self {
        let reason = "recorded".to_owned();
        Self {
            phase: Phase::Proposed,
            reason: reason.clone(),
            history: vec![Transition { at, phase: Phase::Proposed, reason }],
            verdict: None,
            approval: None,
            not_before: None,
            claim: None,
            plan: None,
            acted_at: None,
            verification: None,
            target_well: None,
            acknowledged: None,
            outcome_published: None,
        }
    }

    /// Takes a step of the lifecycle and notes it.
    ///
    /// # Errors
    /// [`crate::NotPossible`] when it leads nowhere from here; nothing is changed then.
    pub fn advance(
        &mut self,
        step: crate::Step,
        at: DateTime<Utc>,
        reason: impl Into<String>,
    ) -> Result<(), crate::NotPossible> {
        self.phase = self.phase.after(step)?;
        self.reason = reason.into();
        self.history.push(Transition { at, phase: self.phase, reason: self.reason.clone() });
        if self.history.len() > MAX_HISTORY {
            self.history.remove(1);
        }
        Ok(())
    }
}

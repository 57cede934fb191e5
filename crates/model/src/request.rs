use chrono::{DateTime, Utc};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::ObjectRef;

/// What a person asks the gateway for. It lies in the engine's namespace; admission policy sees to it that `by` is
/// who sent it, and that they may.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    crates(kube_core = "::kube_core", k8s_openapi = "::k8s_openapi"),
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Request",
    plural = "requests",
    namespaced,
    status = "RequestStatus",
    category = "evenkeel",
    printcolumn = r#"{"name":"What","type":"string","jsonPath":".spec.do"}"#,
    printcolumn = r#"{"name":"By","type":"string","jsonPath":".spec.by"}"#,
    printcolumn = r#"{"name":"Answer","type":"string","jsonPath":".status.answer"}"#,
    printcolumn = r#"{"name":"Why","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".spec.reason","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "a Request's spec can't be changed; make another"}]))]
pub struct RequestSpec {
    /// What is asked for.
    #[serde(rename = "do")]
    pub ask: Ask,
    /// Who asks: the user as the API server knows them.
    #[schemars(length(min = 1, max = 256))]
    pub by: String,
    /// Why, for people.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}

/// What a person can ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Ask {
    /// Carry out a step of a playbook, through the same gate as any other.
    Run(RunStep),
    /// Take back a Remediation of which nothing has been sent.
    Cancel(OfRemediation),
    /// Somebody has looked at a Remediation that ended Unknown or RollbackFailed: its root need not be held.
    Ack(OfRemediation),
    /// Close breakers: what failed until now does not count any more.
    Rearm(Rearm),
}

impl Ask {
    /// The RBAC verb it needs.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Cancel(_) => "cancel",
            Self::Ack(_) => "ack",
            Self::Rearm(_) => "rearm",
        }
    }
}

impl std::fmt::Display for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run(RunStep { playbook, step: Some(step), target }) => {
                write!(f, "run step {step} of {playbook} on {target}")
            }
            Self::Run(RunStep { playbook, step: None, target }) => write!(f, "run {playbook} on {target}"),
            Self::Cancel(of) => write!(f, "cancel {}", of.remediation),
            Self::Ack(of) => write!(f, "ack {}", of.remediation),
            Self::Rearm(rearm) => write!(f, "rearm {}", rearm.playbooks.join(", ")),
        }
    }
}

/// A step of a playbook on an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunStep {
    /// The playbook.
    #[schemars(length(min = 1, max = 253), pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub playbook: String,
    /// The step; the first one that changes something where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub step: Option<String>,
    /// On what.
    pub target: ObjectRef,
}

/// A Remediation by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OfRemediation {
    /// Its name.
    #[schemars(length(min = 1, max = 253), pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub remediation: String,
}

/// Which breakers are closed. Named aloud: a field that got lost must not close them all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rearm {
    /// Of these playbooks. `*` closes all breakers, and the one over all automatic action.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 253)))]
    pub playbooks: Vec<String>,
}

/// What became of a request. Written by gateways alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestStatus {
    /// The answer.
    pub answer: Answer,
    /// Why, in a line.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The Remediation it became, or was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<String>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Answer {
    /// It was done; of `run`: it is a Remediation now, and takes its course.
    Done,
    /// It was not, and won't be.
    Refused,
}

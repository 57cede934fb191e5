//! What can be done, one file an action.
//!
//! An action is judged on a fresh [`Snapshot`] ([`Acting::indication`], [`Acting::takes_capacity`]),
//! turned into one request with its inverse from what the API itself holds ([`Acting::plan`]),
//! and sent by [`send`]. Whatever became of a request whose answer was lost, [`probe`] finds out
//! from the plan alone; it serves the inverse as well.
//!
//! A new action is one new file and one line in [`for_action`].

mod capture;
mod cordon_node;
mod delete_job;
mod delete_pod;
mod draft;
mod escalate;
mod evict_pod;
mod guards;
mod notify;
mod probe;
mod restart_workload;
mod rollback_workload;
mod scale_workload;
#[cfg(test)]
mod testing;
mod uncordon_node;
mod unmarked;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use evenkeel_cluster::{ReadError, Stamp, WriteError};
use evenkeel_model::{Action, ApiRequest, ObjectRef, Plan, Proposal, Snapshot, Verb};
pub(crate) use guards::git_ops_owner;
pub(crate) use probe::{Probe, probe};
use serde_json::Value;
pub(crate) use unmarked::unmarked;

/// The table of actions.
pub(crate) fn for_action(action: &Action) -> Box<dyn Acting> {
    match action {
        Action::RollbackWorkload(parameters) => Box::new(rollback_workload::RollbackWorkload(*parameters)),
        Action::RestartWorkload(_) => Box::new(restart_workload::RestartWorkload),
        Action::ScaleWorkload(parameters) => Box::new(scale_workload::ScaleWorkload(*parameters)),
        Action::DeletePod(_) => Box::new(delete_pod::DeletePod),
        Action::EvictPod(_) => Box::new(evict_pod::EvictPod),
        Action::CordonNode(_) => Box::new(cordon_node::CordonNode),
        Action::UncordonNode(_) => Box::new(uncordon_node::UncordonNode),
        Action::DeleteJob(_) => Box::new(delete_job::DeleteJob),
        Action::Notify(parameters) => Box::new(notify::Notify(parameters.clone())),
        Action::Escalate(parameters) => Box::new(escalate::Escalate(*parameters)),
    }
}

/// One action, with its parameters.
#[async_trait]
pub(crate) trait Acting: Send + Sync {
    /// Whether the target needs it, as the gateway itself sees it. Pure.
    fn indication(&self, snapshot: &Snapshot) -> Indication;

    /// Whether it can take away capacity that is available now: that raises the tier. Pure.
    fn takes_capacity(&self, snapshot: &Snapshot) -> bool;

    /// Makes the request and its inverse from the API's own content, and keeps what would be lost
    /// with it (logs, last states, events; redacted). Reads only.
    async fn plan(&self, context: Context<'_>) -> Result<Plan, PlanError>;

    /// The object whose snapshot tells whether it helped: `target` of the verification's facts. A
    /// pod that was deleted never gets well; what owns it does.
    fn verified_on<'a>(&self, proposal: &'a Proposal) -> &'a ObjectRef {
        &proposal.target
    }

    /// The action's own condition on the object of [`Acting::verified_on`], to hold beside the
    /// playbook's. Pure.
    fn well(&self, snapshot: &Snapshot) -> Well {
        match snapshot.is_well() {
            Some(false) => Well::No(format!("{} is not well", snapshot.target)),
            Some(true) | None => Well::Yes,
        }
    }
}

/// What an action may look at while it is planned.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// For live reads.
    pub(crate) client: &'a kube::Client,
    /// What is asked for.
    pub(crate) proposal: &'a Proposal,
    /// The target as it was read for this execution: the object that is acted on, by its uid.
    pub(crate) snapshot: &'a Snapshot,
    /// What the request leaves on the object.
    pub(crate) stamp: &'a Stamp,
    /// The time now.
    pub(crate) now: DateTime<Utc>,
}

/// Whether the target needs an action, as the gateway itself sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Indication {
    /// It does, and by what that is seen.
    Indicated(String),
    /// It does not (any more), and why.
    NotIndicated(String),
}

/// Whether the object is as the action should leave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Well {
    /// It is.
    Yes,
    /// It is not (yet), and what is missing.
    No(String),
}

/// What the API server answered to a request that succeeded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    /// The object as it is then (in a dry run: would be), for patches.
    pub(crate) object: Option<Value>,
}

/// Why no request can be made of an action. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// The target is not, or no longer, such that the action can be done to it.
    #[error("{target}: {reason}")]
    Refused {
        /// The target.
        target: String,
        /// Why.
        reason: String,
    },
    /// What the request is made of could not be read; it may be later.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl PlanError {
    fn refused(target: &ObjectRef, reason: impl Into<String>) -> Self {
        Self::Refused { target: target.to_string(), reason: reason.into() }
    }
}

/// Sends a request of a plan: one request, no retry.
///
/// # Errors
/// See [`WriteError`]; [`WriteError::outcome`] says whether [`probe`] is needed.
pub(crate) async fn send(client: &kube::Client, request: &ApiRequest, dry_run: bool) -> Result<Sent, WriteError> {
    let object = &request.object;
    let body = request.body.as_ref();
    match request.verb {
        Verb::Patch => {
            let operations = body.unwrap_or(&Value::Null);
            let object = evenkeel_cluster::patch(client, object, operations, dry_run).await?;
            Ok(Sent { object: Some(object) })
        }
        Verb::Delete => {
            let grace = draft::grace_seconds(request);
            evenkeel_cluster::delete(client, object, grace, dry_run).await.map(|()| Sent { object: None })
        }
        Verb::Evict => evenkeel_cluster::evict(client, object, dry_run).await.map(|()| Sent { object: None }),
        Verb::Tell => Ok(Sent { object: None }),
    }
}

//! Proposals made by hand, as a reasoner would make them: they are judged as any other.

use anyhow::Result;
use chrono::Duration;
use evenkeel_bus::{Bus as _, JetStreamBus, Publish, Subject, TraceContext};
use evenkeel_model::{Action, Kind, ObjectRef, Origin, Playbook, PlaybookStep, Proposal, RollbackTo, RollbackWorkload};

use crate::world::{CLUSTER, now};

/// A Deployment.
pub fn deployment(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::namespaced(Kind::Deployment, namespace, name)
}

/// Step `roll-back` of a playbook, a manifest, on a Deployment; the first proposal of its incident, good for half an hour.
///
/// # Errors
/// It is no playbook.
pub fn rollback(playbook: &str, incident: &str, target: ObjectRef) -> Result<Proposal> {
    let playbook: Playbook = serde_saphyr::from_str(playbook)?;
    Ok(Proposal {
        incident: incident.to_owned(),
        number: 1,
        cluster: CLUSTER.to_owned(),
        root: target.clone(),
        target,
        action: Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable }),
        playbook: PlaybookStep {
            name: playbook.metadata.name.clone().unwrap_or_default(),
            version: playbook.spec.version()?,
            step: "roll-back".to_owned(),
        },
        origin: Origin::Playbook,
        signals: vec!["ImagePullBackOff".to_owned()],
        rationale: "The newest revision can't be pulled.".to_owned(),
        recurrence_of: None,
        proposed_at: now(),
        expires_at: now() + Duration::minutes(30),
        traceparent: None,
    })
}

/// Publishes a proposal; the name of the Remediation it becomes.
///
/// # Errors
/// The bus does not take it.
pub async fn publish(bus: &JetStreamBus, proposal: &Proposal) -> Result<String> {
    let (id, payload) = (proposal.name(), serde_json::to_vec(proposal)?.into());
    bus.publish(Publish { subject: Subject::Proposal, id, payload, trace: TraceContext::default() }).await?;
    Ok(proposal.name())
}

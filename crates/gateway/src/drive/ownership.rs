//! What the target belongs to, read just now: it says what is held and counted, and narrows what
//! may be done. A proposal chooses neither.

use evenkeel_cluster::convert::{controller_of, narrower};
use evenkeel_model::{Kind, MODE_ANNOTATION, ObjectRef, Proposal, Snapshot};
use kube::core::ObjectMeta;

use crate::index::names_same;
use crate::plane::{DriveError, Plane};

/// Owners read at most. Kubernetes' own chains have three; a longer one may be a ring.
const MAX_DEPTH: usize = 8;

/// What was found of the target's owners.
pub(super) struct Ownership {
    /// The object a person would act on: what is held for an action on the target.
    pub(super) root: ObjectRef,
    /// The narrowest `evenkeel.dev/mode` of the target, its namespace, its owners, and its node
    /// where that is the proposal's root.
    pub(super) mode: Option<String>,
}

impl Ownership {
    /// Whether a proposal's root is what the target belongs to. A pod's may be its node: many pods
    /// of a node that is not ready are one incident.
    pub(super) fn is_root(&self, proposal: &Proposal, snapshot: &Snapshot) -> bool {
        names_same(&self.root, &proposal.root) || is_node_of_pod(proposal, snapshot)
    }
}

impl Plane {
    /// The target's uid and what it belongs to, as they are now; `None` when there is no such object.
    pub(crate) async fn root_now(&self, proposal: &Proposal) -> Result<Option<(String, ObjectRef)>, DriveError> {
        let snapshot = self.snapshot(&proposal.target).await?;
        let Some(meta) = &snapshot.meta else { return Ok(None) };
        let root = self.ownership(proposal, &snapshot).await?.root;
        Ok(Some((meta.uid.clone(), root)))
    }

    /// Follows the target's controllers. What nobody controls costs no read.
    pub(super) async fn ownership(&self, proposal: &Proposal, snapshot: &Snapshot) -> Result<Ownership, DriveError> {
        let meta = snapshot.meta.as_ref();
        let mut found = Ownership { root: snapshot.target.clone(), mode: meta.and_then(|meta| meta.mode.clone()) };
        let mut next = meta.and_then(|meta| meta.controller.clone());
        for _ in 0..MAX_DEPTH {
            let Some(owner) = next.take() else { break };
            let there = self.metadata(&owner).await?;
            let Some(there) = there.filter(|it| owner.uid.is_none() || owner.uid == it.uid) else { break };
            found.mode = narrower(found.mode.as_deref(), mode(&there));
            next = controller_of(&there, owner.namespace.as_deref());
            if is_acted_on_instead(&found.root, &owner) {
                found.root = owner;
            }
        }
        if is_node_of_pod(proposal, snapshot)
            && let Some(node) = self.metadata(&proposal.root).await?
        {
            found.mode = narrower(found.mode.as_deref(), mode(&node));
        }
        Ok(found)
    }
}

fn mode(meta: &ObjectMeta) -> Option<&str> {
    meta.annotations.as_ref()?.get(MODE_ANNOTATION).map(String::as_str)
}

/// A Job is acted on itself, its CronJob is not.
fn is_acted_on_instead(owned: &ObjectRef, owner: &ObjectRef) -> bool {
    let climbed = [Kind::ReplicaSet, Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job];
    owned.kind != Kind::Job && climbed.contains(&owner.kind)
}

fn is_node_of_pod(proposal: &Proposal, snapshot: &Snapshot) -> bool {
    let node = snapshot.node.as_ref().map(|node| node.name.as_str());
    proposal.root.kind == Kind::Node && snapshot.pod.is_some() && node == Some(proposal.root.name.as_str())
}

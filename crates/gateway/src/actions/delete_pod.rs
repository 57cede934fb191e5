//! Deletes a pod, so that its controller makes a new one elsewhere.
//!
//! Indicated when the pod is not ready, or is past its grace period, on a node that is not ready or is
//! gone, and a controller makes it anew. Not for a DaemonSet's pod, which belongs to its node, and
//! not on a node that others take away on purpose.
//!
//! A pod that is past its grace period on a dead node is removed without waiting for the kubelet while its
//! ReplicaSet misses replicas: it may be in their way. One that nobody misses any more is left alone. Not
//! a StatefulSet's: while nobody knows that its process has ended, a second one of the same identity
//! could corrupt its data; that is for a person (taint node.kubernetes.io/out-of-service).

use async_trait::async_trait;
use evenkeel_model::{Kind, ObjectRef, Plan, Pod, Proposal, Snapshot, Verb};

use super::{Acting, Context, Indication, PlanError, Well, capture, draft};

pub(super) struct DeletePod;

#[async_trait]
impl Acting for DeletePod {
    fn indication(&self, snapshot: &Snapshot) -> Indication {
        match why(snapshot) {
            Ok(reason) => Indication::Indicated(reason),
            Err(reason) => Indication::NotIndicated(reason),
        }
    }

    fn takes_capacity(&self, snapshot: &Snapshot) -> bool {
        snapshot.pod.as_ref().is_none_or(|pod| pod.ready)
    }

    async fn plan(&self, context: Context<'_>) -> Result<Plan, PlanError> {
        let snapshot = context.snapshot;
        let (pod, owner) = pod_to_replace(snapshot).map_err(|reason| PlanError::refused(&snapshot.target, reason))?;
        let body = pod.overdue.then(draft::without_grace);
        let how = if pod.overdue { "removed without waiting for its kubelet" } else { "deleted" };
        let change = format!("{} is {how}; {owner} makes another", snapshot.target);
        let captured = capture::capture(context.client, snapshot).await;
        Ok(draft::for_good(context, Verb::Delete, body, change, captured))
    }

    fn verified_on<'a>(&self, proposal: &'a Proposal) -> &'a ObjectRef {
        &proposal.root
    }

    fn well(&self, snapshot: &Snapshot) -> Well {
        owner_is_well(snapshot)
    }
}

fn why(snapshot: &Snapshot) -> Result<String, String> {
    let (pod, owner) = pod_to_replace(snapshot)?;
    let node = lost_node(snapshot, pod)?;
    if !pod.overdue {
        if pod.deleted_at.is_some() {
            return Err("its deletion was asked for already".to_owned());
        }
        if pod.ready {
            return Err("it is ready".to_owned());
        }
        return Ok(format!("it is not ready and {node}"));
    }
    if owner.kind != Kind::ReplicaSet {
        return Err(format!("{owner} made it, and nobody knows that it does not run any more; a person has to say so"));
    }
    // Its node may still run it: what nobody misses is left to the node's return, or to whoever takes the node away.
    if snapshot.owner.is_some_and(|replicas| replicas.unavailable() == 0) {
        return Err(format!("{owner} has all its replicas without it"));
    }
    Ok(format!("it is past its grace period and {node}"))
}

/// The pod and what makes it anew.
pub(super) fn pod_to_replace(snapshot: &Snapshot) -> Result<(&Pod, &ObjectRef), String> {
    let (Some(meta), Some(pod)) = (&snapshot.meta, &snapshot.pod) else {
        return Err("it does not exist".to_owned());
    };
    let owner = meta.controller.as_ref().ok_or("no controller would make another")?;
    if owner.kind == Kind::DaemonSet {
        return Err(format!("{owner} would make another on the same node"));
    }
    if pod.phase == "Succeeded" {
        return Err("it has done its work".to_owned());
    }
    Ok((pod, owner))
}

/// Why the pod's node does not run it.
fn lost_node(snapshot: &Snapshot, pod: &Pod) -> Result<String, String> {
    let name = pod.node.as_deref().ok_or("it is bound to no node")?;
    let Some(node) = &snapshot.node else { return Ok(format!("node {name} is gone")) };
    if let Some(who) = &node.planned_disruption {
        return Err(format!("node {name} is taken away on purpose: {who}"));
    }
    if node.ready { Err(format!("node {name} is ready")) } else { Ok(format!("node {name} is not ready")) }
}

/// Whether what owns the pod is well again. An owner without such a notion need not be.
pub(super) fn owner_is_well(snapshot: &Snapshot) -> Well {
    match snapshot.is_well() {
        Some(false) if snapshot.target.kind == Kind::Pod && !snapshot.is_there() => Well::Yes,
        Some(false) => Well::No(format!("{} is not well", snapshot.target)),
        Some(true) | None => Well::Yes,
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::testing::{FakeApi, SHOP};
    use serde_json::json;

    use super::super::testing::{is_indicated, plan, read, refusal};
    use super::*;

    const POD: &str = "cart-554857864b-446t9";

    /// The pod's node does not answer, and the pod is not ready.
    fn node_lost(kind: &str, pod: &str) -> FakeApi {
        let api = FakeApi::new(SHOP);
        api.edit(kind, pod, |it| {
            it["spec"]["nodeName"] = json!("kwok-node-0");
            it["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
        });
        api.edit("Node", "kwok-node-0", |it| {
            it["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown"}]);
        });
        api
    }

    fn overdue(api: &FakeApi, pod: &str) {
        api.edit("Pod", pod, |it| {
            it["metadata"]["deletionTimestamp"] = json!("2026-11-21T03:50:00Z");
            it["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        });
    }

    fn replicas(api: &FakeApi, desired: i32, available: i32) {
        api.edit("ReplicaSet", "cart-554857864b", |it| {
            it["spec"]["replicas"] = json!(desired);
            it["status"]["availableReplicas"] = json!(available);
        });
    }

    #[tokio::test]
    async fn a_pod_on_a_lost_node_is_deleted() {
        let api = node_lost("Pod", POD);
        let snapshot = read(&api, Kind::Pod, POD).await;
        assert!(is_indicated(&DeletePod, &snapshot) && !DeletePod.takes_capacity(&snapshot));
        insta::assert_json_snapshot!(plan(&api, &DeletePod, &snapshot).await.unwrap());
    }

    #[tokio::test]
    async fn a_pod_whose_node_is_gone_is_deleted() {
        let api = node_lost("Pod", POD);
        api.remove("Node", "kwok-node-0");
        assert!(is_indicated(&DeletePod, &read(&api, Kind::Pod, POD).await));
    }

    #[tokio::test]
    async fn an_overdue_pod_is_removed_at_once_unless_its_identity_could_run_twice() {
        let api = node_lost("Pod", POD);
        overdue(&api, POD);
        replicas(&api, 3, 2);
        let snapshot = read(&api, Kind::Pod, POD).await;
        assert!(is_indicated(&DeletePod, &snapshot));
        let planned = plan(&api, &DeletePod, &snapshot).await.unwrap();
        assert_eq!(planned.request.body, Some(json!({"gracePeriodSeconds": 0})));
        let api = node_lost("Pod", "db-1");
        overdue(&api, "db-1");
        assert!(refusal(&DeletePod, &read(&api, Kind::Pod, "db-1").await).contains("a person has to say so"));
    }

    #[tokio::test]
    async fn an_overdue_pod_that_nobody_misses_is_left_alone() {
        let api = node_lost("Pod", POD);
        overdue(&api, POD);
        replicas(&api, 3, 3);
        let refused = refusal(&DeletePod, &read(&api, Kind::Pod, POD).await);
        assert_eq!(refused, "replicaset/shop/cart-554857864b has all its replicas without it");
    }

    #[tokio::test]
    async fn other_pods_are_left_alone() {
        let api = FakeApi::new(SHOP);
        assert!(refusal(&DeletePod, &read(&api, Kind::Pod, POD).await).contains("node kwok-node-0 is ready"));
        assert!(refusal(&DeletePod, &read(&api, Kind::Pod, "none").await).contains("does not exist"));
        let api = node_lost("Pod", "agent-wv7b8");
        assert!(refusal(&DeletePod, &read(&api, Kind::Pod, "agent-wv7b8").await).contains("on the same node"));
        let api = node_lost("Pod", POD);
        let mut snapshot = read(&api, Kind::Pod, POD).await;
        snapshot.pod.as_mut().unwrap().deleted_at = Some(snapshot.taken_at);
        assert!(refusal(&DeletePod, &snapshot).contains("asked for already"));
        snapshot.pod.as_mut().unwrap().deleted_at = None;
        snapshot.pod.as_mut().unwrap().ready = true;
        assert!(refusal(&DeletePod, &snapshot).contains("it is ready"));
        assert!(DeletePod.takes_capacity(&snapshot));
        snapshot.node.as_mut().unwrap().planned_disruption = Some("Karpenter".to_owned());
        assert!(refusal(&DeletePod, &snapshot).contains("Karpenter"));
        snapshot.meta.as_mut().unwrap().controller = None;
        assert!(refusal(&DeletePod, &snapshot).contains("no controller"));
    }
}

//! Evicts a pod, minding disruption budgets, so that its controller makes a new one elsewhere.
//!
//! Indicated when its node is not ready and the pod neither, or when its node is cordoned or under
//! pressure; a controller makes it anew. Not for a DaemonSet's pod, not when its deletion was asked
//! for, and not on a node that others take away on purpose: they evict by themselves.

use async_trait::async_trait;
use evenkeel_model::{ObjectRef, Plan, Proposal, Snapshot, Verb};

use super::delete_pod::{owner_is_well, pod_to_replace};
use super::{Acting, Context, Indication, PlanError, Well, capture, draft};

pub(super) struct EvictPod;

#[async_trait]
impl Acting for EvictPod {
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
        let (_, owner) = pod_to_replace(snapshot).map_err(|reason| PlanError::refused(&snapshot.target, reason))?;
        let change = format!("{} is evicted; {owner} makes another", snapshot.target);
        let captured = capture::capture(context.client, snapshot).await;
        Ok(draft::for_good(context, Verb::Evict, None, change, captured))
    }

    fn verified_on<'a>(&self, proposal: &'a Proposal) -> &'a ObjectRef {
        &proposal.root
    }

    fn well(&self, snapshot: &Snapshot) -> Well {
        owner_is_well(snapshot)
    }
}

fn why(snapshot: &Snapshot) -> Result<String, String> {
    let (pod, _) = pod_to_replace(snapshot)?;
    if pod.deleted_at.is_some() {
        return Err("its deletion was asked for already".to_owned());
    }
    let name = pod.node.as_deref().ok_or("it is bound to no node")?;
    let node = snapshot.node.as_ref().ok_or_else(|| format!("node {name} is gone: nothing is left to evict from"))?;
    if let Some(who) = &node.planned_disruption {
        return Err(format!("node {name} is taken away on purpose: {who}"));
    }
    if !node.pressure.is_empty() {
        return Ok(format!("node {name} is under {}", node.pressure.join(", ")));
    }
    if node.unschedulable {
        return Ok(format!("node {name} is cordoned"));
    }
    match (node.ready, pod.ready) {
        (false, false) => Ok(format!("it is not ready and node {name} is not ready")),
        (false, true) => Err("it is ready".to_owned()),
        (true, _) => Err(format!("node {name} is ready, not cordoned and without pressure")),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::testing::{FakeApi, SHOP};
    use evenkeel_model::Kind;

    use super::super::testing::{is_indicated, plan, read, refusal};
    use super::*;

    const POD: &str = "cart-554857864b-446t9";

    #[tokio::test]
    async fn a_node_in_trouble_indicates_it() {
        let fine = read(&FakeApi::new(SHOP), Kind::Pod, POD).await;
        assert!(refusal(&EvictPod, &fine).contains("is ready, not cordoned"));
        let changed = |change: fn(&mut Snapshot)| {
            let mut snapshot = fine.clone();
            change(&mut snapshot);
            snapshot
        };
        let pressed = changed(|it| it.node.as_mut().unwrap().pressure = vec!["DiskPressure".to_owned()]);
        assert!(is_indicated(&EvictPod, &pressed) && EvictPod.takes_capacity(&pressed));
        assert!(is_indicated(&EvictPod, &changed(|it| it.node.as_mut().unwrap().unschedulable = true)));
        let lost = changed(|it| {
            it.node.as_mut().unwrap().ready = false;
            it.pod.as_mut().unwrap().ready = false;
        });
        assert!(is_indicated(&EvictPod, &lost) && !EvictPod.takes_capacity(&lost));
        let drained = changed(|it| {
            let node = it.node.as_mut().unwrap();
            (node.unschedulable, node.planned_disruption) = (true, Some("Karpenter".to_owned()));
        });
        assert!(refusal(&EvictPod, &drained).contains("Karpenter"));
        let going = changed(|it| it.pod.as_mut().unwrap().deleted_at = Some(it.taken_at));
        assert!(refusal(&EvictPod, &going).contains("asked for already"));
    }

    #[tokio::test]
    async fn it_is_an_eviction_of_that_very_pod() {
        let api = FakeApi::new(SHOP);
        let snapshot = read(&api, Kind::Pod, POD).await;
        insta::assert_json_snapshot!(plan(&api, &EvictPod, &snapshot).await.unwrap());
    }
}

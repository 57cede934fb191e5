//! Keeps new pods off a node.
//!
//! Indicated when the node is not ready or under pressure, still takes pods, and nobody takes it away on
//! purpose. No running pod is touched.
//!
//! A cordon does not heal the node, and silences some alerts: it has done its work when it is there.

use async_trait::async_trait;
use evenkeel_cluster::Patch;
use evenkeel_model::{Node, Plan, Snapshot};
use serde_json::json;

use super::{Acting, Context, Indication, PlanError, Well, draft};

pub(super) struct CordonNode;

#[async_trait]
impl Acting for CordonNode {
    fn indication(&self, snapshot: &Snapshot) -> Indication {
        match why(snapshot) {
            Ok(reason) => Indication::Indicated(reason),
            Err(reason) => Indication::NotIndicated(reason),
        }
    }

    fn takes_capacity(&self, _: &Snapshot) -> bool {
        false
    }

    async fn plan(&self, context: Context<'_>) -> Result<Plan, PlanError> {
        let live = draft::live_target(context).await?;
        draft::patch(context, Patch::of(&live).set(&["spec", "unschedulable"], json!(true)))
    }

    fn well(&self, snapshot: &Snapshot) -> Well {
        match &snapshot.node {
            Some(node) if node.unschedulable => Well::Yes,
            Some(_) => Well::No(format!("{} is not cordoned", snapshot.target)),
            None => Well::No(format!("{} does not exist", snapshot.target)),
        }
    }
}

/// The node, unless it is gone or somebody takes it away on purpose.
pub(super) fn node_to_keep(snapshot: &Snapshot) -> Result<&Node, String> {
    let node = snapshot.node.as_ref().filter(|_| snapshot.is_there());
    let node = node.ok_or("it does not exist or is being deleted")?;
    match &node.planned_disruption {
        Some(who) => Err(format!("it is taken away on purpose: {who}")),
        None => Ok(node),
    }
}

fn why(snapshot: &Snapshot) -> Result<String, String> {
    let node = node_to_keep(snapshot)?;
    if node.unschedulable {
        return Err("it is cordoned already".to_owned());
    }
    if !node.ready {
        return Ok("it is not ready".to_owned());
    }
    if node.pressure.is_empty() {
        Err("it is ready and without pressure".to_owned())
    } else {
        Ok(format!("it is under {}", node.pressure.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::testing::{FakeApi, SHOP};
    use evenkeel_model::Kind;

    use super::super::testing::{is_indicated, plan, read, refusal};
    use super::*;

    #[tokio::test]
    async fn a_node_in_trouble_that_takes_pods_indicates_it() {
        let mut snapshot = read(&FakeApi::new(SHOP), Kind::Node, "kwok-node-0").await;
        assert!(refusal(&CordonNode, &snapshot).contains("ready and without pressure"));
        snapshot.node.as_mut().unwrap().pressure = vec!["PIDPressure".to_owned()];
        assert!(is_indicated(&CordonNode, &snapshot));
        let node = snapshot.node.as_mut().unwrap();
        (node.ready, node.pressure) = (false, Vec::new());
        assert!(is_indicated(&CordonNode, &snapshot));
        assert!(matches!(CordonNode.well(&snapshot), Well::No(_)));
        snapshot.node.as_mut().unwrap().planned_disruption = Some("kured".to_owned());
        assert!(refusal(&CordonNode, &snapshot).contains("kured"));
        let node = snapshot.node.as_mut().unwrap();
        (node.unschedulable, node.planned_disruption) = (true, None);
        assert!(refusal(&CordonNode, &snapshot).contains("already"));
        assert_eq!(CordonNode.well(&snapshot), Well::Yes, "a cordoned node need not be ready");
    }

    #[tokio::test]
    async fn the_inverse_takes_pods_again() {
        let api = FakeApi::new(SHOP);
        let snapshot = read(&api, Kind::Node, "kwok-node-0").await;
        insta::assert_json_snapshot!(plan(&api, &CordonNode, &snapshot).await.unwrap());
    }
}

//! Lets pods onto a node again that we cordoned.
//!
//! Indicated when the node is ready and without pressure, is cordoned, and the cordon is ours: the
//! node carries our stamp of an act (not of its undoing), and managedFields say that we wrote its spec.
//! A cordon that a person renewed since is theirs, whatever the stamp says.

use async_trait::async_trait;
use evenkeel_cluster::{Patch, Stamp};
use evenkeel_model::{Plan, Snapshot};

use super::cordon_node::node_to_keep;
use super::{Acting, Context, Indication, PlanError, Well, draft};

pub(super) struct UncordonNode;

#[async_trait]
impl Acting for UncordonNode {
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
        draft::patch(context, Patch::of(&live).remove(&["spec", "unschedulable"]))
    }

    fn well(&self, snapshot: &Snapshot) -> Well {
        match &snapshot.node {
            Some(node) if node.unschedulable => Well::No(format!("{} is cordoned", snapshot.target)),
            Some(node) if node.ready && node.pressure.is_empty() => Well::Yes,
            _ => Well::No(format!("{} is not ready", snapshot.target)),
        }
    }
}

fn why(snapshot: &Snapshot) -> Result<String, String> {
    let node = node_to_keep(snapshot)?;
    if !node.unschedulable {
        return Err("it is not cordoned".to_owned());
    }
    if !node.ready || !node.pressure.is_empty() {
        return Err("it is not ready, or under pressure".to_owned());
    }
    // The only field of a node's spec that we write is the cordon, and whoever writes it next owns it.
    let stamp = snapshot.meta.as_ref().and_then(Stamp::standing).ok_or("its cordon is not ours")?;
    Ok(format!("it is ready again, and {} cordoned it", stamp.remediation))
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::testing::{FakeApi, SHOP};
    use evenkeel_model::{Kind, Writer};
    use serde_json::json;

    use super::super::testing::{is_indicated, plan, read, refusal};
    use super::*;

    fn cordoned() -> FakeApi {
        let api = FakeApi::new(SHOP);
        api.edit("Node", "kwok-node-0", |it| {
            it["spec"]["unschedulable"] = json!(true);
            it["metadata"]["annotations"]["evenkeel.dev/remediation"] = json!("r-9/2");
            it["metadata"]["managedFields"] = json!([{"manager": "evenkeel", "operation": "Update",
                "fieldsV1": {"f:spec": {"f:unschedulable": {}}}}]);
        });
        api
    }

    #[tokio::test]
    async fn only_our_own_cordon_is_lifted_from_a_node_that_is_well() {
        let ours = read(&cordoned(), Kind::Node, "kwok-node-0").await;
        assert!(is_indicated(&UncordonNode, &ours), "{:?}", UncordonNode.indication(&ours));
        let changed = |change: fn(&mut Snapshot)| {
            let mut snapshot = ours.clone();
            change(&mut snapshot);
            refusal(&UncordonNode, &snapshot)
        };
        assert!(changed(|it| it.meta.as_mut().unwrap().stamp = None).contains("not ours"));
        assert!(changed(|it| it.meta.as_mut().unwrap().stamp = Some("r-9/2/undo".into())).contains("not ours"));
        assert!(changed(|it| it.node.as_mut().unwrap().ready = false).contains("not ready"));
        assert!(changed(|it| it.node.as_mut().unwrap().unschedulable = false).contains("not cordoned"));
        let theirs = changed(|it| {
            let manager = "kubectl-cordon".to_owned();
            it.meta.as_mut().unwrap().writers =
                vec![Writer { manager, at: None, pod_template: false, replicas: false }];
        });
        assert!(theirs.contains("not ours"));
    }

    #[tokio::test]
    async fn the_mark_is_removed() {
        let api = cordoned();
        let snapshot = read(&api, Kind::Node, "kwok-node-0").await;
        insta::assert_json_snapshot!(plan(&api, &UncordonNode, &snapshot).await.unwrap());
    }
}

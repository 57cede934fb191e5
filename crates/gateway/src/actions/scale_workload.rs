//! Sets a workload's replicas.
//!
//! Up: indicated when it was scaled to zero, or when it is not well. Down: only when what it keeps
//! covers what is available, so that no more goes than pods which don't run anyway. Never what an
//! autoscaler or GitOps sets.
//!
//! The parent is patched: its `/scale` drops the stamp.

use async_trait::async_trait;
use evenkeel_cluster::Patch;
use evenkeel_model::{Plan, Snapshot};
use serde_json::json;

use super::{Acting, Context, Indication, PlanError, Well, draft, guards};

pub(super) struct ScaleWorkload(pub(super) evenkeel_model::ScaleWorkload);

#[async_trait]
impl Acting for ScaleWorkload {
    fn indication(&self, snapshot: &Snapshot) -> Indication {
        match self.why(snapshot) {
            Ok(reason) => Indication::Indicated(reason),
            Err(reason) => Indication::NotIndicated(reason),
        }
    }

    fn takes_capacity(&self, snapshot: &Snapshot) -> bool {
        snapshot.workload.as_ref().is_none_or(|workload| i64::from(workload.available) > i64::from(self.0.replicas))
    }

    async fn plan(&self, context: Context<'_>) -> Result<Plan, PlanError> {
        let live = draft::live_target(context).await?;
        draft::not_controlled(&context.snapshot.target, &live)?;
        draft::patch(context, Patch::of(&live).set(&["spec", "replicas"], json!(self.0.replicas)))
    }

    fn well(&self, snapshot: &Snapshot) -> Well {
        let desired = snapshot.workload.as_ref().map(|workload| i64::from(workload.desired));
        match (desired, snapshot.is_well()) {
            (Some(desired), _) if desired != i64::from(self.0.replicas) => {
                Well::No(format!("{desired} replicas are asked for, not {}", self.0.replicas))
            }
            (Some(_), Some(true)) => Well::Yes,
            _ => Well::No(format!("{} is not well", snapshot.target)),
        }
    }
}

impl ScaleWorkload {
    fn why(&self, snapshot: &Snapshot) -> Result<String, String> {
        if !snapshot.is_there() {
            return Err("it does not exist or is being deleted".to_owned());
        }
        let workload = snapshot.workload.as_ref().ok_or("it has no replicas")?;
        if let Some(autoscaler) = &snapshot.scaled_by {
            return Err(format!("HorizontalPodAutoscaler {autoscaler} sets its replicas"));
        }
        if let Some(tool) = guards::git_ops_owner(snapshot, |writer| writer.replicas) {
            return Err(format!("its replicas belong to {tool}, which would write them back"));
        }
        let (desired, available) = (i64::from(workload.desired), i64::from(workload.available));
        let wanted = i64::from(self.0.replicas);
        if wanted == desired {
            return Err(format!("{wanted} replicas are asked for already"));
        }
        if desired == 0 {
            return Ok("it is scaled to zero".to_owned());
        }
        if snapshot.is_well() == Some(true) {
            return Err(format!("it is well: {available} of {desired} available"));
        }
        if wanted < available {
            return Err(format!("{available} are available, and {wanted} would take some of them away"));
        }
        Ok(format!("it is not well: {available} of {desired} available"))
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::testing::{FakeApi, SHOP};
    use evenkeel_model::Kind;

    use super::super::testing::{is_indicated, plan, read, refusal};
    use super::*;

    fn to(replicas: u32) -> ScaleWorkload {
        ScaleWorkload(evenkeel_model::ScaleWorkload { replicas })
    }

    #[tokio::test]
    async fn what_is_scaled_to_zero_or_not_well_may_be_scaled_up() {
        let mut snapshot = read(&FakeApi::new(SHOP), Kind::Deployment, "cart").await;
        assert!(is_indicated(&to(5), &snapshot) && !to(5).takes_capacity(&snapshot));
        assert!(refusal(&to(3), &snapshot).contains("already"));
        let workload = snapshot.workload.as_mut().unwrap();
        (workload.desired, workload.current, workload.updated, workload.ready, workload.available) = (0, 0, 0, 0, 0);
        snapshot.pods.clear();
        assert!(is_indicated(&to(3), &snapshot));
    }

    #[tokio::test]
    async fn available_pods_are_not_taken_away() {
        let snapshot = read(&FakeApi::new(SHOP), Kind::Deployment, "cart").await;
        assert!(refusal(&to(2), &snapshot).contains("would take some of them away"));
        assert!(to(2).takes_capacity(&snapshot));
    }

    #[tokio::test]
    async fn replicas_of_an_autoscaler_or_of_git_ops_are_not_written() {
        let mut snapshot = read(&FakeApi::new(SHOP), Kind::Deployment, "cart").await;
        let meta = snapshot.meta.as_mut().unwrap();
        meta.git_ops = Some("Argo CD application shop".to_owned());
        assert!(refusal(&to(5), &snapshot).contains("Argo CD application shop"));
        let meta = snapshot.meta.as_mut().unwrap();
        meta.writers[0].manager = "argocd-controller".to_owned();
        meta.writers[0].replicas = false;
        assert!(is_indicated(&to(5), &snapshot), "a field that GitOps does not write is free");
        snapshot.scaled_by = Some("cart-hpa".to_owned());
        assert!(refusal(&to(5), &snapshot).contains("cart-hpa"));
    }

    #[tokio::test]
    async fn the_parent_is_patched() {
        let api = FakeApi::new(SHOP);
        let snapshot = read(&api, Kind::StatefulSet, "db").await;
        insta::assert_json_snapshot!(plan(&api, &to(4), &snapshot).await.unwrap());
    }
}

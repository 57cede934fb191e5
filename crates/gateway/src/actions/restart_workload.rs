//! Replaces a workload's pods one by one, as `kubectl rollout restart` does.
//!
//! Indicated when the workload is not well and pods of it run without being ready: a hung process, a
//! lost connection. Not when pods can't start or keep crashing: they restart by themselves, and a new
//! one would do no better. Not during a rollout, and not when it is paused.
//!
//! GitOps does not own the annotation it writes, so that it stays possible there. Nothing takes it back.

use async_trait::async_trait;
use evenkeel_cluster::Patch;
use evenkeel_model::{Plan, Snapshot};
use serde_json::{Value, json};

use super::rollback_workload::{template_judged, workload_to_repair};
use super::{Acting, Context, Indication, PlanError, capture, draft};

/// What `kubectl rollout restart` writes.
pub(super) const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

pub(super) struct RestartWorkload;

#[async_trait]
impl Acting for RestartWorkload {
    fn indication(&self, snapshot: &Snapshot) -> Indication {
        match why(snapshot) {
            Ok(reason) => Indication::Indicated(reason),
            Err(reason) => Indication::NotIndicated(reason),
        }
    }

    fn takes_capacity(&self, snapshot: &Snapshot) -> bool {
        snapshot.workload.as_ref().is_none_or(|workload| workload.available > 0)
    }

    async fn plan(&self, context: Context<'_>) -> Result<Plan, PlanError> {
        let (snapshot, target) = (context.snapshot, &context.snapshot.target);
        let live = draft::live_target(context).await?;
        draft::not_controlled(target, &live)?;
        template_judged(snapshot, &live).map_err(|reason| PlanError::refused(target, reason))?;
        if live.pointer("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete") {
            return Err(PlanError::refused(target, "its update strategy is OnDelete: no pod would be replaced"));
        }
        let at = context.now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let path = ["spec", "template", "metadata", "annotations", RESTARTED_AT];
        let mut plan = draft::patch(context, Patch::of(&live).set(&path, json!(at)))?;
        plan.inverse = None;
        plan.captured = capture::capture(context.client, snapshot).await;
        Ok(plan)
    }
}

fn why(snapshot: &Snapshot) -> Result<String, String> {
    let workload = workload_to_repair(snapshot)?;
    if let Some(pod) = snapshot.pods.iter().find(|pod| pod.is_failing()) {
        return Err(format!("pod {} can't start or keeps crashing; a restart is no help", pod.name));
    }
    // A rollout in progress looks the same in one reading, but its newest template is not everywhere yet.
    if workload.updated < workload.desired {
        return Err("its rollout is in progress".to_owned());
    }
    let hung = snapshot
        .pods
        .iter()
        .find(|pod| pod.phase == "Running" && !pod.ready && pod.waiting.is_empty() && pod.deleted_at.is_none());
    let hung = hung.ok_or("no pod of it runs without being ready")?;
    Ok(format!("pod {} runs and is not ready; {} of {} available", hung.name, workload.available, workload.desired))
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::testing::{FakeApi, SHOP};
    use evenkeel_model::Kind;

    use super::super::testing::{is_indicated, plan, read, refusal};
    use super::*;

    /// All pods of the newest template, one of them hung.
    async fn hung(api: &FakeApi) -> Snapshot {
        let mut snapshot = read(api, Kind::Deployment, "cart").await;
        let workload = snapshot.workload.as_mut().unwrap();
        (workload.current, workload.updated, workload.ready, workload.available) = (3, 3, 2, 2);
        workload.deadline_exceeded = false;
        snapshot.pods.remove(0);
        snapshot.pods[0].ready = false;
        snapshot
    }

    #[tokio::test]
    async fn a_hung_pod_indicates_it() {
        let api = FakeApi::new(SHOP);
        let snapshot = hung(&api).await;
        assert!(is_indicated(&RestartWorkload, &snapshot), "{:?}", RestartWorkload.indication(&snapshot));
        assert!(RestartWorkload.takes_capacity(&snapshot));
    }

    #[tokio::test]
    async fn pods_that_crash_or_are_being_rolled_out_do_not() {
        let api = FakeApi::new(SHOP);
        let rollout = read(&api, Kind::Deployment, "cart").await;
        assert!(refusal(&RestartWorkload, &rollout).contains("can't start"));
        let mut snapshot = hung(&api).await;
        snapshot.workload.as_mut().unwrap().updated = 1;
        assert!(refusal(&RestartWorkload, &snapshot).contains("in progress"));
        let mut snapshot = hung(&api).await;
        snapshot.pods[0].ready = true;
        assert!(refusal(&RestartWorkload, &snapshot).contains("no pod of it"));
    }

    #[tokio::test]
    async fn it_is_what_kubectl_writes_and_keeps_what_would_be_lost() {
        let api = FakeApi::new(SHOP);
        api.text("/log", "stuck in epoll_wait");
        let snapshot = hung(&api).await;
        insta::assert_json_snapshot!(plan(&api, &RestartWorkload, &snapshot).await.unwrap());
    }
}

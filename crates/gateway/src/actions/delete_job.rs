//! Deletes a failed Job with its pods.
//!
//! Indicated when its Failed condition is true: it has ended for good, and only its record goes. What
//! its worst pod said is kept.

use async_trait::async_trait;
use evenkeel_model::{Plan, Snapshot, Verb};

use super::{Acting, Context, Indication, PlanError, Well, capture, draft};

pub(super) struct DeleteJob;

#[async_trait]
impl Acting for DeleteJob {
    fn indication(&self, snapshot: &Snapshot) -> Indication {
        match why(snapshot) {
            Ok(reason) => Indication::Indicated(reason),
            Err(reason) => Indication::NotIndicated(reason),
        }
    }

    fn takes_capacity(&self, snapshot: &Snapshot) -> bool {
        snapshot.job.as_ref().is_none_or(|job| job.active > 0)
    }

    async fn plan(&self, context: Context<'_>) -> Result<Plan, PlanError> {
        let reason = why(context.snapshot).map_err(|reason| PlanError::refused(&context.snapshot.target, reason))?;
        let change = format!("{} is deleted with its pods: {reason}", context.snapshot.target);
        let captured = capture::capture(context.client, context.snapshot).await;
        Ok(draft::for_good(context, Verb::Delete, None, change, captured))
    }

    fn well(&self, snapshot: &Snapshot) -> Well {
        if snapshot.is_there() { Well::No(format!("{} is still there", snapshot.target)) } else { Well::Yes }
    }
}

fn why(snapshot: &Snapshot) -> Result<String, String> {
    let job = snapshot.job.as_ref().filter(|_| snapshot.is_there());
    let job = job.ok_or("it does not exist or is being deleted")?;
    if job.failed_at.is_none() {
        return Err("it has not failed".to_owned());
    }
    if job.active > 0 {
        return Err(format!("{} of its pods still run", job.active));
    }
    Ok(format!("it has failed: {}", job.failed_reason.as_deref().unwrap_or("no reason given")))
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::testing::FakeApi;
    use evenkeel_model::Kind;
    use serde_json::json;

    use super::super::testing::{is_indicated, plan, read, refusal};
    use super::*;

    fn failed() -> FakeApi {
        let api = FakeApi::default();
        api.put(json!({"kind": "Job", "metadata": {"name": "report", "namespace": "shop", "uid": "u", "resourceVersion": "1"},
            "spec": {"selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}, "template": {}},
            "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                "lastTransitionTime": "2026-11-21T03:00:00Z"}]}}));
        api
    }

    #[tokio::test]
    async fn only_a_job_that_has_failed_for_good_is_deleted() {
        let api = failed();
        let mut snapshot = read(&api, Kind::Job, "report").await;
        assert!(is_indicated(&DeleteJob, &snapshot));
        insta::assert_json_snapshot!(plan(&api, &DeleteJob, &snapshot).await.unwrap());
        snapshot.job.as_mut().unwrap().active = 1;
        assert!(refusal(&DeleteJob, &snapshot).contains("still run"));
        snapshot.job.as_mut().unwrap().failed_at = None;
        assert!(refusal(&DeleteJob, &snapshot).contains("not failed"));
    }

    #[tokio::test]
    async fn it_has_helped_when_the_job_is_gone() {
        let api = failed();
        assert!(matches!(DeleteJob.well(&read(&api, Kind::Job, "report").await), Well::No(_)));
        api.remove("Job", "report");
        assert_eq!(DeleteJob.well(&read(&api, Kind::Job, "report").await), Well::Yes);
    }
}

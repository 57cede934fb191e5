use evenkeel_model::Job;
use k8s_openapi::api::batch::v1 as batch;

use super::meta::controller_of;
use super::time::to_chrono;

/// Reads a Job. `siblings` are Jobs of its namespace; those of another CronJob are passed over.
pub fn job<'a>(job: &batch::Job, siblings: impl IntoIterator<Item = &'a batch::Job>) -> Job {
    let failed = condition(job, "Failed");
    Job {
        failed_at: failed.map(|it| it.last_transition_time.as_ref().map(to_chrono).unwrap_or_default()),
        failed_reason: failed.and_then(|it| it.reason.clone()),
        complete: condition(job, "Complete").is_some(),
        active: job.status.as_ref().and_then(|status| status.active).unwrap_or(0),
        later_run_succeeded: siblings.into_iter().any(|sibling| is_later_success(job, sibling)),
    }
}

fn condition<'a>(job: &'a batch::Job, kind: &str) -> Option<&'a batch::JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|it| it.type_ == kind && it.status == "True")
}

fn is_later_success(job: &batch::Job, other: &batch::Job) -> bool {
    let parent = |it: &batch::Job| controller_of(&it.metadata, None).and_then(|owner| owner.uid);
    let created = |it: &batch::Job| it.metadata.creation_timestamp.as_ref().map(to_chrono);
    parent(job).is_some()
        && parent(job) == parent(other)
        && created(other) > created(job)
        && condition(other, "Complete").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(created: &str, owner: &str, condition: &str) -> batch::Job {
        serde_json::from_value(serde_json::json!({
            "metadata": {"creationTimestamp": created, "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": owner, "controller": true}]},
            "status": {"conditions": [{"type": condition, "status": "True", "reason": "BackoffLimitExceeded",
                "lastTransitionTime": "2026-01-01T00:00:05Z"}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_failed_job_says_since_when_and_why() {
        let job = job(&run("2026-01-01T00:00:00Z", "a", "Failed"), []);
        assert_eq!(job.failed_at.unwrap().to_rfc3339(), "2026-01-01T00:00:05+00:00");
        assert_eq!(job.failed_reason.as_deref(), Some("BackoffLimitExceeded"));
        assert!(!job.complete && !job.later_run_succeeded);
    }

    #[test]
    fn only_a_later_run_of_the_same_cron_job_makes_up_for_it() {
        let failed = run("2026-01-01T00:00:00Z", "a", "Failed");
        for (created, owner, condition, makes_up) in [
            ("2026-01-01T01:00:00Z", "a", "Complete", true),
            ("2026-01-01T01:00:00Z", "b", "Complete", false),
            ("2025-12-31T23:00:00Z", "a", "Complete", false),
            ("2026-01-01T01:00:00Z", "a", "Failed", false),
        ] {
            let sibling = run(created, owner, condition);
            assert_eq!(job(&failed, [&sibling]).later_run_succeeded, makes_up, "{created} {owner} {condition}");
        }
    }
}

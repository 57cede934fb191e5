use serde_json::{Value, json};

use crate::controllers::stage::{Stage, template};
use crate::value::{at, items, set, text};

fn cron_job(image: &str, spec: Value) -> Value {
    let mut cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick", "namespace": "shop"},
        "spec": {
            "schedule": "*/5 * * * *", "concurrencyPolicy": "Allow",
            "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {
                "parallelism": 1, "completions": 1, "backoffLimit": 0, "template": template("tick", image)}},
        },
    });
    set(&mut cron, "/spec/jobTemplate/spec/template/spec/restartPolicy", json!("Never"));
    for (field, value) in spec.as_object().unwrap() {
        set(&mut cron, &format!("/spec/{field}"), value.clone());
    }
    cron
}

async fn stage(image: &str, spec: Value, minutes: u64) -> Stage {
    let mut stage = Stage::new();
    stage.create("cronjobs.batch", cron_job(image, spec));
    stage.pass(minutes * 60 + 10).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn it_runs_when_it_is_time() {
    let stage = stage("job:1", json!({}), 6).await;
    let minutes = "2026-06-03T09:05:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp() / 60;
    assert_eq!(stage.names("jobs.batch"), [format!("tick-{minutes}")]);
    let job = stage.list("jobs.batch").remove(0);
    assert_eq!(
        text(&job, "/metadata/annotations/batch.kubernetes.io~1cronjob-scheduled-timestamp"),
        "2026-06-03T09:05:00Z"
    );
    assert_eq!(text(&job, "/metadata/labels/a"), "b");
    let cron = stage.get("cronjobs.batch", "tick");
    assert_eq!(
        at(&cron, "/status"),
        &json!({"lastScheduleTime": "2026-06-03T09:05:00Z", "lastSuccessfulTime": "2026-06-03T09:05:01Z"})
    );
    assert_eq!(
        stage.events("tick"),
        [
            format!("SuccessfulCreate: Created job tick-{minutes}"),
            format!("SawCompletedJob: Saw completed job: tick-{minutes}, condition: Complete")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_remembered() {
    let succeeded = stage("job:1", json!({}), 60).await;
    assert_eq!(succeeded.names("jobs.batch").len(), 3);
    let failed = stage("fails:1", json!({}), 60).await;
    assert_eq!(failed.names("jobs.batch").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn forbidden_to_overlap_it_waits() {
    let stage = stage("bad:1", json!({"concurrencyPolicy": "Forbid"}), 16).await;
    assert_eq!(stage.names("jobs.batch").len(), 1);
    let cron = stage.get("cronjobs.batch", "tick");
    assert_eq!(items(&cron, "/status/active").len(), 1);
    assert!(
        stage.events("tick").contains(
            &"JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid"
                .to_owned()
        )
    );
}

#[tokio::test(start_paused = true)]
async fn replacing_it_deletes_the_last() {
    let stage = stage("bad:1", json!({"concurrencyPolicy": "Replace"}), 11).await;
    assert_eq!(stage.names("jobs.batch").len(), 1);
    assert!(stage.events("tick").iter().any(|event| event.starts_with("SuccessfulDelete: Deleted job tick-")));
}

#[tokio::test(start_paused = true)]
async fn suspended_it_runs_nothing() {
    let stage = stage("job:1", json!({"suspend": true}), 30).await;
    assert!(stage.names("jobs.batch").is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_schedule_is_read_in_its_time_zone() {
    // Nine in UTC is eleven in Berlin, in summer.
    let stage = stage("job:1", json!({"schedule": "30 11 * * *", "timeZone": "Europe/Berlin"}), 31).await;
    let job = stage.list("jobs.batch").remove(0);
    assert_eq!(
        text(&job, "/metadata/annotations/batch.kubernetes.io~1cronjob-scheduled-timestamp"),
        "2026-06-03T11:30:00+02:00"
    );
}

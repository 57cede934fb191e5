use serde_json::{Value, json};

use crate::controllers::stage::{Stage, template};
use crate::value::{at, integer, items, set, text};

fn job(name: &str, image: &str, spec: Value) -> Value {
    let mut of_pod = template("import", image);
    set(&mut of_pod, "/spec/restartPolicy", json!("Never"));
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": of_pod},
    });
    for (field, value) in spec.as_object().unwrap() {
        set(&mut job, &format!("/spec/{field}"), value.clone());
    }
    job
}

async fn stage(image: &str, spec: Value, seconds: u64) -> Stage {
    let mut stage = Stage::new();
    stage.create("jobs.batch", job("import", image, spec));
    stage.pass(seconds).await;
    stage
}

fn count(stage: &Stage, field: &str) -> Option<i64> {
    integer(&stage.get("jobs.batch", "import"), &format!("/status/{field}"))
}

#[tokio::test(start_paused = true)]
async fn it_completes() {
    let mut stage = stage("job:1", json!({}), 0).await;
    assert_eq!(
        at(&stage.get("jobs.batch", "import"), "/status"),
        &json!({"active": 1, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {},
                "startTime": "2026-06-03T09:00:00Z"})
    );
    assert!(items(&stage.list("pods")[0], "/metadata/finalizers").contains(&json!("batch.kubernetes.io/job-tracking")));
    stage.pass(5).await;
    let condition = |of: &str| {
        json!({"type": of, "status": "True", "reason": "CompletionsReached",
               "message": "Reached expected number of succeeded pods",
               "lastProbeTime": "2026-06-03T09:00:01Z", "lastTransitionTime": "2026-06-03T09:00:01Z"})
    };
    // As a real cluster leaves it.
    assert_eq!(
        at(&stage.get("jobs.batch", "import"), "/status"),
        &json!({"conditions": [condition("SuccessCriteriaMet"), condition("Complete")], "ready": 0, "succeeded": 1,
                "terminating": 0, "uncountedTerminatedPods": {}, "startTime": "2026-06-03T09:00:00Z",
                "completionTime": "2026-06-03T09:00:01Z"})
    );
    assert_eq!(stage.events("import")[1], "Completed: Job completed");
    assert!(items(&stage.list("pods")[0], "/metadata/finalizers").is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_more_run_at_once_than_allowed() {
    let mut stage = stage("job:1", json!({"completions": 3, "parallelism": 2}), 0).await;
    assert_eq!(count(&stage, "active"), Some(2));
    stage.pass(1).await;
    assert_eq!((count(&stage, "active"), count(&stage, "succeeded")), (Some(1), Some(2)));
    stage.pass(5).await;
    assert_eq!((count(&stage, "active"), count(&stage, "succeeded")), (None, Some(3)));
    assert_eq!(stage.names("pods").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_after_waits_that_double() {
    let mut stage = stage("fails:1", json!({"backoffLimit": 2}), 5).await;
    assert_eq!(count(&stage, "failed"), Some(1));
    assert_eq!(stage.names("pods").len(), 1);
    stage.pass(7).await;
    assert_eq!(stage.names("pods").len(), 2);
    stage.pass(15).await;
    assert_eq!(stage.names("pods").len(), 2);
    stage.pass(20).await;
    assert_eq!(stage.names("pods").len(), 3);
    assert_eq!(
        stage.conditions("jobs.batch", "import"),
        ["Failed=True BackoffLimitExceeded", "FailureTarget=True BackoffLimitExceeded"]
    );
    assert_eq!(count(&stage, "failed"), Some(3));
    assert_eq!(
        stage.events("import").last().unwrap(),
        "BackoffLimitExceeded: Job has reached the specified backoff limit"
    );
}

#[tokio::test(start_paused = true)]
async fn restarts_count_where_containers_are_restarted() {
    let mut stage = stage("bad:1", json!({"backoffLimit": 2}), 0).await;
    stage.delete("jobs.batch", "import", "Background");
    let mut on_failure = job("import", "bad:1", json!({"backoffLimit": 2}));
    set(&mut on_failure, "/spec/template/spec/restartPolicy", json!("OnFailure"));
    set(&mut on_failure, "/spec/template/spec/nodeSelector", json!({"no": "such"}));
    stage.pass(1).await;
    stage.create("jobs.batch", on_failure);
    stage.pass(1).await;
    let pod = stage.names("pods").remove(0);
    stage.edit_status("pods", &pod, |pod| {
        set(pod, "/status", json!({"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 2}]}));
    });
    stage.pass(5).await;
    assert_eq!(
        stage.conditions("jobs.batch", "import"),
        ["Failed=True BackoffLimitExceeded", "FailureTarget=True BackoffLimitExceeded"]
    );
    assert!(stage.names("pods").is_empty());
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_its_deadline() {
    let stage = stage("bad:1", json!({"activeDeadlineSeconds": 30}), 40).await;
    assert_eq!(
        stage.conditions("jobs.batch", "import"),
        ["Failed=True DeadlineExceeded", "FailureTarget=True DeadlineExceeded"]
    );
    assert_eq!(count(&stage, "failed"), Some(1));
    assert_eq!(
        stage.events("import").last().unwrap(),
        "DeadlineExceeded: Job was active longer than specified deadline"
    );
}

#[tokio::test(start_paused = true)]
async fn suspended_it_has_no_pods_and_no_start() {
    let mut stage = stage("bad:1", json!({"parallelism": 2, "completions": 2}), 5).await;
    stage.edit("jobs.batch", "import", |job| set(job, "/spec/suspend", json!(true)));
    stage.pass(5).await;
    assert!(stage.names("pods").is_empty());
    assert_eq!(
        at(&stage.get("jobs.batch", "import"), "/status"),
        &json!({"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended",
                "message": "Job suspended", "lastProbeTime": "2026-06-03T09:00:05Z",
                "lastTransitionTime": "2026-06-03T09:00:05Z"}],
                "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}})
    );
    stage.edit("jobs.batch", "import", |job| set(job, "/spec/suspend", json!(false)));
    stage.pass(1).await;
    assert_eq!(stage.conditions("jobs.batch", "import"), ["Suspended=False JobResumed"]);
    assert_eq!(stage.names("pods").len(), 2);
    assert_eq!(text(&stage.get("jobs.batch", "import"), "/status/startTime"), "2026-06-03T09:00:10Z");
}

#[tokio::test(start_paused = true)]
async fn a_rule_may_fail_it_at_once() {
    let rules = json!([{"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [1]}}]);
    let stage = stage("fails:1", json!({"podFailurePolicy": {"rules": rules}}), 5).await;
    assert_eq!(
        stage.conditions("jobs.batch", "import"),
        ["Failed=True PodFailurePolicy", "FailureTarget=True PodFailurePolicy"]
    );
    let pod = stage.names("pods").remove(0);
    assert_eq!(
        stage.events("import").last().unwrap(),
        &format!(
            "PodFailurePolicy: Container c for pod shop/{pod} failed with exit code 1 matching FailJob rule at index 0"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn finished_it_lives_as_long_as_it_is_given() {
    let mut stage = stage("job:1", json!({"ttlSecondsAfterFinished": 30}), 20).await;
    assert_eq!(stage.names("jobs.batch"), ["import"]);
    stage.pass(15).await;
    assert!(stage.names("jobs.batch").is_empty());
    assert!(stage.names("pods").is_empty());
}

#[tokio::test(start_paused = true)]
async fn its_pods_go_with_it() {
    let mut stage = stage("bad:1", json!({}), 5).await;
    stage.delete("jobs.batch", "import", "Background");
    stage.pass(5).await;
    assert!(stage.names("pods").is_empty());
}

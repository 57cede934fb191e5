use serde_json::{Value, json};

use crate::controllers::revisions;
use crate::controllers::stage::{Stage, template};
use crate::value::{at, integer, set, text, unset};

fn stateful_set(management: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop"},
        "spec": {
            "replicas": 3, "serviceName": "db", "podManagementPolicy": management,
            "selector": {"matchLabels": {"app": "db"}}, "template": template("db", "db:1"),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
        },
    })
}

async fn stage(management: &str) -> Stage {
    let mut stage = Stage::new();
    stage.create("statefulsets.apps", stateful_set(management));
    stage.pass(10).await;
    stage
}

fn set_image(stage: &Stage, image: &str) {
    stage.edit("statefulsets.apps", "db", |object| {
        set(object, "/spec/template/spec/containers/0/image", json!(image));
    });
}

fn images(stage: &Stage) -> Vec<String> {
    stage.list("pods").iter().map(|pod| text(pod, "/spec/containers/0/image").to_owned()).collect()
}

fn status(stage: &Stage) -> Value {
    let mut status = at(&stage.get("statefulsets.apps", "db"), "/status").clone();
    unset(&mut status, "/observedGeneration");
    status
}

#[tokio::test(start_paused = true)]
async fn in_order_each_pod_waits_for_the_one_before() {
    let mut stage = Stage::new();
    stage.create("statefulsets.apps", stateful_set("OrderedReady"));
    stage.pass(0).await;
    assert_eq!(stage.names("pods"), ["db-0"]);
    stage.pass(1).await;
    assert_eq!(stage.names("pods"), ["db-0", "db-1"]);
    stage.pass(10).await;
    assert_eq!(stage.names("pods"), ["db-0", "db-1", "db-2"]);
    assert_eq!(stage.names("persistentvolumeclaims"), ["data-db-0", "data-db-1", "data-db-2"]);
    let revision = stage.names(revisions::RESOURCE).remove(0);
    assert_eq!(
        status(&stage),
        json!({"replicas": 3, "readyReplicas": 3, "currentReplicas": 3, "updatedReplicas": 3, "availableReplicas": 3,
               "currentRevision": revision, "updateRevision": revision, "collisionCount": 0})
    );
    let pod = stage.get("pods", "db-1");
    assert_eq!(
        at(&pod, "/metadata/labels"),
        &json!({"app": "db", "apps.kubernetes.io/pod-index": "1", "controller-revision-hash": revision,
                "statefulset.kubernetes.io/pod-name": "db-1"})
    );
    assert_eq!(text(&pod, "/spec/hostname"), "db-1");
    assert_eq!(text(&pod, "/spec/subdomain"), "db");
    assert_eq!(
        at(&pod, "/spec/volumes/0"),
        &json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}})
    );
    assert_eq!(
        stage.events("db")[..2],
        [
            "SuccessfulCreate: Create Claim data-db-0 Pod db-0 in StatefulSet db success",
            "SuccessfulCreate: Create Pod db-0 in StatefulSet db successful"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn in_parallel_all_come_at_once() {
    let mut stage = Stage::new();
    stage.create("statefulsets.apps", stateful_set("Parallel"));
    stage.pass(0).await;
    assert_eq!(stage.names("pods"), ["db-0", "db-1", "db-2"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_goes_from_the_highest_down_and_is_closed_at_the_end() {
    let mut stage = stage("OrderedReady").await;
    let old = text(&status(&stage), "/currentRevision").to_owned();
    set_image(&stage, "db:2");
    stage.pass(0).await;
    assert_eq!(images(&stage)[..2], ["db:1", "db:1"]);
    assert_eq!(text(&status(&stage), "/currentRevision"), old);
    assert_ne!(text(&status(&stage), "/updateRevision"), old);
    stage.pass(20).await;
    assert_eq!(images(&stage), ["db:2", "db:2", "db:2"]);
    let new = status(&stage);
    assert_eq!(text(&new, "/currentRevision"), text(&new, "/updateRevision"));
    let mut numbers: Vec<_> = stage.list(revisions::RESOURCE).iter().map(|found| integer(found, "/revision")).collect();
    numbers.sort();
    assert_eq!(numbers, [Some(1), Some(2)]);
}

#[tokio::test(start_paused = true)]
async fn the_partition_keeps_the_lower_ones() {
    let mut stage = stage("OrderedReady").await;
    stage.edit("statefulsets.apps", "db", |object| {
        set(object, "/spec/updateStrategy/rollingUpdate/partition", json!(2));
    });
    set_image(&stage, "db:2");
    stage.pass(20).await;
    assert_eq!(images(&stage), ["db:1", "db:1", "db:2"]);
    stage.delete("pods", "db-0", "Background");
    stage.pass(20).await;
    assert_eq!(images(&stage), ["db:1", "db:1", "db:2"]);
}

/// <https://github.com/kubernetes/kubernetes/issues/67250>
#[tokio::test(start_paused = true)]
async fn in_order_a_bad_update_stays_stuck_though_it_is_taken_back() {
    let mut stage = stage("OrderedReady").await;
    set_image(&stage, "bad:1");
    stage.pass(20).await;
    assert_eq!(images(&stage), ["db:1", "db:1", "bad:1"]);
    set_image(&stage, "db:1");
    stage.pass(600).await;
    assert_eq!(images(&stage), ["db:1", "db:1", "bad:1"]);
    // The old template's revision is the last one again.
    let numbers: Vec<_> = stage.list(revisions::RESOURCE).iter().map(|found| integer(found, "/revision")).collect();
    assert!(numbers.contains(&Some(3)) && numbers.contains(&Some(2)), "{numbers:?}");
    stage.delete("pods", "db-2", "Background");
    stage.pass(20).await;
    assert_eq!(images(&stage), ["db:1", "db:1", "db:1"]);
}

#[tokio::test(start_paused = true)]
async fn in_parallel_it_does_not() {
    let mut stage = stage("Parallel").await;
    set_image(&stage, "bad:1");
    stage.pass(20).await;
    set_image(&stage, "db:1");
    stage.pass(20).await;
    assert_eq!(images(&stage), ["db:1", "db:1", "db:1"]);
}

#[tokio::test(start_paused = true)]
async fn shrinking_goes_from_the_highest_and_keeps_the_claims() {
    let mut stage = stage("OrderedReady").await;
    stage.edit("statefulsets.apps", "db", |object| set(object, "/spec/replicas", json!(1)));
    stage.pass(20).await;
    assert_eq!(stage.names("pods"), ["db-0"]);
    assert_eq!(stage.names("persistentvolumeclaims").len(), 3);
    let events = stage.events("db");
    let deleted: Vec<_> = events.iter().filter(|event| event.starts_with("SuccessfulDelete")).collect();
    assert_eq!(
        deleted,
        [
            "SuccessfulDelete: Delete Pod db-2 in StatefulSet db successful",
            "SuccessfulDelete: Delete Pod db-1 in StatefulSet db successful"
        ]
    );
}

use serde_json::{Value, json};

use crate::controllers::stage::{Stage, template};
use crate::value::{at, integer, set, text};

fn deployment(replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "cart", "namespace": "shop", "annotations": {"team": "shop"}},
        "spec": {
            "replicas": replicas, "progressDeadlineSeconds": 60, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "cart"}}, "template": template("cart", "cart:1"),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        },
    })
}

async fn stage(replicas: i64) -> Stage {
    let mut stage = Stage::new();
    stage.create("deployments.apps", deployment(replicas));
    stage.pass(5).await;
    stage
}

fn set_image(stage: &Stage, image: &str) {
    stage.edit("deployments.apps", "cart", |deployment| {
        set(deployment, "/spec/template/spec/containers/0/image", json!(image));
    });
}

fn sizes(stage: &Stage) -> Vec<(i64, i64)> {
    let mut sizes: Vec<_> = stage
        .list("replicasets.apps")
        .iter()
        .map(|set| (super::sets::revision(set), integer(set, "/spec/replicas").unwrap()))
        .collect();
    sizes.sort();
    sizes
}

#[tokio::test(start_paused = true)]
async fn a_new_one_becomes_available() {
    let stage = stage(3).await;
    let deployment = stage.get("deployments.apps", "cart");
    let set = stage.list("replicasets.apps").remove(0);
    let hash = text(&set, "/metadata/labels/pod-template-hash");
    assert_eq!(text(&set, "/metadata/name"), format!("cart-{hash}"));
    assert_eq!(
        at(&set, "/metadata/annotations"),
        &json!({
            "team": "shop", "deployment.kubernetes.io/revision": "1",
            "deployment.kubernetes.io/desired-replicas": "3", "deployment.kubernetes.io/max-replicas": "4",
        })
    );
    let mut status = at(&deployment, "/status").clone();
    crate::value::unset(&mut status, "/conditions");
    assert_eq!(
        status,
        json!({
            "observedGeneration": integer(&deployment, "/metadata/generation").unwrap(), "replicas": 3,
            "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3, "terminatingReplicas": 0,
        })
    );
    assert_eq!(
        stage.conditions("deployments.apps", "cart"),
        ["Available=True MinimumReplicasAvailable", "Progressing=True NewReplicaSetAvailable"]
    );
    assert_eq!(stage.events("cart"), [format!("ScalingReplicaSet: Scaled up replica set cart-{hash} from 0 to 3")]);
    assert_eq!(stage.names("pods").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_good_rollout_replaces_the_pods_one_by_one() {
    let mut stage = stage(3).await;
    set_image(&stage, "cart:2");
    stage.pass(20).await;
    assert_eq!(sizes(&stage), [(1, 0), (2, 3)]);
    let said: Vec<String> = stage.events("cart").into_iter().skip(1).collect();
    let short = |event: &String| {
        event
            .split_whitespace()
            .filter(|word| word.parse::<u8>().is_ok() || *word == "up" || *word == "down")
            .collect::<Vec<_>>()
            .join(" ")
    };
    // As a real cluster had it, event for event.
    assert_eq!(
        said.iter().map(short).collect::<Vec<_>>(),
        ["up 0 1", "down 3 2", "up 1 2", "down 2 1", "up 2 3", "down 1 0"]
    );
    let deployment = stage.get("deployments.apps", "cart");
    assert_eq!(text(&deployment, "/metadata/annotations/deployment.kubernetes.io~1revision"), "2");
}

#[tokio::test(start_paused = true)]
async fn a_bad_rollout_stops_and_misses_its_deadline() {
    let mut stage = stage(3).await;
    set_image(&stage, "bad:1");
    stage.pass(30).await;
    assert_eq!(sizes(&stage), [(1, 3), (2, 1)]);
    assert_eq!(
        stage.conditions("deployments.apps", "cart"),
        ["Available=True MinimumReplicasAvailable", "Progressing=True ReplicaSetUpdated"]
    );
    stage.pass(40).await;
    assert_eq!(
        stage.conditions("deployments.apps", "cart"),
        ["Available=True MinimumReplicasAvailable", "Progressing=False ProgressDeadlineExceeded"]
    );
    let deployment = stage.get("deployments.apps", "cart");
    assert_eq!(integer(&deployment, "/status/unavailableReplicas"), Some(1));
    let progressing = crate::value::condition(&deployment, "Progressing").unwrap();
    assert!(text(progressing, "/message").ends_with("has timed out progressing."));
}

#[tokio::test(start_paused = true)]
async fn going_back_makes_the_old_replica_set_the_newest_and_remembers() {
    let mut stage = stage(3).await;
    set_image(&stage, "bad:1");
    stage.pass(100).await;
    set_image(&stage, "cart:1");
    stage.pass(20).await;
    assert_eq!(sizes(&stage), [(2, 0), (3, 3)]);
    let sets = stage.list("replicasets.apps");
    let new = sets.iter().find(|set| super::sets::revision(set) == 3).unwrap();
    assert_eq!(text(new, "/metadata/annotations/deployment.kubernetes.io~1revision-history"), "1");
    assert_eq!(
        stage.conditions("deployments.apps", "cart"),
        ["Available=True MinimumReplicasAvailable", "Progressing=True NewReplicaSetAvailable"]
    );
}

#[tokio::test(start_paused = true)]
async fn scaling_amid_a_rollout_keeps_the_proportion() {
    let mut stage = stage(3).await;
    set_image(&stage, "bad:1");
    stage.pass(10).await;
    stage.edit("deployments.apps", "cart", |deployment| set(deployment, "/spec/replicas", json!(10)));
    stage.pass(10).await;
    // A real cluster came to the same: 8 of the old, 5 of the new.
    assert_eq!(sizes(&stage), [(1, 8), (2, 5)]);
    let said = stage.events("cart");
    assert!(said.iter().any(|event| event.ends_with("from 3 to 10")), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn paused_it_scales_but_does_not_roll() {
    let mut stage = stage(2).await;
    stage.edit("deployments.apps", "cart", |deployment| set(deployment, "/spec/paused", json!(true)));
    set_image(&stage, "cart:2");
    stage.edit("deployments.apps", "cart", |deployment| set(deployment, "/spec/replicas", json!(4)));
    stage.pass(10).await;
    assert_eq!(sizes(&stage), [(1, 4)]);
    assert!(stage.conditions("deployments.apps", "cart").contains(&"Progressing=Unknown DeploymentPaused".to_owned()));
    stage.edit("deployments.apps", "cart", |deployment| set(deployment, "/spec/paused", json!(false)));
    stage.pass(20).await;
    assert_eq!(sizes(&stage), [(1, 0), (2, 4)]);
    assert!(
        stage.conditions("deployments.apps", "cart").contains(&"Progressing=True NewReplicaSetAvailable".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn recreate_starts_the_new_only_when_the_old_are_gone() {
    let mut stage = Stage::new();
    let mut object = deployment(3);
    set(&mut object, "/spec/strategy", json!({"type": "Recreate"}));
    stage.create("deployments.apps", object);
    stage.pass(5).await;
    set_image(&stage, "cart:2");
    stage.pass(5).await;
    assert_eq!(sizes(&stage), [(1, 0), (2, 3)]);
    let said = stage.events("cart");
    assert!(said[1].ends_with("from 3 to 0") && said[2].ends_with("from 0 to 3"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn history_is_kept_to_its_limit() {
    let mut stage = stage(1).await;
    stage.edit("deployments.apps", "cart", |deployment| set(deployment, "/spec/revisionHistoryLimit", json!(1)));
    for image in ["cart:2", "cart:3", "cart:4"] {
        set_image(&stage, image);
        stage.pass(10).await;
    }
    assert_eq!(sizes(&stage), [(3, 0), (4, 1)]);
}

#[tokio::test(start_paused = true)]
async fn min_ready_seconds_are_waited_for() {
    let mut stage = Stage::new();
    let mut object = deployment(1);
    set(&mut object, "/spec/minReadySeconds", json!(10));
    stage.create("deployments.apps", object);
    stage.pass(5).await;
    assert_eq!(integer(&stage.get("deployments.apps", "cart"), "/status/availableReplicas"), None);
    stage.pass(10).await;
    assert_eq!(integer(&stage.get("deployments.apps", "cart"), "/status/availableReplicas"), Some(1));
}

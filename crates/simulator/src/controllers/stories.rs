//! The same stories on a real cluster, recorded in `fixtures/stories`, and here, with all controllers: the
//! objects must come out the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::testing::Stage;
use crate::value::{at, condition, controller, integer, name, set, text, unset};

const KINDS: &[(&str, &str)] = &[
    ("Deployment", "deployments.apps"),
    ("ReplicaSet", "replicasets.apps"),
    ("StatefulSet", "statefulsets.apps"),
    ("DaemonSet", "daemonsets.apps"),
    ("ControllerRevision", "controllerrevisions.apps"),
    ("Job", "jobs.batch"),
    ("CronJob", "cronjobs.batch"),
    ("PodDisruptionBudget", "poddisruptionbudgets.policy"),
];

struct Story {
    stage: Stage,
    steps: Vec<Value>,
    /// Hashes and minutes in names, by when and as what they came.
    hashes: BTreeMap<(String, String), String>,
}

impl Story {
    fn begin() -> Self {
        let images = ["cart:1", "cart:2", "db:1", "db:2", "log:1", "log:2"].map(|image| (image, json!({})));
        let job = ("job:1", json!({"crash": {"after": "1s", "exitCode": 0}}));
        let images: Vec<_> = images.into_iter().chain([job]).collect();
        Self { stage: Stage::new(3, &images), steps: Vec::new(), hashes: BTreeMap::new() }
    }

    /// Remembers all objects as they are, as `tell.py` does.
    fn step(&mut self, step: &str) {
        let mut objects = Map::new();
        for (kind, resource) in KINDS {
            for object in self.stage.list(resource) {
                objects.insert(format!("{kind}/{}", name(&object)), plain(&object));
                if let Some(hash) = hash(kind, &object) {
                    let made = text(&object, "/metadata/creationTimestamp").to_owned();
                    let known = self.hashes.values().any(|known| *known == hash);
                    if !known {
                        self.hashes.insert((made, name(&object).to_owned()), hash);
                    }
                }
            }
        }
        self.steps.push(json!({"step": step, "objects": objects}));
    }

    fn compare_with(self, recorded: &str) {
        let mut told = serde_json::to_string(&self.steps).unwrap();
        for (index, hash) in self.hashes.values().enumerate() {
            told = told.replace(hash, &format!("#{}", index + 1));
        }
        let told: Vec<Value> = serde_json::from_str(&told).unwrap();
        let recorded: Vec<Value> = serde_json::from_str(recorded).unwrap();
        for (told, recorded) in told.iter().zip(&recorded) {
            let pretty = |value: &Value| serde_json::to_string_pretty(&sorted(value)).unwrap();
            similar(&pretty(told), &pretty(recorded));
        }
        assert_eq!(told.len(), recorded.len());
    }

    fn patch(&self, resource: &str, object: &str, patch: Value) {
        self.stage.edit(resource, object, |object| json_patch::merge(object, &patch));
    }
}

/// The first line in which they differ, with its neighbours, is what a person wants to see.
fn similar(told: &str, recorded: &str) {
    let (here, there): (Vec<_>, Vec<_>) = (told.lines().collect(), recorded.lines().collect());
    if let Some(first) = (0..here.len().max(there.len())).find(|&line| here.get(line) != there.get(line)) {
        let around = first.saturating_sub(12);
        let show = |lines: &[&str]| lines.iter().skip(around).take(24).copied().collect::<Vec<_>>().join("\n");
        panic!("here:\n{}\non a real cluster:\n{}", show(&here), show(&there));
    }
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields: BTreeMap<_, _> = map.iter().map(|(field, value)| (field.clone(), sorted(value))).collect();
            json!(fields)
        }
        Value::Array(list) => {
            let mut list: Vec<_> = list.iter().map(sorted).collect();
            // Conditions of one moment come in any order.
            list.sort_by_key(|item| text(item, "/type").to_owned());
            Value::Array(list)
        }
        other => other.clone(),
    }
}

fn plain(object: &Arc<Value>) -> Value {
    let gone = ["last-applied", "scheduled-timestamp", "controller-uid"];
    let without = |field: &str| {
        let mut map = at(object, field).as_object().cloned().unwrap_or_default();
        map.retain(|key, _| !gone.iter().any(|gone| key.contains(gone)));
        map
    };
    let mut status = match at(object, "/status") {
        Value::Null => json!({}),
        status => timeless(status),
    };
    if text(object, "/kind") == "ReplicaSet" {
        // In how many steps it grew and shrank depends on how fast pods become ready.
        unset(&mut status, "/observedGeneration");
    }
    let mut plain = json!({
        "annotations": without("/metadata/annotations"),
        "labels": without("/metadata/labels"),
        "status": status,
    });
    for (field, place) in [("replicas", "/spec/replicas"), ("revision", "/revision")] {
        if let Some(number) = integer(object, place) {
            set(&mut plain, &format!("/{field}"), json!(number));
        }
    }
    plain
}

fn timeless(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let gone = ["uid", "resourceVersion", "namespace"];
            let kept = map.iter().filter(|(key, _)| !gone.contains(&key.as_str()) && !key.ends_with("Time"));
            Value::Object(kept.map(|(key, value)| (key.clone(), timeless(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(timeless).collect()),
        other => other.clone(),
    }
}

fn hash(kind: &str, object: &Value) -> Option<String> {
    let last = || name(object).rsplit_once('-').map(|(_, last)| last.to_owned());
    match kind {
        "ReplicaSet" => Some(text(object, "/metadata/labels/pod-template-hash").to_owned()),
        "ControllerRevision" => last(),
        "Job" if controller(object).is_some() => last(),
        _ => None,
    }
}

fn workload(kind: &str, name: &str, image: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}},
        },
    });
    json_patch::merge(&mut object, &json!({"spec": spec}));
    object
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

fn unschedulable() -> Value {
    json!({"spec": {"template": {"spec": {"nodeSelector": {"no": "such"}}}}})
}

#[tokio::test(start_paused = true)]
async fn a_deployment() {
    const OF: (&str, &str) = ("deployments.apps", "cart");
    let mut story = Story::begin();
    let mut cart = workload("Deployment", "cart", "cart:1", json!({"replicas": 3, "progressDeadlineSeconds": 8}));
    set(&mut cart, "/metadata/labels", json!({"app": "cart"}));
    set(&mut cart, "/metadata/annotations", json!({"team": "shop"}));
    story.stage.create(cart);
    story.stage.pass(6).await;
    story.step("created");
    story.patch(OF.0, OF.1, image("cart:2"));
    story.stage.pass(120).await;
    story.step("rolled-out");
    story.patch(OF.0, OF.1, unschedulable());
    story.stage.pass(3).await;
    story.step("bad");
    story.stage.pass(9).await;
    story.step("timed-out");
    story.patch(OF.0, OF.1, json!({"spec": {"replicas": 10}}));
    story.stage.pass(4).await;
    story.step("scaled");
    let mut back = image("cart:1");
    set(&mut back, "/spec/template/spec/nodeSelector", Value::Null);
    story.patch(OF.0, OF.1, back);
    story.stage.pass(120).await;
    story.step("rolled-back");
    story.patch(OF.0, OF.1, json!({"spec": {"paused": true}}));
    story.stage.pass(1).await;
    story.step("paused");
    story.patch(OF.0, OF.1, json!({"spec": {"paused": null}}));
    story.stage.pass(1).await;
    story.step("resumed");
    let recreate = json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null},
        "template": {"spec": {"terminationGracePeriodSeconds": 5}}}});
    story.patch(OF.0, OF.1, recreate);
    story.stage.pass(120).await;
    story.step("recreated");
    story.compare_with(include_str!("../../fixtures/stories/deployment.json"));
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_in_order() {
    const OF: (&str, &str) = ("statefulsets.apps", "web");
    let mut story = Story::begin();
    story.stage.create(workload("StatefulSet", "web", "db:1", json!({"replicas": 3, "serviceName": "web"})));
    story.stage.pass(20).await;
    story.patch(OF.0, OF.1, unschedulable());
    story.stage.pass(60).await;
    story.step("bad");
    story.patch(OF.0, OF.1, json!({"spec": {"template": {"spec": {"nodeSelector": null}}}}));
    story.stage.pass(60).await;
    story.step("stuck");
    story.stage.delete("pods", "web-2");
    story.stage.pass(60).await;
    story.step("unstuck");
    story.compare_with(include_str!("../../fixtures/stories/stateful-set-ordered.json"));
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_in_parallel_with_a_budget() {
    const OF: (&str, &str) = ("statefulsets.apps", "kv");
    let mut story = Story::begin();
    let spec = json!({"replicas": 3, "serviceName": "db", "podManagementPolicy": "Parallel"});
    story.stage.create(workload("StatefulSet", "kv", "db:1", spec));
    story.stage.create(json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "kv", "namespace": "default"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "kv"}}},
    }));
    story.stage.pass(10).await;
    story.step("created");
    story.patch(OF.0, OF.1, image("db:2"));
    story.stage.pass(120).await;
    story.step("updated");
    story.patch(OF.0, OF.1, unschedulable());
    story.stage.pass(60).await;
    story.step("bad");
    story.patch(OF.0, OF.1, json!({"spec": {"template": {"spec": {"nodeSelector": null}}}}));
    story.stage.pass(60).await;
    story.step("taken-back");
    story.compare_with(include_str!("../../fixtures/stories/stateful-set-parallel.json"));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_set() {
    let mut story = Story::begin();
    story.stage.create(workload("DaemonSet", "log", "log:1", json!({})));
    story.stage.pass(10).await;
    story.step("created");
    story.patch("daemonsets.apps", "log", image("log:2"));
    story.stage.pass(120).await;
    story.step("updated");
    story.compare_with(include_str!("../../fixtures/stories/daemon-set.json"));
}

fn job(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "job:1"}]}}},
    });
    json_patch::merge(&mut object, &json!({"spec": spec}));
    object
}

fn nowhere() -> Value {
    json!({"spec": {"nodeSelector": {"no": "such"}}})
}

#[tokio::test(start_paused = true)]
async fn jobs() {
    let mut story = Story::begin();
    story.stage.create(job("ok", json!({})));
    story.stage.create(job("deadline", json!({"activeDeadlineSeconds": 3, "template": nowhere()})));
    story.stage.create(job("susp", json!({"suspend": true})));
    story.stage.create(job("running", json!({"parallelism": 2, "completions": 2, "template": nowhere()})));
    story.stage.create(job("fails", json!({"backoffLimit": 1, "template": nowhere()})));
    story.stage.pass(5).await;
    story.patch("jobs.batch", "susp", json!({"spec": {"suspend": false}}));
    story.patch("jobs.batch", "running", json!({"spec": {"suspend": true}}));
    for _ in 0..2 {
        story.stage.pass(20).await;
        let pods = story.stage.list("pods");
        let pending =
            pods.iter().find(|pod| name(pod).starts_with("fails-") && text(pod, "/status/phase") == "Pending");
        story.stage.edit_status("pods", name(pending.unwrap()), |pod| set(pod, "/status/phase", json!("Failed")));
    }
    story.stage.pass(20).await;
    story.step("ended");
    story.compare_with(include_str!("../../fixtures/stories/jobs.json"));
}

#[tokio::test(start_paused = true)]
async fn cron_jobs() {
    let mut story = Story::begin();
    let cron = |name: &str, policy: &str, template: Value| {
        let mut template = json!({"spec": {"template": template}});
        json_patch::merge(&mut template, &json!({"spec": at(&job("", json!({})), "/spec")}));
        json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": "default"},
            "spec": {"schedule": "* * * * *", "concurrencyPolicy": policy, "jobTemplate": template},
        })
    };
    story.stage.create(cron("tick", "Allow", json!({})));
    story.stage.create(cron("slow", "Forbid", nowhere()));
    story.stage.create(cron("swap", "Replace", nowhere()));
    story.stage.pass(3 * 60 + 20).await;
    story.step("ran");
    story.compare_with(include_str!("../../fixtures/stories/cron-jobs.json"));
}

#[tokio::test(start_paused = true)]
async fn a_quota_shows_in_the_deployment() {
    let story = Story::begin();
    story.stage.create(json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default"},
        "spec": {"hard": {"pods": "2"}},
    }));
    story.stage.pass(1).await;
    story.stage.create(workload("Deployment", "cart", "cart:1", json!({"replicas": 4})));
    story.stage.pass(30).await;
    let cart = story.stage.get("deployments.apps", "cart");
    assert_eq!(integer(&cart, "/status/availableReplicas"), Some(2));
    let failure = condition(&cart, "ReplicaFailure").unwrap();
    assert_eq!(text(failure, "/reason"), "FailedCreate");
    assert!(
        text(failure, "/message")
            .ends_with(" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"),
        "{failure}"
    );
    story.patch("resourcequotas", "q", json!({"spec": {"hard": {"pods": "10"}}}));
    // It is tried again by itself, after waits that double.
    story.stage.pass(120).await;
    let cart = story.stage.get("deployments.apps", "cart");
    assert_eq!(integer(&cart, "/status/availableReplicas"), Some(4));
    assert!(condition(&cart, "ReplicaFailure").is_none());
}

use serde_json::{Value, json};

use crate::testing::{Stage, state};
use crate::value::{condition, text};

fn claim(name: &str, class: Option<&str>) -> Value {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    if let Some(class) = class {
        spec["storageClassName"] = json!(class);
    }
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

fn class(name: &str, provisioner: &str, mode: &str) -> Value {
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": provisioner, "volumeBindingMode": mode, "reclaimPolicy": "Delete"})
}

fn uses(claim: &str) -> Value {
    json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]})
}

fn phase(stage: &Stage, claim: &str) -> String {
    text(&stage.get("persistentvolumeclaims", claim), "/status/phase").to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_a_class_takes_the_smallest_volume_that_will_do() {
    let stage = Stage::new(1, &[]);
    for (name, size) in [("big", "5Gi"), ("small", "2Gi"), ("tiny", "1Mi")] {
        stage.create(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
                "persistentVolumeReclaimPolicy": "Retain"}}));
    }
    stage.create(claim("data", Some("")));
    stage.pass(1).await;
    let found = stage.get("persistentvolumeclaims", "data");
    assert_eq!((phase(&stage, "data").as_str(), text(&found, "/spec/volumeName")), ("Bound", "small"));
    assert_eq!(text(&found, "/status/capacity/storage"), "2Gi");
    assert_eq!(text(&stage.get("persistentvolumes", "big"), "/status/phase"), "Available");
    stage.delete("persistentvolumeclaims", "data");
    stage.pass(1).await;
    assert_eq!(text(&stage.get("persistentvolumes", "small"), "/status/phase"), "Released");
    stage.create(claim("again", Some("")));
    stage.pass(1).await;
    assert_eq!(text(&stage.get("persistentvolumeclaims", "again"), "/spec/volumeName"), "big");
}

// Messages as the controller 1.36.3 gave them: fixtures/events.json.
#[tokio::test(start_paused = true)]
async fn a_claim_that_can_not_be_bound_says_why_and_holds_its_pod_back() {
    let stage = Stage::new(1, &[]);
    stage.create(claim("noclass", None));
    stage.create(claim("badclass", Some("nope")));
    stage.run("web", "app:1", uses("noclass"));
    stage.pass(1).await;
    let none = "Normal FailedBinding: no persistent volumes available for this claim and no storage class is set";
    assert_eq!(stage.events("noclass"), [none]);
    assert_eq!(
        stage.events("badclass"),
        ["Warning ProvisioningFailed: storageclass.storage.k8s.io \"nope\" not found"]
    );
    let message = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found";
    assert_eq!(text(condition(&stage.pod("web"), "PodScheduled").unwrap(), "/message"), message);
    stage.create(class("nope", "csi.example.com", "Immediate"));
    stage.pass(5).await;
    assert_eq!(phase(&stage, "badclass"), "Bound");
}

#[tokio::test(start_paused = true)]
async fn a_claim_may_wait_for_its_first_consumer() {
    let stage = Stage::new(1, &[]);
    stage.create(class("wait", "csi.example.com", "WaitForFirstConsumer"));
    stage.create(class("hand", "kubernetes.io/no-provisioner", "WaitForFirstConsumer"));
    stage.create(claim("data", Some("wait")));
    stage.create(claim("local", Some("hand")));
    stage.pass(5).await;
    assert_eq!(phase(&stage, "data"), "Pending");
    let waits = "Normal WaitForFirstConsumer: waiting for first consumer to be created before binding";
    assert_eq!(stage.events("data"), [waits]);
    stage.run("web", "app:1", uses("data"));
    stage.run("db", "app:1", uses("local"));
    stage.pass(10).await;
    assert_eq!((phase(&stage, "data").as_str(), state(&stage.pod("web")).as_str()), ("Bound", "Running"));
    let message = text(condition(&stage.pod("db"), "PodScheduled").unwrap(), "/message").to_owned();
    assert!(
        message.starts_with("0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind."),
        "{message}"
    );
}

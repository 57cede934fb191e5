use serde_json::{Value, json};

use crate::controllers::stage::Stage;
use crate::value::{items, set, uid};

fn config(name: &str, owners: &[(&Value, bool)]) -> Value {
    let owners: Vec<Value> = owners
        .iter()
        .map(|(owner, blocks)| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.pointer("/metadata/name"), "uid": uid(owner),
                   "blockOwnerDeletion": blocks})
        })
        .collect();
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}});
    if !owners.is_empty() {
        set(&mut object, "/metadata/ownerReferences", json!(owners));
    }
    object
}

async fn family() -> Stage {
    let mut stage = Stage::new();
    let grandparent = stage.create("configmaps", config("a", &[]));
    let parent = stage.create("configmaps", config("b", &[(&grandparent, true)]));
    stage.create("configmaps", config("c", &[(&parent, true)]));
    stage.pass(1).await;
    assert_eq!(stage.names("configmaps"), ["a", "b", "c"]);
    stage
}

#[tokio::test(start_paused = true)]
async fn in_the_background_dependants_follow() {
    let mut stage = family().await;
    stage.delete("configmaps", "a", "Background");
    assert_eq!(stage.names("configmaps"), ["b", "c"]);
    stage.pass(1).await;
    assert!(stage.names("configmaps").is_empty());
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_the_owner_goes_last() {
    let mut stage = family().await;
    stage.edit("configmaps", "c", |object| set(object, "/metadata/finalizers", json!(["example.com/wait"])));
    stage.delete("configmaps", "a", "Foreground");
    stage.pass(1).await;
    assert_eq!(stage.names("configmaps"), ["a", "b", "c"]);
    stage.edit("configmaps", "c", |object| set(object, "/metadata/finalizers", json!([])));
    stage.pass(1).await;
    assert!(stage.names("configmaps").is_empty());
}

#[tokio::test(start_paused = true)]
async fn orphaned_dependants_stay() {
    let mut stage = family().await;
    stage.delete("configmaps", "a", "Orphan");
    stage.pass(1).await;
    assert_eq!(stage.names("configmaps"), ["b", "c"]);
    assert!(items(&stage.get("configmaps", "b"), "/metadata/ownerReferences").is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_of_two_owners_is_enough_to_stay() {
    let mut stage = Stage::new();
    let one = stage.create("configmaps", config("one", &[]));
    let two = stage.create("configmaps", config("two", &[]));
    stage.create("configmaps", config("child", &[(&one, false), (&two, false)]));
    stage.pass(1).await;
    stage.delete("configmaps", "one", "Background");
    stage.pass(1).await;
    assert_eq!(items(&stage.get("configmaps", "child"), "/metadata/ownerReferences").len(), 1);
    stage.delete("configmaps", "two", "Background");
    stage.pass(1).await;
    assert!(stage.names("configmaps").is_empty());
}

use std::sync::Arc;

use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};
use serde_json::{Value, json};

use super::*;
use crate::world::fixture::{at, deployment, node, object, pod, replica_set, time};

const OWNER: Option<(&str, &str, &str)> = Some(("ReplicaSet", "cart-1", "uid-cart-1"));

fn sight(watches: &[&'static str]) -> Sight {
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let all = watches.iter().copied();
    Sight::new("test".to_owned(), Kubernetes::default(), SharedWorld::default(), all, metrics)
}

/// With a Deployment of two pods on a node, all well.
fn shop() -> Sight {
    let sight = sight(&[]);
    sight.apply(object::<core::Node>(&node("node-1", "True", -500)), at(0));
    sight.apply(object::<apps::Deployment>(&deployment("cart", 2, 2)), at(0));
    sight.apply(object::<apps::ReplicaSet>(&replica_set("cart", "cart-1", 2, 2)), at(0));
    for name in ["cart-1-a", "cart-1-b"] {
        sight.apply(object::<core::Pod>(&pod(name, OWNER)), at(0));
    }
    sight
}

fn tell(sight: &Sight, now: i64) -> Vec<Signal> {
    let world = world::read(&sight.world);
    let taken = sight.tracker().take(100, at(now), |signal, _| Sight::complete(&world, signal, false));
    let tell = |telling: crate::tracker::Telling| {
        let signal = telling.signal.clone();
        sight.tracker().told(telling);
        signal
    };
    taken.into_iter().map(tell).collect()
}

fn lines(signals: &[Signal]) -> Vec<String> {
    let line = |signal: &Signal| {
        let text = |object: &Option<ObjectRef>| object.as_ref().map_or("-".to_owned(), ToString::to_string);
        format!("{} {:?} {} of {}", signal.name, signal.state, text(&signal.target), text(&signal.root))
    };
    signals.iter().map(line).collect()
}

fn unpullable(name: &str) -> Value {
    let mut pod = pod(name, OWNER);
    pod["status"]["conditions"][1] = json!({"type": "Ready", "status": "False", "lastTransitionTime": time(10)});
    pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "ErrImagePull", "message": "404"}});
    pod
}

#[test]
fn an_unpullable_image_is_told_of_the_deployment_and_its_end_when_the_pod_is_gone() {
    let sight = shop();
    sight.apply(object::<core::Pod>(&unpullable("cart-1-a")), at(11));
    let told = tell(&sight, 11);
    assert_eq!(lines(&told), ["ImagePullBackOff Firing pod/shop/cart-1-a of deployment/shop/cart"]);
    assert_eq!(told[0].root.as_ref().unwrap().uid.as_deref(), Some("uid-cart"));
    assert_eq!(told[0].target.as_ref().unwrap().uid.as_deref(), Some("uid-cart-1-a"));
    sight.delete(&object::<core::Pod>(&unpullable("cart-1-a")), at(20));
    let told = tell(&sight, 20);
    assert_eq!(lines(&told), ["ImagePullBackOff Resolved pod/shop/cart-1-a of deployment/shop/cart"], "root is kept");
}

#[test]
fn nothing_is_judged_before_all_first_lists_are_in() {
    let sight = sight(&["watch nodes", "watch pods"]);
    sight.begin::<core::Pod>();
    sight.apply(object::<core::Pod>(&unpullable("cart-1-a")), at(11));
    sight.listed::<core::Pod>("watch pods", at(11));
    assert!(!sight.is_whole());
    assert!(tell(&sight, 11).is_empty());
    sight.begin::<core::Node>();
    sight.listed::<core::Node>("watch nodes", at(12));
    assert!(sight.is_whole());
    assert_eq!(tell(&sight, 12).len(), 1);
}

#[test]
fn a_list_again_repeats_nothing_and_misses_nothing() {
    let sight = shop();
    sight.apply(object::<core::Pod>(&unpullable("cart-1-a")), at(11));
    sight.apply(object::<core::Pod>(&unpullable("cart-1-b")), at(11));
    assert_eq!(tell(&sight, 11).len(), 2);
    sight.begin::<core::Pod>();
    sight.apply(object::<core::Pod>(&unpullable("cart-1-a")), at(30));
    sight.apply(object::<core::Pod>(&unpullable("cart-1-c")), at(30));
    sight.listed::<core::Pod>("watch pods", at(31));
    assert_eq!(
        lines(&tell(&sight, 31)),
        [
            "ImagePullBackOff Resolved pod/shop/cart-1-b of deployment/shop/cart",
            "ImagePullBackOff Firing pod/shop/cart-1-c of deployment/shop/cart",
        ]
    );
}

#[test]
fn a_node_that_goes_takes_its_pods_along() {
    let sight = shop();
    sight.apply(object::<core::Node>(&node("node-1", "Unknown", 100)), at(100));
    let mut away = pod("cart-1-a", OWNER);
    away["status"]["conditions"][1] = json!({"type": "Ready", "status": "False", "lastTransitionTime": time(100)});
    sight.apply(object::<core::Pod>(&away), at(100));
    assert!(sight.is_live());
    sight.tick(at(131));
    let told = tell(&sight, 131);
    assert_eq!(
        lines(&told),
        [
            "PodStuckOnNode Firing pod/shop/cart-1-a of deployment/shop/cart",
            "NodeNotReady Firing node/node-1 of node/node-1",
        ]
    );
    assert_eq!(told[0].causes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["node/node-1"]);
    // The node is back: told by the node's change alone, the pod's has not come yet.
    sight.apply(object::<core::Node>(&node("node-1", "True", 200)), at(200));
    let told = tell(&sight, 200);
    assert!(
        lines(&told).contains(&"PodStuckOnNode Resolved pod/shop/cart-1-a of deployment/shop/cart".to_owned()),
        "{told:#?}"
    );
}

#[test]
fn changes_of_what_should_be_are_noted_with_who_made_them() {
    let sight = shop();
    let mut changed = deployment("cart", 5, 2);
    changed["metadata"]["generation"] = json!(2);
    changed["metadata"]["managedFields"] = json!([
        {"manager": "kubectl-set", "operation": "Update", "time": time(50), "apiVersion": "apps/v1", "fieldsType": "FieldsV1"},
        {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "time": time(60)}]);
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:2");
    sight.apply(object::<apps::Deployment>(&changed), at(51));
    let mut cordoned = node("node-1", "True", -500);
    cordoned["spec"] = json!({"unschedulable": true});
    sight.apply(object::<core::Node>(&cordoned), at(52));
    let near =
        [ObjectRef::namespaced(Kind::Deployment, "shop", "cart"), ObjectRef::cluster_scoped(Kind::Node, "node-1")];
    let noted: Vec<_> = sight.changes.of(&near, at(0)).into_iter().map(|it| (it.what, it.summary, it.by)).collect();
    let kubectl = Some("kubectl-set".to_owned());
    assert_eq!(
        noted,
        [
            (evenkeel_model::ChangeKind::Schedulability, "cordoned".to_owned(), None),
            (evenkeel_model::ChangeKind::Scale, "replicas 2 → 5".to_owned(), kubectl.clone()),
            (evenkeel_model::ChangeKind::PodTemplate, "image app:1 → app:2".to_owned(), kubectl),
        ]
    );
}

#[test]
fn what_is_switched_off_paused_or_planned_is_suppressed_with_the_reason() {
    let suppressed = |change: &dyn Fn(&Sight)| {
        let sight = shop();
        change(&sight);
        sight.apply(object::<core::Pod>(&unpullable("cart-1-a")), at(11));
        tell(&sight, 11).into_iter().find(|it| it.name == "ImagePullBackOff").unwrap().suppressed
    };
    assert_eq!(suppressed(&|_| {}), None);
    let off = json!({"evenkeel.dev/mode": "off"});
    let reason = suppressed(&|sight| {
        let mut cart = deployment("cart", 2, 2);
        cart["metadata"]["annotations"] = off.clone();
        sight.apply(object::<apps::Deployment>(&cart), at(1));
    });
    assert_eq!(reason.unwrap(), "deployment/shop/cart is annotated evenkeel.dev/mode: off");
    let reason = suppressed(&|sight| {
        let namespace = json!({"metadata": {"name": "shop", "uid": "n", "annotations": off}});
        sight.apply(object::<core::Namespace>(&namespace), at(1));
    });
    assert_eq!(reason.unwrap(), "namespace shop is annotated evenkeel.dev/mode: off");
    let reason = suppressed(&|sight| {
        let mut cart = deployment("cart", 2, 2);
        cart["spec"]["paused"] = json!(true);
        sight.apply(object::<apps::Deployment>(&cart), at(1));
    });
    assert_eq!(reason.unwrap(), "deployment/shop/cart is paused");

    let sight = shop();
    let mut going = node("node-1", "False", 5);
    going["spec"] = json!({"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]});
    sight.apply(object::<core::Node>(&going), at(11));
    sight.apply(object::<core::Pod>(&unpullable("cart-1-a")), at(11));
    let told = tell(&sight, 11);
    assert!(told.iter().all(|it| it.suppressed.is_some()), "{told:#?}");
    sight.delete(&object::<core::Node>(&going), at(12));
    tell(&sight, 12);
    sight.apply(object::<core::Node>(&going), at(13));
    assert_eq!(
        tell(&sight, 13)[0].suppressed.as_ref().unwrap(),
        "Karpenter takes node/node-1 out of service on purpose"
    );
}

#[test]
fn a_probes_event_ends_when_the_pod_gets_ready_and_one_of_another_pod_is_passed_over() {
    let sight = shop();
    let event = |uid: &str| {
        object::<Event>(
            &json!({"metadata": {"name": "e", "namespace": "shop"}, "type": "Warning", "reason": "Unhealthy",
            "count": 4, "firstTimestamp": time(10), "lastTimestamp": time(20), "message": "Readiness probe failed",
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "cart-1-a", "uid": uid}}),
        )
    };
    sight.event(&event("of-another"), at(21));
    assert!(tell(&sight, 21).is_empty());
    sight.event(&event("uid-cart-1-a"), at(21));
    assert_eq!(lines(&tell(&sight, 21)), ["Unhealthy Firing pod/shop/cart-1-a of deployment/shop/cart"]);
    let mut ready = pod("cart-1-a", OWNER);
    ready["status"]["conditions"][1]["lastTransitionTime"] = json!(time(30));
    sight.apply(object::<core::Pod>(&ready), at(30));
    assert_eq!(lines(&tell(&sight, 30)), ["Unhealthy Resolved pod/shop/cart-1-a of deployment/shop/cart"]);
}

#[test]
fn a_pod_that_comes_before_its_replicaset_waits_for_it() {
    let sight = sight(&[]);
    sight.apply(object::<core::Pod>(&unpullable("cart-1-a")), at(11));
    let take = |fresh| {
        let world = world::read(&sight.world);
        sight.tracker().take(100, at(11), |signal, _| Sight::complete(&world, signal, fresh)).len()
    };
    assert_eq!(take(true), 0);
    assert_eq!(take(false), 1, "not for ever");
}

#[test]
fn an_alert_that_ends_after_its_pod_is_gone_still_belongs_to_the_owner() {
    let sight = shop();
    let pod_of = |name: &str| ObjectRef::namespaced(Kind::Pod, "shop", name);
    let root = |pod: ObjectRef| world::read(&sight.world).root(&pod).map(|root| root.to_string());
    // Deleted, missing in a list, and replaced under its name.
    sight.delete(&object::<core::Pod>(&pod("cart-1-a", OWNER)), at(1));
    sight.begin::<core::Pod>();
    sight.listed::<core::Pod>("pods", at(2));
    sight.delete(&object::<apps::ReplicaSet>(&replica_set("cart", "cart-1", 2, 2)), at(3));
    for name in ["cart-1-a", "cart-1-b"] {
        assert_eq!(root(pod_of(name)).as_deref(), Some("deployment/shop/cart"), "{name}");
    }
    let mut other = pod("cart-1-b", None);
    other["metadata"]["uid"] = json!("uid-other");
    sight.apply(object::<core::Pod>(&other), at(4));
    assert_eq!(root(pod_of("cart-1-b")).as_deref(), Some("pod/shop/cart-1-b"), "the one that is there");
    assert_eq!(root(pod_of("cart-1-b").with_uid("uid-cart-1-b")).as_deref(), Some("deployment/shop/cart"));
    assert_eq!(root(pod_of("cart-1-never-seen")), None);
}

#[test]
fn watches_can_be_there_for_targets_only() {
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let config = Kubernetes { signals: false, ..Kubernetes::default() };
    let sight = Sight::new("test".to_owned(), config, SharedWorld::default(), [], metrics);
    sight.apply(object::<core::Pod>(&unpullable("cart-1-a")), at(11));
    assert!(tell(&sight, 11).is_empty());
    assert_eq!(world::read(&sight.world).pods.len(), 1);
}

/// 10,000 pods must not cost gigabytes: what is kept of one is measured, roughly.
#[test]
fn what_is_kept_of_a_pod_is_small() {
    let one = std::mem::size_of::<crate::world::Pod>() + std::mem::size_of::<crate::world::Container>();
    assert!(one < 1024, "{one} bytes, strings aside");
    let sight = Arc::new(shop());
    for number in 0..10_000 {
        sight.apply(object::<core::Pod>(&pod(&format!("cart-1-{number}"), OWNER)), at(0));
    }
    assert_eq!(world::read(&sight.world).pods.len(), 10_002);
    assert_eq!(sight.tracker().counts().0, 0, "well pods are no entries");
}

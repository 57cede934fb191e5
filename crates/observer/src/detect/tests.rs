use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, core::v1 as core};
use serde_json::{Value, json};

use super::*;
use crate::world::fixture::{at, deployment, node, object, pod, put, replica_set, time};

const OWNER: Option<(&str, &str, &str)> = Some(("ReplicaSet", "cart-1", "uid-cart-1"));

fn world() -> World {
    let mut world = World::default();
    put::<core::Node>(&mut world, &node("node-1", "True", -5000));
    put::<apps::Deployment>(&mut world, &deployment("cart", 2, 2));
    put::<apps::ReplicaSet>(&mut world, &replica_set("cart", "cart-1", 2, 2));
    world
}

fn judged(world: &World, kind: Kind, namespace: &str, name: &str, now: i64) -> Vec<Trouble> {
    troubles(world, kind, namespace, name, &Thresholds::default(), at(now)).unwrap().1
}

fn names(found: &[Trouble]) -> Vec<&str> {
    found.iter().map(|trouble| trouble.name).collect()
}

/// A pod that is not ready since second 10, with this container status.
fn unready(container: Value) -> Value {
    let mut pod = pod("cart-1-x", OWNER);
    pod["status"]["conditions"][1] = json!({"type": "Ready", "status": "False", "lastTransitionTime": time(10),
        "reason": "ContainersNotReady", "message": "containers with unready status: [app]"});
    let mut status = json!({"name": "app", "image": "app:1", "imageID": "", "ready": false, "restartCount": 0});
    status.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    pod["status"]["containerStatuses"][0] = status;
    pod
}

fn of_pod(json: &Value, now: i64) -> Vec<Trouble> {
    let mut world = world();
    put::<core::Pod>(&mut world, json);
    judged(&world, Kind::Pod, "shop", "cart-1-x", now)
}

fn waiting(reason: &str, message: &str) -> Value {
    unready(json!({"state": {"waiting": {"reason": reason, "message": message}}}))
}

fn ended(reason: &str, code: i32, since: i64, until: i64) -> Value {
    json!({"terminated": {"reason": reason, "exitCode": code, "startedAt": time(since), "finishedAt": time(until)}})
}

#[test]
fn nothing_is_wrong_with_what_is_well() {
    assert!(of_pod(&pod("cart-1-x", OWNER), 100).is_empty());
    let world = world();
    assert!(judged(&world, Kind::Deployment, "shop", "cart", 100).is_empty());
    assert!(judged(&world, Kind::Node, "", "node-1", 100).is_empty());
    assert!(troubles(&world, Kind::Pod, "shop", "gone", &Thresholds::default(), at(0)).is_none());
}

#[test]
fn images_that_can_not_be_had_are_one_trouble_by_whatever_name() {
    for reason in ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"] {
        let found = of_pod(&waiting(reason, "not found"), 60);
        assert_eq!(names(&found), ["ImagePullBackOff"], "{reason}");
        assert_eq!((found[0].mark.as_str(), found[0].since), (time(10).as_str(), Some(at(10))));
        assert!(found[0].summary.contains(reason));
        assert_eq!(found[0].severity, Severity::Warning);
    }
    assert!(of_pod(&waiting("ContainerCreating", ""), 11).iter().all(|it| it.name == "PodNotReady"));
}

#[test]
fn with_nothing_left_to_serve_it_is_critical() {
    let mut world = world();
    put::<apps::Deployment>(&mut world, &deployment("cart", 2, 0));
    put::<core::Pod>(&mut world, &waiting("ErrImagePull", ""));
    assert_eq!(judged(&world, Kind::Pod, "shop", "cart-1-x", 60)[0].severity, Severity::Critical);
}

#[test]
fn a_missing_configmap_or_secret_is_named_as_the_cause() {
    for (message, cause) in [
        ("configmap \"settings\" not found", "configmap/shop/settings"),
        ("secret \"keys\" not found", "secret/shop/keys"),
        ("couldn't find key port in ConfigMap shop/settings", "configmap/shop/settings"),
        ("couldn't find key port in Secret shop/keys", "secret/shop/keys"),
    ] {
        let found = of_pod(&waiting("CreateContainerConfigError", message), 60);
        assert_eq!(names(&found), ["CreateContainerConfigError"]);
        assert_eq!(found[0].causes.iter().map(ToString::to_string).collect::<Vec<_>>(), [cause]);
    }
    assert!(of_pod(&waiting("CreateContainerConfigError", "runAsNonRoot"), 60)[0].causes.is_empty());
}

fn crashing(state: Value, restarts: i32) -> Value {
    unready(json!({"restartCount": restarts, "state": state, "lastState": ended("Error", 1, 50, 55)}))
}

#[test]
fn a_crash_loop_is_one_between_its_crashes_too() {
    let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let found = of_pod(&crashing(waits, 1), 60);
    assert_eq!(names(&found), ["CrashLoopBackOff"]);
    assert_eq!((found[0].mark.as_str(), found[0].until), ("1", None));
    let runs = json!({"running": {"startedAt": time(60)}});
    let found = of_pod(&crashing(runs.clone(), 5), 61);
    assert_eq!(names(&found), ["CrashLoopBackOff"]);
    assert_eq!((found[0].mark.as_str(), found[0].until), ("4", Some(at(180))), "until it has run for a while");
    assert!(!names(&of_pod(&crashing(runs.clone(), 5), 180)).contains(&"CrashLoopBackOff"));
    assert!(!names(&of_pod(&crashing(runs.clone(), 1), 61)).contains(&"CrashLoopBackOff"), "one restart is no loop");
    let mut world = world();
    put::<core::Pod>(&mut world, &crashing(json!({"waiting": {"reason": "CrashLoopBackOff"}}), 0));
    put::<core::Pod>(&mut world, &crashing(runs, 1));
    let found = judged(&world, Kind::Pod, "shop", "cart-1-x", 61);
    assert_eq!(names(&found), ["CrashLoopBackOff"], "it was held back before");
    assert_eq!(names(&of_pod(&crashing(ended("Error", 1, 60, 61), 3), 61)), ["CrashLoopBackOff"]);
    let mut rare = crashing(json!({"running": {"startedAt": time(99_960)}}), 9);
    rare["status"]["containerStatuses"][0]["lastState"] = ended("Error", 1, 55, 99_955);
    assert!(!names(&of_pod(&rare, 99_970)).contains(&"CrashLoopBackOff"), "it ran for a day before");
}

#[test]
fn restarts_are_news_when_they_double() {
    let mark = |restarts| {
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        of_pod(&crashing(waits, restarts), 60)[0].mark.clone()
    };
    assert_eq!([1, 2, 3, 4, 7, 8, 200].map(mark), ["1", "2", "2", "4", "4", "8", "128"]);
}

#[test]
fn a_kill_for_memory_is_news_for_a_while() {
    let mut killed = crashing(json!({"running": {"startedAt": time(60)}}), 1);
    killed["status"]["containerStatuses"][0]["lastState"] = ended("OOMKilled", 137, 20, 55);
    let found = of_pod(&killed, 61);
    assert_eq!(names(&found), ["OOMKilled"]);
    assert_eq!(found[0].until, Some(at(655)));
    assert!(!names(&of_pod(&killed, 655)).contains(&"OOMKilled"));
}

#[test]
fn what_can_not_be_scheduled_is_told_after_a_while() {
    let mut pending = pod("cart-1-x", OWNER);
    pending["spec"] = json!({"containers": []});
    pending["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/1 nodes are available", "lastTransitionTime": time(1)}]});
    let found = of_pod(&pending, 2);
    assert_eq!(names(&found), ["FailedScheduling"]);
    assert_eq!((found[0].since, found[0].after), (Some(at(1)), Span::seconds(10)));
    pending["status"]["conditions"][0]["reason"] = json!("SchedulingGated");
    assert!(of_pod(&pending, 60).is_empty());
}

#[test]
fn a_pod_that_was_ready_is_given_less_time_than_one_that_starts() {
    let runs = unready(json!({"state": {"running": {"startedAt": time(2)}}}));
    let found = of_pod(&runs, 11);
    assert_eq!((names(&found), found[0].after), (vec!["PodNotReady"], Thresholds::default().pod_starting));
    let mut world = world();
    put::<core::Pod>(&mut world, &pod("cart-1-x", OWNER));
    put::<core::Pod>(&mut world, &runs);
    let found = judged(&world, Kind::Pod, "shop", "cart-1-x", 11);
    assert_eq!((names(&found), found[0].after), (vec!["PodNotReady"], Thresholds::default().pod_not_ready));
}

#[test]
fn a_jobs_pod_and_a_finished_one_need_not_be_ready() {
    let mut runs = unready(json!({"state": {"running": {"startedAt": time(2)}}}));
    runs["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j", "controller": true}]);
    assert!(of_pod(&runs, 500).is_empty());
    let mut done = unready(json!({"state": ended("Completed", 0, 1, 2)}));
    done["status"]["phase"] = json!("Succeeded");
    assert!(of_pod(&done, 500).is_empty());
}

#[test]
fn a_pod_is_stuck_on_a_node_that_is_not_ready_unless_it_belongs_there() {
    let on_bad_node = |json: &Value, now| {
        let mut world = world();
        put::<core::Node>(&mut world, &node("node-1", "Unknown", 20));
        put::<core::Pod>(&mut world, json);
        judged(&world, Kind::Pod, "shop", "cart-1-x", now)
    };
    let out = unready(json!({"state": {"running": {"startedAt": time(2)}}}));
    let found = on_bad_node(&out, 25);
    assert_eq!(names(&found), ["PodStuckOnNode"]);
    assert_eq!((found[0].since, found[0].mark.as_str()), (Some(at(20)), time(20).as_str()));
    assert_eq!(found[0].causes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["node/node-1"]);
    assert!(on_bad_node(&pod("cart-1-x", OWNER), 25).is_empty(), "still ready");
    let mut overdue = pod("cart-1-x", OWNER);
    overdue["metadata"]["deletionTimestamp"] = json!(time(40));
    let found = on_bad_node(&overdue, 41);
    assert_eq!((names(&found), found[0].since), (vec!["PodStuckOnNode"], Some(at(40))));
    let mut daemon = out;
    daemon["metadata"]["ownerReferences"][0]["kind"] = json!("DaemonSet");
    assert!(on_bad_node(&daemon, 25).is_empty());
}

#[test]
fn nodes_are_told_when_they_go_and_given_time_when_they_come() {
    let of = |json: &Value| {
        let mut world = World::default();
        put::<core::Node>(&mut world, json);
        judged(&world, Kind::Node, "", "node-1", 500)
    };
    for status in ["False", "Unknown"] {
        let found = of(&node("node-1", status, 20));
        assert_eq!(names(&found), ["NodeNotReady"]);
        assert_eq!((found[0].after, found[0].mark.as_str()), (Span::seconds(5), time(20).as_str()));
    }
    assert_eq!(of(&node("node-1", "False", -99_990))[0].after, Thresholds::default().node_starting);
    let mut pressed = node("node-1", "True", 20);
    pressed["status"]["conditions"][1] =
        json!({"type": "DiskPressure", "status": "True", "lastTransitionTime": time(3)});
    let found = of(&pressed);
    assert_eq!((names(&found), found[0].summary.as_str()), (vec!["NodePressure"], "DiskPressure"));
}

#[test]
fn a_node_that_we_cordoned_and_that_is_well_again_is_told() {
    let of = |change: &dyn Fn(&mut Value)| {
        let mut json = node("node-1", "True", 20);
        json["spec"] = json!({"unschedulable": true});
        let meta = &mut json["metadata"];
        meta["resourceVersion"] = json!("7");
        meta["annotations"] = json!({"evenkeel.dev/remediation": "r-9/2"});
        meta["managedFields"] = json!([{"manager": "evenkeel", "operation": "Update",
            "fieldsV1": {"f:spec": {"f:unschedulable": {}}}}]);
        change(&mut json);
        let mut world = World::default();
        put::<core::Node>(&mut world, &json);
        judged(&world, Kind::Node, "", "node-1", 500)
    };
    let found = of(&|_| {});
    assert_eq!(names(&found), ["NodeStillCordoned"]);
    assert_eq!((found[0].after, found[0].since), (Span::minutes(10), Some(at(20))));
    assert!(of(&|json| json["spec"] = json!({})).is_empty(), "no longer");
    assert!(of(&|json| json["metadata"]["managedFields"][0]["manager"] = json!("kubectl-cordon")).is_empty());
    assert!(of(&|json| json["metadata"]["annotations"] = json!({})).is_empty(), "cordoned by others");
    let kured = json!([{"key": "weave.works/kured-node-reboot", "effect": "NoSchedule"}]);
    assert!(of(&|json| json["spec"]["taints"] = kured.clone()).is_empty(), "taken away on purpose");
    assert_eq!(names(&of(&|json| json["status"]["conditions"][0]["status"] = json!("False"))), ["NodeNotReady"]);
}

#[test]
fn a_deployments_conditions_are_told() {
    let of = |change: &dyn Fn(&mut Value)| {
        let mut json = deployment("cart", 3, 1);
        change(&mut json);
        let mut world = World::default();
        put::<apps::Deployment>(&mut world, &json);
        judged(&world, Kind::Deployment, "shop", "cart", 500)
    };
    let found = of(&|_| {});
    assert_eq!(names(&found), ["ReplicasUnavailable"]);
    assert_eq!((found[0].mark.as_str(), found[0].after), ("Deployment generation 1", Span::minutes(1)));
    let found = of(&|json| {
        json["status"]["conditions"] = json!([
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "lastTransitionTime": time(9)},
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "lastTransitionTime": time(8),
             "message": "pods \"cart-1-x\" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=2, limited: pods=2"}]);
    });
    assert_eq!(names(&found), ["ProgressDeadlineExceeded", "FailedCreate", "ReplicasUnavailable"]);
    assert_eq!(found[1].causes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["resourcequota/shop/compute"]);
    assert!(of(&|json| json["metadata"]["deletionTimestamp"] = json!(time(1))).is_empty());
    assert!(of(&|json| json["spec"]["replicas"] = json!(0)).is_empty());
    assert_eq!(of(&|json| json["status"]["availableReplicas"] = json!(0))[0].severity, Severity::Critical);
}

#[test]
fn replicas_missing_on_a_node_that_is_not_ready_name_it_as_the_cause() {
    let mut world = world();
    put::<apps::Deployment>(&mut world, &deployment("cart", 2, 1));
    put::<core::Pod>(&mut world, &unready(json!({"state": {"running": {"startedAt": time(2)}}})));
    assert!(judged(&world, Kind::Deployment, "shop", "cart", 60)[0].causes.is_empty());
    put::<core::Node>(&mut world, &node("node-1", "Unknown", 20));
    let found = judged(&world, Kind::Deployment, "shop", "cart", 60);
    assert_eq!(found[0].causes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["node/node-1"]);
}

#[test]
fn a_failed_job_is_told() {
    let mut world = World::default();
    put::<batch::Job>(
        &mut world,
        &json!({"metadata": {"name": "tidy", "namespace": "shop", "uid": "t"}, "status":
        {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "lastTransitionTime": time(7)}]}}),
    );
    let found = judged(&world, Kind::Job, "shop", "tidy", 500);
    assert_eq!((names(&found), found[0].mark.as_str()), (vec!["JobFailed"], time(7).as_str()));
}

fn warning(reason: &str, kind: &str, count: i32, last: i64) -> core::Event {
    object(&json!({"metadata": {"name": "e", "namespace": "shop"}, "type": "Warning", "reason": reason, "count": count,
        "message": "Readiness probe failed", "firstTimestamp": time(0), "lastTimestamp": time(last),
        "involvedObject": {"kind": kind, "namespace": "shop", "name": "cart-1-x", "uid": "uid-cart-1-x"}}))
}

#[test]
fn events_tell_what_no_status_does_while_they_are_new() {
    let told = |it: &core::Event, now| event(it, &Thresholds::default(), at(now));
    let (object, trouble) = told(&warning("Unhealthy", "Pod", 5, 50), 60).unwrap();
    assert_eq!((object.to_string().as_str(), object.uid.as_deref()), ("pod/shop/cart-1-x", Some("uid-cart-1-x")));
    assert_eq!((trouble.name, trouble.until, trouble.mark.as_str()), ("Unhealthy", Some(at(350)), "event"));
    assert!(told(&warning("Unhealthy", "Pod", 5, 50), 350).is_none(), "old");
    assert!(told(&warning("Unhealthy", "Pod", 2, 50), 60).is_none(), "too few");
    assert!(told(&warning("BackOff", "Pod", 9, 50), 60).is_none(), "its status tells");
    assert!(told(&warning("FailedCreate", "ReplicaSet", 9, 50), 60).is_none(), "its status tells");
    assert_eq!(told(&warning("FailedCreate", "StatefulSet", 1, 50), 60).unwrap().1.name, "FailedCreate");
    assert_eq!(told(&warning("FailedAttachVolume", "Pod", 1, 50), 60).unwrap().1.name, "FailedMount");
    let mut series = warning("FailedMount", "Pod", 1, 50);
    series.series = Some(object_series(7, "2024-10-04T00:03:20.000000Z"));
    assert_eq!(told(&series, 210).unwrap().1.until, Some(at(500)));
}

fn object_series(count: i32, at: &str) -> core::EventSeries {
    object(&json!({"count": count, "lastObservedTime": at}))
}

#[test]
fn every_name_told_is_among_those_metrics_know() {
    let source =
        [include_str!("pod.rs"), include_str!("node.rs"), include_str!("workload.rs"), include_str!("event.rs")];
    for line in source.concat().lines() {
        if let Some(name) = line.split("Trouble::new(\"").nth(1).and_then(|rest| rest.split('"').next()) {
            assert!(NAMES.contains(&name), "{name}");
        }
    }
}

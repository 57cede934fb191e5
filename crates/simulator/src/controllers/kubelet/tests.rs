use serde_json::json;

use crate::testing::{Stage, state};
use crate::value::{condition, integer, items, text};

fn ready(stage: &Stage, pod: &str) -> bool {
    condition(&stage.pod(pod), "Ready").is_some_and(|ready| text(ready, "/status") == "True")
}

// States, conditions and Events of the real kubelet 1.36.3: fixtures/pod-states.txt and fixtures/events.json.
#[tokio::test(start_paused = true)]
async fn a_pod_starts_and_becomes_ready() {
    let stage = Stage::new(1, &[("app:1", json!({"ready": {"after": "4s"}}))]);
    stage.run(
        "web",
        "app:1",
        json!({"readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 2}}),
    );
    stage.pass(1).await;
    assert_eq!(
        (state(&stage.pod("web")).as_str(), text(&stage.pod("web"), "/status/phase")),
        ("ContainerCreating", "Pending")
    );
    stage.pass(3).await;
    let pod = stage.pod("web");
    assert_eq!((text(&pod, "/status/phase"), ready(&stage, "web")), ("Running", false));
    let unready = condition(&pod, "Ready").unwrap();
    assert_eq!(text(unready, "/reason"), "ContainersNotReady");
    assert_eq!(text(unready, "/message"), "containers with unready status: [app]");
    stage.pass(5).await;
    assert!(ready(&stage, "web"));
    let pod = stage.pod("web");
    let types: Vec<&str> = items(&pod, "/status/conditions").iter().map(|it| text(it, "/type")).collect();
    assert_eq!(types, ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]);
    assert_eq!(
        stage.events("web")[1..4],
        [
            "Normal Pulling: Pulling image \"app:1\"",
            "Normal Pulled: Successfully pulled image \"app:1\" in 1s (1s including waiting). Image size: 11279124 bytes.",
            "Normal Created: Container created",
        ]
    );
    let refused = "Get \"http://10.244.0.2:8080/ready\": dial tcp 10.244.0.2:8080: connect: connection refused";
    assert_eq!(
        stage.events("web")[4..],
        [
            "Normal Started: Container started".to_owned(),
            format!("Warning Unhealthy: Readiness probe failed: {refused} ×2"),
        ]
    );
    let before = stage.simulator.state().store.head(&"pods".into());
    stage.pass(3600).await;
    assert_eq!(stage.simulator.state().store.head(&"pods".into()), before, "nothing happens to a pod that is well");
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_backs_off_and_doubles() {
    let stage = Stage::new(1, &[("app:1", json!({"crash": {"after": "2s"}}))]);
    stage.run("web", "app:1", json!({}));
    let mut restarts = Vec::new();
    let mut seen = 0;
    for second in 0..260 {
        stage.pass(1).await;
        let count = integer(&stage.pod("web"), "/status/containerStatuses/0/restartCount").unwrap_or_default();
        if count > seen {
            restarts.push(second);
            seen = count;
        }
    }
    let waits: Vec<i32> = restarts.windows(2).map(|two| two[1] - two[0]).collect();
    // Two seconds of running, then 10, 20, 40, 80 seconds of back-off.
    assert_eq!(waits, [12, 22, 42, 82], "{restarts:?}");
    let pod = stage.pod("web");
    let status = &pod["status"]["containerStatuses"][0];
    let uid = text(&pod, "/metadata/uid");
    assert_eq!(
        text(status, "/state/waiting/message"),
        format!("back-off 2m40s restarting failed container=app pod=web_default({uid})")
    );
    assert_eq!((text(status, "/lastState/terminated/reason"), text(&pod, "/status/phase")), ("Error", "Running"));
    let told = format!("Warning BackOff: Back-off restarting failed container app in pod web_default({uid})");
    assert!(stage.events("web").iter().any(|event| event.starts_with(&told)));
    let log = stage.simulator.state().pod_log("default", "web", crate::controllers::Asked::default()).unwrap();
    assert_eq!(log, "FATAL: giving up with exit code 1\n");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_missing_is_pulled_again_ever_later_and_starts_when_it_is_there() {
    let stage = Stage::new(1, &[("app:1", json!({"missing": true}))]);
    stage.run("web", "app:1", json!({}));
    stage.pass(3).await;
    assert_eq!(state(&stage.pod("web")), "ErrImagePull");
    stage.pass(2).await;
    let pod = stage.pod("web");
    assert_eq!(
        text(&pod, "/status/containerStatuses/0/state/waiting/message"),
        "Back-off pulling image \"app:1\": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image \
         \"docker.io/library/app:1\": failed to resolve image: docker.io/library/app:1: not found"
    );
    assert_eq!((state(&pod).as_str(), text(&pod, "/status/phase")), ("ImagePullBackOff", "Pending"));
    stage.pass(200).await;
    let pulls = stage.events("web").into_iter().find(|event| event.starts_with("Normal Pulling")).unwrap();
    assert_eq!(pulls, "Normal Pulling: Pulling image \"app:1\" ×5");
    stage.simulator.set_image("app:1", crate::images::ImageLife::default());
    stage.pass(300).await;
    assert_eq!(state(&stage.pod("web")), "Running");
}

#[tokio::test(start_paused = true)]
async fn what_keeps_a_container_from_being_made_is_said() {
    let stage = Stage::new(1, &[("app:1", json!({"programs": {"/serve": {}}}))]);
    stage.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"}, "data": {"a": "b"}}));
    let absent = json!({"envFrom": [{"configMapRef": {"name": "absent"}}]});
    let lost = json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "lost"}}}]});
    let secret = json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "lost"}}}]});
    for (name, image, spec, reason, message) in [
        ("a", "app:1", absent, "CreateContainerConfigError", "configmap \"absent\" not found"),
        ("b", "app:1", lost, "CreateContainerConfigError", "couldn't find key lost in ConfigMap default/settings"),
        ("c", "app:1", secret, "CreateContainerConfigError", "secret \"absent\" not found"),
        (
            "d",
            "App:1",
            json!({}),
            "InvalidImageName",
            "Failed to apply default image tag \"App:1\": couldn't parse image name \
          \"App:1\": invalid reference format: repository name (App) must be lowercase",
        ),
        (
            "e",
            "x",
            json!({"imagePullPolicy": "Never"}),
            "ErrImageNeverPull",
            "Container image \"x\" is not present with pull policy of Never",
        ),
    ] {
        stage.run(name, image, spec);
        stage.pass(4).await;
        let pod = stage.pod(name);
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        assert_eq!((text(waiting, "/reason"), text(waiting, "/message")), (reason, message), "{name}");
    }
    stage.run("f", "app:1", json!({"command": ["/nope"]}));
    stage.pass(3).await;
    let pod = stage.pod("f");
    assert_eq!(text(&pod, "/status/containerStatuses/0/lastState/terminated/reason"), "StartError");
    assert!(matches!(state(&pod).as_str(), "RunContainerError" | "CrashLoopBackOff"), "{}", state(&pod));
    stage.run(
        "g",
        "app:1",
        json!({"command": ["/serve"], "volumes": [{"name": "v", "configMap": {"name": "absent"}}]}),
    );
    stage.pass(60).await;
    assert_eq!(state(&stage.pod("g")), "ContainerCreating");
    let told = "Warning FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"absent\" not found ×7";
    assert_eq!(stage.events("g")[1], told);
}

#[tokio::test(start_paused = true)]
async fn liveness_failures_restart_the_container() {
    let stage = Stage::new(1, &[("app:1", json!({"hangs": "60s"}))]);
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 5});
    stage.run("web", "app:1", json!({"livenessProbe": probe}));
    stage.pass(60).await;
    assert_eq!(integer(&stage.pod("web"), "/status/containerStatuses/0/restartCount"), Some(0));
    // Three failures, and thirty seconds until it is killed: it does not hear that it should end.
    stage.pass(55).await;
    let pod = stage.pod("web");
    assert_eq!(integer(&pod, "/status/containerStatuses/0/restartCount"), Some(1));
    assert_eq!(integer(&pod, "/status/containerStatuses/0/lastState/terminated/exitCode"), Some(137));
    let events = stage.events("web").join("\n");
    assert!(events.contains("Normal Killing: Container app failed liveness probe, will be restarted"), "{events}");
    assert!(
        events.contains("context deadline exceeded (Client.Timeout exceeded while awaiting headers) ×3"),
        "{events}"
    );
}

#[tokio::test(start_paused = true)]
async fn out_of_memory_is_told_apart_from_other_ends() {
    let stage = Stage::new(1, &[("app:1", json!({"memory": "200Mi"}))]);
    stage.run("small", "app:1", json!({"resources": {"limits": {"memory": "100Mi"}}}));
    stage.run("large", "app:1", json!({"resources": {"limits": {"memory": "300Mi"}}}));
    stage.pass(15).await;
    let status = &stage.pod("small")["status"]["containerStatuses"][0];
    assert_eq!(text(status, "/lastState/terminated/reason"), "OOMKilled");
    assert_eq!(integer(status, "/lastState/terminated/exitCode"), Some(137));
    assert_eq!(state(&stage.pod("large")), "Running");
}

#[tokio::test(start_paused = true)]
async fn init_containers_come_first_and_one_after_the_other() {
    let done = json!({"crash": {"after": "3s", "exitCode": 0}});
    let stage = Stage::new(1, &[("done:1", done), ("bad:1", json!({"crash": {"after": "1s"}})), ("app:1", json!({}))]);
    let init = |image: &str| json!({"initContainers": [{"name": "setup", "image": image}, {"name": "side", "image": "app:1", "restartPolicy": "Always"}]});
    stage.run("good", "app:1", init("done:1"));
    stage.run("bad", "app:1", init("bad:1"));
    stage.pass(4).await;
    let pod = stage.pod("good");
    let message = text(condition(&pod, "Initialized").unwrap(), "/message").to_owned();
    assert_eq!(message, "containers with incomplete status: [setup side]");
    assert_eq!(text(&pod, "/status/containerStatuses/0/state/waiting/reason"), "PodInitializing");
    stage.pass(10).await;
    assert_eq!((text(&stage.pod("good"), "/status/phase"), ready(&stage, "good")), ("Running", true));
    let bad = stage.pod("bad");
    assert_eq!((text(&bad, "/status/phase"), state(&bad).as_str()), ("Pending", "CrashLoopBackOff"));
}

#[tokio::test(start_paused = true)]
async fn restart_policies_are_kept() {
    let stage = Stage::new(
        1,
        &[
            ("done:1", json!({"crash": {"after": "2s", "exitCode": 0}})),
            ("bad:1", json!({"crash": {"after": "2s", "exitCode": 3}})),
        ],
    );
    for (name, image, policy, phase) in [
        ("a", "done:1", "Never", "Succeeded"),
        ("b", "bad:1", "Never", "Failed"),
        ("c", "done:1", "OnFailure", "Succeeded"),
        ("d", "bad:1", "OnFailure", "Running"),
        ("e", "done:1", "Always", "Running"),
    ] {
        stage.run(name, image, json!({"restartPolicy": policy}));
        stage.pass(8).await;
        assert_eq!(text(&stage.pod(name), "/status/phase"), phase, "{name}");
    }
    let done = stage.pod("a");
    assert_eq!(text(condition(&done, "Ready").unwrap(), "/reason"), "PodCompleted");
    assert_eq!(text(condition(&stage.pod("b"), "Ready").unwrap(), "/reason"), "PodFailed");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_ends_and_goes() {
    let stage = Stage::new(1, &[("app:1", json!({"stop": "5s"})), ("deaf:1", json!({"stop": "1h"}))]);
    stage.run("web", "app:1", json!({}));
    stage.run("deaf", "deaf:1", json!({}));
    stage.pass(10).await;
    stage.delete("pods", "web");
    stage.delete("pods", "deaf");
    stage.pass(3).await;
    assert!(crate::value::is_terminating(&stage.pod("web")));
    stage.pass(4).await;
    assert!(stage.find("pods", "web").is_none());
    stage.pass(20).await;
    assert!(stage.find("pods", "deaf").is_some());
    stage.pass(5).await;
    assert!(stage.find("pods", "deaf").is_none());
    assert!(stage.events("web").contains(&"Normal Killing: Stopping container app".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_lacks_something_crashes_until_it_has_it() {
    let stage = Stage::new(1, &[("app:1", json!({"needs": ["configmap/settings/url=db", "env/MODE=live"]}))]);
    stage.run("web", "app:1", json!({"env": [{"name": "MODE", "value": "live"}]}));
    stage.pass(10).await;
    assert_eq!(state(&stage.pod("web")), "CrashLoopBackOff");
    stage.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"}, "data": {"url": "db"}}));
    stage.pass(60).await;
    assert_eq!(state(&stage.pod("web")), "Running");
}

#[tokio::test(start_paused = true)]
async fn a_startup_probe_holds_the_others_back() {
    let stage =
        Stage::new(1, &[("app:1", json!({"ready": {"after": "20s"}})), ("slow:1", json!({"ready": {"never": true}}))]);
    let probe =
        |failures: i64| json!({"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5, "failureThreshold": failures});
    stage.run("web", "app:1", json!({"startupProbe": probe(6), "livenessProbe": probe(1), "readinessProbe": probe(1)}));
    stage.run("slow", "slow:1", json!({"startupProbe": probe(2)}));
    stage.pass(30).await;
    assert!(ready(&stage, "web"));
    assert_eq!(integer(&stage.pod("web"), "/status/containerStatuses/0/restartCount"), Some(0));
    assert!(
        stage
            .events("slow")
            .contains(&"Normal Killing: Container app failed startup probe, will be restarted".to_owned())
            || stage.events("slow").iter().any(|it| it.contains("startup probe, will be restarted"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_never_ready_costs_few_events() {
    let stage = Stage::new(1, &[("app:1", json!({"ready": {"never": true}}))]);
    stage.run("web", "app:1", json!({"readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}}));
    stage.pass(3600).await;
    let events = stage.events("web");
    assert!(
        events.iter().any(|it| it
            .starts_with("Warning Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503 ×36")),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_evicted_pod_has_failed_and_a_killed_container_starts_again() {
    let stage = Stage::new(1, &[]);
    stage.run("a", "app:1", json!({}));
    stage.run("b", "app:1", json!({}));
    stage.pass(5).await;
    stage.simulator.evict_for_memory("default", "a");
    stage.simulator.kill_container("default", "b", "app");
    stage.pass(5).await;
    let gone = stage.pod("a");
    assert_eq!((text(&gone, "/status/phase"), text(&gone, "/status/reason")), ("Failed", "Evicted"));
    let killed = stage.pod("b");
    assert_eq!(integer(&killed, "/status/containerStatuses/0/lastState/terminated/exitCode"), Some(137));
    assert_eq!(state(&killed), "Running");
}

#[tokio::test(start_paused = true)]
async fn a_life_that_changes_is_lived_by_those_that_run() {
    let stage = Stage::new(1, &[]);
    stage.run("web", "app:1", json!({"readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5}}));
    stage.pass(60).await;
    assert!(ready(&stage, "web"));
    let life = |life: serde_json::Value| serde_json::from_value(life).unwrap();
    stage.simulator.set_image("app:1", life(json!({"ready": {"never": true}})));
    stage.pass(20).await;
    assert!(!ready(&stage, "web"));
    stage.simulator.set_image("app:1", life(json!({"crash": {"after": "5s"}})));
    stage.pass(12).await;
    assert_eq!(state(&stage.pod("web")), "CrashLoopBackOff");
    stage.simulator.set_image("app:1", life(json!({})));
    stage.pass(60).await;
    assert!(ready(&stage, "web"));
}

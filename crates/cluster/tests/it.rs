//! Reading and writing on a real API server: what it does with our preconditions, tests and stamps.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end where it stands")]

use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use evenkeel_cluster::{
    NoRecords, Patch, ReadError, Stamp, WriteError, WriteOutcome, classify, delete, evict, live, owners, patch,
    revision_template, root_of, snapshot,
};
use evenkeel_model::{Kind, ObjectRef, Snapshot};
use evenkeel_xtask::cluster::{Cluster, ClusterOptions};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

/// One cluster for all tests, each in a namespace of its own. It ends with this process.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::up(ClusterOptions::kwok()).unwrap())
}

async fn client_with(kubeconfig: &std::path::Path) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}

async fn client() -> kube::Client {
    client_with(&cluster().kubeconfig()).await
}

/// A workload on its way to an image that can't be pulled, in a namespace of its own.
fn bad_rollout(namespace: &str, kind: Kind, replicas: u32) {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "cart"}},
        "template": {
            "metadata": {"labels": {"app": "cart"}},
            "spec": {"containers": [{"name": "web", "image": "shop/cart:1"}]},
        },
    });
    if kind != Kind::DaemonSet {
        spec["replicas"] = json!(replicas);
    }
    if kind == Kind::StatefulSet {
        spec["serviceName"] = json!("cart");
    }
    let workload = json!({"apiVersion": "apps/v1", "kind": kind.as_str(), "metadata": {"name": "cart"}, "spec": spec});
    let run = |args: &[&str], input: &str| cluster().kubectl_with(&[&["-n", namespace], args].concat(), input).unwrap();
    let name = format!("{}/cart", kind.as_str().to_lowercase());
    cluster().kubectl(&["create", "namespace", namespace]).unwrap();
    run(&["create", "-f", "-"], &workload.to_string());
    run(&["rollout", "status", &name, "--timeout=60s"], "");
    run(&["set", "image", &name, "web=shop/cart:2-missing"], "");
}

fn cart(namespace: &str, kind: Kind) -> ObjectRef {
    ObjectRef::namespaced(kind, namespace, "cart")
}

/// The fixture's clock: what is measured against it here needs no precision.
fn now() -> DateTime<Utc> {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

async fn read(client: &kube::Client, target: &ObjectRef) -> Snapshot {
    snapshot(client, target, &NoRecords, now()).await.unwrap()
}

/// Reads until it is so.
async fn until(client: &kube::Client, target: &ObjectRef, so: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let snapshot = read(client, target).await;
            if so(&snapshot) {
                return snapshot;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    waited.await.unwrap()
}

fn current_fails(snapshot: &Snapshot) -> bool {
    snapshot.has_failing_pods() && snapshot.workload.as_ref().is_some_and(|it| it.observed)
}

/// Mutating requests of the audit log on a path, each as `verb code dry-run?`.
fn audited(path: &str) -> Vec<String> {
    let log = std::fs::read_to_string(cluster().audit_log()).unwrap();
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ours = events.filter(|event| {
        event["stage"] == "ResponseComplete"
            && event["requestURI"].as_str().unwrap().split('?').next() == Some(path)
            && !["get", "list", "watch"].contains(&event["verb"].as_str().unwrap())
            && event["userAgent"].as_str().is_none_or(|agent| !agent.contains("kube"))
    });
    let dry = |event: &Value| if event["requestURI"].as_str().unwrap().contains("dryRun=All") { " dry" } else { "" };
    ours.map(|it| format!("{} {}{}", it["verb"].as_str().unwrap(), it["responseStatus"]["code"], dry(&it))).collect()
}

#[tokio::test]
async fn a_bad_rollout_is_read_and_taken_back_and_put_back_again() {
    for kind in [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet] {
        let namespace = format!("rollback-{}", kind.as_str().to_lowercase());
        bad_rollout(&namespace, kind, 2);
        let client = client().await;
        let bad = until(&client, &cart(&namespace, kind), current_fails).await;
        assert_eq!(bad.is_well(), Some(false), "{kind}");
        let earlier = bad.last_available_revision().unwrap().clone();
        assert_eq!(earlier.images, ["shop/cart:1"], "{kind}");
        assert!(
            earlier.available > 0 && bad.revisions[0].template_hash == bad.workload.as_ref().unwrap().template_hash
        );

        let object = live(&client, &bad.target).await.unwrap().unwrap();
        let template = revision_template(&client, &bad.target, &earlier).await.unwrap().unwrap();
        let built = Patch::of(&object).set(&["spec", "template"], template).build(&Stamp::new("r-1", 1)).unwrap();
        patch(&client, &bad.target, &built.request, true).await.unwrap();
        assert_eq!(
            live(&client, &bad.target).await.unwrap().unwrap()["spec"],
            object["spec"],
            "a dry run changes nothing"
        );
        patch(&client, &bad.target, &built.request, false).await.unwrap();
        let after = until(&client, &bad.target, |it| it.workload.as_ref().is_some_and(|it| it.observed)).await;
        assert_eq!(after.workload.as_ref().unwrap().template_hash, earlier.template_hash, "{kind}");
        assert_eq!(after.meta.as_ref().unwrap().stamp.as_deref(), Some("r-1/1"));
        assert!(after.meta.as_ref().unwrap().writers.iter().any(|it| it.manager == "evenkeel" && it.pod_template));
        // A StatefulSet waits for the pod that can't start (kubernetes/kubernetes#67250).
        if kind != Kind::StatefulSet {
            until(&client, &bad.target, |it| it.is_well() == Some(true)).await;
        }

        // The fields hold our values still: the inverse applies, once.
        patch(&client, &bad.target, &built.inverse, false).await.unwrap();
        let undone = live(&client, &bad.target).await.unwrap().unwrap();
        assert_eq!(undone["spec"], object["spec"], "{kind}");
        assert_eq!(undone["metadata"]["annotations"]["evenkeel.dev/remediation"], "r-1/1/undo");
        let again = patch(&client, &bad.target, &built.inverse, false).await.unwrap_err();
        assert!(matches!(again, WriteError::TestFailed { .. }), "{again}");

        let path = format!("/apis/apps/v1/namespaces/{namespace}/{}/cart", kind.plural());
        assert_eq!(audited(&path), ["patch 200 dry", "patch 200", "patch 200", "patch 422"], "{kind}");
    }
}

#[tokio::test]
async fn what_changed_meanwhile_is_not_overwritten() {
    let namespace = "changed";
    cluster().kubectl(&["create", "namespace", namespace]).unwrap();
    cluster().kubectl(&["-n", namespace, "create", "deployment", "cart", "--image=shop/cart:1"]).unwrap();
    let client = client().await;
    let target = read(&client, &cart(namespace, Kind::Deployment)).await.target;
    let object = live(&client, &target).await.unwrap().unwrap();
    let to = |replicas: u32| {
        Patch::of(&object).set(&["spec", "replicas"], json!(replicas)).build(&Stamp::new("r-1", 1)).unwrap().request
    };
    cluster().kubectl(&["-n", namespace, "scale", "deployment/cart", "--replicas=3"]).unwrap();
    let stale = patch(&client, &target, &to(5), false).await.unwrap_err();
    assert!(matches!(stale, WriteError::TestFailed { .. }), "{stale}");
    let after = live(&client, &target).await.unwrap().unwrap();
    assert_eq!(after["spec"]["replicas"], 3);
    assert!(after["metadata"]["annotations"].get("evenkeel.dev/remediation").is_none(), "no stamp without the change");

    // Another object of the name: the uid no longer holds, whatever the fields say.
    cluster().kubectl(&["-n", namespace, "delete", "deployment", "cart"]).unwrap();
    cluster().kubectl(&["-n", namespace, "create", "deployment", "cart", "--image=shop/cart:1"]).unwrap();
    let other = patch(&client, &target, &to(5), false).await.unwrap_err();
    assert!(matches!(other, WriteError::TestFailed { .. }), "{other}");
    assert!(live(&client, &target).await.unwrap().is_none());
    assert!(read(&client, &target).await.meta.is_none());
}

#[tokio::test]
async fn annotations_that_came_meanwhile_are_not_lost() {
    let namespace = "annotations";
    cluster().kubectl(&["create", "namespace", namespace]).unwrap();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": {
        "nodeName": "nowhere", "containers": [{"name": "c", "image": "shop/cart:1"}]}});
    cluster().kubectl_with(&["-n", namespace, "create", "-f", "-"], &pod.to_string()).unwrap();
    let client = client().await;
    let target = read(&client, &ObjectRef::namespaced(Kind::Pod, namespace, "bare")).await.target;
    let object = live(&client, &target).await.unwrap().unwrap();
    assert!(object["metadata"].get("annotations").is_none());
    let seconds = |object: &Value, seconds: u32| {
        let path = ["spec", "activeDeadlineSeconds"];
        Patch::of(object).set(&path, json!(seconds)).build(&Stamp::new("r-1", 1)).unwrap().request
    };
    patch(&client, &target, &seconds(&object, 900), true).await.unwrap();
    cluster().kubectl(&["-n", namespace, "annotate", "pod", "bare", "theirs=kept"]).unwrap();
    let error = patch(&client, &target, &seconds(&object, 900), false).await.unwrap_err();
    assert!(matches!(error, WriteError::TestFailed { .. }), "{error}");
    let object = live(&client, &target).await.unwrap().unwrap();
    let written = patch(&client, &target, &seconds(&object, 900), false).await.unwrap();
    let annotations = &written["metadata"]["annotations"];
    assert_eq!(annotations, &json!({"theirs": "kept", "evenkeel.dev/remediation": "r-1/1"}));
}

#[tokio::test]
async fn only_the_very_pod_is_evicted_or_deleted() {
    let namespace = "removal";
    cluster().kubectl(&["create", "namespace", namespace]).unwrap();
    cluster()
        .kubectl(&["-n", namespace, "create", "deployment", "cart", "--image=shop/cart:1", "--replicas=3"])
        .unwrap();
    cluster().kubectl(&["-n", namespace, "rollout", "status", "deployment/cart", "--timeout=60s"]).unwrap();
    let client = client().await;
    let cart = read(&client, &cart(namespace, Kind::Deployment)).await;
    let pod = |at: usize| {
        let pod = &cart.pods[at];
        ObjectRef::namespaced(Kind::Pod, namespace, &pod.name).with_uid(&pod.uid)
    };
    let stranger = pod(0).with_uid("00000000-0000-0000-0000-000000000000");
    let refused = [evict(&client, &stranger, false).await, delete(&client, &stranger, None, false).await];
    for error in refused.map(Result::unwrap_err) {
        assert!(matches!(error, WriteError::Conflict { .. }), "{error}");
    }
    evict(&client, &pod(0), true).await.unwrap();
    delete(&client, &pod(0), None, true).await.unwrap();
    assert!(read(&client, &pod(0)).await.is_there(), "a dry run removes nothing");

    cluster().kubectl(&["-n", namespace, "create", "pdb", "cart", "--selector=app=cart", "--min-available=3"]).unwrap();
    let kept = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            // The budget takes effect when its controller has seen the pods.
            match evict(&client, &pod(0), true).await {
                Err(error) => return error,
                Ok(()) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    let kept = kept.await.unwrap();
    assert!(matches!(kept, WriteError::RefusedByBudget { .. }) && kept.is_transient(), "{kept}");
    cluster().kubectl(&["-n", namespace, "delete", "pdb", "cart"]).unwrap();

    evict(&client, &pod(0), false).await.unwrap();
    delete(&client, &pod(1), None, false).await.unwrap();
    for at in [0, 1] {
        until(&client, &pod(at), |it| !it.is_there()).await;
    }
    assert!(read(&client, &pod(2)).await.is_there());
    until(&client, &pod(0), |it| it.meta.is_none()).await;
    let gone = delete(&client, &pod(0), None, false).await.unwrap_err();
    assert!(matches!(gone, WriteError::Gone { .. }), "{gone}");
}

#[tokio::test]
async fn a_pods_root_is_found() {
    let namespace = "owners";
    bad_rollout(namespace, Kind::Deployment, 1);
    let client = client().await;
    let cart = until(&client, &cart(namespace, Kind::Deployment), current_fails).await;
    let pod = ObjectRef::namespaced(Kind::Pod, namespace, &cart.pods[0].name);
    let chain = owners(&client, &pod).await.unwrap();
    let kinds: Vec<Kind> = chain.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [Kind::Pod, Kind::ReplicaSet, Kind::Deployment]);
    assert_eq!(root_of(&client, &pod).await.unwrap(), Some(cart.target));
    let node = cart.pods[0].node.clone().unwrap();
    let node = read(&client, &ObjectRef::cluster_scoped(Kind::Node, node)).await;
    assert_eq!(node.is_well(), Some(true));
    assert!(node.pods.iter().any(|it| it.name == cart.pods[0].name));
}

#[tokio::test]
async fn refusals_and_lost_connections_are_told_apart() {
    let namespace = "refusals";
    cluster().kubectl(&["create", "namespace", namespace]).unwrap();
    cluster().kubectl(&["-n", namespace, "create", "deployment", "cart", "--image=shop/cart:1"]).unwrap();
    let client = client().await;
    let target = read(&client, &cart(namespace, Kind::Deployment)).await.target;
    let object = live(&client, &target).await.unwrap().unwrap();
    let set =
        |path: &[&str], value: Value| Patch::of(&object).set(path, value).build(&Stamp::new("r-1", 1)).unwrap().request;

    let unknown = patch(&client, &target, &set(&["spec", "template", "spec", "fromTheFuture"], json!(1)), false).await;
    let unknown = unknown.unwrap_err();
    assert!(
        matches!(unknown, WriteError::Invalid { .. }) && unknown.to_string().contains("fromTheFuture"),
        "{unknown}"
    );
    let negative = patch(&client, &target, &set(&["spec", "replicas"], json!(-1)), false).await.unwrap_err();
    assert!(matches!(negative, WriteError::Invalid { code: 422, .. }), "{negative}");

    let nobody = client_with(&cluster().kubeconfig_for("nobody", None).unwrap()).await;
    let unread = snapshot(&nobody, &target, &NoRecords, now()).await.unwrap_err();
    assert!(matches!(unread, ReadError::Forbidden { .. }), "{unread}");
    let unwritten = patch(&nobody, &target, &set(&["spec", "replicas"], json!(2)), false).await.unwrap_err();
    assert!(matches!(unwritten, WriteError::Forbidden { .. }), "{unwritten}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let at = |port: u16| kube::Config::new(format!("http://127.0.0.1:{port}").parse().unwrap());
    drop(listener);
    let mut config = at(port);
    config.default_retry = false;
    let nowhere = kube::Client::try_from(config).unwrap();
    let error = nowhere.apiserver_version().await.unwrap_err();
    assert!(matches!(classify(&error), WriteOutcome::NotDone(_)), "{error:?}");
    let unsent = delete(&nowhere, &target, None, false).await.unwrap_err();
    assert!(matches!(unsent, WriteError::Unavailable { .. }), "{unsent}");

    // Takes the request and hangs up without an answer.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hangs_up = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.readable().await.unwrap();
    });
    let mut config = at(port);
    config.default_retry = false;
    let lost = delete(&kube::Client::try_from(config).unwrap(), &target, None, false).await.unwrap_err();
    assert!(matches!(lost, WriteError::Lost { .. }), "{lost}");
    hangs_up.await.unwrap();
}

//! The API server as a client has it.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy, WatchEvent, WatchParams};
use kube::runtime::watcher;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{Call, Decision, Fuse, Intercept};
use crate::simulator::{Options, Simulator};
use crate::store::Key;
use crate::value::{items, set};

fn simulator() -> Simulator {
    let start = "2026-06-03T09:00:00Z".parse().unwrap();
    let simulator = Simulator::new(Options { start, seed: 1, images: Default::default() });
    let shop = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    simulator.apply("admin", shop).unwrap();
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "shop"}});
    simulator.apply("admin", account).unwrap();
    simulator
}

fn cart() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "cart"}}, "template": {
            "metadata": {"labels": {"app": "cart"}}, "spec": {"containers": [{"name": "app", "image": "cart:1"}]}}}})
}

fn settings(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop", "labels": labels}, "data": {"a": "1"}})
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": {"app": "cart"}},
        "spec": {"nodeName": "n-1", "containers": [{"name": "app", "image": "cart:1"}]}})
}

fn deployment_key() -> Key {
    Key::new("deployments.apps", "shop", "cart")
}

async fn send(client: &Client, method: Method, path: &str, body: Value) -> Result<Value, kube::core::Status> {
    let content_type = if method == Method::PATCH {
        if body.is_array() { "application/json-patch+json" } else { "application/merge-patch+json" }
    } else {
        "application/json"
    };
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(method).uri(path).header("content-type", content_type);
    match client.request::<Value>(request.body(body).unwrap()).await {
        Ok(value) => Ok(value),
        Err(kube::Error::Api(status)) => Err(*status),
        Err(error) => panic!("{error}"),
    }
}

async fn get(client: &Client, path: &str) -> Result<Value, kube::core::Status> {
    send(client, Method::GET, path, Value::Null).await
}

const CART: &str = "/apis/apps/v1/namespaces/shop/deployments/cart";

#[tokio::test(start_paused = true)]
async fn a_request_takes_a_little_time_and_its_answer_is_dated() {
    let simulator = simulator();
    let client = simulator.client("admin");
    let before = simulator.clock().now();
    let request = Request::get("/version").body(kube::client::Body::empty()).unwrap();
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.headers()["date"], "Wed, 03 Jun 2026 09:00:00 GMT");
    let took = simulator.clock().now() - before;
    assert!((1..=6).contains(&took.num_milliseconds()), "{took}");
}

#[tokio::test(start_paused = true)]
async fn what_is_created_can_be_read_listed_and_is_who_wrote_its() {
    let simulator = simulator();
    let api: Api<Deployment> = Api::namespaced(simulator.client("ci"), "shop");
    let params = PostParams { field_manager: Some("kubectl-create".to_owned()), dry_run: false };
    let made = api.create(&params, &serde_json::from_value(cart()).unwrap()).await.unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    let managed = made.metadata.managed_fields.unwrap();
    assert_eq!((managed.len(), managed[0].manager.as_deref()), (1, Some("kubectl-create")));
    assert_eq!(api.get("cart").await.unwrap().metadata.uid, made.metadata.uid);
    let all: Api<Deployment> = Api::all(simulator.client("ci"));
    assert_eq!(all.list(&ListParams::default()).await.unwrap().items.len(), 1);
    assert_eq!(api.get_metadata("cart").await.unwrap().metadata.name.as_deref(), Some("cart"));
    let again = api.create(&params, &serde_json::from_value(cart()).unwrap()).await.unwrap_err();
    let kube::Error::Api(status) = again else { panic!("{again}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "AlreadyExists"));
    assert_eq!(status.message, "deployments.apps \"cart\" already exists");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_changes_nothing() {
    let simulator = simulator();
    let client = simulator.client("ci");
    let made =
        send(&client, Method::POST, "/apis/apps/v1/namespaces/shop/deployments?dryRun=All", cart()).await.unwrap();
    assert!(made["metadata"]["resourceVersion"].is_null() && made["metadata"]["uid"].is_string());
    assert!(simulator.get("deployments.apps", "shop", "cart").is_none());
    simulator.apply("ci", cart()).unwrap();
    let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": 5}]);
    let patched = send(&client, Method::PATCH, &format!("{CART}?dryRun=All"), patch).await.unwrap();
    assert_eq!((&patched["spec"]["replicas"], &patched["metadata"]["generation"]), (&json!(5), &json!(2)));
    assert_eq!(simulator.get("deployments.apps", "shop", "cart").unwrap()["spec"]["replicas"], 3);
    let status = send(&client, Method::DELETE, &format!("{CART}?dryRun=Some"), Value::Null).await.unwrap_err();
    assert_eq!(status.code, 422);
}

#[tokio::test(start_paused = true)]
async fn writes_of_an_old_version_are_refused() {
    let simulator = simulator();
    let client = simulator.client("ci");
    let old = (*simulator.apply("ci", cart()).unwrap()).clone();
    simulator.edit("admin", &deployment_key(), |it| set(it, "/spec/replicas", json!(4))).unwrap();
    let status = send(&client, Method::PUT, CART, old.clone()).await.unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on deployments.apps \"cart\": the object has been modified; please apply your \
         changes to the latest version and try again"
    );
    let mut without = old;
    without["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert!(send(&client, Method::PUT, CART, without).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_is_none() {
    let simulator = simulator();
    let made = simulator.apply("ci", cart()).unwrap();
    let client = simulator.client("other");
    let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]);
    let patched = send(&client, Method::PATCH, &format!("{CART}?fieldManager=other"), patch).await.unwrap();
    assert_eq!(patched, *made);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_meant_makes_a_new_generation() {
    let simulator = simulator();
    simulator.apply("ci", cart()).unwrap();
    let generation = || simulator.get("deployments.apps", "shop", "cart").unwrap()["metadata"]["generation"].clone();
    simulator.edit("ci", &deployment_key(), |it| set(it, "/metadata/labels/x", json!("y"))).unwrap();
    assert_eq!(generation(), 1);
    simulator.edit_status("ci", &deployment_key(), |it| set(it, "/status/replicas", json!(3))).unwrap();
    assert_eq!(generation(), 1);
    simulator.edit("ci", &deployment_key(), |it| set(it, "/spec/replicas", json!(2))).unwrap();
    assert_eq!(generation(), 2);
    let found = simulator.get("deployments.apps", "shop", "cart").unwrap();
    assert_eq!(found["status"]["replicas"], 3, "the status is not written with the rest");
}

#[tokio::test(start_paused = true)]
async fn a_failed_test_of_a_patch_is_worded_as_the_real_one() {
    let simulator = simulator();
    simulator.apply("ci", cart()).unwrap();
    let patch = json!([{"op": "test", "path": "/metadata/uid", "value": "other"}]);
    let status = send(&simulator.client("ci"), Method::PATCH, CART, patch).await.unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(status.message, "the server rejected our request due to an error in our request");
    assert!(status.details.unwrap().causes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn set_image_is_a_strategic_merge_patch() {
    let simulator = simulator();
    simulator.apply("ci", cart()).unwrap();
    let api: Api<Deployment> = Api::namespaced(simulator.client("ci"), "shop");
    let patch = json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "app"}],
        "containers": [{"name": "app", "image": "cart:2"}]}}}});
    let patched = api.patch("cart", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    let pod = patched.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.containers[0].image.as_deref(), Some("cart:2"));
    let apply = PatchParams::apply("kubectl").force();
    let error = api.patch("cart", &apply, &Patch::Apply(cart())).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 501));
}

#[tokio::test(start_paused = true)]
async fn scale_is_another_way_to_the_replicas() {
    let simulator = simulator();
    simulator.apply("ci", cart()).unwrap();
    let api: Api<Deployment> = Api::namespaced(simulator.client("ci"), "shop");
    let scale = api.get_scale("cart").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    assert_eq!(scale.status.unwrap().selector.as_deref(), Some("app=cart"));
    let patch = Patch::Merge(json!({"spec": {"replicas": 5}}));
    let params = PatchParams { field_manager: Some("hpa".to_owned()), ..PatchParams::default() };
    api.patch_scale("cart", &params, &patch).await.unwrap();
    let found = simulator.get("deployments.apps", "shop", "cart").unwrap();
    assert_eq!(found["spec"]["replicas"], 5);
    let entry = items(&found, "/metadata/managedFields").iter().find(|it| it["manager"] == "hpa").unwrap();
    assert_eq!((&entry["subresource"], &entry["fieldsV1"]), (&json!("scale"), &json!({"f:spec": {"f:replicas": {}}})));
}

#[tokio::test(start_paused = true)]
async fn selectors_choose_and_unknown_fields_are_refused() {
    let simulator = simulator();
    for (name, tier) in [("a", "web"), ("b", "db"), ("c", "web")] {
        simulator.apply("ci", settings(name, json!({"tier": tier}))).unwrap();
    }
    let client = simulator.client("ci");
    let names =
        |list: Value| items(&list, "/items").iter().map(|it| it["metadata"]["name"].clone()).collect::<Vec<_>>();
    let all = "/api/v1/namespaces/shop/configmaps";
    assert_eq!(names(get(&client, &format!("{all}?labelSelector=tier%3Dweb")).await.unwrap()), ["a", "c"]);
    assert_eq!(names(get(&client, &format!("{all}?labelSelector=tier+in+(db)")).await.unwrap()), ["b"]);
    assert_eq!(names(get(&client, &format!("{all}?fieldSelector=metadata.name%3Db")).await.unwrap()), ["b"]);
    let status = get(&client, &format!("{all}?fieldSelector=data.a%3D1")).await.unwrap_err();
    assert_eq!(status.code, 400);
    let status = get(&client, "/api/v1/pods?fieldSelector=spec.image%3Dx").await.unwrap_err();
    assert_eq!((status.code, status.message.as_str()), (400, "field label not supported: spec.image"));
}

#[tokio::test(start_paused = true)]
async fn pages_show_the_list_as_it_was_until_that_is_forgotten() {
    let simulator = simulator();
    for name in ["a", "b", "c"] {
        simulator.apply("ci", settings(name, json!({}))).unwrap();
    }
    let api: Api<ConfigMap> = Api::namespaced(simulator.client("ci"), "shop");
    let page = api.list(&ListParams::default().limit(1)).await.unwrap();
    assert_eq!((page.items.len(), page.metadata.remaining_item_count), (1, Some(2)));
    let token = page.metadata.continue_.unwrap();
    simulator.delete("ci", &Key::new("configmaps", "shop", "b")).unwrap();
    let rest = api.list(&ListParams::default().limit(5).continue_token(&token)).await.unwrap();
    assert_eq!(rest.items.len(), 2, "b is still on the list that began before it went");
    assert_eq!(rest.metadata.resource_version, page.metadata.resource_version);
    simulator.compact();
    let path = format!("/api/v1/namespaces/shop/configmaps?limit=5&continue={token}");
    let status = get(&simulator.client("ci"), &path).await.unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    let status = get(&simulator.client("ci"), "/api/v1/configmaps?resourceVersion=999999").await.unwrap_err();
    assert_eq!((status.code, status.message.starts_with("Timeout: Too large resource version: 999999")), (504, true));
}

async fn heard(api: &Api<ConfigMap>, params: &WatchParams, version: &str, count: usize) -> Vec<String> {
    let stream = api.watch(params, version).await.unwrap();
    let told = stream.map_ok(|event| match event {
        WatchEvent::Added(it) => format!("ADDED {}", it.metadata.name.unwrap()),
        WatchEvent::Modified(it) => format!("MODIFIED {}", it.metadata.name.unwrap()),
        WatchEvent::Deleted(it) => format!("DELETED {}", it.metadata.name.unwrap()),
        WatchEvent::Bookmark(_) => "BOOKMARK".to_owned(),
        WatchEvent::Error(it) => format!("ERROR {} {}", it.code, it.message),
    });
    told.take(count).try_collect().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_enters_and_leaves_its_selection() {
    let simulator = simulator();
    let first = simulator.apply("ci", settings("a", json!({"tier": "web"}))).unwrap();
    let version = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let key = Key::new("configmaps", "shop", "a");
    let api: Api<ConfigMap> = Api::namespaced(simulator.client("ci"), "shop");
    let params = WatchParams::default().labels("tier=db");
    let writer = simulator.clone();
    let write = async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (tier, note) in [("db", "1"), ("db", "2"), ("web", "2")] {
            writer.edit("ci", &key, |it| *it = settings("a", json!({"tier": tier, "note": note}))).unwrap();
        }
        writer.delete("ci", &key).unwrap();
    };
    let (heard, ()) = tokio::join!(heard(&api, &params, &version, 3), write);
    assert_eq!(heard, ["ADDED a", "MODIFIED a", "DELETED a"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_a_bookmark_and_one_from_a_forgotten_version_with_410() {
    let simulator = simulator();
    simulator.apply("ci", settings("a", json!({}))).unwrap();
    let api: Api<ConfigMap> = Api::namespaced(simulator.client("ci"), "shop");
    let before = simulator.clock().now();
    assert_eq!(heard(&api, &WatchParams::default().timeout(60), "0", 9).await, ["ADDED a", "BOOKMARK", "BOOKMARK"]);
    assert_eq!((simulator.clock().now() - before).num_seconds(), 60);
    simulator.compact();
    let told = heard(&api, &WatchParams::default(), "1", 9).await;
    assert!(told.len() == 1 && told[0].starts_with("ERROR 410 too old resource version: 1 ("), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn kubes_watcher_goes_on_after_410_and_interruptions() {
    let simulator = simulator();
    simulator.apply("ci", settings("a", json!({}))).unwrap();
    for streaming in [false, true] {
        let api: Api<ConfigMap> = Api::namespaced(simulator.client("ci"), "shop");
        let config = if streaming { watcher::Config::default().streaming_lists() } else { watcher::Config::default() };
        let mut events = watcher::watcher(api, config).boxed();
        let mut next = async || loop {
            if let Ok(watcher::Event::Apply(it) | watcher::Event::InitApply(it)) = events.next().await.unwrap() {
                return it.metadata.name.unwrap();
            }
        };
        assert_eq!(next().await, "a");
        tokio::time::timeout(Duration::from_secs(1), next()).await.unwrap_err();
        // Who is connected does not notice a compaction.
        simulator.compact();
        let change = |it: &mut Value| set(it, "/data/streaming", json!(streaming.to_string()));
        simulator.edit("ci", &Key::new("configmaps", "shop", "a"), change).unwrap();
        assert_eq!(next().await, "a");
        simulator.interrupt_watches();
        let name = format!("b-{streaming}");
        let later = async {
            tokio::time::sleep(Duration::from_secs(300)).await;
            simulator.apply("ci", settings(&name, json!({}))).unwrap();
        };
        let (heard, ()) = tokio::join!(next(), later);
        assert_eq!(heard, name);
        simulator.delete("ci", &Key::new("configmaps", "shop", &name)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn deletion_minds_preconditions_and_finalizers() {
    let simulator = simulator();
    let mut held = settings("a", json!({}));
    set(&mut held, "/metadata/finalizers", json!(["shop.example/held"]));
    let made = simulator.apply("ci", held).unwrap();
    let client = simulator.client("ci");
    let path = "/api/v1/namespaces/shop/configmaps/a";
    let wrong = json!({"preconditions": {"uid": "other"}});
    let status = send(&client, Method::DELETE, path, wrong).await.unwrap_err();
    assert_eq!(status.code, 409);
    assert_eq!(
        status.message,
        format!(
            "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (other) does not match the \
             UID in record ({}). The object might have been deleted and then recreated",
            made["metadata"]["uid"].as_str().unwrap()
        )
    );
    let marked = send(&client, Method::DELETE, path, Value::Null).await.unwrap();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let patch = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
    send(&client, Method::PATCH, path, patch).await.unwrap();
    assert_eq!(get(&client, path).await.unwrap_err().message, "configmaps \"a\" not found");
    simulator.apply("ci", settings("a", json!({}))).unwrap();
    let gone = send(&client, Method::DELETE, path, Value::Null).await.unwrap();
    assert_eq!((&gone["status"], &gone["details"]["kind"]), (&json!("Success"), &json!("configmaps")));
}

#[tokio::test(start_paused = true)]
async fn propagation_is_left_to_the_garbage_collector() {
    let simulator = simulator();
    simulator.apply("ci", cart()).unwrap();
    let api: Api<Deployment> = Api::namespaced(simulator.client("ci"), "shop");
    let foreground =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    api.delete("cart", &foreground).await.unwrap();
    let found = simulator.get("deployments.apps", "shop", "cart").unwrap();
    assert_eq!(found["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert_eq!(
        (&found["metadata"]["generation"], &found["metadata"]["deletionGracePeriodSeconds"]),
        (&json!(2), &json!(0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_its_grace_which_can_be_made_shorter() {
    let simulator = simulator();
    simulator.apply("ci", pod("cart-1")).unwrap();
    let key = Key::new("pods", "shop", "cart-1");
    simulator.edit_status("kubelet", &key, |it| set(it, "/status/phase", json!("Running"))).unwrap();
    let api: Api<Pod> = Api::namespaced(simulator.client("ci"), "shop");
    let marked = api.delete("cart-1", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    let ends = simulator.get("pods", "shop", "cart-1").unwrap()["metadata"]["deletionTimestamp"].clone();
    assert_eq!(ends, "2026-06-03T09:00:30Z");
    tokio::time::sleep(Duration::from_secs(5)).await;
    api.delete("cart-1", &DeleteParams::default()).await.unwrap();
    api.delete("cart-1", &DeleteParams::default().grace_period(10)).await.unwrap();
    let ends = simulator.get("pods", "shop", "cart-1").unwrap()["metadata"]["deletionTimestamp"].clone();
    assert_eq!(ends, "2026-06-03T09:00:10Z");
    api.delete("cart-1", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(simulator.get("pods", "shop", "cart-1").is_none());
}

fn evicting(simulator: &Simulator, allowed: u32) -> Value {
    let made = simulator.apply("ci", pod("cart-1")).unwrap();
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    let key = Key::new("pods", "shop", "cart-1");
    simulator.edit_status("kubelet", &key, |it| set(it, "/status", ready)).unwrap();
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "cart"}}}});
    simulator.apply("ci", budget).unwrap();
    let status =
        json!({"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1});
    let key = Key::new("poddisruptionbudgets.policy", "shop", "cart");
    simulator.edit_status("disruption-controller", &key, |it| set(it, "/status", status)).unwrap();
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "cart-1", "namespace": "shop"},
        "deleteOptions": {"preconditions": {"uid": made["metadata"]["uid"]}}})
}

#[tokio::test(start_paused = true)]
async fn a_budget_refuses_an_eviction() {
    let simulator = simulator();
    let eviction = evicting(&simulator, 0);
    let path = "/api/v1/namespaces/shop/pods/cart-1/eviction";
    let status = send(&simulator.client("ci"), Method::POST, path, eviction).await.unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(status.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    let cause = &status.details.unwrap().causes[0];
    assert_eq!(cause.reason, "DisruptionBudget");
    assert_eq!(cause.message, "The disruption budget cart needs 1 healthy pods and has 1 currently");
}

#[tokio::test(start_paused = true)]
async fn an_eviction_spends_the_budget_and_says_why_the_pod_goes() {
    let simulator = simulator();
    let eviction = evicting(&simulator, 1);
    let path = "/api/v1/namespaces/shop/pods/cart-1/eviction";
    let mut wrong = eviction.clone();
    set(&mut wrong, "/deleteOptions/preconditions/uid", json!("other"));
    let client = simulator.client("ci");
    let done = send(&client, Method::POST, path, eviction).await.unwrap();
    assert_eq!((&done["status"], &done["code"]), (&json!("Success"), &json!(201)));
    let budget = simulator.get("poddisruptionbudgets.policy", "shop", "cart").unwrap();
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert!(budget["status"]["disruptedPods"]["cart-1"].is_string());
    let pod = simulator.get("pods", "shop", "cart-1").unwrap();
    let target = items(&pod, "/status/conditions").iter().find(|it| it["type"] == "DisruptionTarget").unwrap();
    assert_eq!(
        (&target["reason"], &target["message"]),
        (&json!("EvictionByEvictionAPI"), &json!("Eviction API: evicting"))
    );
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(send(&client, Method::POST, path, wrong).await.unwrap_err().code, 409);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_waits_for_its_content() {
    let simulator = simulator();
    let client = simulator.client("admin");
    let marked = send(&client, Method::DELETE, "/api/v1/namespaces/shop", Value::Null).await.unwrap();
    assert_eq!(marked["status"]["phase"], "Terminating");
    let mut over = marked;
    set(&mut over, "/spec/finalizers", json!([]));
    send(&client, Method::PUT, "/api/v1/namespaces/shop/finalize", over).await.unwrap();
    assert_eq!(get(&client, "/api/v1/namespaces/shop").await.unwrap_err().code, 404);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_served_is_said_to_be_so() {
    let simulator = simulator();
    let client = simulator.client("ci");
    assert_eq!(get(&client, "/apis/none.example/v1/things").await.unwrap_err().message, "404 page not found");
    let status = get(&client, "/api/v1/things").await.unwrap_err();
    assert_eq!(status.message, "the server could not find the requested resource");
    let status = send(&client, Method::POST, "/api/v1/namespaces/shop/pods/a/exec", Value::Null).await.unwrap_err();
    assert_eq!(status.code, 501);
    assert!(status.message.contains("create pods/shop/a/exec by ci"), "{}", status.message);
    let status = send(&client, Method::PUT, "/api/v1/pods", json!({})).await.unwrap_err();
    assert_eq!(status.code, 405);
    assert_eq!(client.apiserver_version().await.unwrap().minor, "36");
    let groups = client.list_api_groups().await.unwrap().groups;
    assert!(groups.iter().any(|group| group.name == "apps"));
    let resources = client.list_api_group_resources("apps/v1").await.unwrap().resources;
    assert!(resources.iter().any(|it| it.name == "deployments/scale"));
}

#[derive(Debug)]
struct Script(std::sync::Mutex<Vec<Decision>>);

impl Intercept for Script {
    fn decide(&self, call: &Call) -> Decision {
        if call.is_mutating() { self.0.lock().unwrap().pop().unwrap_or(Decision::Pass) } else { Decision::Pass }
    }
}

#[tokio::test(start_paused = true)]
async fn replies_can_be_lost_after_and_before_the_write() {
    let simulator = simulator();
    let api: Api<ConfigMap> = Api::namespaced(simulator.client("ci"), "shop");
    let made: ConfigMap = serde_json::from_value(settings("a", json!({}))).unwrap();
    let answer = Decision::Answer {
        code: 500,
        body: json!({"kind": "Status", "status": "Failure", "code": 500, "message": "etcdserver: request timed out"}),
    };
    let script = [Decision::LoseReply, Decision::BreakBefore, answer, Decision::NeverSend];
    simulator.intercept(Some(std::sync::Arc::new(Script(std::sync::Mutex::new(script.into())))));
    let patience = Duration::from_secs(10);
    let create = || {
        tokio::time::timeout(patience, async {
            api.create(&PostParams::default(), &made).await.map_err(|it| it.to_string())
        })
    };
    assert!(create().await.is_err(), "it never arrives");
    assert!(create().await.unwrap().unwrap_err().contains("request timed out"));
    assert!(create().await.unwrap().is_err());
    assert!(simulator.get("configmaps", "shop", "a").is_none());
    assert!(create().await.unwrap().is_err(), "it was carried out, but the answer was lost");
    assert!(simulator.get("configmaps", "shop", "a").is_some());
    let log = simulator.log();
    assert_eq!(log.iter().filter(|entry| entry.user == "ci").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_blown_fuse_cuts_a_client_off() {
    let simulator = simulator();
    let fuse = Fuse::new();
    let api: Api<ConfigMap> = Api::namespaced(simulator.client_with("ci", fuse.clone()), "shop");
    let made: ConfigMap = serde_json::from_value(settings("a", json!({}))).unwrap();
    let task = tokio::spawn(async move { api.create(&PostParams::default(), &made).await });
    tokio::task::yield_now().await;
    fuse.blow();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!task.is_finished() && simulator.get("configmaps", "shop", "a").is_none());
    assert!(get(&simulator.client("other"), "/api/v1/namespaces/shop").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_log_has_who_did_what() {
    let simulator = simulator();
    let client = simulator.client("ci");
    simulator.apply("admin", cart()).unwrap();
    let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": 5}]);
    send(&client, Method::PATCH, CART, patch).await.unwrap();
    let log = simulator.log();
    let entry = log.last().unwrap();
    assert_eq!((entry.user.as_str(), entry.verb, entry.code), ("ci", "patch", 200));
    assert_eq!(entry.key, deployment_key());
    assert_eq!(entry.before.as_ref().unwrap()["spec"]["replicas"], 3);
    assert_eq!(entry.after.as_ref().unwrap()["spec"]["replicas"], 5);
}

#[tokio::test(start_paused = true)]
async fn a_livelock_fails_the_simulation() {
    let simulator = simulator();
    simulator.limit(100);
    let client = simulator.client("ci");
    let mut tasks = Vec::new();
    for _ in 0..200 {
        let client = client.clone();
        tasks.push(tokio::spawn(async move { get(&client, "/api/v1/namespaces/shop").await }));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let failure = simulator.failure().unwrap();
    assert!(failure.contains("× get namespaces/shop by ci"), "{failure}");
}

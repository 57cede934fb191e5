use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use evenkeel_bus::{Cluster, MemoryBus, MemoryOptions, TraceContext};
use evenkeel_cluster::testing::{FakeApi, SHOP};
use evenkeel_model::{ChangeKind, FixedClock, Span};
use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};
use serde_json::{Value, json};

use super::*;
use crate::config::Kubernetes;
use crate::world::SharedWorld;

const PLAYBOOK: &str = "apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: asks}
spec:
  summary: Asks all there is to ask.
  priority: 5
  match: {signals: [Anything], kinds: [Deployment]}
  diagnose:
    - {name: recent, changes: {of: target, within: 10000h}}
    - {name: events, events: {of: target, within: 1h}}
    - {name: errors, promql: 'sum(rate(errors{namespace=\"{{target.namespace}}\"}[5m]))', optional: true}
    - {name: log, logs: {lines: 20}}
  steps:
    - name: hand-over
      do: {escalate: {severity: Page}}
";

struct Fixture {
    api: FakeApi,
    bus: MemoryBus,
    shutdown: Shutdown,
    now: DateTime<Utc>,
    sight: Arc<Sight>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// The shop of the fixtures, watched and served.
async fn fixture() -> Fixture {
    let api = FakeApi::new(SHOP);
    let list: Value = serde_json::from_str(SHOP).unwrap();
    let items = list["items"].as_array().unwrap();
    let created = |it: &Value| it["metadata"]["creationTimestamp"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    let now = items.iter().map(created).max().unwrap() + chrono::Duration::minutes(5);
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let config = Kubernetes::default();
    let sight = Arc::new(Sight::new("test".to_owned(), config, SharedWorld::default(), [], metrics.clone()));
    for item in items {
        let take = |kind: &str| (item["kind"] == kind).then(|| item.clone());
        if let Some(it) = take("Pod") {
            sight.apply(serde_json::from_value::<core::Pod>(it).unwrap(), now);
        }
        if let Some(it) = take("ReplicaSet") {
            sight.apply(serde_json::from_value::<apps::ReplicaSet>(it).unwrap(), now);
        }
        if let Some(it) = take("Deployment") {
            sight.apply(serde_json::from_value::<apps::Deployment>(it).unwrap(), now);
        }
    }
    let clock = Arc::new(FixedClock::new(now)) as Arc<dyn Clock>;
    let bus = MemoryBus::new(MemoryOptions::new(Cluster::new("test").unwrap(), Arc::clone(&clock)));
    let in_use = InUse::default();
    in_use.set(evenkeel_playbook::parse(PLAYBOOK, "asks.yaml").unwrap());
    let evidence = Arc::new(Evidence {
        config: config::Evidence::default(),
        client: api.client(),
        bus: Arc::new(bus.clone()),
        clock,
        sight: Arc::clone(&sight),
        records: Records::default(),
        in_use,
        prometheus: None,
        queries: Semaphore::new(1),
        questions: Arc::new(Semaphore::new(2)),
        metrics,
    });
    let (health, shutdown) = (evenkeel_runtime::Health::new(), Shutdown::new());
    for token in Query::TOKENS {
        tokio::spawn(serve(Arc::clone(&evidence), token, health.part("evidence"), shutdown.clone()));
    }
    tokio::task::yield_now().await;
    Fixture { api, bus, shutdown, now, sight }
}

impl Fixture {
    async fn raw(&self, token: &'static str, payload: Vec<u8>) -> Finding {
        let subject = EvidenceSubject(token);
        let patience = Duration::from_secs(10);
        let answer = self.bus.request(subject, Bytes::from(payload), TraceContext::default(), patience).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    async fn ask(&self, query: &Query) -> Finding {
        self.raw(query.token(), serde_json::to_vec(query).unwrap()).await
    }
}

fn cart() -> ObjectRef {
    ObjectRef::namespaced(Kind::Deployment, "shop", "cart")
}

fn reason(finding: Finding) -> String {
    match finding {
        Finding::Unknown { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_object_is_read_live() {
    let fixture = fixture().await;
    let Finding::Object(snapshot) = fixture.ask(&Query::Object { object: cart() }).await else { panic!() };
    assert!(snapshot.is_there() && snapshot.workload.is_some());
    fixture.api.fail("GET /apis/apps/v1/namespaces/shop/deployments", 500, "etcd is away");
    assert!(reason(fixture.ask(&Query::Object { object: cart() }).await).contains("etcd is away"));
    let secret = ObjectRef::namespaced(Kind::Secret, "shop", "keys");
    let refused = reason(fixture.ask(&Query::Object { object: secret }).await);
    assert_eq!(refused, "secret/shop/keys: contents of Secrets are not read");
}

#[tokio::test]
async fn owners_lead_from_the_pod_to_its_root() {
    let fixture = fixture().await;
    let pod = ObjectRef::namespaced(Kind::Pod, "shop", "cart-69f6589c46-hvsh5");
    let Finding::Owners(owners) = fixture.ask(&Query::Owners { object: pod }).await else { panic!() };
    let kinds: Vec<Kind> = owners.iter().map(|owner| owner.kind).collect();
    assert_eq!(kinds, [Kind::Pod, Kind::ReplicaSet, Kind::Deployment]);
}

#[tokio::test]
async fn only_what_a_playbook_asks_is_answered() {
    let fixture = fixture().await;
    let undeclared = [
        Query::Events { object: cart(), within: Span::hours(2) },
        Query::Logs { object: cart(), lines: 21 },
        Query::Promql { expression: "count(up)".to_owned() },
    ];
    for query in undeclared {
        assert_eq!(reason(fixture.ask(&query).await), "no playbook in use asks this question");
    }
    let declared = Query::Promql { expression: "sum(rate(errors{namespace=\"shop\"}[5m]))".to_owned() };
    assert!(reason(fixture.ask(&declared).await).contains("none is configured (observer.prometheus.url)"));
    assert!(reason(fixture.raw("object", b"{".to_vec()).await).starts_with("the question can't be read"));
    let elsewhere = serde_json::to_vec(&Query::Object { object: cart() }).unwrap();
    assert!(reason(fixture.raw("logs", elsewhere).await).starts_with("expected a question for evidence.logs"));
    let large = vec![b' '; MAX_QUESTION_BYTES + 1];
    assert!(reason(fixture.raw("object", large).await).starts_with("expected a question of at most"));
}

#[tokio::test]
async fn events_of_the_object_and_its_pods_come_newest_first_and_redacted() {
    let fixture = fixture().await;
    let event = |name: &str, kind: &str, about: &str, minutes: i64, message: &str| {
        let at = (fixture.now - chrono::Duration::minutes(minutes)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        fixture.api.put(json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "shop"},
            "type": "Warning", "reason": "Failed", "message": message, "count": 3, "lastTimestamp": at,
            "involvedObject": {"kind": kind, "namespace": "shop", "name": about}}));
    };
    event("1", "Pod", "cart-69f6589c46-hvsh5", 2, "pull with password=hunter2 failed");
    event("2", "Deployment", "cart", 1, "scaled");
    event("3", "Pod", "db-0", 1, "of another");
    event("4", "Deployment", "cart", 90, "old");
    let Finding::Events(events) = fixture.ask(&Query::Events { object: cart(), within: Span::hours(1) }).await else {
        panic!()
    };
    let told: Vec<(&str, &str)> = events.iter().map(|it| (it.object.name.as_str(), it.message.as_str())).collect();
    assert_eq!(told, [("cart", "scaled"), ("cart-69f6589c46-hvsh5", "pull with password=[redacted] failed")]);
}

#[tokio::test]
async fn changes_tell_the_rollout() {
    let fixture = fixture().await;
    let query = Query::Changes { object: cart(), within: Span::hours(9000) };
    let Finding::Changes(changes) = fixture.ask(&query).await else { panic!() };
    let by_kind: BTreeMap<ChangeKind, &str> = changes.iter().map(|it| (it.what, it.summary.as_str())).collect();
    assert!(by_kind[&ChangeKind::PodTemplate].starts_with("image "), "{changes:#?}");
    assert!(by_kind.contains_key(&ChangeKind::Created));
    assert!(changes.is_sorted_by(|a, b| a.at >= b.at));
}

#[tokio::test]
async fn logs_are_of_the_worst_pod_and_redacted() {
    let fixture = fixture().await;
    fixture.api.text("/pods/cart-69f6589c46-hvsh5/log", "starting\nAuthorization: Bearer abcdef0123456789\n");
    let Finding::Logs(lines) = fixture.ask(&Query::Logs { object: cart(), lines: 20 }).await else { panic!() };
    assert_eq!(lines, ["starting", "Authorization: [redacted]"]);
    let gone = ObjectRef::namespaced(Kind::Deployment, "shop", "gone");
    assert_eq!(
        reason(fixture.ask(&Query::Logs { object: gone, lines: 5 }).await),
        "deployment/shop/gone has no pods that are known"
    );
}

#[test]
fn an_answer_that_is_too_large_is_unknown() {
    let answer = encode(&Finding::Logs(vec!["x".repeat(MAX_ANSWER_BYTES)]));
    let finding: Finding = serde_json::from_slice(&answer).unwrap();
    assert!(reason(finding).contains("more than the 524288 sent"));
}

#[tokio::test]
async fn the_answer_says_whether_the_object_is_to_be_left_alone_now() {
    let fixture = fixture().await;
    let pod = {
        let world = crate::world::read(&fixture.sight.world);
        let mut pods = world.pods.within("shop").map(|(name, _)| ObjectRef::namespaced(Kind::Pod, "shop", name));
        pods.find(|pod| world.root(pod).is_some_and(|root| root.is_same(&cart()))).unwrap()
    };
    let said = async |object: &ObjectRef| match fixture.ask(&Query::Object { object: object.clone() }).await {
        Finding::Object(snapshot) => snapshot.suppressed,
        other => panic!("{other:?}"),
    };
    assert_eq!(said(&cart()).await, None);
    let silences: Vec<crate::silences::ApiSilence> = serde_json::from_value(json!([{
        "id": "s1", "createdBy": "ana", "comment": "I am on it", "status": {"state": "active"},
        "matchers": [{"name": "deployment", "value": "cart", "isRegex": false, "isEqual": true}],
    }]))
    .unwrap();
    let quiet = crate::silences::Quiet::new(crate::silences::active(silences), Default::default());
    crate::world::write(&fixture.sight.world).quiet = quiet;
    let reason = Some("silenced by ana (s1): I am on it".to_owned());
    assert_eq!(said(&cart()).await, reason);
    assert_eq!(said(&pod).await, reason, "its root is");
}

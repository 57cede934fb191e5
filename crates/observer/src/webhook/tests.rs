use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use evenkeel_bus::{
    Bucket, BucketName, Bus, BusError, Cluster, Consume, ConsumerName, EvidenceSubject, MemoryBus, MemoryOptions,
    Publish, Published, Status, Stored, Stream, TraceContext, WakeUp,
};
use evenkeel_model::{FixedClock, Kind, ObjectRef, Span};
use futures::stream::BoxStream;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::targets::Resolver;

const TOKEN: &str = "Bearer token-of-the-test-0123456789";

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::Duration::days(20_000)
}

/// A bus whose publishing fails as told.
struct Failing {
    memory: MemoryBus,
    /// The n-th publish fails, from 1.
    at: usize,
    full: bool,
    count: AtomicUsize,
}

#[async_trait]
impl Bus for Failing {
    async fn publish(&self, message: Publish) -> Result<Published, BusError> {
        if self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            return Err(if self.full {
                BusError::Full { stream: "signals".to_owned(), reason: "maximum bytes exceeded".to_owned() }
            } else {
                BusError::Unavailable("on purpose".to_owned())
            });
        }
        self.memory.publish(message).await
    }
    async fn consume(&self, consumer: ConsumerName) -> Result<Box<dyn Consume>, BusError> {
        self.memory.consume(consumer).await
    }
    async fn bucket(&self, name: BucketName) -> Result<Arc<dyn Bucket>, BusError> {
        self.memory.bucket(name).await
    }
    async fn request(
        &self,
        subject: EvidenceSubject,
        payload: Bytes,
        trace: TraceContext,
        timeout: Duration,
    ) -> Result<Bytes, BusError> {
        self.memory.request(subject, payload, trace, timeout).await
    }
    async fn serve(&self, subject: EvidenceSubject) -> Result<BoxStream<'static, evenkeel_bus::Request>, BusError> {
        self.memory.serve(subject).await
    }
    async fn wake_at(&self, wake_up: WakeUp) -> Result<(), BusError> {
        self.memory.wake_at(wake_up).await
    }
    async fn replay(
        &self,
        stream: Stream,
        since: Option<DateTime<Utc>>,
    ) -> Result<BoxStream<'static, Result<Stored, BusError>>, BusError> {
        self.memory.replay(stream, since).await
    }
    async fn status(&self) -> Result<Status, BusError> {
        self.memory.status().await
    }
}

struct Fixture {
    memory: MemoryBus,
    router: Router,
    heartbeat: Arc<Heartbeat>,
    poll_now: Arc<Notify>,
    clock: Arc<FixedClock>,
    _dir: tempfile::TempDir,
}

async fn fixture(change: impl FnOnce(&mut Alertmanager), fail_at: usize, full: bool) -> Fixture {
    let clock = Arc::new(FixedClock::new(now()));
    let memory =
        MemoryBus::new(MemoryOptions::new(Cluster::new("test").unwrap(), Arc::clone(&clock) as Arc<dyn Clock>));
    let bus = Arc::new(Failing { memory: memory.clone(), at: fail_at, full, count: AtomicUsize::new(0) });
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, TOKEN.trim_start_matches("Bearer ")).unwrap();
    let mut config = Alertmanager::default();
    change(&mut config);
    let heartbeat = Arc::new(Heartbeat::new(config.watchdog_every, now()));
    let poll_now = Arc::new(Notify::new());
    let exporters = crate::config::Targets::default().exporters;
    let router = router(Webhook {
        tokens: Some(Arc::new(Tokens::read(path).await.unwrap())),
        publisher: Publisher::new(bus, metrics.clone(), config.publish_timeout.get(), []),
        config,
        normalizer: Arc::new(Normalizer::new("test".to_owned(), Resolver::new(exporters).unwrap())),
        world: SharedWorld::default(),
        heartbeat: Arc::clone(&heartbeat),
        poll_now: Arc::clone(&poll_now),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        metrics,
    });
    Fixture { memory, router, heartbeat, poll_now, clock, _dir: dir }
}

async fn plain() -> Fixture {
    fixture(|_| {}, 0, false).await
}

struct Answer {
    status: u16,
    text: String,
    retry_after: Option<String>,
}

impl Fixture {
    async fn send(&self, body: impl Into<Body>, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post("/webhooks/alertmanager").header("authorization", TOKEN);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let retry_after = head.headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        Answer { status: head.status.as_u16(), text, retry_after }
    }

    async fn post(&self, body: &Value) -> Answer {
        self.send(body.to_string(), &[("content-type", "application/json")]).await
    }

    async fn signals(&self) -> Vec<Signal> {
        let stored = self.memory.replay(Stream::Signals, None).await.unwrap();
        let stored: Vec<_> = stored.collect().await;
        stored.into_iter().map(|stored| serde_json::from_slice(&stored.unwrap().payload).unwrap()).collect()
    }
}

fn alert(status: &str, labels: Value) -> Value {
    json!({
        "status": status,
        "labels": labels,
        "annotations": {"summary": "cart misses replicas, password=hunter2"},
        "startsAt": "2024-10-04T08:00:00Z",
        "endsAt": if status == "firing" { "0001-01-01T00:00:00Z" } else { "2024-10-04T08:05:00Z" },
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "",
    })
}

fn numbered(number: usize) -> Value {
    alert("firing", json!({"alertname": "Custom", "namespace": "shop", "deployment": format!("d-{number}")}))
}

fn body(alerts: Vec<Value>) -> Value {
    json!({"version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing", "receiver": "evenkeel",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am", "alerts": alerts})
}

#[tokio::test]
async fn an_alert_is_on_the_bus_when_it_is_acknowledged() {
    let fixture = plain().await;
    let labels = json!({"alertname": "KubeDeploymentReplicasMismatch", "severity": "critical", "namespace": "shop",
        "deployment": "cart", "pod": "kube-state-metrics-7d4b-x", "container": "kube-state-metrics"});
    let answer = fixture.post(&body(vec![alert("firing", labels)])).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    let signals = fixture.signals().await;
    insta::assert_json_snapshot!(signals);
}

#[tokio::test]
async fn the_same_alert_of_a_pair_of_alertmanagers_is_stored_once_and_its_end_once_more() {
    let fixture = plain().await;
    let labels = json!({"alertname": "Custom", "namespace": "shop", "deployment": "cart"});
    for _ in 0..5 {
        assert_eq!(fixture.post(&body(vec![alert("firing", labels.clone())])).await.status, 200);
    }
    for _ in 0..2 {
        assert_eq!(fixture.post(&body(vec![alert("resolved", labels.clone())])).await.status, 200);
    }
    let states: Vec<_> = fixture.signals().await.into_iter().map(|signal| signal.state).collect();
    assert_eq!(states, [SignalState::Firing, SignalState::Resolved]);
}

#[tokio::test]
async fn a_bus_that_is_away_is_a_503_with_retry_after() {
    let fixture = plain().await;
    fixture.memory.set_away(true);
    for alerts in [1, 3] {
        let answer = fixture.post(&body((0..alerts).map(numbered).collect())).await;
        assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("2")), "{}", answer.text);
        assert!(answer.text.starts_with("not stored, come back: "), "{}", answer.text);
    }
    fixture.memory.set_away(false);
    assert!(fixture.signals().await.is_empty());
}

#[tokio::test]
async fn one_alert_that_is_not_stored_refuses_the_body_and_the_next_try_repeats_none() {
    for full in [false, true] {
        let fixture = fixture(|_| {}, 100, full).await;
        let all = body((0..150).map(numbered).collect());
        let answer = fixture.post(&all).await;
        assert_eq!((answer.status, answer.retry_after.is_some()), (503, true), "{}", answer.text);
        assert!(fixture.signals().await.len() < 150);
        assert_eq!(fixture.post(&all).await.status, 200);
        assert_eq!(fixture.signals().await.len(), 150);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

#[tokio::test]
async fn gzip_is_read() {
    let fixture = plain().await;
    let packed = gzip(body(vec![numbered(1)]).to_string().as_bytes());
    let answer = fixture.send(packed, &[("content-encoding", "gzip")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(fixture.signals().await.len(), 1);
}

#[tokio::test]
async fn hostile_bodies_are_refused_with_a_reason_and_nothing_is_published() {
    let fixture = fixture(|config| config.max_body_bytes = 1 << 20, 0, false).await;
    let nested = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    let hidden = body(vec![numbered(1)]).to_string().replacen('{', &format!("{{\"x\":{nested},"), 1);
    let mut second_bad = body(vec![numbered(1), numbered(2)]);
    second_bad["alerts"][1]["startsAt"] = json!("yesterday");
    let gzipped = ("content-encoding", "gzip");
    type Case<'c> = (&'c str, Vec<u8>, Option<(&'c str, &'c str)>, u16, &'c str);
    let cases: [Case<'_>; 11] = [
        ("empty", Vec::new(), None, 400, "the body is empty"),
        (
            "malformed",
            b"{\"version\":\"4\",\"alerts\":[".to_vec(),
            None,
            400,
            "EOF while parsing a list at line 1 column 25",
        ),
        ("not ours", b"{\"hello\":\"world\"}".to_vec(), None, 400, "missing field `version` at line 1 column 17"),
        ("one bad of two", second_bad.to_string().into_bytes(), None, 400, "at line 1 column"),
        ("nested", nested.into_bytes(), None, 400, "expected JSON nested at most 32 deep, found more at byte 160"),
        ("nested in an unknown field", hidden.into_bytes(), None, 400, "nested at most 32 deep"),
        ("oversized", vec![b' '; 2 << 20], None, 413, "expected a body of at most 1048576 bytes, found more"),
        ("a bomb", gzip(&vec![b' '; 64 << 20]), Some(gzipped), 413, "at most 1048576 bytes unpacked, found more"),
        ("no gzip", b"{}".to_vec(), Some(gzipped), 400, "Content-Encoding is gzip, the body is not"),
        (
            "brotli",
            b"x".to_vec(),
            Some(("content-encoding", "br")),
            415,
            "expected Content-Encoding gzip or none, found \"br\"",
        ),
        (
            "a form",
            b"a=b".to_vec(),
            Some(("content-type", "application/x-www-form-urlencoded")),
            415,
            "application/json",
        ),
    ];
    for (what, body, header, status, reason) in cases {
        let answer = fixture.send(body, header.as_slice()).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        assert!(answer.text.contains(reason), "{what}: {}", answer.text);
    }
    assert!(fixture.signals().await.is_empty());
}

#[tokio::test]
async fn a_body_without_content_length_is_bounded_too() {
    let fixture = fixture(|config| config.max_body_bytes = 100_000, 0, false).await;
    let frames = (0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 10_000])));
    let answer = fixture.send(Body::from_stream(futures::stream::iter(frames)), &[]).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
}

#[tokio::test]
async fn without_the_token_nothing_is_read() {
    let fixture = plain().await;
    let request = |token: Option<&str>| {
        let mut request = Request::post("/webhooks/alertmanager");
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        fixture.router.clone().oneshot(request.body(Body::from("{}")).unwrap())
    };
    for token in [None, Some("Bearer wrong-token-of-the-test"), Some("Basic abc")] {
        let response = request(token).await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
    assert_eq!(request(Some(TOKEN)).await.unwrap().status(), 400);
}

#[tokio::test(start_paused = true)]
async fn beyond_what_is_worked_on_at_a_time_others_are_asked_to_come_back() {
    let fixture = fixture(|config| config.max_requests = 1, 0, false).await;
    // A body that never ends keeps the only place until its time is up.
    let slow = fixture.send(Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()), &[]);
    let quick = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let answer = fixture.post(&body(vec![numbered(1)])).await;
        assert_eq!((answer.status, answer.retry_after.is_some()), (503, true), "{}", answer.text);
    };
    let (slow, ()) = tokio::join!(slow, quick);
    assert_eq!(slow.status, 408, "{}", slow.text);
    assert_eq!(fixture.post(&body(vec![numbered(1)])).await.status, 200, "the place is free again");
}

#[tokio::test]
async fn beyond_the_bytes_held_at_a_time_others_are_asked_to_come_back() {
    let fixture = fixture(|config| config.max_bytes_in_flight = 100, 0, false).await;
    let answer = fixture.post(&body(vec![numbered(1)])).await;
    assert_eq!((answer.status, answer.retry_after.is_some()), (503, true), "{}", answer.text);
}

#[tokio::test]
async fn our_own_alerts_and_the_watchdog_are_no_signals() {
    let fixture = plain().await;
    let ours = alert("firing", json!({"alertname": "EvenkeelIncidentNeedsHuman"}));
    let watchdog = alert("firing", json!({"alertname": "Watchdog"}));
    assert_eq!(fixture.post(&body(vec![ours, watchdog, numbered(1)])).await.status, 200);
    assert_eq!(fixture.signals().await.len(), 1);
}

#[tokio::test]
async fn while_the_watchdog_is_silent_nothing_is_healed() {
    let fixture = fixture(|config| config.watchdog_every = Some(Span::minutes(2)), 0, false).await;
    fixture.clock.advance(Duration::from_secs(300));
    assert!(fixture.heartbeat.is_blind(fixture.clock.now()));
    let labels = json!({"alertname": "Custom", "namespace": "shop", "deployment": "cart"});
    let both = body(vec![alert("resolved", labels.clone()), numbered(1)]);
    let answer = fixture.post(&both).await;
    assert_eq!((answer.status, answer.retry_after.is_some()), (503, true));
    assert!(answer.text.contains("the watchdog is silent"), "{}", answer.text);
    let signals = fixture.signals().await;
    assert_eq!(signals.len(), 1, "what fires is told: {signals:#?}");
    assert_eq!(signals[0].state, SignalState::Firing);
    let heard = body(vec![alert("firing", json!({"alertname": "Watchdog"}))]);
    assert_eq!(fixture.post(&heard).await.status, 200);
    assert_eq!(fixture.post(&both).await.status, 200);
    assert_eq!(fixture.signals().await.len(), 2);
}

#[tokio::test]
async fn alerts_left_out_of_a_body_are_asked_for_at_once() {
    let fixture = plain().await;
    let mut body = body(vec![numbered(1)]);
    body["truncatedAlerts"] = json!(3);
    assert_eq!(fixture.post(&body).await.status, 200);
    tokio::time::timeout(Duration::from_secs(1), fixture.poll_now.notified()).await.unwrap();
}

#[tokio::test]
async fn an_alert_about_nothing_is_a_signal_without_a_target() {
    let fixture = plain().await;
    let labels =
        json!({"alertname": "KubeAPIErrorBudgetBurn", "severity": "critical", "pod": "apiserver-1", "namespace": "x"});
    assert_eq!(fixture.post(&body(vec![alert("firing", labels)])).await.status, 200);
    let signals = fixture.signals().await;
    assert_eq!((signals[0].target.clone(), signals[0].root.clone()), (None, None));
    let cart = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
    assert_eq!(
        fixture
            .post(&body(vec![alert("firing", json!({"alertname": "X", "namespace": "shop", "deployment": "cart"}))]))
            .await
            .status,
        200
    );
    assert_eq!(fixture.signals().await[1].root, Some(cart));
}

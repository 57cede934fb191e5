use std::sync::Arc;

use axum::Router;
use chrono::{DateTime, Utc};
use evenkeel_model::FixedClock;
use http::{Request, StatusCode};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::*;
use crate::slack::interaction::tests::payload;
use crate::slack::{Click, sign};
use crate::store::{MemoryStore, Store};
use crate::testing::{DIGEST, NoStore};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

struct Rig {
    router: Router,
    clicks: mpsc::Receiver<Click>,
    clock: Arc<FixedClock>,
    metrics: Metrics,
    dir: TempDir,
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_763_694_000, 0).unwrap()
}

fn rig(store: Arc<dyn Store>) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), SECRET).unwrap();
    let (queue, clicks) = ClickQueue::new(store);
    let clock = Arc::new(FixedClock::new(now()));
    let metrics = Metrics::default();
    let door = Door {
        signing_secret_file: dir.path().join("secret"),
        max_body_bytes: 64 * 1024,
        clicks: queue,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        metrics: metrics.clone(),
    };
    Rig { router: router(door), clicks, clock, metrics, dir }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(1000))
}

fn form(user: &str) -> String {
    let payload = payload(user, "evenkeel_approve", &format!("r-1/{DIGEST}")).to_string();
    form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload).finish()
}

fn request(timestamp: i64, signature: &str, body: &str) -> Request<Body> {
    Request::post("/webhooks/slack")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-slack-request-timestamp", timestamp)
        .header("x-slack-signature", signature)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// As Slack signs it.
fn signed(timestamp: i64, body: &str) -> Request<Body> {
    request(timestamp, &sign(SECRET, timestamp, body.as_bytes()), body)
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_signed_click_is_taken_and_acknowledged_with_nothing_in_the_answer() {
    let mut rig = rig(memory());
    assert_eq!(send(&rig.router, signed(now().timestamp(), &form("U1"))).await, (StatusCode::OK, String::new()));
    let click = rig.clicks.try_recv().unwrap();
    assert_eq!((click.user.as_str(), click.remediation.as_str(), click.digest.as_str()), ("U1", "r-1", DIGEST));
}

#[tokio::test]
async fn a_request_counts_once_also_after_a_restart() {
    let store = memory();
    let mut first = rig(Arc::clone(&store));
    let at = now().timestamp();
    assert_eq!(send(&first.router, signed(at, &form("U1"))).await.0, StatusCode::OK);
    assert_eq!(send(&first.router, signed(at, &form("U1"))).await.0, StatusCode::CONFLICT);
    let shouted = sign(SECRET, at, form("U1").as_bytes()).to_uppercase().replace("V0=", "v0=");
    assert_eq!(send(&first.router, request(at, &shouted, &form("U1"))).await.0, StatusCode::CONFLICT);
    assert!(first.clicks.try_recv().is_ok() && first.clicks.try_recv().is_err());
    drop(first);
    // Another process, or this one after it was killed: what it shares is the store.
    let mut second = rig(store);
    assert_eq!(send(&second.router, signed(at, &form("U1"))).await.0, StatusCode::CONFLICT);
    assert!(second.clicks.try_recv().is_err());
    assert_eq!(send(&second.router, signed(at + 1, &form("U1"))).await.0, StatusCode::OK, "a second click is another");
    assert_eq!(second.metrics.clicks("replayed"), 1);
}

#[tokio::test]
async fn forged_old_and_unsigned_are_refused_in_the_same_words() {
    let mut rig = rig(memory());
    let (at, body) = (now().timestamp(), form("U1"));
    let bare = Request::post("/webhooks/slack").body(Body::from(body.clone())).unwrap();
    let mut answers = Vec::new();
    for request in [
        bare,
        request(at, &sign("another secret", at, body.as_bytes()), &body),
        request(at, &sign(SECRET, at, b"another body"), &body),
        request(at + 1, &sign(SECRET, at, body.as_bytes()), &body),
        request(at, "v0=", &body),
        signed(at - 301, &body),
        signed(at + 301, &body),
    ] {
        answers.push(send(&rig.router, request).await);
    }
    answers.dedup();
    assert_eq!(answers, [(StatusCode::UNAUTHORIZED, "not signed by Slack, or not lately\n".to_owned())]);
    assert!(rig.clicks.try_recv().is_err());
    rig.clock.advance(std::time::Duration::from_secs(300));
    assert_eq!(send(&rig.router, signed(at, &body)).await.0, StatusCode::OK, "five minutes are within the window");
}

#[tokio::test]
async fn what_slack_signed_and_is_no_click_is_answered_as_what_it_is() {
    let mut rig = rig(memory());
    let at = now().timestamp();
    for body in ["", "payload", "payload=%7B", "payload=%7B%7D&payload=%7B%7D", "token=x", "payload=%7B%7D&x=1", "{}"] {
        assert_eq!(send(&rig.router, signed(at, body)).await.0, StatusCode::BAD_REQUEST, "{body}");
    }
    let other = form("U1").replace("evenkeel_approve", "another_apps");
    assert_eq!(send(&rig.router, signed(at, &other)).await.0, StatusCode::OK, "not ours, and no fault");
    let large = format!("payload={}", "x".repeat(64 * 1024));
    assert_eq!(send(&rig.router, signed(at, &large)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let get = Request::get("/webhooks/slack").body(Body::empty()).unwrap();
    assert_eq!(send(&rig.router, get).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert!(rig.clicks.try_recv().is_err());
}

#[tokio::test]
async fn a_secret_is_replaced_while_running() {
    let rig = rig(memory());
    let at = now().timestamp();
    let by = |secret: &str, user: &str| request(at, &sign(secret, at, form(user).as_bytes()), &form(user));
    std::fs::write(rig.dir.path().join("secret"), format!("new\n{SECRET}\n")).unwrap();
    assert_eq!(send(&rig.router, by(SECRET, "U1")).await.0, StatusCode::OK);
    assert_eq!(send(&rig.router, by("new", "U2")).await.0, StatusCode::OK);
    std::fs::write(rig.dir.path().join("secret"), "new\n").unwrap();
    assert_eq!(send(&rig.router, by(SECRET, "U3")).await.0, StatusCode::UNAUTHORIZED);
    std::fs::remove_file(rig.dir.path().join("secret")).unwrap();
    assert_eq!(send(&rig.router, by("new", "U4")).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_click_that_finds_no_room_can_be_made_again() {
    let mut rig = rig(memory());
    let at = now().timestamp();
    let mut taken = 0;
    let refused = loop {
        let user = format!("U{taken}");
        let response = rig.router.clone().oneshot(signed(at, &form(&user))).await.unwrap();
        if response.status() != StatusCode::OK {
            assert_eq!(response.headers()["retry-after"], "5");
            break user;
        }
        taken += 1;
        assert!(taken < 1000, "the queue is bounded");
    };
    assert!(rig.clicks.try_recv().is_ok());
    assert_eq!(
        send(&rig.router, signed(at, &form(&refused))).await.0,
        StatusCode::OK,
        "the same request, not a replay"
    );
}

#[tokio::test]
async fn while_replays_cannot_be_told_nothing_is_taken() {
    let mut rig = rig(Arc::new(NoStore));
    let answer = send(&rig.router, signed(now().timestamp(), &form("U1"))).await;
    assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, "try again\n".to_owned()), "and why is not told");
    assert!(rig.clicks.try_recv().is_err());
}

struct StuckStore;

#[async_trait::async_trait]
impl Store for StuckStore {
    async fn get(&self, _: &str) -> Result<Option<bytes::Bytes>, evenkeel_runtime::BoxError> {
        std::future::pending().await
    }

    async fn create(&self, _: &str, _: bytes::Bytes) -> Result<bool, evenkeel_runtime::BoxError> {
        std::future::pending().await
    }

    async fn put(&self, _: &str, _: bytes::Bytes) -> Result<(), evenkeel_runtime::BoxError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn slack_has_its_answer_within_three_seconds_whatever_is_slow() {
    let begun = tokio::time::Instant::now();
    let stuck = rig(Arc::new(StuckStore));
    let (status, _) = send(&stuck.router, signed(now().timestamp(), &form("U1"))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(begun.elapsed() < std::time::Duration::from_secs(3));
    // A body that never ends.
    let begun = tokio::time::Instant::now();
    let slow = rig(memory());
    let mut request = signed(now().timestamp(), &form("U1"));
    *request.body_mut() = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    assert_eq!(send(&slow.router, request).await.0, StatusCode::REQUEST_TIMEOUT);
    assert!(begun.elapsed() < std::time::Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_no_body_takes_no_place_from_who_does() {
    let mut rig = rig(memory());
    let at = now().timestamp();
    let slow = || {
        let mut request = signed(at, &form("U1"));
        *request.body_mut() = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        rig.router.clone().oneshot(request)
    };
    let mut held: Vec<_> = (0..64).map(|_| Box::pin(slow())).collect();
    for request in &mut held {
        assert!(futures::poll!(request).is_pending());
    }
    assert_eq!(send(&rig.router, signed(at, &form("U2"))).await.0, StatusCode::OK);
    assert_eq!(rig.clicks.try_recv().unwrap().user, "U2");
    let begun = tokio::time::Instant::now();
    for request in held {
        assert_eq!(request.await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(1));
}

#[derive(Debug, Clone)]
enum Forgery {
    Secret(String),
    Time(i64),
    Flip(usize, u8),
    Mac(usize, u8),
    Version(String),
    Cut(usize),
}

fn forgery() -> impl Strategy<Value = Forgery> {
    prop_oneof![
        "[ -~]{0,40}".prop_map(Forgery::Secret),
        prop_oneof![-400_000_i64..-300, 301_i64..400_000, 1_i64..300, -300_i64..0].prop_map(Forgery::Time),
        (any::<usize>(), 1_u8..=255).prop_map(|(at, by)| Forgery::Flip(at, by)),
        (0_usize..64, 1_u8..16).prop_map(|(at, by)| Forgery::Mac(at, by)),
        "v[0-9]{0,2}=?".prop_filter("the right one", |v| v != "v0=").prop_map(Forgery::Version),
        (0_usize..67).prop_map(Forgery::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_forgery_is_taken(forgery in forgery()) {
        let (at, body) = (now().timestamp(), form("U1"));
        let good = sign(SECRET, at, body.as_bytes());
        let mut bytes = body.clone().into_bytes();
        let (timestamp, signature) = match forgery {
            Forgery::Secret(secret) => {
                prop_assume!(secret != SECRET);
                (at, sign(&secret, at, body.as_bytes()))
            }
            // Another time than the signed one, within the window or beyond it.
            Forgery::Time(by) => (at + by, good),
            Forgery::Flip(index, by) => {
                let index = index % bytes.len();
                bytes[index] ^= by;
                (at, good)
            }
            Forgery::Mac(index, by) => {
                let mut mac = good.into_bytes();
                let digit = char::from(mac[3 + index]).to_digit(16).unwrap() ^ u32::from(by);
                mac[3 + index] = char::from_digit(digit, 16).unwrap() as u8;
                (at, String::from_utf8(mac).unwrap())
            }
            Forgery::Version(version) => (at, format!("{version}{}", &good[3..])),
            Forgery::Cut(length) => (at, good[..length].to_owned()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut rig = rig(memory());
            let mut forged = request(timestamp, &signature, "");
            *forged.body_mut() = Body::from(bytes);
            let (status, _) = send(&rig.router, forged).await;
            prop_assert_eq!(status, StatusCode::UNAUTHORIZED);
            prop_assert!(rig.clicks.try_recv().is_err());
            Ok(())
        })?;
    }
}

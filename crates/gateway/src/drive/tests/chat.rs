//! From the question in Slack to the signed click to the act.

use std::path::Path;

use bytes::Bytes;
use evenkeel_chat::slack::sign;
use evenkeel_model::Approval;
use evenkeel_runtime::http::{HttpError, Limits, Outbound};
use evenkeel_runtime::{Shutdown, Supervisor};
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::ServiceExt as _;

use super::approvals::{ask, asked};
use super::*;
use crate::ChatParts;
use crate::chat::Telling;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// Takes whatever is sent to Slack, and hands it on: method and body.
struct Slack(mpsc::UnboundedSender<(String, Value)>);

impl Outbound for Slack {
    fn send(&self, request: Request<Bytes>, _: Limits) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        assert_eq!(request.headers()["authorization"], "Bearer xoxb-1");
        self.0.send((method, serde_json::from_slice(request.body()).unwrap())).unwrap();
        let answer = json!({"ok": true, "channel": "C1", "ts": "1.1"}).to_string();
        Box::pin(std::future::ready(Ok(Response::new(Bytes::from(answer)))))
    }
}

struct Room {
    bench: Bench,
    /// The gateway that tells and takes clicks.
    plane: Arc<Plane>,
    chat: evenkeel_chat::Chat,
    sent: mpsc::UnboundedReceiver<(String, Value)>,
    shutdown: Shutdown,
    tasks: Supervisor,
    _dir: tempfile::TempDir,
}

fn config(dir: &Path) -> evenkeel_chat::Config {
    let file = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).unwrap();
        dir.join(name)
    };
    serde_json::from_value(json!({
        "slack": {
            "team": "T1", "channel": "C1", "botTokenFile": file("bot", "xoxb-1"), "signingSecretFile": file("secret", SECRET),
            "usersFile": file("users", "users: {U1: {user: jane, groups: [sre]}, U2: {user: stranger}}"),
        },
    }))
    .unwrap()
}

async fn room() -> Room {
    let bench = Box::pin(asked()).await;
    let plane: Arc<Plane> = Arc::from(Bench::plane(&bench.world, &bench.bus, "gateway-2", Mode::Enforce));
    plane.refresh(&bench.name).await.unwrap();
    let (dir, shutdown) = (tempfile::tempdir().unwrap(), Shutdown::new());
    let mut tasks = Supervisor::new(shutdown.clone());
    let (sender, sent) = mpsc::unbounded_channel();
    let parts = ChatParts {
        config: config(dir.path()),
        listen: "127.0.0.1:0".parse().unwrap(),
        metrics: evenkeel_chat::Metrics::default(),
        seed: 1,
    };
    let outbound = Arc::new(Slack(sender));
    let chat = crate::chat::open(parts, &plane, outbound, Health::new(), &mut tasks, &shutdown).await.unwrap();
    Room { bench, plane, chat, sent, shutdown, tasks, _dir: dir }
}

impl Room {
    fn tell(&self) {
        self.plane.tell_chats(&self.plane.index().get(&self.bench.name).unwrap());
    }

    async fn next(&mut self) -> (String, Value) {
        tokio::time::timeout(std::time::Duration::from_secs(20), self.sent.recv()).await.expect("a message").unwrap()
    }

    /// As Slack sends and signs what a person clicks.
    async fn click(&self, message: &Value, nth: usize, user: &str, action: usize) -> StatusCode {
        let actions = message["blocks"].as_array().unwrap().iter().find(|block| block["type"] == "actions").unwrap();
        let button = &actions["elements"][action];
        let payload = json!({
            "type": "block_actions", "user": {"id": user, "team_id": "T1"}, "channel": {"id": "C1"},
            "actions": [{"action_id": button["action_id"], "value": button["value"], "action_ts": nth.to_string()}],
        });
        let body =
            form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload.to_string()).finish();
        let at = self.bench.clock.now().timestamp();
        let request = Request::post("/webhooks/slack")
            .header("x-slack-request-timestamp", at)
            .header("x-slack-signature", sign(SECRET, at, body.as_bytes()))
            .body(Full::from(body))
            .unwrap();
        self.chat.router().unwrap().oneshot(request).await.unwrap().status()
    }

    /// Waits for the Approval that the click becomes.
    async fn approval(&self) -> Approval {
        let made = async {
            loop {
                let found = self.bench.world.objects("approvals").into_iter().next();
                match found {
                    Some(found) => return serde_json::from_value::<Approval>(found).unwrap(),
                    None => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), made).await.expect("an approval")
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.tasks.join().await.unwrap();
    }
}

#[tokio::test]
async fn a_signed_click_of_a_person_is_an_approval_that_counts() {
    let mut room = room().await;
    room.tell();
    let (method, message) = room.next().await;
    assert_eq!(method, "chat.postMessage");
    let shown = message.to_string();
    assert!(
        shown.contains("+ shop/cart:1") && shown.contains("every pod of deployment/shop/cart is replaced"),
        "{shown}"
    );
    room.bench.wait(120);
    assert_eq!(room.click(&message, 1, "U1", 0).await, StatusCode::OK);
    let mut approval = room.approval().await;
    let spec = &approval.spec;
    assert_eq!((spec.approver.as_str(), spec.person(), spec.groups.concat()), ("slack:jane", "jane", "sre".to_owned()));
    assert_eq!((spec.digest.clone(), spec.tier), (ask(&room.bench).digest, ask(&room.bench).tier));
    assert_eq!(spec.reason, "clicked in Slack by U1");
    // The API server's time, and the namespace of the path, which this world does not keep.
    approval.metadata.namespace = Some("evenkeel".to_owned());
    let at = k8s_openapi::jiff::Timestamp::from_second(room.bench.clock.now().timestamp()).unwrap();
    approval.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
    room.bench.world.put(serde_json::to_value(&approval).unwrap());
    room.bench.plane.approvals.put(approval);
    // Whoever drives it tells each change of it.
    let (sender, mut told) = mpsc::channel(100);
    assert!(room.bench.plane.chat.set(Telling(sender)).is_ok());
    room.bench.advance().await;
    assert_eq!(room.bench.phase(), Phase::Verifying, "{}", room.bench.reason());
    assert_eq!(room.bench.effects(), 1);
    let mut phases = Vec::new();
    while let Ok(remediation) = told.try_recv() {
        phases.push(remediation.status.unwrap().phase);
    }
    assert_eq!(phases.last(), Some(&Phase::Verifying), "{phases:?}");
    // The message follows, without its buttons.
    room.plane.refresh(&room.bench.name).await.unwrap();
    room.tell();
    let (method, message) = room.next().await;
    assert_eq!((method.as_str(), &message["ts"]), ("chat.update", &json!("1.1")));
    let shown = message.to_string();
    assert!(!shown.contains("evenkeel_approve\"") && shown.contains("Approved by `jane`"), "{shown}");
    room.end().await;
}

#[tokio::test]
async fn a_click_that_can_not_count_is_refused_with_a_reason_and_makes_nothing() {
    let mut room = room().await;
    room.tell();
    let (_, message) = room.next().await;
    // Somebody without the right.
    assert_eq!(room.click(&message, 1, "U2", 0).await, StatusCode::OK);
    let (method, said) = room.next().await;
    assert_eq!((method.as_str(), &said["user"]), ("chat.postEphemeral", &json!("U2")));
    assert!(said["text"].as_str().unwrap().contains("stranger may not approve"), "{said}");
    // Somebody nobody knows.
    assert_eq!(room.click(&message, 2, "U3", 0).await, StatusCode::OK);
    assert!(room.next().await.1["text"].as_str().unwrap().contains("stands for no Kubernetes user"));
    // What was shown is not what is asked any more.
    let other = message.to_string().replace(&ask(&room.bench).digest, &"0".repeat(64));
    assert_eq!(room.click(&serde_json::from_str(&other).unwrap(), 3, "U1", 0).await, StatusCode::OK);
    assert!(room.next().await.1["text"].as_str().unwrap().contains("has changed since this was shown"));
    // Another remediation's name.
    let other = message.to_string().replace(&room.bench.name, "r-0");
    assert_eq!(room.click(&serde_json::from_str(&other).unwrap(), 4, "U1", 0).await, StatusCode::OK);
    assert!(room.next().await.1["text"].as_str().unwrap().contains("There is no r-0 any more"));
    // Too late.
    room.bench.wait(3600);
    assert_eq!(room.click(&message, 5, "U1", 1).await, StatusCode::OK);
    assert!(room.next().await.1["text"].as_str().unwrap().contains("has expired"));
    assert!(room.bench.world.objects("approvals").is_empty());
    room.end().await;
}

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use evenkeel_model::{FixedClock, Phase};
use http::{Request, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::*;
use crate::slack::{Answer, ClickDecision, Said, sign};
use crate::store::MemoryStore;
use crate::testing::{DIGEST, FakeSlack, approved_by, at, network, story, story_in};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// Keeps what was said; says what it is told to.
struct Gateway {
    said: mpsc::UnboundedSender<Said>,
    answer: Mutex<Answer>,
}

#[async_trait]
impl Decide for Gateway {
    async fn decide(&self, said: Said) -> Answer {
        self.said.send(said).unwrap();
        self.answer.lock().unwrap().clone()
    }
}

struct Rig {
    slack: FakeSlack,
    chat: Chat,
    gateway: Arc<Gateway>,
    said: mpsc::UnboundedReceiver<Said>,
    shutdown: Shutdown,
    tasks: Supervisor,
    metrics: Metrics,
    clicked: std::sync::atomic::AtomicU32,
    dir: tempfile::TempDir,
}

fn config(dir: &Path, api: &str) -> Config {
    let file = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).unwrap();
        dir.join(name)
    };
    let users = "users:\n  U012AB3CD: {user: jane@example.com, groups: [sre]}\n";
    let slack = serde_json::json!({
        "team": "T9TK3CUKW", "channel": "CBR2V3XEX", "api": api,
        "botTokenFile": file("bot", "xoxb-1\n"), "signingSecretFile": file("secret", SECRET),
        "usersFile": file("users.yaml", users),
    });
    let config = serde_json::json!({ "slack": slack });
    serde_json::from_value(config).unwrap()
}

fn parts(config: Config, decide: Arc<dyn Decide>, metrics: &Metrics) -> Parts {
    Parts {
        config,
        outbound: network(),
        store: Arc::new(MemoryStore::new(100)),
        decide,
        clock: Arc::new(FixedClock::new(at(2))),
        health: Health::new(),
        metrics: metrics.clone(),
        holder: "gateway-1".to_owned(),
        seed: 1,
    }
}

async fn rig() -> Rig {
    let (slack, dir) = (FakeSlack::begin().await, tempfile::tempdir().unwrap());
    let (sender, said) = mpsc::unbounded_channel();
    let gateway = Arc::new(Gateway { said: sender, answer: Mutex::new(Answer::Recorded) });
    let (shutdown, metrics) = (Shutdown::new(), Metrics::default());
    let mut tasks = Supervisor::new(shutdown.clone());
    let config = config(dir.path(), &slack.base);
    let parts = parts(config, Arc::clone(&gateway) as Arc<dyn Decide>, &metrics);
    let chat = Chat::open(parts, &mut tasks, &shutdown).await.unwrap();
    Rig { slack, chat, gateway, said, shutdown, tasks, metrics, clicked: 0.into(), dir }
}

impl Rig {
    /// What Slack sends when `user` clicks a button of the message as it was posted.
    async fn click(&self, message: &Value, action_id: &str, user: &str) -> StatusCode {
        let actions = message["blocks"].as_array().unwrap().iter().find(|block| block["type"] == "actions").unwrap();
        let button = actions["elements"].as_array().unwrap().iter().find(|it| it["action_id"] == action_id).unwrap();
        // Each click is another request.
        let nth = self.clicked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let payload = serde_json::json!({
            "type": "block_actions",
            "user": { "id": user, "team_id": "T9TK3CUKW" },
            "team": { "id": "T9TK3CUKW" },
            "container": { "type": "message", "channel_id": "CBR2V3XEX", "message_ts": "1.1" },
            "actions": [{ "type": "button", "action_id": action_id, "value": button["value"], "action_ts": format!("1.{nth}") }],
        });
        let body =
            form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload.to_string()).finish();
        let timestamp = at(2).timestamp();
        let request = Request::post("/webhooks/slack")
            .header("x-slack-request-timestamp", timestamp)
            .header("x-slack-signature", sign(SECRET, timestamp, body.as_bytes()))
            .body(Body::from(body))
            .unwrap();
        self.chat.router().unwrap().oneshot(request).await.unwrap().status()
    }

    async fn said(&mut self) -> Said {
        tokio::time::timeout(Duration::from_secs(20), self.said.recv()).await.expect("a word").unwrap()
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.tasks.join().await.unwrap();
    }
}

#[tokio::test]
async fn from_the_question_to_the_click_to_the_end() {
    let mut rig = rig().await;
    rig.chat.tell(&story());
    let posted = rig.slack.calls_reach(1).await[0].1.clone();
    assert_eq!(rig.click(&posted, "evenkeel_approve", "U012AB3CD").await, StatusCode::OK);
    let said = rig.said().await;
    assert_eq!((said.decision, said.digest.as_str()), (ClickDecision::Approve, DIGEST));
    assert_eq!(
        (said.person.user.as_str(), said.person.groups.as_slice()),
        ("jane@example.com", ["sre".to_owned()].as_slice())
    );
    assert_eq!((said.remediation, said.slack_user), (story().remediation, "U012AB3CD".to_owned()));
    rig.chat.tell(&Story { voices: vec![approved_by("jane@example.com")], ..story_in(Phase::Executing, "sent") });
    let calls = rig.slack.calls_reach(3).await;
    assert_eq!(calls[1].0, "chat.update");
    assert!(!calls[1].1.to_string().contains("evenkeel_approve"), "no buttons any more");
    assert_eq!(calls[2].1["thread_ts"], "1763694000.000001");
    assert_eq!(rig.metrics.clicks("recorded"), 1);
    rig.end().await;
}

#[tokio::test]
async fn whose_click_does_not_count_is_told_why_and_nobody_else_is() {
    let mut rig = rig().await;
    rig.chat.tell(&story());
    let posted = rig.slack.calls_reach(1).await[0].1.clone();
    // Nobody that Kubernetes knows.
    assert_eq!(rig.click(&posted, "evenkeel_approve", "U999").await, StatusCode::OK);
    let calls = rig.slack.calls_reach(2).await;
    assert_eq!((calls[1].0.as_str(), &calls[1].1["user"]), ("chat.postEphemeral", &Value::from("U999")));
    assert!(calls[1].1["text"].as_str().unwrap().contains("stands for no Kubernetes user"), "{calls:?}");
    assert!(rig.said.try_recv().is_err());
    // Added to the file while running: known at the next click.
    std::fs::write(rig.dir.path().join("users.yaml"), "users: {U999: {user: joe}}").unwrap();
    *rig.gateway.answer.lock().unwrap() = Answer::Refused("<!channel> it has changed since".to_owned());
    assert_eq!(rig.click(&posted, "evenkeel_deny", "U999").await, StatusCode::OK);
    assert_eq!(rig.said().await.person.user, "joe");
    let calls = rig.slack.calls_reach(3).await;
    assert_eq!(calls[2].1["text"], "&lt;!channel&gt; it has changed since");
    // Jane is not in the file any more.
    assert_eq!(rig.click(&posted, "evenkeel_approve", "U012AB3CD").await, StatusCode::OK);
    rig.slack.calls_reach(4).await;
    std::fs::write(rig.dir.path().join("users.yaml"), "broken").unwrap();
    assert_eq!(rig.click(&posted, "evenkeel_approve", "U999").await, StatusCode::OK);
    let calls = rig.slack.calls_reach(5).await;
    assert!(calls[4].1["text"].as_str().unwrap().contains("nobody can decide"));
    assert!(rig.said.try_recv().is_err());
    let counted = ["unmapped", "refused", "no users", "recorded"].map(|result| rig.metrics.clicks(result));
    assert_eq!(counted, [2, 1, 1, 0]);
    rig.end().await;
}

/// Works on clicks apart from the room's own, which nobody else hands in.
fn clicks(rig: &Rig, team: &str, decide: Arc<dyn Decide>) -> (mpsc::Sender<crate::slack::Click>, Clicks) {
    let (sender, queue) = mpsc::channel(64);
    let clicks = Clicks {
        queue,
        team: team.to_owned(),
        users: Users::new(rig.dir.path().join("users.yaml")),
        decide,
        api: rig.slack.api(rig.dir.path()),
        clock: Arc::new(FixedClock::new(at(2))),
        metrics: rig.metrics.clone(),
    };
    (sender, clicks)
}

fn click(nth: usize) -> crate::slack::Click {
    crate::slack::Click {
        decision: ClickDecision::Deny,
        remediation: format!("r-{nth}"),
        digest: DIGEST.to_owned(),
        user: "U012AB3CD".to_owned(),
        team: Some("T2".to_owned()),
        channel: "C1".to_owned(),
        seen_as: format!("click.{nth}"),
    }
}

#[tokio::test]
async fn a_guest_of_a_shared_channel_decides_nothing() {
    let mut rig = rig().await;
    let (sender, clicks) = clicks(&rig, "T1", Arc::clone(&rig.gateway) as Arc<dyn Decide>);
    let shutdown = rig.shutdown.clone();
    rig.tasks.spawn("clicks of another workspace", async move {
        clicks.run(shutdown).await;
        Ok(())
    });
    sender.send(click(1)).await.unwrap();
    assert!(rig.slack.calls_reach(1).await[0].1["text"].as_str().unwrap().contains("Only members of this workspace"));
    assert!(rig.said.try_recv().is_err());
    rig.end().await;
}

#[tokio::test]
async fn clicks_that_were_taken_are_decided_on_also_after_shutdown() {
    let mut rig = rig().await;
    let (sender, clicks) = clicks(&rig, "T2", Arc::clone(&rig.gateway) as Arc<dyn Decide>);
    for nth in 0..3 {
        sender.send(click(nth)).await.unwrap();
    }
    rig.shutdown.cancel();
    clicks.run(rig.shutdown.clone()).await;
    let mut said = Vec::new();
    while let Ok(it) = rig.said.try_recv() {
        said.push(it.remediation);
    }
    assert_eq!(said, ["r-0", "r-1", "r-2"]);
    assert!(sender.try_send(click(3)).is_err(), "nothing more is taken");
    rig.end().await;
}

/// A gateway whose API server does not answer.
struct Stuck;

#[async_trait]
impl Decide for Stuck {
    async fn decide(&self, _: Said) -> Answer {
        std::future::pending().await
    }
}

/// A Slack that takes everything at once, and keeps the texts.
#[derive(Default)]
struct Texts(Mutex<Vec<String>>);

impl Outbound for Texts {
    fn send(
        &self,
        request: Request<bytes::Bytes>,
        _: Limits,
    ) -> futures::future::BoxFuture<'_, Result<http::Response<bytes::Bytes>, evenkeel_runtime::http::HttpError>> {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        self.0.lock().unwrap().push(body["text"].as_str().unwrap().to_owned());
        Box::pin(std::future::ready(Ok(http::Response::new(bytes::Bytes::from_static(b"{\"ok\":true}")))))
    }
}

#[tokio::test(start_paused = true)]
async fn whose_click_is_not_decided_on_before_the_end_is_told() {
    let dir = tempfile::tempdir().unwrap();
    config(dir.path(), "http://slack.example/api");
    let (slack, metrics, shutdown) = (Arc::new(Texts::default()), Metrics::default(), Shutdown::new());
    let (sender, queue) = mpsc::channel(64);
    let outbound = Arc::clone(&slack) as Arc<dyn Outbound>;
    let clicks = Clicks {
        queue,
        team: "T2".to_owned(),
        users: Users::new(dir.path().join("users.yaml")),
        decide: Arc::new(Stuck),
        api: SlackApi::new(outbound, "http://slack.example/api", dir.path().join("bot"), Duration::from_secs(5)),
        clock: Arc::new(FixedClock::new(at(2))),
        metrics: metrics.clone(),
    };
    for nth in 0..2 {
        sender.send(click(nth)).await.unwrap();
    }
    shutdown.cancel();
    let begun = tokio::time::Instant::now();
    clicks.run(shutdown).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "a process has not longer to drain");
    let told = slack.0.lock().unwrap().clone();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("look whether it counted"), "{told:?}");
    assert!(told[1].contains("did not count. Click again"), "{told:?}");
    assert_eq!(metrics.clicks("shutting down"), 2);
}

#[tokio::test]
async fn what_is_wrong_is_told_when_the_room_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let good = config(dir.path(), "https://slack.com/api");
    let (sender, _said) = mpsc::unbounded_channel();
    let gateway: Arc<dyn Decide> = Arc::new(Gateway { said: sender, answer: Mutex::new(Answer::Recorded) });
    let opened = async |config: Config| {
        let shutdown = Shutdown::new();
        let mut tasks = Supervisor::new(shutdown.clone());
        let parts = parts(config, Arc::clone(&gateway), &Metrics::default());
        let opened = Chat::open(parts, &mut tasks, &shutdown).await.map(|_| ());
        shutdown.cancel();
        tasks.join().await.unwrap();
        opened.map_err(|error| error.to_string())
    };
    assert_eq!(opened(good.clone()).await, Ok(()));
    std::fs::write(dir.path().join("users.yaml"), "users: {jane: {user: jane}}").unwrap();
    assert!(opened(good.clone()).await.unwrap_err().contains("a Slack user's id"));
    std::fs::remove_file(dir.path().join("bot")).unwrap();
    assert!(opened(good.clone()).await.unwrap_err().contains("bot"));
    std::fs::write(dir.path().join("own"), "{{titel}}").unwrap();
    std::fs::write(dir.path().join("url"), "https://x.example/").unwrap();
    let webhook = serde_json::json!({
        "webhooks": [{ "name": "own", "urlFile": dir.path().join("url"), "templateFile": dir.path().join("own") }],
    });
    let error = opened(serde_json::from_value(webhook).unwrap()).await.unwrap_err();
    assert!(error.starts_with("chat.webhooks own: ") && error.contains("titel"), "{error}");
}

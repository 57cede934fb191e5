use std::sync::Arc;

use evenkeel_runtime::Health;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_websockets::{ServerBuilder, WebSocketStream};

use super::*;
use crate::slack::Click;
use crate::slack::interaction::tests::payload;
use crate::store::MemoryStore;
use crate::testing::{DIGEST, FakeSlack};

const SOON: Duration = Duration::from_secs(20);

/// Socket Mode against a WebSocket server on loopback that speaks as Slack documents it.
struct Rig {
    slack: FakeSlack,
    listener: TcpListener,
    clicks: mpsc::Receiver<Click>,
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<()>,
    _dir: TempDir,
}

async fn rig() -> Rig {
    let (slack, listener) = (FakeSlack::begin().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    slack.socket_at(&format!("ws://{}/link/?ticket=secret-ticket&app_id=A1", listener.local_addr().unwrap()));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("app"), "xapp-1\n").unwrap();
    let (queue, clicks) = ClickQueue::new(Arc::new(MemoryStore::new(100)));
    let (health, metrics, shutdown) = (Health::new(), Metrics::default(), Shutdown::new());
    let socket = SocketMode {
        api: slack.api(dir.path()),
        app_token_file: dir.path().join("app"),
        clicks: queue,
        max_message_bytes: 64 * 1024,
        health: health.part("Slack Socket Mode"),
        metrics: metrics.clone(),
        seed: 7,
    };
    let running = tokio::spawn(socket.run(shutdown.clone()));
    Rig { slack, listener, clicks, health, metrics, shutdown, running, _dir: dir }
}

type Peer = WebSocketStream<TcpStream>;

impl Rig {
    async fn connection(&self) -> Peer {
        let accepted = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            let (request, peer) = ServerBuilder::new().accept(stream).await.unwrap();
            assert!(request.uri().query().unwrap().contains("ticket=secret-ticket"));
            peer
        };
        tokio::time::timeout(SOON, accepted).await.expect("a connection")
    }

    async fn click(&mut self) -> Click {
        tokio::time::timeout(SOON, self.clicks.recv()).await.expect("a click").unwrap()
    }

    async fn end(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.running).await.expect("an end").unwrap();
    }
}

async fn say(peer: &mut Peer, value: &Value) {
    peer.send(Message::text(value.to_string())).await.unwrap();
}

async fn hear(peer: &mut Peer) -> Value {
    let message = tokio::time::timeout(SOON, peer.next()).await.expect("a message").unwrap().unwrap();
    serde_json::from_str(message.as_text().unwrap()).unwrap()
}

fn hello() -> Value {
    json!({ "type": "hello", "num_connections": 1, "debug_info": { "host": "applink-1" }, "connection_info": { "app_id": "A1" } })
}

fn envelope(id: &str, user: &str) -> Value {
    json!({
        "type": "interactive", "envelope_id": id, "accepts_response_payload": true,
        "payload": payload(user, "evenkeel_deny", &format!("r-1/{DIGEST}")),
    })
}

#[tokio::test]
async fn a_click_is_acknowledged_by_its_envelope_and_counts_once() {
    let mut rig = rig().await;
    assert_eq!(rig.health.missing()[0].1, "starting");
    let mut peer = rig.connection().await;
    say(&mut peer, &hello()).await;
    say(&mut peer, &envelope("e-1", "U1")).await;
    assert_eq!(hear(&mut peer).await, json!({ "envelope_id": "e-1" }));
    assert_eq!(rig.click().await.user, "U1");
    assert!(rig.health.missing().is_empty());
    // Delivered again, as Slack does when an acknowledgement was lost.
    say(&mut peer, &envelope("e-1", "U1")).await;
    assert_eq!(hear(&mut peer).await, json!({ "envelope_id": "e-1" }));
    // What is not for us is acknowledged, too, or it would come again.
    say(&mut peer, &json!({ "type": "events_api", "envelope_id": "e-2", "payload": {} })).await;
    assert_eq!(hear(&mut peer).await, json!({ "envelope_id": "e-2" }));
    // What nobody can read does no harm.
    peer.send(Message::text("{".to_owned())).await.unwrap();
    say(&mut peer, &json!({ "type": "interactive", "envelope_id": "e-3", "payload": { "type": 1 } })).await;
    assert_eq!(hear(&mut peer).await, json!({ "envelope_id": "e-3" }));
    assert!(rig.clicks.try_recv().is_err());
    assert_eq!((rig.metrics.clicks("replayed"), rig.metrics.clicks("malformed")), (1, 2));
    rig.end().await;
}

#[tokio::test]
async fn it_connects_again_when_slack_asks_and_when_the_connection_breaks() {
    let mut rig = rig().await;
    let mut peer = rig.connection().await;
    say(&mut peer, &hello()).await;
    say(&mut peer, &json!({ "type": "disconnect", "reason": "refresh_requested", "debug_info": {} })).await;
    let mut peer = rig.connection().await;
    say(&mut peer, &hello()).await;
    drop(peer);
    let mut peer = rig.connection().await;
    say(&mut peer, &hello()).await;
    // A message beyond the limit ends the connection, not the process.
    let _ = peer.send(Message::text("x".repeat(65 * 1024))).await;
    let mut peer = rig.connection().await;
    say(&mut peer, &hello()).await;
    say(&mut peer, &envelope("e-9", "U9")).await;
    assert_eq!(hear(&mut peer).await, json!({ "envelope_id": "e-9" }));
    assert_eq!(rig.click().await.user, "U9");
    assert_eq!(rig.slack.methods(), ["apps.connections.open"; 4], "each connection has a URL of its own");
    rig.end().await;
}

#[tokio::test]
async fn a_click_that_finds_no_room_is_not_acknowledged() {
    let mut rig = rig().await;
    let mut peer = rig.connection().await;
    say(&mut peer, &hello()).await;
    let mut sent = 0;
    while rig.metrics.clicks("busy") == 0 {
        say(&mut peer, &envelope(&format!("e-{sent}"), "U1")).await;
        // Known to be dealt with when this one's acknowledgement is here.
        say(&mut peer, &json!({ "type": "events_api", "envelope_id": "mark", "payload": {} })).await;
        while hear(&mut peer).await != json!({ "envelope_id": "mark" }) {}
        sent += 1;
        assert!(sent < 1000, "the queue is bounded");
    }
    let _ = rig.click().await;
    say(&mut peer, &envelope(&format!("e-{}", sent - 1), "U1")).await;
    assert_eq!(hear(&mut peer).await, json!({ "envelope_id": format!("e-{}", sent - 1) }), "taken when it comes again");
    rig.end().await;
}

#[tokio::test]
async fn a_url_in_the_clear_is_not_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bot"), "xoxb-1").unwrap();
    let (queue, _clicks) = ClickQueue::new(Arc::new(MemoryStore::new(1)));
    let socket = SocketMode {
        api: SlackApi::new(crate::testing::network(), "https://slack.com/api", dir.path().join("bot"), SOON),
        app_token_file: dir.path().join("app"),
        clicks: queue,
        max_message_bytes: 1024,
        health: Health::new().part("Slack Socket Mode"),
        metrics: Metrics::default(),
        seed: 1,
    };
    assert!(socket.checked("wss://wss-primary.slack.com/link/?ticket=1").is_ok());
    for url in ["ws://wss-primary.slack.com/link/?ticket=1", "http://x/", "", "wss://"] {
        let error = socket.checked(url).unwrap_err().to_string();
        assert!(!error.contains("ticket"), "{error}");
    }
}

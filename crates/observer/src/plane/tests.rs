use bytes::Bytes;
use evenkeel_bus::{BucketName, Cluster, MemoryBus, MemoryOptions, Stream};
use evenkeel_cluster::testing::{FakeApi, SHOP};
use evenkeel_model::Signal;
use evenkeel_runtime::WallClock;
use futures::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// A client whose lists come from fixtures and whose watches stay silent.
fn client(api: &FakeApi) -> Client {
    let inner = api.client();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let inner = inner.clone();
        async move {
            if request.uri().query().is_some_and(|query| query.contains("watch=")) {
                let silent = futures::stream::pending::<Result<Frame<Bytes>, BoxError>>();
                return Ok::<_, BoxError>(http::Response::new(AnyBody::new(StreamBody::new(silent))));
            }
            let (head, body) = inner.send(request).await?.into_parts();
            let bytes = body.collect().await?.to_bytes();
            let mut list: serde_json::Value = serde_json::from_slice(&bytes)?;
            list["metadata"]["resourceVersion"] = "1".into();
            let body = Full::new(Bytes::from(list.to_string())).map_err(|never| match never {});
            Ok(http::Response::from_parts(head, AnyBody::new(body)))
        }
    });
    Client::new(service, "default")
}

fn parts(bus: &MemoryBus, dev: bool) -> (Parts, Health) {
    let health = Health::new();
    let parts = Parts {
        config: Config::default(),
        cluster: "test".to_owned(),
        namespace: "evenkeel".to_owned(),
        listen: Listen::Address(SocketAddr::from(([127, 0, 0, 1], 0))),
        dev,
        playbooks: PlaybookSource::Files(vec![concat!(env!("CARGO_MANIFEST_DIR"), "/../../playbooks").into()]),
        bus: Arc::new(bus.clone()),
        clock: Arc::new(WallClock),
        health: health.clone(),
        metrics: Metrics::register(&mut prometheus_client::registry::Registry::default()),
        client: client(&FakeApi::new(SHOP)),
        outbound: Arc::new(evenkeel_runtime::http::Nowhere),
        seed: 1,
    };
    (parts, health)
}

fn bus() -> MemoryBus {
    MemoryBus::new(MemoryOptions::new(Cluster::new("test").unwrap(), Arc::new(WallClock)))
}

async fn signals(bus: &MemoryBus) -> Vec<Signal> {
    let stored: Vec<_> = bus.replay(Stream::Signals, None).await.unwrap().collect().await;
    stored.into_iter().map(|it| serde_json::from_slice(&it.unwrap().payload).unwrap()).collect()
}

async fn until<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(found) = ready().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come about");
}

#[tokio::test]
async fn the_whole_observer_sees_the_shops_trouble_gets_ready_and_drains() {
    let bus = bus();
    let (parts, health) = parts(&bus, true);
    let shutdown = Shutdown::new();
    let running = tokio::spawn(run(parts, shutdown.clone()));
    let told = until("a signal", async || {
        let told = signals(&bus).await;
        told.into_iter().find(|signal| signal.name == "ImagePullBackOff")
    })
    .await;
    assert_eq!(told.root.unwrap().to_string().split('/').nth(1), Some("shop"));
    until("readiness", async || health.missing().is_empty().then_some(())).await;
    let playbooks = bus.bucket(BucketName::Playbooks).await.unwrap().keys().await.unwrap();
    assert!(playbooks.len() >= 5, "{playbooks:?}");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn without_a_token_it_does_not_listen() {
    let (parts, _) = parts(&bus(), false);
    let error = run(parts, Shutdown::new()).await.unwrap_err();
    assert!(matches!(error, Error::NoToken { .. }), "{error}");
    assert!(error.to_string().contains("observer.alertmanager.bearerTokenFile"), "{error}");
}

/// A request under way when shutdown comes is answered; new connections are not taken.
#[tokio::test]
async fn requests_under_way_are_answered_after_shutdown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (entered, mut begun) = tokio::sync::mpsc::channel(1);
    let slow = axum::routing::post(move || {
        let entered = entered.clone();
        async move {
            entered.send(()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            "stored"
        }
    });
    let shutdown = Shutdown::new();
    let router = axum::Router::new().route("/", slow);
    let server = tokio::spawn(evenkeel_runtime::serve(listener, router, 10, shutdown.clone()));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    begun.recv().await.unwrap();
    shutdown.cancel();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("stored"), "{answer}");
    server.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// A body that is refused for its length is read to its end, or its sender would never see why.
#[tokio::test]
async fn a_sender_of_too_much_is_told_so() {
    let bus = bus();
    let (mut parts, _) = parts(&bus, true);
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    parts.listen = Listen::Address(listen);
    let shutdown = Shutdown::new();
    let running = tokio::spawn(run(parts, shutdown.clone()));
    let mut stream = until("a connection", async || tokio::net::TcpStream::connect(listen).await.ok()).await;
    let length = 64 * 1024 * 1024;
    let head = format!(
        "POST /webhooks/alertmanager HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let block = vec![b' '; 1024 * 1024];
    for _ in 0..64 {
        stream.write_all(&block).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("at most 4194304 bytes"), "{answer}");
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[test]
fn what_is_read_is_what_is_watched_and_nothing_secret() {
    for watch in WATCHES {
        let resource = watch.trim_start_matches("watch ");
        let (_, _, verbs) = READS.iter().find(|(_, name, _)| *name == resource).unwrap();
        assert_eq!(*verbs, ["list", "watch"], "{resource}");
    }
    let writes = ["create", "update", "patch", "delete", "deletecollection", "*"];
    assert!(
        READS
            .iter()
            .all(|(_, resource, verbs)| { *resource != "secrets" && verbs.iter().all(|verb| !writes.contains(verb)) })
    );
}

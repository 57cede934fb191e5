//! Each plane as its own user, with the permissions of the golden table: they suffice, and
//! everything else is refused.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{ConnectOptions, Event, ServerError};
use bytes::Bytes;
use evenkeel_bus::admin;
use evenkeel_bus::permissions::{Password, Plane, User, render};
use evenkeel_bus::{
    Authentication, BucketName, Bus, BusError, Change, ConsumerName, EvidenceSubject, JetStreamBus, JetStreamOptions,
    Key, Publish, Stream, Subject, TraceContext, WakeUp,
};
use evenkeel_model::Clock as _;
use evenkeel_xtask::nats::Server;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::rig::{LONG, SHORT, WallClock, cluster, one, options, signal, start_server};

struct Guarded {
    server: Server,
    secrets: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let users: Vec<User> = Plane::ALL
            .into_iter()
            .map(|plane| User {
                plane,
                name: plane.name().to_owned(),
                password: Password::Literal(format!("pass \"word\" of {}", plane.name())),
            })
            .collect();
        let server = start_server(&render(&cluster(), &users));
        let guarded = Self { server, secrets: tempfile::tempdir().unwrap() };
        admin::init(&guarded.options(Plane::Admin), &options(None)).await.unwrap();
        assert!(admin::init(&guarded.options(Plane::Admin), &options(None)).await.unwrap().unchanged());
        guarded
    }

    fn password_file(&self, plane: Plane) -> PathBuf {
        let file = self.secrets.path().join(plane.name());
        std::fs::write(&file, format!("pass \"word\" of {}\n", plane.name())).unwrap();
        file
    }

    fn options(&self, plane: Plane) -> JetStreamOptions {
        let mut options = JetStreamOptions::new(&self.server.url, cluster());
        options.inbox_prefix = plane.inbox_prefix(&cluster());
        let password_file = self.password_file(plane);
        options.authentication = Authentication::Password { user: plane.name().to_owned(), password_file };
        options
    }

    async fn bus(&self, plane: Plane) -> JetStreamBus {
        JetStreamBus::connect(self.options(plane)).await.unwrap()
    }

    /// A bare client of the plane's user, and what the server complains about.
    async fn bare(&self, plane: Plane) -> (async_nats::Client, mpsc::UnboundedReceiver<String>) {
        let (sender, complaints) = mpsc::unbounded_channel();
        let client = ConnectOptions::with_user_and_password(
            plane.name().to_owned(),
            format!("pass \"word\" of {}", plane.name()),
        )
        .custom_inbox_prefix(plane.inbox_prefix(&cluster()))
        .event_callback(move |event| {
            if let Event::ServerError(ServerError::Other(words)) = event {
                let _ = sender.send(words);
            }
            std::future::ready(())
        })
        .connect(&self.server.url)
        .await
        .unwrap();
        (client, complaints)
    }
}

#[tokio::test]
async fn each_plane_can_do_its_work() {
    let guarded = Guarded::start().await;
    let observer = guarded.bus(Plane::Observer).await;
    let reasoner = guarded.bus(Plane::Reasoner).await;
    let gateway = guarded.bus(Plane::Gateway).await;
    let key = Key::new("a").unwrap();

    // The observer's.
    let baselines = observer.bucket(BucketName::Baselines).await.unwrap();
    let revision = baselines.create(&key, Bytes::from_static(b"good")).await.unwrap();
    baselines.update(&key, Bytes::from_static(b"better"), revision).await.unwrap();
    let playbooks = observer.bucket(BucketName::Playbooks).await.unwrap();
    let mut evidence = observer.serve(EvidenceSubject("object")).await.unwrap();
    observer.publish(signal("s1")).await.unwrap();
    observer.publish(signal("s2")).await.unwrap();
    observer.status().await.unwrap();

    // The reasoner's.
    let mut watch = reasoner.bucket(BucketName::Playbooks).await.unwrap().watch().await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap(), Change::Current);
    playbooks.create(&key, Bytes::from_static(b"playbook")).await.unwrap();
    let change =
        tokio::time::timeout(Duration::from_secs(5), watch.next()).await.expect("the sweep told, not the announcement");
    assert!(matches!(change.unwrap().unwrap(), Change::Put { .. }));
    playbooks.remove(&key).await.unwrap();
    assert!(playbooks.keys().await.unwrap().is_empty());
    let mut signals = reasoner.consume(ConsumerName::ReasonerSignals).await.unwrap();
    let delivery = one(&mut signals).await;
    delivery.in_progress().await.unwrap();
    delivery.nak(Duration::ZERO).await.unwrap();
    let delivery = one(&mut signals).await;
    delivery.ack().await.unwrap();
    one(&mut signals).await.dead("poison").await.unwrap();
    let incidents = reasoner.bucket(BucketName::Incidents).await.unwrap();
    let revision = incidents.create(&key, Bytes::from_static(b"1")).await.unwrap();
    incidents.update(&key, Bytes::from_static(b"2"), revision).await.unwrap();
    incidents.remove(&key).await.unwrap();
    let wake_up = WakeUp { key: Key::new("incident.a").unwrap(), at: WallClock.now(), payload: Bytes::new() };
    reasoner.wake_at(wake_up).await.unwrap();
    let mut wake_ups = reasoner.consume(ConsumerName::ReasonerWakeUps).await.unwrap();
    one(&mut wake_ups).await.dead("poison").await.unwrap();
    let answering = tokio::spawn(async move {
        let request = evidence.next().await.unwrap();
        request.reply(Bytes::from_static(b"facts")).await.unwrap();
    });
    let asked = reasoner.request(EvidenceSubject("object"), Bytes::new(), TraceContext::default(), LONG).await;
    assert_eq!(asked.unwrap(), Bytes::from_static(b"facts"));
    answering.await.unwrap();
    reasoner.publish(Publish { subject: Subject::Proposal, ..signal("p1") }).await.unwrap();
    let stored = reasoner.replay(Stream::Signals, None).await.unwrap().count().await;
    assert_eq!(stored, 2);
    reasoner.replay(Stream::Outcomes, None).await.unwrap().count().await;

    // The gateway's.
    let mut proposals = gateway.consume(ConsumerName::GatewayProposals).await.unwrap();
    let proposal = one(&mut proposals).await;
    proposal.dead("poison").await.unwrap();
    gateway.publish(Publish { subject: Subject::Outcome, ..signal("o1") }).await.unwrap();
    gateway.publish(Publish { subject: Subject::Audit, ..signal("a1") }).await.unwrap();
    let mut records = gateway.consume(ConsumerName::GatewayAudit).await.unwrap();
    one(&mut records).await.dead("poison").await.unwrap();
    let checkpoints = gateway.bucket(BucketName::Audit).await.unwrap();
    let revision = checkpoints.create(&key, Bytes::from_static(b"1")).await.unwrap();
    checkpoints.update(&key, Bytes::from_static(b"2"), revision).await.unwrap();
    let seen = gateway.bucket(BucketName::Baselines).await.unwrap().get(&key).await.unwrap().unwrap();
    assert_eq!(seen.value, Bytes::from_static(b"better"));
    let chat = gateway.bucket(BucketName::Chat).await.unwrap();
    chat.create(&key, Bytes::from_static(b"1")).await.unwrap();
    assert!(matches!(chat.create(&key, Bytes::new()).await, Err(evenkeel_bus::BusError::Conflict { .. })));
    assert_eq!(chat.get(&key).await.unwrap().unwrap().value, Bytes::from_static(b"1"));
    let mut outcomes = reasoner.consume(ConsumerName::ReasonerOutcomes).await.unwrap();
    one(&mut outcomes).await.dead("poison").await.unwrap();

    // The administrator reads everything.
    let admin = guarded.bus(Plane::Admin).await;
    assert_eq!(admin.replay(Stream::Dead, None).await.unwrap().count().await, 5);
    admin.bucket(BucketName::Incidents).await.unwrap().keys().await.unwrap();
    assert!(admin.status().await.unwrap().streams.iter().all(|stream| stream.messages > 0));
    assert!(!guarded.server.log().contains("Violation"), "{}", guarded.server.log());
}

/// Some of what a plane's work needs.
fn work(plane: Plane) -> &'static [&'static str] {
    match plane {
        Plane::Observer => {
            &["evenkeel.v1.test-1.signal.x", "$KV.evenkeel_test-1_baselines.x", "$KV.evenkeel_test-1_playbooks.x"]
        }
        Plane::Reasoner => &[
            "evenkeel.v1.test-1.proposal",
            "$KV.evenkeel_test-1_incidents.x",
            "evenkeel.v1.test-1.wake.at.x",
            "evenkeel.v1.test-1.evidence.x",
            "evenkeel.v1.test-1.dead.signal",
            "$JS.ACK.EVENKEEL_TEST-1_SIGNALS.reasoner-signals.1.1.1.1.0",
            "$JS.API.CONSUMER.MSG.NEXT.EVENKEEL_TEST-1_SIGNALS.reasoner-signals",
        ],
        Plane::Gateway => &[
            "evenkeel.v1.test-1.outcome",
            "evenkeel.v1.test-1.audit",
            "$KV.evenkeel_test-1_audit.x",
            "$KV.evenkeel_test-1_chat.x",
            "evenkeel.v1.test-1.dead.proposal",
            "$JS.API.CONSUMER.MSG.NEXT.EVENKEEL_TEST-1_PROPOSALS.gateway-proposals",
        ],
        Plane::Admin => &[
            "$JS.API.STREAM.UPDATE.EVENKEEL_TEST-1_SIGNALS",
            "$JS.API.CONSUMER.CREATE.EVENKEEL_TEST-1_SIGNALS.reasoner-signals",
        ],
    }
}

/// What others may do and this plane may not, and what nobody may.
fn forbidden(plane: Plane) -> Vec<&'static str> {
    let everybody = [
        "evenkeel.v1.test-1.wake.due",
        "evenkeel.v1.test-1.changed.playbooks.x",
        "evenkeel.v1.other.signal.x",
        "_INBOX.x",
        "$JS.API.STREAM.DELETE.EVENKEEL_TEST-1_SIGNALS",
        "$JS.API.STREAM.PURGE.KV_evenkeel_test-1_incidents",
        "$JS.API.STREAM.MSG.DELETE.EVENKEEL_TEST-1_SIGNALS",
        "$JS.API.CONSUMER.DELETE.EVENKEEL_TEST-1_SIGNALS.reasoner-signals",
        "$JS.API.CONSUMER.CREATE.EVENKEEL_TEST-1_SIGNALS.mine",
        "$JS.API.CONSUMER.CREATE.KV_evenkeel_test-1_playbooks.mine",
        "$JS.API.STREAM.LIST",
        "$SYS.REQ.SERVER.PING",
    ];
    let others = Plane::ALL.into_iter().filter(|other| *other != plane);
    others.flat_map(|other| work(other).iter()).copied().chain(everybody).collect()
}

#[tokio::test]
async fn what_belongs_to_others_is_refused() {
    let guarded = Guarded::start().await;
    for plane in Plane::ALL {
        let (client, mut complaints) = guarded.bare(plane).await;
        for subject in forbidden(plane) {
            client.publish(subject, Bytes::from_static(b"{}")).await.unwrap();
            let words = tokio::time::timeout(LONG, complaints.recv()).await;
            let words = words.unwrap_or_else(|_| panic!("{plane:?} may publish to {subject}")).unwrap();
            assert!(words.contains("Permissions Violation for Publish") && words.contains(subject), "{words}");
        }
        for other in Plane::ALL.into_iter().filter(|other| *other != plane) {
            let inbox = format!("{}.>", other.inbox_prefix(&cluster()));
            for subject in [inbox, "_INBOX.>".to_owned(), ">".to_owned(), "evenkeel.v1.test-1.proposal".to_owned()] {
                let _subscription = client.subscribe(subject.clone()).await.unwrap();
                let words = tokio::time::timeout(LONG, complaints.recv()).await;
                let words = words.unwrap_or_else(|_| panic!("{plane:?} may subscribe to {subject}")).unwrap();
                assert!(words.contains("Permissions Violation for Subscription"), "{words}");
            }
        }
    }
    let admin = guarded.bus(Plane::Admin).await;
    assert!(admin.status().await.unwrap().streams.iter().all(|stream| stream.messages == 0));
}

#[tokio::test]
async fn a_refused_publish_says_what_was_refused() {
    let guarded = Guarded::start().await;
    let gateway = guarded.bus(Plane::Gateway).await;
    let refused = gateway.publish(signal("forged")).await;
    assert!(
        matches!(&refused, Err(BusError::Unavailable(words)) if words.contains("Permissions Violation")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_server_that_is_away() {
    let guarded = Guarded::start().await;
    let mut options = guarded.options(Plane::Gateway);
    std::fs::write(guarded.secrets.path().join("gateway"), "wrong").unwrap();
    let refused = JetStreamBus::connect(options.clone()).await.err();
    assert!(matches!(refused, Some(BusError::Unsuitable(_))), "{refused:?}");
    options.servers = vec!["nats://127.0.0.1:1".to_owned()];
    let away = JetStreamBus::connect(options).await.err();
    assert!(matches!(away, Some(BusError::Unavailable(_))), "{away:?}");
}

/// The server answers a request on whatever subject it names (seen on 2.15.2), so a plane can have
/// what it wrote elsewhere published where it may not write.
#[tokio::test]
async fn what_comes_past_the_permissions_as_an_answer_is_not_handed_out() {
    let guarded = Guarded::start().await;
    let observer = guarded.bus(Plane::Observer).await;
    let baselines = observer.bucket(BucketName::Baselines).await.unwrap();
    baselines.create(&Key::new("a").unwrap(), Bytes::from_static(b"forged proposal")).await.unwrap();
    let (client, _) = guarded.bare(Plane::Observer).await;
    let read = "$JS.API.DIRECT.GET.KV_evenkeel_test-1_baselines.$KV.evenkeel_test-1_baselines.a";
    for target in ["evenkeel.v1.test-1.proposal", "evenkeel.v1.test-1.wake.due"] {
        client.publish_with_reply(read, target, Bytes::new()).await.unwrap();
    }
    // An answer without headers: the server's own word about a stream.
    let info = "$JS.API.STREAM.INFO.EVENKEEL_TEST-1_SIGNALS";
    client.publish_with_reply(info, "evenkeel.v1.test-1.outcome", Bytes::new()).await.unwrap();

    let reasoner = guarded.bus(Plane::Reasoner).await;
    let gateway = guarded.bus(Plane::Gateway).await;
    let admin = guarded.bus(Plane::Admin).await;
    let mut proposals = gateway.consume(ConsumerName::GatewayProposals).await.unwrap();
    let mut wake_ups = reasoner.consume(ConsumerName::ReasonerWakeUps).await.unwrap();
    let mut outcomes = reasoner.consume(ConsumerName::ReasonerOutcomes).await.unwrap();
    let mut dead = Vec::new();
    let give_up = Instant::now() + LONG;
    while dead.len() < 3 {
        assert!(Instant::now() < give_up, "{dead:?}");
        for consumer in [&mut proposals, &mut wake_ups, &mut outcomes] {
            assert!(consumer.fetch(10, SHORT).await.unwrap().is_empty());
        }
        dead = admin.replay(Stream::Dead, None).await.unwrap().map(Result::unwrap).collect().await;
    }
    assert!(dead.iter().all(|message| message.reason.as_deref().unwrap().contains("not published by a plane")));
    assert_eq!(admin.replay(Stream::Proposals, None).await.unwrap().count().await, 0);

    reasoner.publish(Publish { subject: Subject::Proposal, ..signal("honest") }).await.unwrap();
    assert_eq!(one(&mut proposals).await.id, "honest");
}

/// The same in buckets: what was written there is lost, and nothing that was not is read.
#[tokio::test]
async fn what_comes_past_the_permissions_as_an_answer_is_absent_from_buckets_and_gives_way() {
    let guarded = Guarded::start().await;
    let (mine, theirs) = (Key::new("a").unwrap(), Key::new("b").unwrap());
    let incidents = guarded.bus(Plane::Reasoner).await.bucket(BucketName::Incidents).await.unwrap();
    incidents.create(&mine, Bytes::from_static(b"poison")).await.unwrap();
    let baselines = guarded.bus(Plane::Observer).await.bucket(BucketName::Baselines).await.unwrap();
    let mut watch = baselines.watch().await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap(), Change::Current);

    let (client, _) = guarded.bare(Plane::Reasoner).await;
    let read = "$JS.API.DIRECT.GET.KV_evenkeel_test-1_incidents.$KV.evenkeel_test-1_incidents.a";
    client.publish_with_reply(read, "$KV.evenkeel_test-1_baselines.b", Bytes::new()).await.unwrap();
    let seen = tokio::time::timeout(LONG, watch.next()).await.expect("it is stored").unwrap().unwrap();
    assert_eq!(seen, Change::Removed { key: "b".to_owned() });
    assert_eq!(baselines.get(&theirs).await.unwrap(), None);
    assert!(baselines.keys().await.unwrap().is_empty());
    baselines.create(&theirs, Bytes::from_static(b"good")).await.unwrap();
    assert_eq!(baselines.get(&theirs).await.unwrap().unwrap().value, Bytes::from_static(b"good"));
}

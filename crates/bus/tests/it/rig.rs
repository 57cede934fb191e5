//! A bus to test, and how to talk to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use evenkeel_bus::admin::{self, BusOptions, StreamLimits};
use evenkeel_bus::{
    Bus, Cluster, Consume, ConsumerName, Delivery, JetStreamBus, JetStreamOptions, MemoryBus, MemoryOptions, Publish,
    Subject, TraceContext,
};
use evenkeel_model::Clock;
use evenkeel_xtask::nats::{NatsOptions, Server};

/// Long enough for a loaded machine; reached only by a test that fails.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// Long enough to believe that nothing comes.
pub(crate) const SHORT: Duration = Duration::from_millis(150);
/// What the buses of this suite are told to be.
pub(crate) const ACK_WAIT: Duration = Duration::from_millis(800);

pub(crate) struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "a real server schedules by the wall clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A bus and what it needs to live.
pub(crate) struct Rig {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) server: Option<Server>,
}

/// Which bus.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Memory,
    JetStream,
}

pub(crate) fn cluster() -> Cluster {
    Cluster::new("test-1").unwrap()
}

pub(crate) fn options(max_messages: Option<u64>) -> BusOptions {
    const MIB: u64 = 1024 * 1024;
    let limits = StreamLimits { max_age: Duration::from_secs(3600), max_bytes: 32 * MIB, max_messages };
    BusOptions {
        signals: limits,
        proposals: limits,
        outcomes: limits,
        audit: limits,
        wake_ups: limits,
        dead: limits,
        incidents_bytes: 32 * MIB,
        baselines_bytes: 32 * MIB,
        playbooks_bytes: 32 * MIB,
        chat_bytes: 32 * MIB,
        ack_wait: ACK_WAIT,
        ..BusOptions::default()
    }
}

pub(crate) fn start_server(extra: &str) -> Server {
    let config = Some(format!("max_payload: 2MB\n{extra}"));
    Server::start(NatsOptions { config, ..NatsOptions::default() }).unwrap()
}

impl Rig {
    pub(crate) async fn new(kind: Kind) -> Self {
        Self::with_limit(kind, None).await
    }

    pub(crate) async fn with_limit(kind: Kind, max_messages: Option<u64>) -> Self {
        match kind {
            Kind::Memory => {
                let mut options = MemoryOptions::new(cluster(), Arc::new(WallClock));
                options.ack_wait = ACK_WAIT;
                options.max_messages = max_messages.map_or(options.max_messages, |max| usize::try_from(max).unwrap());
                Self { bus: Arc::new(MemoryBus::new(options)), server: None }
            }
            Kind::JetStream => {
                let server = start_server("");
                let connection = JetStreamOptions::new(&server.url, cluster());
                admin::init(&connection, &options(max_messages)).await.unwrap();
                let bus = JetStreamBus::connect(connection).await.unwrap();
                Self { bus: Arc::new(bus), server: Some(server) }
            }
        }
    }

    pub(crate) async fn signal(&self, id: &str) -> u64 {
        self.bus.publish(signal(id)).await.unwrap().sequence
    }

    pub(crate) async fn consumer(&self, name: ConsumerName) -> Box<dyn Consume> {
        self.bus.consume(name).await.unwrap()
    }
}

pub(crate) fn signal(id: &str) -> Publish {
    Publish {
        subject: Subject::Signal { source: "alertmanager" },
        id: id.to_owned(),
        payload: Bytes::from(format!("payload of {id}")),
        trace: TraceContext::default(),
    }
}

/// The next delivery, which must come.
pub(crate) async fn one(consumer: &mut Box<dyn Consume>) -> Delivery {
    let mut batch = consumer.fetch(1, LONG).await.unwrap();
    assert_eq!(batch.len(), 1, "nothing was delivered");
    batch.remove(0)
}

/// Nothing must come.
pub(crate) async fn none(consumer: &mut Box<dyn Consume>, wait: Duration) {
    let batch = consumer.fetch(10, wait).await.unwrap();
    assert!(batch.is_empty(), "unexpected: {batch:?}");
}

/// Fetches until `count` different ids have come; acknowledges all. How often each came.
pub(crate) async fn drain(consumer: &mut Box<dyn Consume>, count: usize) -> BTreeMap<String, u64> {
    let mut seen = BTreeMap::new();
    while seen.len() < count {
        let batch = consumer.fetch(10, LONG).await.unwrap();
        assert!(!batch.is_empty(), "only {} of {count} came", seen.len());
        for delivery in batch {
            delivery.ack().await.unwrap();
            *seen.entry(delivery.id).or_insert(0) += 1;
        }
    }
    seen
}

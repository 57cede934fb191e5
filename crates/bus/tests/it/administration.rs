//! Creating streams, consumers and buckets.

use std::time::Duration;

use evenkeel_bus::admin::{self, Action};
use evenkeel_bus::{BucketName, Bus as _, BusError, ConsumerName, JetStreamBus, JetStreamOptions};

use crate::rig::{cluster, options, signal, start_server};

#[tokio::test]
async fn a_second_init_changes_nothing_and_says_so() {
    let server = start_server("");
    let connection = JetStreamOptions::new(&server.url, cluster());
    let first = admin::init(&connection, &options(None)).await.unwrap();
    assert!(first.items.iter().all(|item| item.action == Action::Created), "{first:?}");
    assert_eq!(first.items.len(), 6 + 5 + 5);
    assert!(first.warnings.is_empty(), "{first:?}");
    let second = admin::init(&connection, &options(None)).await.unwrap();
    assert!(second.unchanged(), "{second:?}");
}

#[tokio::test]
async fn a_changed_limit_is_applied_and_messages_are_kept() {
    let server = start_server("");
    let connection = JetStreamOptions::new(&server.url, cluster());
    admin::init(&connection, &options(None)).await.unwrap();
    let bus = JetStreamBus::connect(connection.clone()).await.unwrap();
    bus.publish(signal("a")).await.unwrap();
    let mut changed = options(None);
    changed.signals.max_age = Duration::from_secs(7200);
    changed.ack_wait = Duration::from_secs(45);
    let report = admin::init(&connection, &changed).await.unwrap();
    let updated: Vec<_> = report.items.iter().filter(|item| item.action == Action::Updated).collect();
    assert_eq!(updated.len(), 1 + 5, "{updated:?}");
    assert_eq!(bus.status().await.unwrap().streams[0].messages, 1);
    assert!(admin::init(&connection, &changed).await.unwrap().unchanged());
}

#[tokio::test]
async fn a_small_payload_limit_is_warned_about() {
    let server = evenkeel_xtask::nats::Server::start(evenkeel_xtask::nats::NatsOptions::default()).unwrap();
    let connection = JetStreamOptions::new(&server.url, cluster());
    let report = admin::init(&connection, &options(None)).await.unwrap();
    assert!(report.warnings.iter().any(|warning| warning.contains("max_payload")), "{report:?}");
}

#[tokio::test]
async fn a_server_without_room_is_told_by_what_it_lacks() {
    let server = start_server("");
    let mut options = options(None);
    options.signals.max_bytes = 1 << 50;
    let refused = admin::init(&JetStreamOptions::new(&server.url, cluster()), &options).await.unwrap_err().to_string();
    for said in ["no room for stream", "1073741824 MiB", "max_file_store", "bus.jetstream.storage"] {
        assert!(refused.contains(said), "{refused}");
    }
}

#[tokio::test]
async fn what_was_never_created_is_missing() {
    let server = start_server("");
    let bus = JetStreamBus::connect(JetStreamOptions::new(&server.url, cluster())).await.unwrap();
    let consumer = bus.consume(ConsumerName::ReasonerSignals).await.err();
    assert!(matches!(&consumer, Some(BusError::Missing { what }) if what.contains("reasoner-signals")), "{consumer:?}");
    let bucket = bus.bucket(BucketName::Incidents).await.err();
    assert!(matches!(&bucket, Some(BusError::Missing { .. })), "{bucket:?}");
    let published = bus.publish(signal("a")).await;
    assert!(
        matches!(&published, Err(BusError::Unavailable(words)) if words.contains("evenkeel bus init")),
        "{published:?}"
    );
}

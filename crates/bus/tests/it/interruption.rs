//! The server goes away and comes back. The memory bus has no server; how it is told to be away
//! is in `memory.rs`.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_bus::{BucketName, Bus, BusError, Change, ConsumerName, EvidenceSubject, Key, Published, TraceContext};
use futures::StreamExt as _;
use tokio::time::Instant;

use crate::rig::{Kind, LONG, Rig, drain, one, signal};

/// Tries until the bus is back.
async fn publish_when_back(bus: &dyn Bus, id: &str) -> Published {
    let give_up = Instant::now() + LONG;
    loop {
        match bus.publish(signal(id)).await {
            Ok(published) => return published,
            Err(BusError::Unavailable(_)) if Instant::now() < give_up => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn calls_fail_fast_while_the_server_is_away_and_work_again_after() {
    let mut rig = Rig::new(Kind::JetStream).await;
    rig.signal("before").await;
    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    let bucket = rig.bus.bucket(BucketName::Incidents).await.unwrap();
    rig.server.as_mut().unwrap().stop().unwrap();

    let start = Instant::now();
    let refused = rig.bus.publish(signal("during")).await;
    assert!(matches!(refused, Err(BusError::Unavailable(_))), "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // The client may not have seen the end when the first call was made; by now it has.
    let start = Instant::now();
    assert!(matches!(rig.bus.publish(signal("during")).await, Err(BusError::Unavailable(_))));
    assert!(matches!(consumer.fetch(1, LONG).await, Err(BusError::Unavailable(_))));
    assert!(matches!(bucket.get(&Key::new("a").unwrap()).await, Err(BusError::Unavailable(_))));
    assert!(matches!(rig.bus.status().await, Err(BusError::Unavailable(_))));
    let asked = rig.bus.request(EvidenceSubject("object"), Bytes::new(), TraceContext::default(), LONG).await;
    assert!(matches!(asked, Err(BusError::Unavailable(_))), "{asked:?}");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());

    rig.server.as_mut().unwrap().restart().unwrap();
    publish_when_back(rig.bus.as_ref(), "after").await;
    let seen = drain(&mut consumer, 2).await;
    assert!(seen.contains_key("before") && seen.contains_key("after"), "{seen:?}");
    bucket.create(&Key::new("a").unwrap(), Bytes::new()).await.unwrap();
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let mut rig = Rig::new(Kind::JetStream).await;
    for n in 0..50 {
        rig.signal(&format!("s{n}")).await;
    }
    rig.server.as_mut().unwrap().kill().unwrap();
    rig.server.as_mut().unwrap().restart().unwrap();
    assert!(publish_when_back(rig.bus.as_ref(), "s49").await.duplicate, "the duplicate window survives, too");
    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    assert_eq!(drain(&mut consumer, 50).await.len(), 50);
}

#[tokio::test]
async fn a_waiting_consumer_is_told_and_goes_on_afterwards() {
    let mut rig = Rig::new(Kind::JetStream).await;
    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    let waiting = tokio::spawn(async move {
        let first = consumer.fetch(1, LONG).await;
        (first, consumer)
    });
    // Whether the request has arrived by now or not, the answer is the same.
    tokio::task::yield_now().await;
    rig.server.as_mut().unwrap().stop().unwrap();
    let (first, mut consumer) = waiting.await.unwrap();
    assert!(matches!(first, Err(BusError::Unavailable(_))), "{first:?}");
    rig.server.as_mut().unwrap().restart().unwrap();
    publish_when_back(rig.bus.as_ref(), "a").await;
    assert_eq!(one(&mut consumer).await.id, "a");
}

#[tokio::test]
async fn a_watch_and_a_server_of_requests_outlive_the_interruption() {
    let mut rig = Rig::new(Kind::JetStream).await;
    let bucket = rig.bus.bucket(BucketName::Playbooks).await.unwrap();
    let mut changes = bucket.watch().await.unwrap();
    assert_eq!(changes.next().await.unwrap().unwrap(), Change::Current);
    let mut requests = rig.bus.serve(EvidenceSubject("object")).await.unwrap();
    rig.server.as_mut().unwrap().kill().unwrap();
    rig.server.as_mut().unwrap().restart().unwrap();
    publish_when_back(rig.bus.as_ref(), "back").await;
    bucket.create(&Key::new("a").unwrap(), Bytes::from_static(b"1")).await.unwrap();
    let change = tokio::time::timeout(LONG, changes.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(change, Change::Put { key, .. } if key == "a"));
    let server = tokio::spawn(async move {
        let request = requests.next().await.unwrap();
        request.reply(Bytes::from_static(b"here")).await.unwrap();
    });
    let asked = rig.bus.request(EvidenceSubject("object"), Bytes::new(), TraceContext::default(), LONG).await;
    assert_eq!(asked.unwrap(), Bytes::from_static(b"here"));
    server.await.unwrap();
}

use evenkeel_bus::{MemoryBus, Publish, Stream, Subject, TraceContext};
use evenkeel_model::Span;
use evenkeel_runtime::Health;
use evenkeel_runtime::metrics;
use futures::StreamExt as _;

use super::*;
use crate::testing::{Cut, Fuse, Fused, bus, key, made_up};
use crate::{MemoryStore, Store, verify};

fn parts(bus: &MemoryBus, store: Arc<dyn Store>, holder: &str) -> SealerParts {
    SealerParts {
        bus: Arc::new(bus.clone()),
        store,
        key: key(),
        accepted: Vec::new(),
        holder: holder.to_owned(),
        config: Config { lease: Span::seconds(9), ..Config::default() },
        health: Health::new().part("audit"),
        metrics: Metrics::register(&mut metrics::registry("test", "0")),
    }
}

async fn publish(bus: &MemoryBus, id: &str, payload: Bytes) {
    let message = Publish { subject: Subject::Audit, id: id.to_owned(), payload, trace: TraceContext::default() };
    bus.publish(message).await.unwrap();
}

async fn tell(bus: &MemoryBus, from: u64, to: u64) {
    let messages = MessageKey::of(&key());
    for (n, record) in (from..to).zip(made_up(from, to)) {
        publish(bus, &format!("record-{n}"), messages.wrap(&record)).await;
    }
}

async fn wait_until_sealed(bus: &MemoryBus) {
    loop {
        let status = bus.status().await.unwrap();
        let audit = status.consumers.iter().find(|it| it.name == "gateway-audit").unwrap();
        if audit.pending + audit.unacknowledged == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The log is whole and has each record once.
async fn has(store: &MemoryStore, expected: u64) {
    let findings = verify(store, key().public(), &[]).await.unwrap();
    assert_eq!(findings.faults, []);
    let size = findings.checkpoint.unwrap().size;
    let mut stored: Vec<Bytes> = crate::records(store, size).map(|it| it.unwrap().1).collect().await;
    stored.sort();
    let mut records = made_up(0, expected);
    records.sort();
    assert_eq!(stored.len(), records.len());
    assert_eq!(stored, records);
}

#[tokio::test(start_paused = true)]
async fn records_are_sealed_once_whoever_seals() {
    let (bus, store, shutdown) = (bus(), Arc::new(MemoryStore::default()), Shutdown::new());
    tell(&bus, 0, 300).await;
    let a = tokio::spawn(seal(parts(&bus, store.clone(), "a"), shutdown.child_token()));
    let stop_b = shutdown.child_token();
    let b = tokio::spawn(seal(parts(&bus, store.clone(), "b"), stop_b.clone()));
    wait_until_sealed(&bus).await;
    // Told again, long after the bus' duplicate window, by a gateway that began anew.
    tokio::time::sleep(Duration::from_secs(300)).await;
    tell(&bus, 250, 310).await;
    wait_until_sealed(&bus).await;
    has(&store, 310).await;
    // One dies without a word, the other takes over.
    a.abort();
    tell(&bus, 310, 320).await;
    wait_until_sealed(&bus).await;
    has(&store, 320).await;
    stop_b.cancel();
    b.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_no_gateway_wrote_is_put_aside() {
    let (bus, store, shutdown) = (bus(), Arc::new(MemoryStore::default()), Shutdown::new());
    let messages = MessageKey::of(&key());
    tell(&bus, 0, 2).await;
    publish(&bus, "bare", made_up(9, 10).remove(0)).await;
    let stranger = MessageKey::of(&crate::SigningKey::new("test", [9; 32]).unwrap());
    publish(&bus, "stranger", stranger.wrap(&made_up(9, 10)[0])).await;
    publish(&bus, "no-record", messages.wrap(b"[]")).await;
    tell(&bus, 2, 3).await;
    let sealer = tokio::spawn(seal(parts(&bus, store.clone(), "a"), shutdown.clone()));
    wait_until_sealed(&bus).await;
    has(&store, 3).await;
    let dead: Vec<_> = bus.replay(Stream::Dead, None).await.unwrap().map(|it| it.unwrap().id).collect().await;
    assert_eq!(dead, ["bare", "stranger", "no-record"]);
    shutdown.cancel();
    sealer.await.unwrap().unwrap();
}

/// The sealer is killed after so many writes to the store, again and again, and another goes on.
#[tokio::test(start_paused = true)]
async fn a_sealer_killed_again_and_again_seals_each_record_once() {
    let (bus, store) = (bus(), Arc::new(MemoryStore::default()));
    tell(&bus, 0, 700).await;
    for writes in 1..24 {
        let cut = if writes % 2 == 0 { Cut::Before } else { Cut::After };
        let fused = Fused { inner: store.clone(), fuse: Fuse::of(writes, cut) };
        let shutdown = Shutdown::new();
        let sealer = tokio::spawn(seal(parts(&bus, Arc::new(fused), &format!("s{writes}")), shutdown.clone()));
        tokio::time::sleep(Duration::from_secs(60)).await;
        sealer.abort();
    }
    let shutdown = Shutdown::new();
    let sealer = tokio::spawn(seal(parts(&bus, store.clone(), "last"), shutdown.clone()));
    wait_until_sealed(&bus).await;
    has(&store, 700).await;
    shutdown.cancel();
    sealer.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_while_the_store_is_away() {
    let (bus, store, shutdown) = (bus(), Arc::new(MemoryStore::default()), Shutdown::new());
    tell(&bus, 0, 10).await;
    let away: Arc<dyn Store> = Arc::new(Fused { inner: store.clone(), fuse: Fuse::of(1, Cut::Before) });
    let sealer = tokio::spawn(seal(parts(&bus, away, "a"), shutdown.clone()));
    tokio::time::sleep(Duration::from_secs(120)).await;
    let status = bus.status().await.unwrap();
    let audit = status.consumers.iter().find(|it| it.name == "gateway-audit").unwrap();
    assert_eq!(audit.pending + audit.unacknowledged, 10);
    assert!(store.objects().is_empty());
    shutdown.cancel();
    sealer.await.unwrap().unwrap();
}

/// While the key is being changed, gateways with the old one and gateways with the new one run side by side.
#[tokio::test(start_paused = true)]
async fn records_of_gateways_with_a_key_that_is_accepted_are_sealed() {
    let (bus, store, shutdown) = (bus(), Arc::new(MemoryStore::default()), Shutdown::new());
    let other = crate::SigningKey::new("test-2", [9; 32]).unwrap();
    tell(&bus, 0, 2).await;
    publish(&bus, "theirs", MessageKey::of(&other).wrap(&made_up(2, 3)[0])).await;
    let parts = SealerParts { accepted: vec![MessageKey::of(&other)], ..parts(&bus, store.clone(), "a") };
    let sealer = tokio::spawn(seal(parts, shutdown.clone()));
    wait_until_sealed(&bus).await;
    has(&store, 3).await;
    assert_eq!(bus.replay(Stream::Dead, None).await.unwrap().count().await, 0);
    shutdown.cancel();
    sealer.await.unwrap().unwrap();
}

//! What only the memory bus has: trouble on demand, being away, a paused clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use evenkeel_bus::{Bus, BusError, ConsumerName, Key, MemoryBus, MemoryOptions, Trouble, WakeUp};
use evenkeel_model::{Clock, FixedClock};
use tokio::time::Instant;

use crate::rig::{LONG, cluster, one, signal};

/// Goes with tokio's time.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::from_std(self.0.elapsed()).unwrap()
    }
}

fn bus(trouble: Trouble) -> MemoryBus {
    let clock = Arc::new(TokioClock(Instant::now()));
    MemoryBus::new(MemoryOptions { trouble, ..MemoryOptions::new(cluster(), clock) })
}

/// What a diligent consumer sees: sequence, id, delivery count, in order.
async fn story(seed: u64) -> Vec<(u64, String, u64)> {
    let bus = bus(Trouble::plenty(seed));
    for n in 0..100 {
        bus.publish(signal(&format!("s{n}"))).await.unwrap();
    }
    let mut consumer = bus.consume(ConsumerName::ReasonerSignals).await.unwrap();
    let mut story = Vec::new();
    loop {
        let batch = consumer.fetch(10, Duration::from_secs(60)).await.unwrap();
        if batch.is_empty() {
            return story;
        }
        for delivery in batch {
            delivery.ack().await.unwrap();
            story.push((delivery.sequence, delivery.id, delivery.delivered));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_repeats_and_reorders_but_loses_nothing() {
    let story = story(42).await;
    let mut count: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, id, _) in &story {
        *count.entry(id).or_insert(0) += 1;
    }
    assert_eq!(count.len(), 100);
    assert!(count.values().any(|times| *times > 1), "nothing came twice");
    assert!(story.windows(2).any(|pair| pair[0].0 > pair[1].0), "everything came in order");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_tells_the_same_story() {
    assert_eq!(story(7).await, story(7).await);
    assert_ne!(story(7).await, story(8).await);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leaves_the_message_stored() {
    let bus = bus(Trouble { lose_answer: 100, ..Trouble::none() });
    assert!(matches!(bus.publish(signal("a")).await, Err(BusError::Unavailable(_))));
    bus.set_trouble(Trouble::none());
    assert!(bus.publish(signal("a")).await.unwrap().duplicate);
}

#[tokio::test(start_paused = true)]
async fn while_away_everything_is_unavailable_and_nothing_is_lost() {
    let bus = bus(Trouble::none());
    bus.publish(signal("a")).await.unwrap();
    let mut consumer = bus.consume(ConsumerName::ReasonerSignals).await.unwrap();
    let held = one(&mut consumer).await;
    bus.set_away(true);
    assert!(matches!(bus.publish(signal("b")).await, Err(BusError::Unavailable(_))));
    assert!(matches!(consumer.fetch(1, LONG).await, Err(BusError::Unavailable(_))));
    assert!(matches!(held.ack().await, Err(BusError::Unavailable(_))));
    bus.set_away(false);
    let again = consumer.fetch(1, Duration::from_secs(60)).await.unwrap();
    assert_eq!(again[0].delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn time_passes_without_waiting_under_a_paused_clock() {
    let bus = bus(Trouble::none());
    let clock = TokioClock(Instant::now());
    let mut wake_ups = bus.consume(ConsumerName::ReasonerWakeUps).await.unwrap();
    let at = clock.now() + TimeDelta::hours(3);
    let wake_up = WakeUp { key: Key::new("a").unwrap(), at, payload: "up".into() };
    bus.wake_at(wake_up).await.unwrap();
    let day = Duration::from_secs(24 * 3600);
    let woken = wake_ups.fetch(1, day).await.unwrap();
    assert_eq!(woken.len(), 1);
    assert!(clock.now() - at < TimeDelta::seconds(1), "{}", clock.now() - at);
    // Not acknowledged, it is there again half a minute later.
    let again = wake_ups.fetch(1, day).await.unwrap();
    assert_eq!(again[0].delivered, 2);
    assert_eq!((clock.now() - at).num_seconds(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_clock_moved_by_hand_brings_wake_ups_at_the_next_look() {
    let clock = Arc::new(FixedClock::new(DateTime::UNIX_EPOCH));
    let bus = MemoryBus::new(MemoryOptions::new(cluster(), Arc::clone(&clock) as Arc<dyn Clock>));
    let mut wake_ups = bus.consume(ConsumerName::ReasonerWakeUps).await.unwrap();
    let at = clock.now() + TimeDelta::minutes(5);
    bus.wake_at(WakeUp { key: Key::new("a").unwrap(), at, payload: "up".into() }).await.unwrap();
    assert!(wake_ups.fetch(1, LONG).await.unwrap().is_empty());
    clock.advance(Duration::from_secs(300));
    assert_eq!(wake_ups.fetch(1, Duration::ZERO).await.unwrap().len(), 1);
}

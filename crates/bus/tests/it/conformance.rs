//! What every bus must do.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_bus::{
    BucketName, BusError, Change, ConsumerName, EvidenceSubject, Key, MAX_VALUE_BYTES, Publish, Stream, Subject,
    TraceContext, WakeUp,
};
use evenkeel_model::Clock as _;
use futures::StreamExt as _;
use tokio::time::Instant;

use crate::rig::{ACK_WAIT, Kind, LONG, Rig, SHORT, WallClock, drain, none, one, signal};

/// Each behaviour is a test of its own on each bus.
macro_rules! on_both {
    ($($behaviour:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(crate::rig::Kind::Memory).await;
            })*
        }
        mod jetstream {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(crate::rig::Kind::JetStream).await;
            })*
        }
    };
}

on_both!(
    a_message_is_stored_once_per_id,
    an_id_that_cannot_be_a_header_is_refused,
    a_delivery_carries_what_was_published,
    a_message_comes_again_after_the_acknowledgement_time,
    a_late_acknowledgement_counts,
    a_refused_message_comes_again_after_its_delay,
    work_in_progress_is_not_given_to_others,
    poison_goes_to_the_dead_with_its_reason,
    a_full_stream_says_so,
    poison_stays_while_the_dead_stream_is_full,
    two_consumers_share_the_work,
    a_wake_up_comes_at_its_time_and_once_per_key,
    a_wake_up_in_the_past_comes_at_once,
    a_bucket_compares_before_it_sets,
    a_value_beyond_the_limit_is_refused,
    a_watch_tells_what_is_there_then_what_changes,
    requests_are_answered,
    requests_nobody_serves_fail_at_once,
    requests_nobody_answers_time_out,
    replay_reads_without_consuming,
    the_status_counts_what_is_held,
);

async fn a_message_is_stored_once_per_id(kind: Kind) {
    let rig = Rig::new(kind).await;
    let first = rig.bus.publish(signal("a")).await.unwrap();
    let again = rig.bus.publish(signal("a")).await.unwrap();
    assert!(!first.duplicate);
    assert!(again.duplicate);
    assert_eq!(first.sequence, again.sequence);
    assert_eq!(rig.signal("b").await, first.sequence + 1);
    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    let seen = drain(&mut consumer, 2).await;
    assert_eq!(seen.values().sum::<u64>(), 2);
    none(&mut consumer, SHORT).await;
}

async fn an_id_that_cannot_be_a_header_is_refused(kind: Kind) {
    let rig = Rig::new(kind).await;
    for id in ["", "a b", "a\r\nNats-Rollup: all", &"x".repeat(257)] {
        assert!(matches!(rig.bus.publish(signal(id)).await, Err(BusError::Name { .. })), "{id:?}");
    }
}

async fn a_delivery_carries_what_was_published(kind: Kind) {
    let rig = Rig::new(kind).await;
    let mut consumer = rig.consumer(ConsumerName::GatewayProposals).await;
    let trace =
        TraceContext { traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()) };
    let message = Publish {
        subject: Subject::Proposal,
        id: "incident-7:1".to_owned(),
        payload: Bytes::from_static(b"\x00\xffbytes"),
        trace: trace.clone(),
    };
    let published = rig.bus.publish(message).await.unwrap();
    let delivery = one(&mut consumer).await;
    assert_eq!(delivery.subject, "evenkeel.v1.test-1.proposal");
    assert_eq!(delivery.id, "incident-7:1");
    assert_eq!(delivery.sequence, published.sequence);
    assert_eq!(delivery.delivered, 1);
    assert_eq!(delivery.payload, Bytes::from_static(b"\x00\xffbytes"));
    assert_eq!(delivery.trace, trace);
    let age = WallClock.now() - delivery.stored_at;
    assert!(age.num_seconds().abs() < 60, "{age}");
    delivery.ack().await.unwrap();
}

async fn a_message_comes_again_after_the_acknowledgement_time(kind: Kind) {
    let rig = Rig::new(kind).await;
    rig.signal("a").await;
    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    let start = Instant::now();
    for count in 1..=3 {
        let delivery = one(&mut consumer).await;
        assert_eq!((delivery.id.as_str(), delivery.delivered), ("a", count));
    }
    assert!(start.elapsed() >= ACK_WAIT, "{:?}", start.elapsed());
}

async fn a_late_acknowledgement_counts(kind: Kind) {
    let rig = Rig::new(kind).await;
    rig.signal("a").await;
    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    let first = one(&mut consumer).await;
    let second = one(&mut consumer).await;
    assert_eq!(second.delivered, 2);
    first.ack().await.unwrap();
    // Acknowledging what is done already is no error.
    second.ack().await.unwrap();
    none(&mut consumer, ACK_WAIT * 2).await;
}

async fn a_refused_message_comes_again_after_its_delay(kind: Kind) {
    let rig = Rig::new(kind).await;
    rig.signal("a").await;
    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    let delay = ACK_WAIT * 2;
    let start = Instant::now();
    one(&mut consumer).await.nak(delay).await.unwrap();
    let again = one(&mut consumer).await;
    assert_eq!(again.delivered, 2);
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    again.nak(Duration::ZERO).await.unwrap();
    let third = one(&mut consumer).await;
    assert_eq!(third.delivered, 3);
    third.ack().await.unwrap();
}

async fn work_in_progress_is_not_given_to_others(kind: Kind) {
    let rig = Rig::new(kind).await;
    rig.signal("a").await;
    let mut worker = rig.consumer(ConsumerName::ReasonerSignals).await;
    let mut other = rig.consumer(ConsumerName::ReasonerSignals).await;
    let delivery = one(&mut worker).await;
    let busy = Instant::now() + ACK_WAIT * 3;
    while Instant::now() < busy {
        delivery.in_progress().await.unwrap();
        none(&mut other, ACK_WAIT / 4).await;
    }
    delivery.ack().await.unwrap();
    none(&mut other, ACK_WAIT * 2).await;
}

async fn poison_goes_to_the_dead_with_its_reason(kind: Kind) {
    let rig = Rig::new(kind).await;
    rig.signal("poison").await;
    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    let delivery = one(&mut consumer).await;
    delivery.dead("no JSON:\n expected an object").await.unwrap();
    // As after a crash between the two halves.
    delivery.dead("no JSON:\n expected an object").await.unwrap();
    none(&mut consumer, ACK_WAIT * 2).await;
    let dead: Vec<_> = rig.bus.replay(Stream::Dead, None).await.unwrap().collect().await;
    assert_eq!(dead.len(), 1);
    let dead = dead.into_iter().next().unwrap().unwrap();
    assert_eq!(dead.subject, "evenkeel.v1.test-1.dead.signal");
    assert_eq!(dead.id, "poison");
    assert_eq!(dead.payload, Bytes::from_static(b"payload of poison"));
    assert_eq!(dead.reason.as_deref(), Some("no JSON: expected an object"));
}

async fn a_full_stream_says_so(kind: Kind) {
    let rig = Rig::with_limit(kind, Some(3)).await;
    for id in ["a", "b", "c"] {
        rig.signal(id).await;
    }
    let refused = rig.bus.publish(signal("d")).await;
    assert!(
        matches!(&refused, Err(BusError::Full { stream, .. }) if stream == "EVENKEEL_TEST-1_SIGNALS"),
        "{refused:?}"
    );
    // What is stored already is no news, and other streams have room.
    assert!(rig.bus.publish(signal("c")).await.unwrap().duplicate);
    rig.bus.publish(Publish { subject: Subject::Outcome, ..signal("o") }).await.unwrap();
    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    assert_eq!(drain(&mut consumer, 3).await.len(), 3);
}

async fn poison_stays_while_the_dead_stream_is_full(kind: Kind) {
    let rig = Rig::with_limit(kind, Some(2)).await;
    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    let mut outcomes = rig.consumer(ConsumerName::ReasonerOutcomes).await;
    for id in ["a", "b"] {
        rig.signal(id).await;
        one(&mut consumer).await.dead("bad").await.unwrap();
    }
    rig.bus.publish(Publish { subject: Subject::Outcome, ..signal("c") }).await.unwrap();
    let third = one(&mut outcomes).await;
    assert!(matches!(third.dead("bad").await, Err(BusError::Full { .. })));
    assert_eq!(one(&mut outcomes).await.delivered, 2);
}

async fn two_consumers_share_the_work(kind: Kind) {
    let rig = Rig::new(kind).await;
    let total = 60;
    let ids: Vec<String> = (0..total).map(|n| format!("s{n}")).collect();
    futures::future::join_all(ids.iter().map(|id| rig.signal(id))).await;
    let mut left = rig.consumer(ConsumerName::ReasonerSignals).await;
    let mut right = rig.consumer(ConsumerName::ReasonerSignals).await;
    let mut seen = Vec::new();
    let give_up = Instant::now() + LONG;
    while seen.len() < total {
        assert!(Instant::now() < give_up, "only {} of {total} came", seen.len());
        for consumer in [&mut left, &mut right] {
            let batch = consumer.fetch(7, SHORT).await.unwrap();
            assert!(batch.len() <= 7);
            for delivery in batch {
                delivery.ack().await.unwrap();
                seen.push(delivery.id);
            }
        }
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len()), (total, total));
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

async fn wake(rig: &Rig, name: &str, after: Duration, payload: &'static str) {
    let wake_up =
        WakeUp { key: key(name), at: WallClock.now() + after, payload: Bytes::from_static(payload.as_bytes()) };
    rig.bus.wake_at(wake_up).await.unwrap();
}

async fn a_wake_up_comes_at_its_time_and_once_per_key(kind: Kind) {
    let rig = Rig::new(kind).await;
    let mut consumer = rig.consumer(ConsumerName::ReasonerWakeUps).await;
    wake(&rig, "incident.a", Duration::from_secs(600), "too late").await;
    wake(&rig, "incident.b", Duration::from_millis(2500), "second").await;
    wake(&rig, "incident.a", Duration::from_millis(1200), "first").await;
    none(&mut consumer, Duration::from_millis(300)).await;
    let mut ids = Vec::new();
    for expected in ["first", "second"] {
        let delivery = one(&mut consumer).await;
        assert_eq!(delivery.payload, Bytes::from_static(expected.as_bytes()));
        assert_eq!(delivery.subject, "evenkeel.v1.test-1.wake.due");
        assert!(delivery.stored_at <= WallClock.now());
        delivery.ack().await.unwrap();
        ids.push(delivery.id);
    }
    assert!(ids[0].starts_with("incident.a@") && ids[1].starts_with("incident.b@"), "{ids:?}");
    none(&mut consumer, SHORT).await;
    let replayed: Vec<_> = rig.bus.replay(Stream::WakeUps, None).await.unwrap().collect().await;
    assert_eq!(replayed.len(), 2);
}

async fn a_wake_up_in_the_past_comes_at_once(kind: Kind) {
    let rig = Rig::new(kind).await;
    let mut consumer = rig.consumer(ConsumerName::ReasonerWakeUps).await;
    let at = WallClock.now() - Duration::from_secs(3600);
    let wake_up = WakeUp { key: key("a"), at, payload: Bytes::from_static(b"now") };
    rig.bus.wake_at(wake_up.clone()).await.unwrap();
    let delivery = one(&mut consumer).await;
    assert_eq!(delivery.payload, Bytes::from_static(b"now"));
    delivery.ack().await.unwrap();
    // The same again is a new wake-up, not a duplicate.
    rig.bus.wake_at(wake_up).await.unwrap();
    one(&mut consumer).await.ack().await.unwrap();
}

async fn a_bucket_compares_before_it_sets(kind: Kind) {
    let rig = Rig::new(kind).await;
    let bucket = rig.bus.bucket(BucketName::Incidents).await.unwrap();
    let (a, b) = (key("a"), key("wave.b-1"));
    assert_eq!(bucket.get(&a).await.unwrap(), None);
    assert!(matches!(bucket.update(&a, Bytes::new(), 7).await, Err(BusError::Conflict { .. })));
    let first = bucket.create(&a, Bytes::from_static(b"1")).await.unwrap();
    assert!(matches!(bucket.create(&a, Bytes::new()).await, Err(BusError::Conflict { key }) if key == "a"));
    let second = bucket.update(&a, Bytes::from_static(b"2"), first).await.unwrap();
    assert!(second > first);
    assert!(matches!(bucket.update(&a, Bytes::new(), first).await, Err(BusError::Conflict { .. })));
    let entry = bucket.get(&a).await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (Bytes::from_static(b"2"), second));
    bucket.create(&b, Bytes::from_static(b"b")).await.unwrap();
    assert_eq!(bucket.keys().await.unwrap(), ["a", "wave.b-1"]);
    bucket.remove(&a).await.unwrap();
    bucket.remove(&a).await.unwrap();
    bucket.remove(&key("never")).await.unwrap();
    assert_eq!(bucket.get(&a).await.unwrap(), None);
    assert_eq!(bucket.keys().await.unwrap(), ["wave.b-1"]);
    assert!(matches!(bucket.update(&a, Bytes::new(), second).await, Err(BusError::Conflict { .. })));
    let third = bucket.create(&a, Bytes::from_static(b"3")).await.unwrap();
    assert!(third > second);
    assert!(matches!(bucket.remove_at(&a, second).await, Err(BusError::Conflict { key }) if key == "a"));
    assert_eq!(bucket.get(&a).await.unwrap().unwrap().revision, third, "somebody wrote it since");
    bucket.remove_at(&a, third).await.unwrap();
    assert_eq!(bucket.get(&a).await.unwrap(), None);
    assert!(matches!(bucket.remove_at(&a, third).await, Err(BusError::Conflict { .. })));
    assert!(matches!(bucket.remove_at(&key("never"), 1).await, Err(BusError::Conflict { .. })));
    // Of many who create the same key, one wins.
    let c = key("c");
    let racers = (0..8).map(|_| bucket.create(&c, Bytes::from_static(b"c")));
    let won = futures::future::join_all(racers).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
}

async fn a_value_beyond_the_limit_is_refused(kind: Kind) {
    let rig = Rig::new(kind).await;
    let bucket = rig.bus.bucket(BucketName::Baselines).await.unwrap();
    bucket.create(&key("fits"), Bytes::from(vec![7; MAX_VALUE_BYTES])).await.unwrap();
    assert_eq!(bucket.get(&key("fits")).await.unwrap().unwrap().value.len(), MAX_VALUE_BYTES);
    let beyond = Bytes::from(vec![7; MAX_VALUE_BYTES + 1]);
    let refused = bucket.create(&key("large"), beyond.clone()).await;
    assert!(
        matches!(refused, Err(BusError::TooLarge { found, limit }) if found == limit + 1 && limit == MAX_VALUE_BYTES)
    );
    let refused = rig.bus.publish(Publish { payload: beyond, ..signal("large") }).await;
    assert!(matches!(refused, Err(BusError::TooLarge { .. })));
}

async fn a_watch_tells_what_is_there_then_what_changes(kind: Kind) {
    let rig = Rig::new(kind).await;
    let bucket = rig.bus.bucket(BucketName::Playbooks).await.unwrap();
    let mut empty = bucket.watch().await.unwrap();
    assert_eq!(empty.next().await.unwrap().unwrap(), Change::Current);
    let first = bucket.create(&key("a"), Bytes::from_static(b"1")).await.unwrap();
    bucket.create(&key("gone"), Bytes::new()).await.unwrap();
    bucket.remove(&key("gone")).await.unwrap();
    let second = bucket.update(&key("a"), Bytes::from_static(b"2"), first).await.unwrap();

    let mut changes = bucket.watch().await.unwrap();
    let mut next = async || tokio::time::timeout(LONG, changes.next()).await.unwrap().unwrap().unwrap();
    let Change::Put { key: name, entry } = next().await else { panic!("not what is there") };
    assert_eq!((name.as_str(), &entry.value[..], entry.revision), ("a", &b"2"[..], second));
    assert_eq!(next().await, Change::Current);
    let b = bucket.create(&key("b"), Bytes::from_static(b"b")).await.unwrap();
    assert!(matches!(next().await, Change::Put { key, entry } if key == "b" && entry.revision == b));
    bucket.remove(&key("a")).await.unwrap();
    assert_eq!(next().await, Change::Removed { key: "a".to_owned() });

    // The watch that began on the empty bucket ends up with the same.
    let mut known = std::collections::BTreeMap::new();
    while known.len() != 1 || !known.contains_key("b") {
        match tokio::time::timeout(LONG, empty.next()).await.unwrap().unwrap().unwrap() {
            Change::Put { key, entry } => drop(known.insert(key, entry.value)),
            Change::Removed { key } => drop(known.remove(&key)),
            Change::Current => panic!("told twice"),
        }
    }
}

const OBJECT: EvidenceSubject = EvidenceSubject("object");

async fn requests_are_answered(kind: Kind) {
    let rig = Rig::new(kind).await;
    let trace =
        TraceContext { traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()) };
    let mut servers = Vec::new();
    for _ in 0..2 {
        let mut requests = rig.bus.serve(OBJECT).await.unwrap();
        let expected = trace.clone();
        servers.push(tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                assert_eq!(request.trace, expected);
                let answer = Bytes::from([b"re: ", &request.payload[..]].concat());
                request.reply(answer).await.unwrap();
            }
        }));
    }
    for n in 0..20 {
        let question = Bytes::from(format!("q{n}"));
        let answer = rig.bus.request(OBJECT, question, trace.clone(), LONG).await.unwrap();
        assert_eq!(answer, Bytes::from(format!("re: q{n}")));
    }
    for server in servers {
        server.abort();
    }
}

async fn requests_nobody_serves_fail_at_once(kind: Kind) {
    let rig = Rig::new(kind).await;
    let start = Instant::now();
    let answer = rig.bus.request(EvidenceSubject("logs"), Bytes::new(), TraceContext::default(), LONG).await;
    assert!(
        matches!(&answer, Err(BusError::NoResponders { subject }) if subject == "evenkeel.v1.test-1.evidence.logs"),
        "{answer:?}"
    );
    assert!(start.elapsed() < LONG / 4);
}

async fn requests_nobody_answers_time_out(kind: Kind) {
    let rig = Rig::new(kind).await;
    let _silent = rig.bus.serve(OBJECT).await.unwrap();
    let answer = rig.bus.request(OBJECT, Bytes::new(), TraceContext::default(), SHORT).await;
    assert!(matches!(answer, Err(BusError::Timeout { .. })), "{answer:?}");
}

async fn replay_reads_without_consuming(kind: Kind) {
    let rig = Rig::new(kind).await;
    let total = 600;
    // Some at a time: 600 at once take longer than a request may on a machine that is busy.
    let publishing = (0..total).map(|n| rig.bus.publish(signal(&format!("s{n}"))));
    let published: Vec<_> = futures::stream::iter(publishing).buffer_unordered(32).collect().await;
    assert!(published.iter().all(Result::is_ok), "{published:?}");
    let mut stored: Vec<_> = Vec::new();
    let mut replay = rig.bus.replay(Stream::Signals, None).await.unwrap();
    // Stored after the call: not part of it.
    rig.signal("later").await;
    while let Some(message) = replay.next().await {
        stored.push(message.unwrap());
    }
    assert_eq!(stored.len(), total);
    assert!(stored.windows(2).all(|pair| pair[0].sequence < pair[1].sequence && pair[0].at <= pair[1].at));
    assert!(stored.iter().all(|m| m.subject == "evenkeel.v1.test-1.signal.alertmanager" && m.reason.is_none()));

    let middle = stored[300].at;
    let expected = stored.iter().filter(|message| message.at >= middle).count() + 1;
    let since: Vec<_> = rig.bus.replay(Stream::Signals, Some(middle)).await.unwrap().collect().await;
    assert_eq!(since.len(), expected);
    let future = WallClock.now() + Duration::from_secs(3600);
    assert_eq!(rig.bus.replay(Stream::Signals, Some(future)).await.unwrap().count().await, 0);
    assert_eq!(rig.bus.replay(Stream::Outcomes, None).await.unwrap().count().await, 0);

    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    assert_eq!(one(&mut consumer).await.delivered, 1);
}

async fn the_status_counts_what_is_held(kind: Kind) {
    let rig = Rig::new(kind).await;
    for id in ["a", "b", "c"] {
        rig.signal(id).await;
    }
    let mut consumer = rig.consumer(ConsumerName::ReasonerSignals).await;
    let first = one(&mut consumer).await;
    first.ack().await.unwrap();
    let _held = one(&mut consumer).await;
    let status = rig.bus.status().await.unwrap();
    let names: Vec<&str> = status.streams.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(
        names,
        ["SIGNALS", "PROPOSALS", "OUTCOMES", "AUDIT", "WAKE_UPS", "DEAD"].map(|kind| format!("EVENKEEL_TEST-1_{kind}"))
    );
    assert_eq!(status.streams[0].messages, 3);
    assert!(status.streams[0].bytes > 0);
    let signals = status.consumers.iter().find(|consumer| consumer.name == "reasoner-signals").unwrap();
    assert_eq!((signals.pending, signals.unacknowledged), (1, 1));
    assert_eq!((status.streams[0].last, signals.settled), (3, 1));
    let outcomes = status.consumers.iter().find(|consumer| consumer.name == "reasoner-outcomes").unwrap();
    assert_eq!((status.streams[2].last, outcomes.settled), (0, 0));
    assert_eq!(status.consumers.len(), 5);
}

//! What the server lets the reasoner's user do, and what comes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::{Client, HeaderMap, jetstream};
use bytes::Bytes;
use evenkeel_bus::permissions::{self, Plane};
use evenkeel_bus::{BucketName, Bus as _, Cluster, Key, Stream};
use evenkeel_tests::world::CLUSTER;
use evenkeel_tests::{World, eventually};
use tokio::sync::mpsc::UnboundedReceiver;

const IN_TIME: Duration = Duration::from_secs(20);

/// What `$JS.API` can do to a stream; a `*` is its name.
const TO_STREAMS: [&str; 16] = [
    "STREAM.CREATE.*",
    "STREAM.UPDATE.*",
    "STREAM.DELETE.*",
    "STREAM.PURGE.*",
    "STREAM.MSG.GET.*",
    "STREAM.MSG.DELETE.*",
    "STREAM.SNAPSHOT.*",
    "STREAM.RESTORE.*",
    "STREAM.LEADER.STEPDOWN.*",
    "CONSUMER.LIST.*",
    "CONSUMER.NAMES.*",
    "CONSUMER.CREATE.*",
    "CONSUMER.CREATE.*.mine",
    "CONSUMER.CREATE.*.mine.>",
    "CONSUMER.DURABLE.CREATE.*.mine",
    "CONSUMER.MSG.NEXT.*.mine",
];
/// What it can do to a consumer; a `*` is its stream's name and its own.
const TO_CONSUMERS: [&str; 6] = [
    "CONSUMER.CREATE.*",
    "CONSUMER.DELETE.*",
    "CONSUMER.PAUSE.*",
    "CONSUMER.RESET.*",
    "CONSUMER.UNPIN.*",
    "CONSUMER.LEADER.STEPDOWN.*",
];
/// What is nobody's, or the server's own.
const NOBODYS: [&str; 17] = [
    "evenkeel.v1.test.wake.due",
    "evenkeel.v1.test.changed.playbooks.x",
    "evenkeel.v1.test.anything",
    "evenkeel.v1.other.proposal",
    "evenkeel.v1.other.signal.x",
    "_INBOX.x",
    "_INBOX_gateway_test.x",
    "_INBOX_observer_test.x",
    "_R_.x",
    "$JS.API.INFO",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.META.LEADER.STEPDOWN",
    "$JS.EVENT.ADVISORY.x",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
];

/// Whoever has the user, without any of our own code in between.
struct Thief {
    client: Client,
    refused: UnboundedReceiver<String>,
    asked: usize,
}

impl Thief {
    /// Whether the server let pass what was sent since the last time.
    async fn was_let(&mut self) -> Result<bool> {
        self.asked += 1;
        // The server's words come in order, and this is refused for certain.
        let last = format!("nobody.may.{}", self.asked);
        self.client.publish(last.clone(), Bytes::new()).await?;
        let mut let_pass = true;
        loop {
            let words = tokio::time::timeout(IN_TIME, self.refused.recv()).await?.context("the client ended")?;
            ensure!(words.contains("Permissions Violation"), "{words}");
            if words.contains(&last) {
                return Ok(let_pass);
            }
            let_pass = false;
        }
    }

    async fn may_publish(&mut self, subject: &str) -> Result<bool> {
        self.client.publish(subject.to_owned(), Bytes::from_static(b"{}")).await?;
        self.was_let().await
    }

    async fn may_subscribe(&mut self, subject: &str) -> Result<bool> {
        let _subscription = self.client.subscribe(subject.to_owned()).await?;
        let alone = self.was_let().await?;
        let _subscription = self.client.queue_subscribe(subject.to_owned(), "thieves".to_owned()).await?;
        ensure!(self.was_let().await? == alone, "{subject}: another answer for a queue group");
        Ok(alone)
    }
}

fn cluster() -> Result<Cluster> {
    Ok(Cluster::new(CLUSTER)?)
}

fn said(let_pass: bool) -> &'static str {
    if let_pass { "allowed" } else { "refused" }
}

/// A subject that the pattern covers.
fn one(pattern: &str) -> String {
    pattern.split('.').map(|token| if matches!(token, "*" | ">") { "x" } else { token }).collect::<Vec<_>>().join(".")
}

/// Tries all there is with the reasoner's user: lines of what was tried and what the server said.
pub(super) async fn try_all(world: &World) -> Result<Vec<String>> {
    let (client, refused) = world.nats_as(Plane::Reasoner).await?;
    let mut thief = Thief { client, refused, asked: 0 };
    let mut lines = subjects(&mut thief).await?;
    lines.extend(administration(&mut thief).await?);
    lines.extend(headers(&thief.client).await?);
    lines.extend(answers(world, &mut thief).await?);
    Ok(lines)
}

/// Every subject that some plane may publish to or subscribe to, and what is nobody's.
async fn subjects(thief: &mut Thief) -> Result<Vec<String>> {
    let cluster = cluster()?;
    let own = permissions::permissions(Plane::Reasoner, &cluster);
    let all = Plane::ALL.map(|plane| permissions::permissions(plane, &cluster));
    let mut publish: BTreeSet<String> = all.iter().flat_map(|it| &it.publish).map(|pattern| one(pattern)).collect();
    // The administration has lines of its own.
    publish
        .retain(|it| !it.contains(".STREAM.CREATE.") && !it.contains(".STREAM.UPDATE.") && !it.contains("R.CREATE."));
    publish.extend(NOBODYS.map(str::to_owned));
    let its: BTreeSet<String> = own.publish.iter().map(|pattern| one(pattern)).collect();
    let mut lines = Vec::new();
    for subject in publish {
        let may = thief.may_publish(&subject).await?;
        ensure!(may == its.contains(&subject), "publish {subject}: {}", said(may));
        lines.push(format!("{} publish {subject}", said(may)));
    }
    let mut subscribe: BTreeSet<String> = all.iter().flat_map(|it| it.subscribe.clone()).collect();
    subscribe.extend(all.iter().flat_map(|it| it.publish.clone()).filter(|it| it.starts_with("evenkeel.")));
    subscribe.extend([">", "*", "_INBOX.>", "_R_.>", "$SYS.>", "$JS.>", "$JS.API.>", "$JS.ACK.>"].map(str::to_owned));
    subscribe.extend(["$KV.>", "evenkeel.>", "evenkeel.v1.test.>", "$JS.EVENT.ADVISORY.>"].map(str::to_owned));
    for subject in subscribe {
        let may = thief.may_subscribe(&subject).await?;
        ensure!(may == own.subscribe.contains(&subject), "subscribe {subject}: {}", said(may));
        lines.push(format!("{} subscribe {subject}", said(may)));
    }
    Ok(lines)
}

/// Streams and consumers: nothing of what can be done to any of them.
async fn administration(thief: &mut Thief) -> Result<Vec<String>> {
    let admin = permissions::permissions(Plane::Admin, &cluster()?).publish;
    let of = |prefix: &str| -> Vec<String> {
        admin
            .iter()
            .filter_map(|it| it.strip_prefix(prefix))
            .filter(|it| !it.ends_with('>'))
            .map(str::to_owned)
            .collect()
    };
    let (streams, consumers) = (of("$JS.API.STREAM.UPDATE."), of("$JS.API.CONSUMER.CREATE."));
    let consumers: Vec<String> = consumers.into_iter().filter(|it| it.contains('.')).collect();
    ensure!(
        streams.len() == Stream::ALL.len() + BucketName::ALL.len() && consumers.len() == 5,
        "{streams:?} {consumers:?}"
    );
    let mut lines = Vec::new();
    for (verbs, names, what) in [(&TO_STREAMS[..], &streams, "streams"), (&TO_CONSUMERS[..], &consumers, "consumers")] {
        for verb in verbs {
            for name in names {
                let subject = format!("$JS.API.{}", one(&verb.replace('*', name)));
                ensure!(!thief.may_publish(&subject).await?, "{subject} is allowed");
            }
            lines.push(format!("refused publish $JS.API.{verb} for each of {} {what}", names.len()));
        }
    }
    Ok(lines)
}

/// Headers by which one message does more than be stored.
async fn headers(client: &Client) -> Result<Vec<String>> {
    let js = jetstream::new(client.clone());
    let at = "@at 2100-01-01T00:00:00Z";
    let cases: [(&str, &[(&str, &str)]); 13] = [
        ("$KV.evenkeel_test_incidents.x", &[("Nats-Rollup", "all")]),
        ("$KV.evenkeel_test_incidents.x", &[("Nats-Rollup", "sub")]),
        ("$KV.evenkeel_test_incidents.x", &[("KV-Operation", "DEL")]),
        ("$KV.evenkeel_test_incidents.x", &[("KV-Operation", "PURGE"), ("Nats-Rollup", "sub")]),
        ("evenkeel.v1.test.proposal", &[("Nats-Rollup", "all")]),
        ("evenkeel.v1.test.proposal", &[("Nats-TTL", "1")]),
        ("evenkeel.v1.test.dead.signal", &[("Nats-Rollup", "all")]),
        ("evenkeel.v1.test.wake.at.x", &[("Nats-Rollup", "all")]),
        ("evenkeel.v1.test.wake.at.x", &[("Nats-Schedule", at), ("Nats-Schedule-Target", "evenkeel.v1.test.wake.due")]),
        ("evenkeel.v1.test.wake.at.x", &[("Nats-Schedule", at), ("Nats-Schedule-Target", "evenkeel.v1.test.proposal")]),
        ("evenkeel.v1.test.wake.at.x", &[("Nats-Schedule", at), ("Nats-Schedule-Target", "evenkeel.v1.test.outcome")]),
        (
            "evenkeel.v1.test.wake.at.x",
            &[("Nats-Schedule", at), ("Nats-Schedule-Target", "$KV.evenkeel_test_baselines.x")],
        ),
        (
            "evenkeel.v1.test.wake.at.x",
            &[
                ("Nats-Schedule", at),
                ("Nats-Schedule-Target", "evenkeel.v1.test.wake.due"),
                ("Nats-Schedule-Source", "evenkeel.v1.test.signal.x"),
            ],
        ),
    ];
    let mut lines = Vec::new();
    for (subject, wanted) in cases {
        let mut headers = HeaderMap::new();
        wanted.iter().for_each(|(name, value)| headers.insert(*name, *value));
        let stored = js.publish_with_headers(subject, headers, Bytes::from_static(b"{}")).await?.await;
        let wanted: Vec<String> = wanted.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let verdict = match stored {
            Ok(_) => "stored".to_owned(),
            Err(error) => format!("refused ({error})"),
        };
        lines.push(format!("{verdict} {subject} with {}", wanted.join(", ")));
    }
    Ok(lines)
}

/// Puts something where the reasoner may, and gives the request that has the server answer with it.
pub(super) async fn put(client: &Client, name: &str, headers: HeaderMap, value: Bytes) -> Result<String> {
    let subject = format!("$KV.evenkeel_test_incidents.{name}");
    jetstream::new(client.clone()).publish_with_headers(subject.clone(), headers, value).await?.await?;
    Ok(format!("$JS.API.DIRECT.GET.KV_evenkeel_test_incidents.{subject}"))
}

/// A request names the subject that its answer goes to, and the server does not hold that against what the asker may
/// publish. What comes of it.
async fn answers(world: &World, thief: &mut Thief) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let client = thief.client.clone();
    let nothing = put(&client, "nothing", HeaderMap::new(), Bytes::new()).await?;
    let mut id = HeaderMap::new();
    id.insert("Nats-Msg-Id", "forged");
    let forged = put(&client, "forged", id, Bytes::from_static(b"forged")).await?;
    let mut new = HeaderMap::new();
    new.insert("Nats-Expected-Last-Subject-Sequence", "0");
    let written = put(&client, "written", new, Bytes::from_static(b"forged")).await?;

    let acknowledged = "$JS.ACK.EVENKEEL_TEST_PROPOSALS.gateway-proposals.1.1.1.1.0";
    client.publish_with_reply(nothing.clone(), acknowledged, Bytes::new()).await?;
    lines.push(format!("{} answer to {acknowledged}", said(thief.was_let().await?)));

    // Streams: what lands there is told from what planes publish, and handed to nobody.
    let streams = ["outcome", "audit", "signal.x", "proposal", "wake.due"];
    for to in streams {
        client.publish_with_reply(forged.clone(), format!("evenkeel.v1.test.{to}"), Bytes::new()).await?;
        ensure!(thief.was_let().await?);
    }
    // Only that of the proposals has a consumer at work here.
    eventually("the forged proposal to be put aside", IN_TIME, || async {
        Ok(world.stored("dead").await?.iter().any(|(_, payload)| payload.as_ref() == b"forged").then_some(()))
    })
    .await?;
    for to in streams {
        let stream = to.split('.').next().unwrap_or_default();
        let handed_out = world.stored(stream).await?.iter().any(|(_, payload)| payload.as_ref() == b"forged");
        ensure!(!handed_out, "{to} hands out what no plane published");
        lines.push(format!("without effect: answer to evenkeel.v1.test.{to}"));
    }

    // Buckets.
    let admin = world.bus().await?;
    let (raw, _) = world.nats_as(Plane::Admin).await?;
    for bucket in BucketName::ALL {
        let stream = format!("KV_evenkeel_test_{}", bucket.name());
        let key = Key::new("forged-answer")?;
        let to = format!("$KV.evenkeel_test_{}.{key}", bucket.name());
        client.publish_with_reply(written.clone(), to.clone(), Bytes::new()).await?;
        ensure!(thief.was_let().await?);
        let place = format!("$JS.API.DIRECT.GET.{stream}.{to}");
        eventually("the answer to be stored", IN_TIME, || async {
            Ok((raw.request(place.clone(), Bytes::new()).await?.payload.as_ref() == b"forged").then_some(()))
        })
        .await?;
        let open = admin.bucket(bucket).await?;
        let read = open.get(&key).await?.is_some() || open.keys().await?.iter().any(|it| it == key.as_str());
        ensure!(!read, "bucket {} hands out what no plane wrote", bucket.name());
        lines.push(format!("without effect: answer to {to}"));
    }
    Ok(lines)
}

/// The same with the server's own API: it takes its answer to one request for another, of whoever has a message that
/// holds nothing. That is not in our hands; what it can do, and what it can't, is told.
pub(super) async fn server_asks_itself(world: &World) -> Result<Vec<String>> {
    let (client, _) = world.nats_as(Plane::Reasoner).await?;
    let (admin, _) = world.nats_as(Plane::Admin).await?;
    let request = put(&client, "bare", HeaderMap::new(), Bytes::new()).await?;
    let cases = [
        ("STREAM.PURGE", "EVENKEEL_TEST_PROPOSALS"),
        ("STREAM.DELETE", "EVENKEEL_TEST_SIGNALS"),
        ("CONSUMER.DELETE", "EVENKEEL_TEST_PROPOSALS.gateway-proposals"),
    ];
    for (verb, name) in cases {
        client.publish_with_reply(request.clone(), format!("$JS.API.{verb}.{name}"), Bytes::new()).await?;
    }
    // The last of them is known to be carried out by now.
    let is_there = async |kind: &str, name: &str| -> Result<bool> {
        let said = admin.request(format!("$JS.API.{kind}.INFO.{name}"), Bytes::new()).await?.payload;
        Ok(serde_json::from_slice::<serde_json::Value>(&said)?["error"].is_null())
    };
    let (consumer, last) = ("CONSUMER", "EVENKEEL_TEST_PROPOSALS.gateway-proposals");
    eventually("the consumer to be gone", IN_TIME, || async { Ok((!is_there(consumer, last).await?).then_some(())) })
        .await?;
    let mut lines = Vec::new();
    for (verb, name) in cases {
        let (kind, what) = verb.split_once('.').context("no verb")?;
        let done = match what {
            "PURGE" => jetstream::new(admin.clone()).get_stream(name).await?.cached_info().state.messages == 0,
            _ => !is_there(kind, name).await?,
        };
        let verdict = if done { "carried out" } else { "without effect" };
        lines.push(format!("{verdict}: answer to $JS.API.{verb}.{name}"));
    }
    Ok(lines)
}

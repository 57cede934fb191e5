//! Thousands of proposals, each delivered five times and in any order, to three gateways: one effect each, one Outcome
//! each, a ledger that says the same. The API server is the simulated one and the time virtual; the oracle is the API
//! server's request log.
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints its seed, and takes another from the environment"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use evenkeel_bus::{Bus as _, Cluster, MemoryBus, MemoryOptions, Publish, Stream, Subject, TraceContext};
use evenkeel_gateway::{Config, Metrics, Parts, PlaybookSource};
use evenkeel_model::{
    Action, ActionPolicy, ActionPolicySpec, Approval, Clock, Empty, Freeze, Kind, LEDGER_NAME, Ledger, Mode, ObjectRef,
    Origin, Outcome, Phase, Playbook, PlaybookSpec, PlaybookStep, Proposal, Remediation, Request, Span,
};
use evenkeel_runtime::http::{HttpError, Limits, Outbound};
use evenkeel_runtime::{Health, Shutdown, metrics};
use evenkeel_simulator::{Options, Simulator, VirtualClock};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

const CLUSTER: &str = "bulk";
const GATEWAYS: usize = 3;
const COPIES: usize = 5;
/// Proposals that come at the same moment.
const BURST: usize = 100;
/// From one burst to the next: 500 a day, since a ledger remembers 4,300 actions of the last 24 hours.
const PAUSE: Duration = Duration::from_secs(288 * 60);
/// A proposal lives an hour, and so long are copies of it delivered.
const LATE: Duration = Duration::from_secs(50 * 60);
const GATEWAY: &str = "system:serviceaccount:evenkeel:evenkeel-gateway";

const PLAYBOOK: &str = "
summary: A node is away; keep new pods off it.
priority: 60
match: {signals: [NodeNotReady], kinds: [Node]}
settle: 3m
when: [{fact: target.nodeReady, op: Equals, value: false}]
steps:
  - name: cordon
    do: {cordonNode: {}}
    verify: {within: 1m, hold: 2s, that: [{fact: target.nodeUnschedulable, op: Equals, value: true}]}
    undo: Never
    recurWithin: 1h
";

const POLICY: &str = "
mode: Enforce
match: {namespaces: ['*'], kinds: [Node], selector: {}}
actions:
  - do: cordonNode
    tier: Low
    origins: [Playbook]
    rate: {target: 1/1h, namespace: 5000/24h, cluster: 5000/24h}
windows: {timeZone: UTC, allow: [{days: ['*'], from: '00:00', to: '24:00'}], freeze: []}
limits: {concurrent: 200, unavailable: {count: 1000, percent: 100}}
gitOps: UnownedFields
";

#[derive(Debug)]
struct Time(VirtualClock);

impl Clock for Time {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }
}

/// There is no Prometheus here.
struct Nowhere;

impl Outbound for Nowhere {
    fn send(&self, _: http::Request<Bytes>, _: Limits) -> BoxFuture<'_, Result<http::Response<Bytes>, HttpError>> {
        Box::pin(async { Err(HttpError::Request("no server is simulated".to_owned())) })
    }
}

async fn post(client: &kube::Client, path: &str, object: &Value) {
    let request = http::Request::post(path).header("content-type", "application/json");
    let request = request.body(serde_json::to_vec(object).unwrap()).unwrap();
    client.request::<Value>(request).await.unwrap();
}

fn playbook() -> PlaybookSpec {
    serde_saphyr::from_str(PLAYBOOK).unwrap()
}

async fn install(simulator: &Simulator) {
    let admin = simulator.client("system:admin");
    let cluster_wide = [Playbook::crd(), ActionPolicy::crd(), Freeze::crd()];
    for crd in cluster_wide.into_iter().chain([Remediation::crd(), Approval::crd(), Request::crd(), Ledger::crd()]) {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        post(&admin, path, &serde_json::to_value(crd).unwrap()).await;
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "evenkeel"}});
    post(&admin, "/api/v1/namespaces", &namespace).await;
    let policy: ActionPolicySpec = serde_saphyr::from_str(POLICY).unwrap();
    let ours = "/apis/evenkeel.dev/v1alpha1";
    let playbook = serde_json::to_value(Playbook::new("cordon", playbook())).unwrap();
    post(&admin, &format!("{ours}/playbooks"), &playbook).await;
    let policy = serde_json::to_value(ActionPolicy::new("nodes", policy)).unwrap();
    post(&admin, &format!("{ours}/actionpolicies"), &policy).await;
}

fn start(simulator: &Simulator, bus: &MemoryBus, number: usize) {
    let mut registry = metrics::registry("bulk", "0");
    let parts = Parts {
        config: Config {
            mode: Mode::Enforce,
            open_per_namespace: 2 * BURST,
            open_per_cluster: 2 * BURST,
            ..Config::default()
        },
        cluster: CLUSTER.to_owned(),
        namespace: "evenkeel".to_owned(),
        holder: format!("gateway-{number}"),
        bus: Arc::new(bus.clone()),
        clock: Arc::new(Time(simulator.clock())),
        health: Health::new(),
        metrics: Metrics::register(&mut registry),
        reader: simulator.client(GATEWAY),
        writer: simulator.client(GATEWAY),
        playbooks: PlaybookSource::Cluster,
        outbound: Arc::new(Nowhere),
        audit: None,
        chat: None,
        #[cfg(feature = "mutation")]
        mutation: None,
    };
    tokio::spawn(async move {
        let ended = evenkeel_gateway::run(parts, Shutdown::new()).await;
        panic!("gateway {number} ended: {ended:?}");
    });
}

fn node_of(number: usize) -> String {
    format!("node-{number:05}")
}

/// A node whose kubelet is silent, and that no controller looks after.
fn node(number: usize) -> Value {
    let not_ready = json!({"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "it is silent"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node_of(number)},
        "status": {"conditions": [not_ready]},
    })
}

fn proposal(number: usize, now: DateTime<Utc>) -> Proposal {
    let target = ObjectRef::cluster_scoped(Kind::Node, node_of(number));
    Proposal {
        incident: format!("i-{number:05}"),
        number: 1,
        cluster: CLUSTER.to_owned(),
        target: target.clone(),
        root: target,
        action: Action::CordonNode(Empty {}),
        playbook: PlaybookStep {
            name: "cordon".to_owned(),
            version: playbook().version().unwrap(),
            step: "cordon".to_owned(),
        },
        origin: Origin::Playbook,
        signals: vec!["NodeNotReady".to_owned()],
        rationale: "it is away".to_owned(),
        recurrence_of: None,
        proposed_at: now,
        expires_at: now + TimeDelta::hours(1),
        traceparent: None,
    }
}

/// What was seen of the run, counted as it goes.
#[derive(Default)]
struct Seen {
    /// When each node was cordoned, by the request log.
    effects: BTreeMap<String, Vec<DateTime<Utc>>>,
    /// Other changes of the cluster.
    others: Vec<String>,
    /// Outcomes by Remediation.
    outcomes: BTreeMap<String, Vec<Phase>>,
    requests: usize,
}

impl Seen {
    fn count(&mut self, simulator: &Simulator) {
        for entry in simulator.take_log() {
            let resource = entry.key.resource.as_str().to_owned();
            if entry.user != GATEWAY {
                continue;
            }
            self.requests += 1;
            let is_change = !entry.dry_run && (200..300).contains(&entry.code);
            if !is_change || resource.ends_with("evenkeel.dev") || resource.starts_with("events") {
                continue;
            }
            if resource == "nodes" && entry.verb == "patch" {
                self.effects.entry(entry.key.name.clone()).or_default().push(entry.at);
            } else {
                self.others.push(format!("{} {}", entry.verb, entry.key));
            }
        }
    }

    async fn hear(&mut self, bus: &MemoryBus, since: DateTime<Utc>) {
        let stored = bus.replay(Stream::Outcomes, Some(since)).await.unwrap();
        let stored: Vec<_> = stored.collect().await;
        for message in stored {
            let outcome: Outcome = serde_json::from_slice(&message.unwrap().payload).unwrap();
            self.outcomes.entry(outcome.remediation).or_default().push(outcome.phase);
        }
    }
}

/// Delivers a burst: the first copies at once, the others at any time of the proposals' lives; in an order that chance
/// says.
async fn deliver(bus: &MemoryBus, proposals: &[Proposal], random: &mut fastrand::Rng) {
    let mut deliveries: Vec<(Duration, usize, usize)> = Vec::new();
    for index in 0..proposals.len() {
        for copy in 0..COPIES {
            let within = match copy {
                0 => Duration::ZERO,
                1 | 2 => Duration::from_secs(10),
                _ => LATE,
            };
            deliveries.push((within.mul_f64(random.f64()), index, copy));
        }
    }
    random.shuffle(&mut deliveries);
    deliveries.sort_by_key(|(at, ..)| *at);
    let begun = tokio::time::Instant::now();
    for (at, index, copy) in deliveries {
        tokio::time::sleep_until(begun + at).await;
        let proposal = &proposals[index];
        let message = Publish {
            subject: Subject::Proposal,
            // Another id each: the bus takes none of them for a duplicate.
            id: format!("{}-{copy}", proposal.name()),
            payload: serde_json::to_vec(proposal).unwrap().into(),
            trace: TraceContext::default(),
        };
        bus.publish(message).await.unwrap();
    }
}

async fn flood(count: usize, seed: u64) {
    let start_at = DateTime::from_timestamp(1_780_477_200, 0).unwrap();
    let simulator = Simulator::new(Options { start: start_at, seed, images: BTreeMap::new() });
    simulator.limit(1_000_000);
    simulator.keep(500);
    let clock: Arc<dyn Clock> = Arc::new(Time(simulator.clock()));
    let bus = MemoryBus::new(MemoryOptions::new(Cluster::new(CLUSTER).unwrap(), clock));
    install(&simulator).await;
    (1..=GATEWAYS).for_each(|number| start(&simulator, &bus, number));
    let (mut random, mut seen, mut names) = (fastrand::Rng::with_seed(seed), Seen::default(), BTreeMap::new());
    let all: Vec<usize> = (0..count).collect();
    for burst in all.chunks(BURST) {
        let now = simulator.clock().now();
        let next = tokio::time::Instant::now() + PAUSE;
        for number in burst {
            simulator.apply("system:admin", node(*number)).unwrap();
        }
        let proposals: Vec<Proposal> = burst.iter().map(|number| proposal(*number, now)).collect();
        names.extend(proposals.iter().map(|proposal| (proposal.name(), proposal.target.name.clone())));
        deliver(&bus, &proposals, &mut random).await;
        tokio::time::sleep_until(next).await;
        seen.count(&simulator);
        seen.hear(&bus, now).await;
        assert_eq!(simulator.failure(), None);
    }
    judge(&simulator, &seen, &names);
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{count} proposals, {} deliveries, {} writing requests, {memory}", count * COPIES, seen.requests);
}

fn judge(simulator: &Simulator, seen: &Seen, names: &BTreeMap<String, String>) {
    let wanted: BTreeSet<&String> = names.values().collect();
    assert_eq!(seen.effects.keys().collect::<BTreeSet<_>>(), wanted, "each has its effect, and nothing else has");
    let twice: Vec<_> = seen.effects.iter().filter(|(_, times)| times.len() != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(seen.others, Vec::<String>::new());
    let wrong: Vec<_> = seen.outcomes.iter().filter(|(_, phases)| **phases != [Phase::Succeeded]).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(seen.outcomes.keys().collect::<BTreeSet<_>>(), names.keys().collect::<BTreeSet<_>>());

    let ledger = simulator.get("ledgers.evenkeel.dev", "evenkeel", LEDGER_NAME).unwrap();
    let ledger: Ledger = serde_json::from_value((*ledger).clone()).unwrap();
    assert!(ledger.spec.claims.is_empty(), "{:#?}", ledger.spec.claims);
    assert!(ledger.spec.epoch >= u64::try_from(names.len()).unwrap(), "an epoch for each claim");
    let debited: BTreeMap<&String, DateTime<Utc>> =
        ledger.spec.debits.iter().map(|debit| (&debit.remediation, debit.at)).collect();
    assert_eq!(debited.len(), ledger.spec.debits.len(), "one debit each");
    let remembered = simulator.clock().now() - Span::hours(23).chrono();
    for (name, node) in names {
        let at = seen.effects[node][0];
        match debited.get(name) {
            // Debited when it was done, at the latest, and no more than what a request may take before.
            Some(debit) => assert!((TimeDelta::zero()..TimeDelta::seconds(1)).contains(&(*debit - at)), "{debit} {at}"),
            None => assert!(at < remembered, "{name} was done at {at} and is not counted"),
        }
    }
    assert!(debited.keys().all(|name| names.contains_key(*name)));
}

fn run(count: usize) {
    let seed = std::env::var("EVENKEEL_SEED").ok().map_or(7, |seed| seed.parse().unwrap());
    println!("EVENKEEL_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(Box::pin(flood(count, seed)));
    runtime.shutdown_background();
}

#[test]
fn hundreds_of_proposals_delivered_five_times_to_three_gateways_have_one_effect_each() {
    run(200);
}

#[test]
#[ignore = "minutes: cargo test --release -p evenkeel-scenarios --test it -- --ignored ten_thousand"]
fn ten_thousand_proposals_delivered_five_times_to_three_gateways_have_one_effect_each() {
    run(10_000);
}

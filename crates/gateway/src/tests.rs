//! The whole plane on a bus and an API server in memory, in virtual time: from message to outcome.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use evenkeel_audit::{Kind as Recorded, MessageKey, Record, SigningKey};
use evenkeel_bus::{
    Bus as _, Cluster, ConsumerName, MemoryBus, MemoryOptions, Publish, Stored, Stream, Subject, TraceContext,
};
use evenkeel_cluster::testing::SHOP;
use evenkeel_model::{
    Action, Clock, Escalate, EscalationSeverity, Kind, Mode, ObjectRef, Outcome, Phase, PlaybookStep, Proposal,
};
use evenkeel_playbook::Loaded;
use evenkeel_runtime::metrics::Registry;
use evenkeel_runtime::{Health, Shutdown};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::testing::world::{Fault, World};
use crate::testing::{playbook, proposal};
use crate::{Audit, Config, Metrics, Parts, PlaybookSource};

/// Goes by tokio's time, which the tests do not wait for.
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        start() + chrono::Duration::from_std(self.0.elapsed()).unwrap()
    }
}

fn start() -> DateTime<Utc> {
    "2026-11-21T04:00:00Z".parse().unwrap()
}

struct Bench {
    world: World,
    bus: MemoryBus,
    clock: Arc<dyn Clock>,
    health: Health,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<Result<(), crate::Error>>,
}

impl Bench {
    fn start() -> Self {
        Self::with(None)
    }

    fn with(audit: Option<Audit>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock(Instant::now()));
        let world = World::new(SHOP, Arc::clone(&clock));
        world.edit("/namespaces/shop", |namespace| namespace["metadata"]["annotations"] = Value::Null);
        let rates = json!({"target": "9/1h", "namespace": "9/1h", "cluster": "9/1h"});
        world.put(json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ActionPolicy", "metadata": {"name": "shop"},
            "spec": {
                "mode": "Enforce",
                "match": {"namespaces": ["shop"], "kinds": ["Deployment"], "selector": {}},
                "actions": [{"do": "rollbackWorkload", "tier": "Low", "origins": ["Playbook"], "rate": rates}],
                "windows": evenkeel_model::Windows::always(),
                "limits": {"concurrent": 3, "unavailable": {"count": 100, "percent": 100}},
                "gitOps": "UnownedFields",
            },
        }));
        let bus = MemoryBus::new(MemoryOptions::new(Cluster::new("prod").unwrap(), Arc::clone(&clock)));
        Self::on(world, bus, clock, audit)
    }

    /// A gateway on what another may have left.
    fn on(world: World, bus: MemoryBus, clock: Arc<dyn Clock>, audit: Option<Audit>) -> Self {
        let (health, shutdown) = (Health::new(), Shutdown::new());
        let parts = Parts {
            config: Config { mode: Mode::Enforce, ..Config::default() },
            cluster: "prod".to_owned(),
            namespace: "evenkeel".to_owned(),
            holder: "gateway-1".to_owned(),
            bus: Arc::new(bus.clone()),
            clock: Arc::clone(&clock),
            health: health.clone(),
            metrics: Metrics::register(&mut Registry::default()),
            reader: world.client(),
            writer: world.client(),
            playbooks: PlaybookSource::Files(
                tokio::sync::watch::channel(vec![Loaded::new("bad-rollout", playbook()).unwrap()]).1,
            ),
            outbound: Arc::new(evenkeel_runtime::http::Nowhere),
            audit,
            chat: None,
        };
        let running = tokio::spawn(crate::run(parts, shutdown.clone()));
        Self { world, bus, clock, health, shutdown, running }
    }

    async fn publish(&self, id: &str, payload: Vec<u8>) {
        let message = Publish {
            subject: Subject::Proposal,
            id: id.to_owned(),
            payload: Bytes::from(payload),
            trace: TraceContext::default(),
        };
        self.bus.publish(message).await.unwrap();
    }

    async fn propose(&self, proposal: &Proposal) {
        self.publish(&proposal.name(), serde_json::to_vec(proposal).unwrap()).await;
    }

    async fn stored(&self, stream: Stream) -> Vec<Stored> {
        self.bus.replay(stream, None).await.unwrap().map(Result::unwrap).collect().await
    }

    /// Outcomes in order, once there are so many.
    async fn outcomes(&self, many: usize) -> Vec<Outcome> {
        let deadline = Instant::now() + Duration::from_secs(3600);
        loop {
            let stored = self.stored(Stream::Outcomes).await;
            let outcomes: Vec<Outcome> =
                stored.iter().map(|stored| serde_json::from_slice(&stored.payload).unwrap()).collect();
            if outcomes.len() >= many {
                return outcomes;
            }
            assert!(Instant::now() < deadline, "{outcomes:#?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn unacknowledged(&self) -> u64 {
        let status = self.bus.status().await.unwrap();
        let consumer = status.consumers.iter().find(|it| it.name.contains("gateway-proposals")).unwrap();
        consumer.pending + consumer.unacknowledged
    }

    /// The controller: a good template gets well, a bad one does not.
    fn heal_when_patched(&self) {
        self.world.react(|world, line| {
            if line == "PATCH deployments/cart" {
                heal(world);
            }
        });
    }

    /// What was told to the audit log, in order.
    async fn recorded(&self) -> Vec<Record> {
        let stored = self.stored(Stream::Audit).await;
        let key = audit(9).key;
        stored.iter().map(|it| Record::decode(&key.open(&it.payload).unwrap()).unwrap()).collect()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
    }
}

fn heal(world: &World) {
    world.remove("/pods/cart-69f6589c46-hvsh5");
    world.edit("/deployments/cart", |cart| {
        cart["status"]["replicas"] = json!(3);
        cart["status"]["updatedReplicas"] = json!(3);
        cart["status"]["unavailableReplicas"] = json!(0);
        cart["status"]["observedGeneration"] = cart["metadata"]["generation"].clone();
        cart["status"]["conditions"] = json!([]);
    });
}

fn cart(number: u32) -> Proposal {
    let cart = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
    let expires_at = start() + chrono::Duration::minutes(30);
    Proposal { target: cart.clone(), root: cart, proposed_at: start(), expires_at, ..proposal(number) }
}

fn escalation(number: u32) -> Proposal {
    let step = PlaybookStep { name: "built-in".to_owned(), version: "-".to_owned(), step: "escalate".to_owned() };
    let action = Action::Escalate(Escalate { severity: EscalationSeverity::Page });
    Proposal { action, playbook: step, ..cart(number) }
}

fn phases(outcomes: &[Outcome]) -> Vec<(u32, Phase)> {
    outcomes.iter().map(|outcome| (outcome.number, outcome.phase)).collect()
}

#[tokio::test(start_paused = true)]
async fn from_message_to_outcome() {
    let bench = Bench::start();
    bench.heal_when_patched();
    bench.propose(&cart(1)).await;
    let outcomes = bench.outcomes(1).await;
    assert_eq!(phases(&outcomes), [(1, Phase::Succeeded)]);
    assert_eq!(outcomes[0].target_well, Some(true));
    assert_eq!(bench.unacknowledged().await, 0);
    assert_eq!(bench.health.missing(), []);
    let effects = bench.world.written();
    assert_eq!(effects.iter().filter(|line| *line == "PATCH deployments/cart").count(), 1, "{effects:#?}");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_fails_its_checks_is_answered_and_becomes_no_object() {
    let bench = Bench::start();
    let mut wrong = cart(1);
    wrong.playbook.version = "0".repeat(16);
    bench.propose(&wrong).await;
    let outcomes = bench.outcomes(1).await;
    assert_eq!(phases(&outcomes), [(1, Phase::Denied)]);
    assert!(outcomes[0].reason.contains("was proposed from"), "{}", outcomes[0].reason);
    assert!(bench.world.get(&format!("/remediations/{}", wrong.name())).is_none());
    assert_eq!(bench.unacknowledged().await, 0);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_refused_when_it_is_delivered_again() {
    let bench = Bench::start();
    bench.heal_when_patched();
    let other = Proposal { incident: "i-2".to_owned(), ..cart(1) };
    bench.propose(&cart(1)).await;
    bench.propose(&other).await;
    let outcomes = bench.outcomes(2).await;
    let refused = outcomes.iter().find(|it| it.incident == "i-2").unwrap();
    assert_eq!(refused.phase, Phase::Denied, "the target has an open one");
    // By now the target has none; but the refusal was told.
    bench.publish("once-more", serde_json::to_vec(&other).unwrap()).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(bench.unacknowledged().await, 0);
    assert!(bench.world.get(&format!("/remediations/{}", other.name())).is_none());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_read_goes_to_the_dead_with_its_reason() {
    let bench = Bench::start();
    bench.publish("garbage", b"{\"incident\":".to_vec()).await;
    bench.publish("huge", vec![b' '; 300 * 1024]).await;
    bench.propose(&escalation(1)).await;
    assert_eq!(phases(&bench.outcomes(1).await), [(1, Phase::Succeeded)], "the rest goes on");
    let dead = bench.stored(Stream::Dead).await;
    let reasons: Vec<String> = dead.into_iter().filter_map(|stored| stored.reason).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons[0].contains("expected a proposal") && reasons[1].contains("307200"), "{reasons:?}");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_same_proposal_delivered_again_is_the_same_object() {
    let bench = Bench::start();
    bench.heal_when_patched();
    bench.propose(&cart(1)).await;
    bench.publish("again", serde_json::to_vec(&cart(1)).unwrap()).await;
    bench.outcomes(1).await;
    bench.publish("once-more", serde_json::to_vec(&cart(1)).unwrap()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(phases(&bench.outcomes(1).await), [(1, Phase::Succeeded)]);
    assert_eq!(bench.unacknowledged().await, 0);
    let written = bench.world.written();
    assert_eq!(written.iter().filter(|line| *line == "POST remediations").count(), 1, "{written:#?}");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_is_refused_with_a_conflict_is_tried_again() {
    let bench = Bench::start();
    bench.heal_when_patched();
    bench.world.fault("POST remediations", Fault::Answer(409));
    bench.propose(&cart(1)).await;
    assert_eq!(phases(&bench.outcomes(1).await), [(1, Phase::Succeeded)]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_the_creation_makes_no_second_object() {
    let bench = Bench::start();
    bench.heal_when_patched();
    bench.world.fault("POST remediations", Fault::AfterCommit);
    bench.propose(&cart(1)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.unacknowledged().await, 0);
    assert_eq!(phases(&bench.outcomes(1).await), [(1, Phase::Succeeded)]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn with_the_api_server_away_a_proposal_waits_and_is_not_taken_for_poison() {
    let bench = Bench::start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    for _ in 0..40 {
        bench.world.fault("POST remediations", Fault::BeforeCommit);
    }
    bench.heal_when_patched();
    bench.propose(&cart(1)).await;
    assert_eq!(phases(&bench.outcomes(1).await), [(1, Phase::Succeeded)]);
    assert!(bench.stored(Stream::Dead).await.is_empty());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_can_not_be_taken_up_yet_does_not_hold_up_the_next() {
    let bench = Bench::start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    for _ in 0..50 {
        bench.world.fault("GET remediations/r-earlier", Fault::Answer(403));
    }
    bench.heal_when_patched();
    let waits = Proposal { recurrence_of: Some("r-earlier".to_owned()), ..cart(1) };
    bench.propose(&waits).await;
    bench.propose(&escalation(2)).await;
    let first = bench.outcomes(1).await;
    assert_eq!(phases(&first), [(2, Phase::Succeeded)]);
    assert!(first[0].ended_at - start() < chrono::Duration::minutes(1), "{}", first[0].ended_at);
    // It is taken up when it can be.
    assert_eq!(phases(&bench.outcomes(2).await), [(2, Phase::Succeeded), (1, Phase::Succeeded)]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_seemed_to_help_and_did_not_is_not_tried_again() {
    let bench = Bench::start();
    bench.heal_when_patched();
    bench.propose(&cart(1)).await;
    bench.outcomes(1).await;
    // The same trouble again, in a new incident: the same step, then the next one.
    let again = Proposal { incident: "i-2".to_owned(), recurrence_of: Some(cart(1).name()), ..cart(1) };
    bench.propose(&again).await;
    let next = Proposal { incident: "i-2".to_owned(), recurrence_of: Some(cart(1).name()), ..escalation(2) };
    bench.propose(&next).await;
    let outcomes = bench.outcomes(4).await;
    let mut ended: Vec<(String, Phase)> =
        outcomes.iter().map(|it| (format!("{}/{}", it.incident, it.number), it.phase)).collect();
    ended.sort();
    let expected = [
        ("i-1/1", Phase::Succeeded),
        ("i-1/1", Phase::Regressed),
        ("i-2/1", Phase::Denied),
        ("i-2/2", Phase::Succeeded),
    ];
    assert_eq!(ended, expected.map(|(which, phase)| (which.to_owned(), phase)));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_leaves_what_is_verified_to_others() {
    let bench = Bench::start();
    bench.propose(&cart(1)).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let phase =
        |bench: &Bench| bench.world.get(&format!("/remediations/{}", cart(1).name())).unwrap()["status"].clone();
    assert_eq!(phase(&bench)["phase"], "Verifying");
    let world = bench.world.clone();
    bench.stop().await;
    let remediation = world.get(&format!("/remediations/{}", cart(1).name())).unwrap();
    assert_eq!(remediation["status"]["phase"], "Verifying");
}

fn audit(unsealed_at_most: u64) -> Audit {
    Audit { key: MessageKey::of(&SigningKey::new("prod", [1; 32]).unwrap()), unsealed_at_most }
}

fn lines(records: &[Record]) -> Vec<String> {
    let line = |it: &Record| format!("{:?} {}", it.kind, it.phase.map(|phase| phase.to_string()).unwrap_or_default());
    records.iter().map(line).collect()
}

const COURSE: [&str; 9] = [
    "Proposal Proposed",
    "Phase Authorized",
    "Phase Claimed",
    "Phase Executing",
    "DryRun Executing",
    "Request Executing",
    "Phase Verifying",
    "Phase Succeeded",
    "Outcome Succeeded",
];

#[tokio::test(start_paused = true)]
async fn what_was_asked_decided_and_done_is_recorded() {
    let bench = Bench::with(Some(audit(1000)));
    bench.heal_when_patched();
    bench.propose(&cart(1)).await;
    bench.outcomes(1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let records = bench.recorded().await;
    assert_eq!(lines(&records), COURSE);
    assert!(records.iter().all(|it| it.remediation == Some(cart(1).name()) && it.cluster == "prod"));
    assert!(records.iter().all(|it| it.left_out.is_none()));
    assert_eq!(records[0].detail["proposal"]["rationale"], cart(1).rationale);
    assert!(records[1].detail["verdict"].is_object(), "{}", records[1].detail);
    assert_eq!(records[2].detail["claim"]["holder"], "gateway-1");
    assert!(records[3].detail["plan"]["request"]["body"].is_array(), "{}", records[3].detail);
    assert_eq!((records[5].reason.as_str(), records[5].by.as_deref()), ("done", Some("gateway-1")));
    assert!(records[7].detail["verification"]["checks"].is_array(), "{}", records[7].detail);
    assert_eq!(records[8].detail["outcome"]["phase"], "Succeeded");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_proposal_is_recorded_whole() {
    let bench = Bench::with(Some(audit(1000)));
    let mut wrong = cart(1);
    wrong.playbook.version = "0".repeat(16);
    bench.propose(&wrong).await;
    bench.outcomes(1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let records = bench.recorded().await;
    assert_eq!(lines(&records), ["Refusal Denied", "Outcome Denied"]);
    assert_eq!((records[0].kind, &records[0].detail["proposal"]["incident"]), (Recorded::Refusal, &json!("i-1")));
    assert_eq!(bench.unacknowledged().await, 0);
    bench.stop().await;
}

/// A gateway that told nothing, as one that was killed before it could, and one that takes over.
#[tokio::test(start_paused = true)]
async fn what_a_killed_gateway_did_not_tell_is_told_by_the_next() {
    let first = Bench::start();
    first.propose(&cart(1)).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (world, bus, clock) = (first.world.clone(), first.bus.clone(), Arc::clone(&first.clock));
    first.stop().await;
    heal(&world);
    let second = Bench::on(world, bus, clock, Some(audit(1000)));
    assert_eq!(phases(&second.outcomes(1).await), [(1, Phase::Succeeded)]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let expected = COURSE.into_iter().filter(|line| !line.starts_with("DryRun") && !line.starts_with("Request"));
    assert_eq!(lines(&second.recorded().await), expected.collect::<Vec<_>>());
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn with_too_much_unsealed_no_new_action_begins_and_what_is_under_way_ends() {
    let bench = Bench::with(Some(audit(9)));
    for n in 0..10 {
        let message = Publish {
            subject: Subject::Audit,
            id: format!("earlier-{n}"),
            payload: Bytes::new(),
            trace: TraceContext::default(),
        };
        bench.bus.publish(message).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    bench.heal_when_patched();
    bench.propose(&cart(1)).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let status = bench.world.get(&format!("/remediations/{}", cart(1).name())).unwrap()["status"].clone();
    assert_eq!(status["phase"], "Deferred");
    assert!(status["reason"].as_str().unwrap().contains("audit records are not sealed yet"), "{status}");
    assert!(!bench.health.missing().is_empty());
    // It waits without a word more.
    assert_eq!(status["history"].as_array().unwrap().len(), 2, "{status}");
    // People are told all the same.
    let mut told = escalation(2);
    told.incident = "i-2".to_owned();
    bench.propose(&told).await;
    assert_eq!(phases(&bench.outcomes(1).await), [(2, Phase::Succeeded)]);
    // Sealed: it goes on. What it adds itself is above the bound again and does not stop it.
    let mut sealer = bench.bus.consume(ConsumerName::GatewayAudit).await.unwrap();
    for delivery in sealer.fetch(100, Duration::from_secs(1)).await.unwrap() {
        delivery.ack().await.unwrap();
    }
    assert_eq!(phases(&bench.outcomes(2).await)[1..], [(1, Phase::Succeeded)]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_makes_many_late_approvals_is_told_of_few_and_holds_nobody_up() {
    let bench = Bench::start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    bench.world.written();
    for n in 0..500 {
        let mut stray =
            serde_json::to_value(crate::testing::approval(&format!("a-{n}"), "r-none", "mallory", 0)).unwrap();
        stray["metadata"]["resourceVersion"] = json!(n.to_string());
        bench.world.tell("ADDED", &stray);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let told = bench.world.written().iter().filter(|line| *line == "POST events").count();
    assert!((5..=12).contains(&told), "{told} in ten seconds");
    // Of those that waited one is told of after the other, and no more.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let told = told + bench.world.written().iter().filter(|line| *line == "POST events").count();
    assert!((60..=70).contains(&told), "{told}");
    assert_eq!(bench.health.missing(), []);
    bench.stop().await;
}

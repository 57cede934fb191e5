//! The reasoner on the memory bus, in virtual time, with an observer and a gateway that say what
//! the test tells them to.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeZone as _, Utc};
use evenkeel_bus::{
    Bucket, BucketName, Bus, BusError, Change, Cluster, Consume, ConsumerName, Entry, EvidenceSubject, Key, MemoryBus,
    MemoryOptions, Publish, Published, Request, Status, Stored, Stream, Subject, TraceContext, Trouble, WakeUp,
};
use evenkeel_model::{
    Clock, Finding, Incident, Kind, Meta, ObjectRef, Outcome, Phase, Pod, Proposal, Query, Revision, Severity, Signal,
    SignalState, Snapshot, Source, Workload,
};
use evenkeel_planner::{Arrival, fold};
use evenkeel_reasoner::{Config, Metrics, Parts, run};
use evenkeel_runtime::metrics::Registry;
use evenkeel_runtime::{Health, Shutdown};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Goes with tokio's time, also while that is paused.
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        Utc.timestamp_opt(1_780_000_000, 0).unwrap() + chrono::Duration::from_std(self.0.elapsed()).unwrap()
    }
}

const PLAYBOOKS: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: bad-rollout}
spec:
  summary: Go back.
  priority: 100
  match: {signals: [CrashLoopBackOff], kinds: [Deployment]}
  settle: 1m
  when:
    - {fact: target.unavailableReplicas, op: AtLeast, value: 1}
  steps:
    - name: roll-back
      do: {rollbackWorkload: {to: LastAvailable}}
      verify: {within: 5m, hold: 30s, that: [{fact: target.well, op: Equals, value: true}]}
    - name: hand-over
      do: {escalate: {severity: Page}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: tell}
spec:
  summary: Tell people.
  priority: -100
  match: {signals: ["*"]}
  settle: 1m
  steps:
    - name: tell
      do: {notify: {message: "{{incident.signals}}"}}
"#;

struct World {
    bus: MemoryBus,
    clock: Arc<VirtualClock>,
    reasoners: Vec<(Shutdown, JoinHandle<()>)>,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(VirtualClock(Instant::now()));
        let bus = MemoryBus::new(MemoryOptions::new(Cluster::new("test").unwrap(), clock.clone()));
        let bucket = bus.bucket(BucketName::Playbooks).await.unwrap();
        for (number, playbook) in evenkeel_playbook::parse(PLAYBOOKS, "test.yaml").unwrap().into_iter().enumerate() {
            let value = serde_json::to_vec(&playbook).unwrap();
            bucket.create(&Key::new(format!("p-{number}")).unwrap(), value.into()).await.unwrap();
        }
        serve_objects(&bus, clock.clone()).await;
        Self { bus, clock, reasoners: vec![] }
    }

    fn start_reasoner(&mut self) {
        drop(self.start_reasoner_on(Arc::new(self.bus.clone())));
    }

    fn start_reasoner_on(&mut self, bus: Arc<dyn Bus>) -> Registry {
        let mut registry = Registry::default();
        let shutdown = Shutdown::new();
        let parts = Parts {
            config: Config::default(),
            cluster: "test".to_owned(),
            namespace: "evenkeel".to_owned(),
            bus,
            clock: self.clock.clone(),
            health: Health::new(),
            metrics: Metrics::register(&mut registry),
        };
        let token = shutdown.clone();
        let task = tokio::spawn(async move { run(parts, token).await.unwrap() });
        self.reasoners.push((shutdown, task));
        registry
    }

    /// Puts an incident of a Deployment into the bucket.
    async fn put_incident(&self, name: &str, change: impl FnOnce(&mut Incident)) -> ObjectRef {
        let (root, now) = (deployment(name), self.clock.now());
        let signal = signal(&root, 0, SignalState::Firing, now, vec![]);
        let mut incident = fold(None, &[Arrival { signal, traceparent: None }], now).unwrap();
        change(&mut incident);
        let incidents = self.bus.bucket(BucketName::Incidents).await.unwrap();
        let value = serde_json::to_vec(&incident).unwrap();
        incidents.create(&Key::new(root.key("test")).unwrap(), value.into()).await.unwrap();
        root
    }

    /// Ends a reasoner wherever it is.
    fn kill_reasoner(&mut self) {
        let (_, task) = self.reasoners.remove(0);
        task.abort();
    }

    async fn publish(&self, signal: &Signal) {
        let message = Publish {
            subject: Subject::Signal { source: "kubernetes" },
            id: signal.id.clone(),
            payload: serde_json::to_vec(signal).unwrap().into(),
            trace: TraceContext::default(),
        };
        self.bus.publish(message).await.unwrap();
    }

    async fn proposals(&self) -> Vec<Proposal> {
        let mut stored = self.bus.replay(Stream::Proposals, None).await.unwrap();
        let mut by_name = BTreeMap::new();
        while let Some(message) = stored.next().await {
            let proposal: Proposal = serde_json::from_slice(&message.unwrap().payload).unwrap();
            by_name.insert((proposal.proposed_at, proposal.name()), proposal);
        }
        by_name.into_values().collect()
    }

    /// How often a proposal was published, repeated ones among them.
    async fn publications(&self) -> usize {
        let stored: Vec<_> = self.bus.replay(Stream::Proposals, None).await.unwrap().collect().await;
        stored.len()
    }

    async fn incident(&self, root: &ObjectRef) -> Option<Incident> {
        let bucket = self.bus.bucket(BucketName::Incidents).await.unwrap();
        let entry = bucket.get(&Key::new(root.key("test")).unwrap()).await.unwrap()?;
        Some(serde_json::from_slice(&entry.value).unwrap())
    }

    async fn end(&self, proposal: &Proposal, phase: Phase) {
        let outcome = Outcome {
            remediation: proposal.name(),
            incident: proposal.incident.clone(),
            number: proposal.number,
            target: proposal.target.clone(),
            root: proposal.root.clone(),
            action: proposal.action.name(),
            playbook: proposal.playbook.clone(),
            phase,
            reason: "the test says so".to_owned(),
            target_well: Some(false),
            ended_at: self.clock.now(),
        };
        let message = Publish {
            subject: Subject::Outcome,
            id: outcome.id(),
            payload: serde_json::to_vec(&outcome).unwrap().into(),
            trace: TraceContext::default(),
        };
        self.bus.publish(message).await.unwrap();
    }
}

/// Answers every question about an object with a workload whose new revision crashes.
async fn serve_objects(bus: &MemoryBus, clock: Arc<VirtualClock>) {
    let mut requests = bus.serve(EvidenceSubject("object")).await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let Query::Object { object } = serde_json::from_slice(&request.payload).unwrap() else { panic!() };
            let finding = Finding::Object(Box::new(crashing(object, clock.now())));
            request.reply(serde_json::to_vec(&finding).unwrap().into()).await.unwrap();
        }
    });
}

fn crashing(target: ObjectRef, now: DateTime<Utc>) -> Snapshot {
    let began = now - chrono::Duration::minutes(30);
    let revision = |number: i64, available| Revision {
        number,
        name: format!("rs-{number}"),
        uid: format!("rs-{number}"),
        template_hash: format!("t{number}"),
        created_at: began,
        available,
        was_available: false,
        images: vec![format!("cart:{number}")],
    };
    Snapshot {
        target,
        taken_at: now,
        meta: Some(Meta {
            uid: "u".to_owned(),
            resource_version: "1".to_owned(),
            created_at: began,
            deleted_at: None,
            mode: None,
            stamp: None,
            git_ops: None,
            controller: None,
            writers: vec![],
        }),
        workload: Some(Workload {
            desired: 3,
            current: 4,
            updated: 1,
            ready: 2,
            available: 2,
            observed: true,
            paused: false,
            revision: Some(2),
            template_hash: "t2".to_owned(),
            template_changed_at: Some(began),
            deadline_exceeded: false,
            replica_failure: None,
            stateful: false,
        }),
        pod: None,
        node: None,
        job: None,
        pods: vec![Pod {
            name: "p".to_owned(),
            uid: "p".to_owned(),
            phase: "Running".to_owned(),
            ready: false,
            ready_since: None,
            deleted_at: None,
            overdue: false,
            node: None,
            restarts: 3,
            waiting: vec!["CrashLoopBackOff".to_owned()],
            terminated: vec![],
            unschedulable: None,
            revision_hash: None,
            created_at: began,
        }],
        revisions: vec![revision(2, 0), revision(1, 2)],
        scaled_by: None,
        owner: None,
        suppressed: None,
    }
}

fn deployment(name: &str) -> ObjectRef {
    ObjectRef::namespaced(Kind::Deployment, "shop", name)
}

fn signal(root: &ObjectRef, pod: usize, state: SignalState, at: DateTime<Utc>, causes: Vec<ObjectRef>) -> Signal {
    Signal {
        id: format!("{root}/{pod}/{}/{state:?}", at.timestamp()),
        source: Source::Kubernetes,
        name: "CrashLoopBackOff".to_owned(),
        state,
        severity: Severity::Warning,
        cluster: "test".to_owned(),
        target: Some(ObjectRef::namespaced(Kind::Pod, "shop", format!("{}-{pod}", root.name))),
        root: Some(root.clone()),
        causes,
        labels: BTreeMap::new(),
        summary: String::new(),
        suppressed: None,
        holds_object: false,
        starts_at: at,
        ends_at: (state == SignalState::Resolved).then_some(at + chrono::Duration::hours(1)),
        observed_at: at,
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn many_signals_of_one_root_become_one_proposal_and_the_ladder_follows_outcomes() {
    let mut world = World::new().await;
    world.bus.set_trouble(Trouble::plenty(7));
    world.start_reasoner();
    world.start_reasoner();
    let cart = deployment("cart");
    let began = world.clock.now();
    for pod in 0..40 {
        world.publish(&signal(&cart, pod, SignalState::Firing, began, vec![])).await;
    }
    pass(30).await;
    assert_eq!(world.proposals().await.len(), 0, "left to settle");
    pass(90).await;
    let first = world.proposals().await;
    assert_eq!(first.len(), 1, "{first:#?}");
    assert_eq!(first[0].playbook.step, "roll-back");
    assert_eq!(world.incident(&cart).await.unwrap().signals.len(), 40);

    pass(400).await;
    assert_eq!(world.proposals().await.len(), 1, "one open at a time");
    world.end(&first[0], Phase::NotUndoable).await;
    pass(60).await;
    let second = world.proposals().await;
    assert_eq!(second.iter().map(|p| p.playbook.step.as_str()).collect::<Vec<_>>(), ["roll-back", "hand-over"]);
    assert!(world.incident(&cart).await.unwrap().needs_human.is_some());
    world.end(&second[1], Phase::Succeeded).await;
    pass(3600).await;
    assert_eq!(world.proposals().await.len(), 2, "people have been told, once");
}

#[tokio::test(start_paused = true)]
async fn an_incident_survives_whoever_worked_on_it() {
    let mut world = World::new().await;
    let roots: Vec<ObjectRef> = (0..30).map(|number| deployment(&format!("d-{number}"))).collect();
    world.start_reasoner();
    let began = world.clock.now();
    for (number, root) in roots.iter().enumerate() {
        world.publish(&signal(root, 0, SignalState::Firing, began, vec![])).await;
        if number % 5 == 4 {
            // Killed with signals in hand; another one takes over.
            tokio::time::sleep(Duration::from_millis(1)).await;
            world.kill_reasoner();
            world.start_reasoner();
        }
    }
    pass(20).await;
    world.kill_reasoner();
    pass(120).await;
    world.start_reasoner();
    pass(300).await;
    let proposals = world.proposals().await;
    let targets: BTreeSet<&str> = proposals.iter().map(|proposal| proposal.target.name.as_str()).collect();
    assert_eq!(targets.len(), 30, "each root has its proposal");
    assert_eq!(proposals.len(), 30, "and only one");
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_is_on_the_bus_is_not_published_again() {
    let mut world = World::new().await;
    world.start_reasoner();
    let cart = deployment("cart");
    world.publish(&signal(&cart, 0, SignalState::Firing, world.clock.now(), vec![])).await;
    pass(70).await;
    assert_eq!(world.publications().await, 1);
    // More of the same comes, another reasoner takes over, and time passes, beyond the time for which
    // the bus itself knows a repeated message.
    for pod in 1..8 {
        pass(90).await;
        world.publish(&signal(&cart, pod, SignalState::Firing, world.clock.now(), vec![])).await;
        if pod == 4 {
            world.kill_reasoner();
            world.start_reasoner();
        }
    }
    pass(60).await;
    assert_eq!(world.incident(&cart).await.unwrap().signals.len(), 8);
    assert_eq!(world.publications().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_wave_is_one_incident_of_its_cause() {
    let mut world = World::new().await;
    world.start_reasoner();
    let node = ObjectRef::cluster_scoped(Kind::Node, "worker-1");
    let began = world.clock.now();
    for number in 0..10 {
        let root = deployment(&format!("d-{number}"));
        world.publish(&signal(&root, 0, SignalState::Firing, began, vec![node.clone()])).await;
    }
    pass(600).await;
    let proposals = world.proposals().await;
    let targets: BTreeSet<String> = proposals.iter().map(|proposal| proposal.target.to_string()).collect();
    assert_eq!(targets, BTreeSet::from(["node/worker-1".to_owned()]), "only the cause speaks: {proposals:#?}");
    assert_eq!(world.incident(&deployment("d-3")).await.unwrap().parent, Some(node));
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_read_goes_to_the_dead_with_its_reason() {
    let mut world = World::new().await;
    world.start_reasoner();
    let message = Publish {
        subject: Subject::Signal { source: "kubernetes" },
        id: "nonsense".to_owned(),
        payload: "{\"not\": \"a signal\"}".into(),
        trace: TraceContext::default(),
    };
    world.bus.publish(message).await.unwrap();
    pass(10).await;
    let mut dead = world.bus.replay(Stream::Dead, None).await.unwrap();
    let first = dead.next().await.unwrap().unwrap();
    assert!(first.reason.unwrap().starts_with("not a signal: "));
}

#[tokio::test(start_paused = true)]
async fn an_incident_closes_when_all_its_signals_have_ended() {
    let mut world = World::new().await;
    world.start_reasoner();
    let cart = deployment("cart");
    let began = world.clock.now();
    world.publish(&signal(&cart, 0, SignalState::Firing, began, vec![])).await;
    pass(10).await;
    assert_eq!(world.incident(&cart).await.unwrap().closed_at, None);
    world.publish(&signal(&cart, 0, SignalState::Resolved, began, vec![])).await;
    pass(10).await;
    assert!(world.incident(&cart).await.unwrap().closed_at.is_some());
    pass(600).await;
    assert_eq!(world.proposals().await.len(), 0);
}

/// The consumer that autoscaling looks at is this one.
#[test]
fn the_consumer_of_signals_keeps_its_name() {
    assert_eq!(ConsumerName::ReasonerSignals.name(), "reasoner-signals");
}

#[test]
fn a_bus_that_is_away_is_waited_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new().await;
        world.start_reasoner();
        pass(10).await;
        world.bus.set_away(true);
        pass(60).await;
        world.bus.set_away(false);
        let cart = deployment("cart");
        world.publish(&signal(&cart, 0, SignalState::Firing, world.clock.now(), vec![])).await;
        pass(300).await;
        assert_eq!(world.proposals().await.len(), 1);
    });
}

/// A wave of three Deployments on a node, all folded.
async fn wave(world: &World) -> (ObjectRef, Vec<ObjectRef>, DateTime<Utc>) {
    let node = ObjectRef::cluster_scoped(Kind::Node, "worker-1");
    let roots: Vec<ObjectRef> = (0..3).map(|number| deployment(&format!("d-{number}"))).collect();
    let began = world.clock.now();
    for root in &roots {
        world.publish(&signal(root, 0, SignalState::Firing, began, vec![node.clone()])).await;
    }
    pass(30).await;
    assert_eq!(world.incident(&node).await.unwrap().members.len(), 3);
    (node, roots, began)
}

#[tokio::test(start_paused = true)]
async fn a_wave_ends_with_the_last_of_its_members_whatever_is_said_of_their_causes() {
    let mut world = World::new().await;
    world.start_reasoner();
    let (node, roots, began) = wave(&world).await;
    for root in &roots {
        assert_eq!(world.incident(&node).await.unwrap().closed_at, None);
        // The node is ready again by then: the end names no cause.
        world.publish(&signal(root, 0, SignalState::Resolved, began, vec![])).await;
        pass(10).await;
    }
    let over = world.incident(&node).await.unwrap();
    assert!(over.members.is_empty());
    // The escalation of the wave may still be open; nothing of it fires any more.
    assert_eq!(over.firing().count(), 0);
    for proposal in world.proposals().await {
        world.end(&proposal, Phase::Succeeded).await;
    }
    pass(30).await;
    assert!(world.incident(&node).await.unwrap().closed_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_wave_that_is_gone_holds_nobody() {
    let mut world = World::new().await;
    world.start_reasoner();
    let (node, roots, _) = wave(&world).await;
    pass(120).await;
    assert_eq!(world.incident(&roots[0]).await.unwrap().parent, Some(node.clone()));
    let about = |proposals: &[Proposal]| proposals.iter().any(|proposal| proposal.target.name == "d-0");
    assert!(!about(&world.proposals().await));
    let incidents = world.bus.bucket(BucketName::Incidents).await.unwrap();
    incidents.remove(&Key::new(node.key("test")).unwrap()).await.unwrap();
    pass(400).await;
    assert!(about(&world.proposals().await), "it still fires, and nobody else speaks for it");
    assert_eq!(world.incident(&roots[0]).await.unwrap().parent, None);
}

/// The memory bus, with a bucket of incidents that can't be written to for a while, and into which
/// somebody writes just before anything is removed.
struct Leaderless {
    inner: MemoryBus,
    refusals: Arc<AtomicU32>,
}

struct LeaderlessBucket {
    inner: Arc<dyn Bucket>,
    refusals: Arc<AtomicU32>,
}

impl LeaderlessBucket {
    fn lead(&self) -> Result<(), BusError> {
        let left = self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map_or(Ok(()), |_| Err(BusError::Unavailable("no leader".to_owned())))
    }
}

#[async_trait]
impl Bucket for LeaderlessBucket {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, BusError> {
        self.inner.get(key).await
    }

    async fn create(&self, key: &Key, value: Bytes) -> Result<u64, BusError> {
        self.lead()?;
        self.inner.create(key, value).await
    }

    async fn update(&self, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        self.lead()?;
        self.inner.update(key, value, revision).await
    }

    async fn remove(&self, key: &Key) -> Result<(), BusError> {
        self.inner.remove(key).await
    }

    async fn remove_at(&self, key: &Key, revision: u64) -> Result<(), BusError> {
        // Just before it, somebody writes.
        if let Some(found) = self.inner.get(key).await? {
            self.inner.update(key, found.value, found.revision).await?;
        }
        self.inner.remove_at(key, revision).await
    }

    async fn keys(&self) -> Result<Vec<String>, BusError> {
        self.inner.keys().await
    }

    async fn watch(&self) -> Result<BoxStream<'static, Result<Change, BusError>>, BusError> {
        self.inner.watch().await
    }
}

#[async_trait]
impl Bus for Leaderless {
    async fn publish(&self, message: Publish) -> Result<Published, BusError> {
        self.inner.publish(message).await
    }

    async fn consume(&self, name: ConsumerName) -> Result<Box<dyn Consume>, BusError> {
        self.inner.consume(name).await
    }

    async fn bucket(&self, name: BucketName) -> Result<Arc<dyn Bucket>, BusError> {
        let inner = self.inner.bucket(name).await?;
        Ok(match name {
            BucketName::Incidents => Arc::new(LeaderlessBucket { inner, refusals: Arc::clone(&self.refusals) }),
            _ => inner,
        })
    }

    async fn request(
        &self,
        subject: EvidenceSubject,
        payload: Bytes,
        trace: TraceContext,
        timeout: Duration,
    ) -> Result<Bytes, BusError> {
        self.inner.request(subject, payload, trace, timeout).await
    }

    async fn serve(&self, subject: EvidenceSubject) -> Result<BoxStream<'static, Request>, BusError> {
        self.inner.serve(subject).await
    }

    async fn wake_at(&self, wake_up: WakeUp) -> Result<(), BusError> {
        self.inner.wake_at(wake_up).await
    }

    async fn replay(
        &self,
        stream: Stream,
        since: Option<DateTime<Utc>>,
    ) -> Result<BoxStream<'static, Result<Stored, BusError>>, BusError> {
        self.inner.replay(stream, since).await
    }

    async fn status(&self) -> Result<Status, BusError> {
        self.inner.status().await
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_of_the_bus_makes_no_message_poison() {
    let mut world = World::new().await;
    let refusals = Arc::new(AtomicU32::new(25));
    let inner = world.bus.clone();
    drop(world.start_reasoner_on(Arc::new(Leaderless { inner, refusals: Arc::clone(&refusals) })));
    let cart = deployment("cart");
    world.publish(&signal(&cart, 0, SignalState::Firing, world.clock.now(), vec![])).await;
    pass(900).await;
    assert_eq!(refusals.load(Ordering::Relaxed), 0, "more often than a message may be handed out");
    let dead: Vec<_> = world.bus.replay(Stream::Dead, None).await.unwrap().collect().await;
    assert!(dead.is_empty(), "{dead:?}");
    assert_eq!(world.proposals().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_sweep_leaves_what_was_written_since_it_looked() {
    let mut world = World::new().await;
    let long_ago = world.clock.now() - chrono::Duration::days(8);
    let closed = |incident: &mut Incident| incident.closed_at = Some(long_ago);
    let (old, new) = (world.put_incident("old", closed).await, world.put_incident("new", |_| ()).await);
    world.start_reasoner();
    pass(90).await;
    assert!(world.incident(&old).await.is_none() && world.incident(&new).await.is_some());
    world.kill_reasoner();

    let busy = world.put_incident("busy", closed).await;
    let inner = world.bus.clone();
    drop(world.start_reasoner_on(Arc::new(Leaderless { inner, refusals: Arc::default() })));
    pass(90).await;
    assert!(world.incident(&busy).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn those_who_need_a_person_are_named_or_counted() {
    let mut world = World::new().await;
    for number in 0..103 {
        let told = |incident: &mut Incident| incident.needs_human = Some("nothing helped".to_owned());
        world.put_incident(&format!("d-{number}"), told).await;
    }
    let registry = world.start_reasoner_on(Arc::new(world.bus.clone()));
    pass(10).await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let of = |line: &&str| line.starts_with("incident_needs_human{");
    let (beyond, named): (Vec<&str>, Vec<&str>) =
        text.lines().filter(of).partition(|line| line.contains("incident=\"beyond\""));
    assert!(named.len() == 100 && named.iter().all(|line| line.ends_with(" 1")), "{named:#?}");
    assert!(beyond.len() == 1 && beyond[0].ends_with(" 3"), "{beyond:#?}");
}

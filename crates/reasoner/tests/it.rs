//! The reasoner on the memory bus, in virtual time, with an observer and a gateway that say what
//! the test tells them to.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeZone as _, Utc};
use evenkeel_bus::{
    BucketName, Bus, Cluster, ConsumerName, EvidenceSubject, Key, MemoryBus, MemoryOptions, Publish, Stream, Subject,
    TraceContext, Trouble,
};
use evenkeel_model::{
    Clock, Finding, Incident, Kind, Meta, ObjectRef, Outcome, Phase, Pod, Proposal, Query, Revision, Severity, Signal,
    SignalState, Snapshot, Source, Workload,
};
use evenkeel_reasoner::{Config, Metrics, Parts, run};
use evenkeel_runtime::metrics::Registry;
use evenkeel_runtime::{Health, Shutdown};
use futures::StreamExt as _;
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
        let shutdown = Shutdown::new();
        let parts = Parts {
            config: Config::default(),
            cluster: "test".to_owned(),
            namespace: "evenkeel".to_owned(),
            bus: Arc::new(self.bus.clone()),
            clock: self.clock.clone(),
            health: Health::new(),
            metrics: Metrics::register(&mut Registry::default()),
        };
        let token = shutdown.clone();
        let task = tokio::spawn(async move { run(parts, token).await.unwrap() });
        self.reasoners.push((shutdown, task));
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

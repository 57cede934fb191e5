//! The drive against an API server in memory: what is sent in which order, and what becomes of it
//! when anything breaks.

mod answers;
mod approvals;
mod broken;
mod budgets;
mod chat;
mod frozen;
mod owners;
mod people;
mod recorded;
mod waiting;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use evenkeel_bus::{Bus as _, Cluster, MemoryBus, MemoryOptions, Stream};
use evenkeel_cluster::testing::SHOP;
use evenkeel_model::{
    Action, Clock as _, Empty, FixedClock, Kind, Mode, Notify, ObjectRef, Outcome, Phase, Proposal, Remediation,
    RemediationSpec, Undo,
};
use evenkeel_runtime::{Health, metrics::Registry};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::plane::{DriveError, Next, Plane};
use crate::testing::world::{Fault, World};
use crate::testing::{playbook, proposal};
use crate::{Config, Metrics, Parts, PlaybookSource};

const CART: &str = "/deployments/cart";
const DRY: &str = "PATCH deployments/cart dry";
const PATCH: &str = "PATCH deployments/cart";
const STATUS: &str = "PUT remediations/{name}/status";

/// When the fixture's rollout had been stuck for a while.
fn start() -> DateTime<Utc> {
    "2026-11-21T04:00:00Z".parse().unwrap()
}

struct Bench {
    world: World,
    clock: Arc<FixedClock>,
    bus: MemoryBus,
    plane: Box<Plane>,
    name: String,
}

fn cart(number: u32) -> Proposal {
    let cart = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
    let expires_at = start() + chrono::Duration::minutes(30);
    Proposal { target: cart.clone(), root: cart, proposed_at: start(), expires_at, ..proposal(number) }
}

fn policy(rate: &str) -> Value {
    let rates = json!({"target": rate, "namespace": "9/1h", "cluster": "9/1h"});
    let rule = |action: &str, tier: &str| {
        let approvers = if tier == "Low" { Value::Null } else { json!(1) };
        json!({"do": action, "tier": tier, "approvers": approvers, "origins": ["Playbook"], "rate": rates})
    };
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ActionPolicy", "metadata": {"name": "shop"},
        "spec": {
            "mode": "Enforce",
            "match": {"namespaces": ["shop"], "kinds": ["Deployment", "Pod"], "selector": {}},
            "actions": [rule("rollbackWorkload", "Low"), rule("deletePod", "Low"), rule("restartWorkload", "Medium")],
            "windows": evenkeel_model::Windows::always(),
            "limits": {"concurrent": 3, "unavailable": {"count": 100, "percent": 100}},
            "gitOps": "UnownedFields",
        },
    })
}

impl Bench {
    async fn new() -> Self {
        Self::with(cart(1), Mode::Enforce, |_| {}).await
    }

    async fn with(proposal: Proposal, mode: Mode, step: impl FnOnce(&mut evenkeel_model::PlaybookStepSpec)) -> Self {
        let clock = Arc::new(FixedClock::new(start()));
        let world = World::new(SHOP, Arc::clone(&clock) as Arc<_>);
        world.edit("/namespaces/shop", |namespace| namespace["metadata"]["annotations"] = Value::Null);
        world.put(policy("1/1h"));
        let bus = MemoryBus::new(MemoryOptions::new(Cluster::new("prod").unwrap(), Arc::clone(&clock) as Arc<_>));
        let plane = Self::plane(&world, &bus, "gateway-1", mode);
        let mut playbook = playbook();
        step(&mut playbook.steps[0]);
        let name = proposal.name();
        let mut spec = RemediationSpec::new(proposal).with_step_of(&playbook);
        spec.title = "test".to_owned();
        let mut remediation = Remediation::new(&name, spec);
        remediation.metadata.namespace = Some("evenkeel".to_owned());
        world.put(serde_json::to_value(&remediation).unwrap());
        plane.refresh(&name).await.unwrap();
        plane.approvals.list();
        // The ledger is there, as it is once sources were checked.
        plane.change_ledger(Clone::clone).await.unwrap();
        world.written();
        Self { world, clock, bus, plane, name }
    }

    fn plane(world: &World, bus: &MemoryBus, holder: &str, mode: Mode) -> Box<Plane> {
        Self::recording(world, bus, holder, mode, None)
    }

    fn recording(world: &World, bus: &MemoryBus, holder: &str, mode: Mode, audit: Option<crate::Audit>) -> Box<Plane> {
        let config = Config { mode, ..Config::default() };
        let parts = Parts {
            config,
            cluster: "prod".to_owned(),
            namespace: "evenkeel".to_owned(),
            holder: holder.to_owned(),
            bus: Arc::new(bus.clone()),
            clock: Arc::clone(&world.clock),
            health: Health::new(),
            metrics: Metrics::register(&mut Registry::default()),
            reader: world.client(),
            writer: world.client(),
            playbooks: PlaybookSource::Files(tokio::sync::watch::channel(Vec::new()).1),
            outbound: Arc::new(evenkeel_runtime::http::Nowhere),
            audit,
            chat: None,
        };
        Box::new(crate::plane(parts, mpsc::unbounded_channel().0).unwrap())
    }

    /// The process dies and another one starts.
    async fn restart(&mut self) {
        self.go_on_with(Self::plane(&self.world, &self.bus, "gateway-2", Mode::Enforce)).await;
    }

    async fn go_on_with(&mut self, plane: Box<Plane>) {
        self.plane = plane;
        self.plane.refresh(&self.name).await.unwrap();
    }

    async fn try_advance(&self) -> Result<Next, DriveError> {
        let remediation = self.plane.index().get(&self.name).unwrap();
        Box::pin(self.plane.advance(&remediation)).await
    }

    async fn advance(&self) -> Next {
        self.try_advance().await.unwrap()
    }

    /// One step as the loop takes it: a conflict is followed by a fresh look, and the watch tells
    /// of everything else.
    async fn step(&self) -> Option<Next> {
        let result = self.try_advance().await;
        self.plane.refresh(&self.name).await.ok();
        result.ok()
    }

    fn phase(&self) -> Phase {
        crate::index::phase(&self.plane.index().get(&self.name).unwrap())
    }

    fn reason(&self) -> String {
        crate::index::status(&self.plane.index().get(&self.name).unwrap()).reason
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(std::time::Duration::from_secs(seconds));
    }

    /// Goes on as the loop would, in virtual time, until the Remediation is done or `seconds` have passed.
    async fn run(&self, seconds: i64) {
        let end = self.clock.now() + chrono::Duration::seconds(seconds);
        while self.clock.now() < end {
            match self.step().await {
                Some(Next::Done) => return,
                Some(Next::At(at)) => {
                    let wait = (at - self.clock.now()).num_milliseconds().clamp(100, 600_000);
                    self.clock.advance(std::time::Duration::from_millis(wait.unsigned_abs()));
                }
                None => self.wait(1),
            }
        }
    }

    /// Requests that changed the Deployment, dry runs left out.
    fn effects(&self) -> usize {
        self.world.written().iter().filter(|line| *line == PATCH).count()
    }

    /// Changes of the Deployment that came to be, whoever waited for the answer.
    fn applied(&self) -> usize {
        self.world.applied().iter().filter(|line| line.starts_with("PATCH") && line.ends_with(CART)).count()
    }

    fn stamp(&self) -> Option<String> {
        let cart = self.world.get(CART)?;
        cart["metadata"]["annotations"]["evenkeel.dev/remediation"].as_str().map(str::to_owned)
    }

    fn image(&self) -> String {
        let cart = self.world.get(CART).unwrap();
        cart["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    }

    fn debits(&self) -> usize {
        let ledger = self.world.get("/ledgers/ledger").unwrap();
        ledger["spec"]["debits"].as_array().map_or(0, Vec::len)
    }

    fn claims(&self) -> usize {
        let ledger = self.world.get("/ledgers/ledger").unwrap();
        ledger["spec"]["claims"].as_object().map_or(0, serde_json::Map::len)
    }

    fn heal(&self) {
        heal(&self.world);
    }

    async fn outcomes(&self) -> Vec<(Phase, Option<bool>)> {
        let stored: Vec<_> = self.bus.replay(Stream::Outcomes, None).await.unwrap().collect().await;
        let outcome = |stored: &Result<evenkeel_bus::Stored, _>| {
            let outcome: Outcome = serde_json::from_slice(&stored.as_ref().unwrap().payload).unwrap();
            (outcome.phase, outcome.target_well)
        };
        stored.iter().map(outcome).collect()
    }

    fn line(&self, line: &str) -> String {
        line.replace("{name}", &self.name)
    }
}

/// What the Deployment's controller does once its template is good again.
fn heal(world: &World) {
    world.remove("/pods/cart-69f6589c46-hvsh5");
    world.edit(CART, |cart| {
        cart["status"]["replicas"] = json!(3);
        cart["status"]["updatedReplicas"] = json!(3);
        cart["status"]["unavailableReplicas"] = json!(0);
        cart["status"]["observedGeneration"] = cart["metadata"]["generation"].clone();
        cart["status"]["conditions"] = json!([]);
    });
}

#[tokio::test]
async fn undisturbed_it_is_one_claim_one_intent_one_dry_run_one_patch_and_one_record() {
    let bench = Bench::new().await;
    assert!(matches!(bench.advance().await, Next::At(_)));
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
    let status = bench.line(STATUS);
    assert_eq!(
        bench.world.written(),
        ["PUT ledgers/ledger", status.as_str(), DRY, PATCH, status.as_str(), "POST events"]
    );
    assert_eq!(bench.image(), "shop/cart:1");
    assert_eq!(bench.stamp(), Some(format!("{}/1", bench.name)));
    assert_eq!(bench.world.reads_of("deployments/cart"), 3, "before the claim, after it, and for the plan");
    let history = crate::index::status(&bench.plane.index().get(&bench.name).unwrap()).history;
    let phases: Vec<Phase> = history.iter().map(|transition| transition.phase).collect();
    assert_eq!(phases, [Phase::Proposed, Phase::Authorized, Phase::Claimed, Phase::Executing, Phase::Verifying]);
}

#[tokio::test]
async fn it_succeeds_once_the_target_was_well_for_long_enough() {
    let bench = Bench::new().await;
    bench.advance().await;
    bench.run(30).await;
    assert_eq!(bench.phase(), Phase::Verifying);
    bench.heal();
    bench.run(120).await;
    assert_eq!(bench.phase(), Phase::Verifying, "three minutes have to pass");
    bench.run(120).await;
    assert_eq!(bench.phase(), Phase::Succeeded, "{}", bench.reason());
    assert_eq!(bench.outcomes().await, [(Phase::Succeeded, Some(true))]);
    assert_eq!((bench.claims(), bench.debits()), (0, 1), "released, and counted");
    assert_eq!(bench.effects(), 1);
    assert!(bench.world.get(&format!("/events/{}.succeeded", bench.name)).is_some());
    assert_eq!(bench.advance().await, Next::Done, "told once");
    assert_eq!(bench.outcomes().await.len(), 1);
}

#[tokio::test]
async fn what_does_not_help_ends_at_the_deadline_and_is_left_when_the_playbook_says_so() {
    let bench = Bench::new().await;
    bench.run(700).await;
    assert_eq!(bench.phase(), Phase::NotUndoable, "{}", bench.reason());
    assert_eq!(bench.outcomes().await, [(Phase::NotUndoable, Some(false))]);
    assert_eq!(bench.effects(), 1);
}

#[tokio::test]
async fn what_does_not_help_is_undone_once_when_the_playbook_says_so() {
    let bench = Bench::with(cart(1), Mode::Enforce, |step| step.undo = Undo::Automatic).await;
    bench.run(700).await;
    assert_eq!(bench.phase(), Phase::RolledBack, "{}", bench.reason());
    assert_eq!(bench.image(), "shop/cart:2-missing");
    assert_eq!(bench.stamp(), Some(format!("{}/1/undo", bench.name)));
    assert_eq!(bench.effects(), 2);
}

#[tokio::test]
async fn nothing_is_undone_where_somebody_has_changed_it_since() {
    let bench = Bench::with(cart(1), Mode::Enforce, |step| step.undo = Undo::Automatic).await;
    bench.advance().await;
    bench.world.edit(CART, |cart| cart["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop/cart:3"));
    bench.run(700).await;
    assert_eq!(bench.phase(), Phase::NotUndoable, "{}", bench.reason());
    assert_eq!(bench.image(), "shop/cart:3");
}

#[tokio::test]
async fn in_audit_mode_nothing_is_written_to_anything_but_our_own() {
    let bench = Bench::with(cart(1), Mode::Audit, |_| {}).await;
    bench.run(10).await;
    assert_eq!(bench.phase(), Phase::WouldExecute, "{}", bench.reason());
    let status = bench.line(STATUS);
    assert_eq!(bench.world.written(), [status.as_str(), "POST events", status.as_str()]);
    assert_eq!(bench.outcomes().await, [(Phase::WouldExecute, Some(false))]);
}

#[tokio::test]
async fn a_target_that_is_well_needs_nothing() {
    let bench = Bench::new().await;
    bench.heal();
    bench.run(25).await;
    assert_eq!(bench.phase(), Phase::Proposed, "it may only seem so");
    bench.run(10).await;
    assert_eq!(bench.phase(), Phase::Obsolete, "{}", bench.reason());
    assert_eq!((bench.effects(), bench.claims(), bench.debits()), (0, 0, 0));
}

#[tokio::test]
async fn without_a_policy_everything_is_denied_and_people_decide_what_is_not_low() {
    let bench = Bench::new().await;
    bench.world.remove("/actionpolicies/shop");
    bench.run(10).await;
    assert_eq!(bench.phase(), Phase::Denied, "{}", bench.reason());

    let bench = Bench::new().await;
    bench.world.edit("/actionpolicies/shop", |policy| {
        policy["spec"]["actions"][0]["tier"] = json!("Medium");
        policy["spec"]["actions"][0]["approvers"] = json!(1);
    });
    bench.advance().await;
    assert_eq!(bench.phase(), Phase::AwaitingApproval, "{}", bench.reason());
    bench.run(3600).await;
    assert_eq!(bench.phase(), Phase::Expired);
    assert_eq!(bench.effects(), 0);
}

#[tokio::test]
async fn a_policy_that_can_not_be_read_denies() {
    let bench = Bench::new().await;
    bench.world.edit("/actionpolicies/shop", |policy| policy["spec"]["mode"] = json!("Enforced"));
    bench.run(10).await;
    assert_eq!(bench.phase(), Phase::Denied, "{}", bench.reason());
}

#[tokio::test]
async fn a_second_of_the_same_within_the_rate_waits() {
    let bench = Bench::new().await;
    bench.advance().await;
    let mut again = Remediation::new("r-2", RemediationSpec::new(cart(2)).with_step_of(&playbook()));
    again.metadata.namespace = Some("evenkeel".to_owned());
    bench.world.put(serde_json::to_value(&again).unwrap());
    bench
        .world
        .edit(CART, |cart| cart["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop/cart:2-missing"));
    bench.plane.refresh("r-2").await.unwrap();
    let remediation = bench.plane.index().get("r-2").unwrap();
    let Next::At(at) = Box::pin(bench.plane.advance(&remediation)).await.unwrap() else { panic!("done") };
    let second = bench.plane.index().get("r-2").unwrap();
    assert_eq!(crate::index::phase(&second), Phase::Deferred, "{:?}", second.status);
    assert!(at > bench.clock.now());
}

#[tokio::test]
async fn nothing_older_than_its_expiry_runs() {
    let bench = Bench::new().await;
    bench.wait(1801);
    bench.run(10).await;
    assert_eq!(bench.phase(), Phase::Expired);
    assert_eq!(bench.effects(), 0);
}

#[tokio::test]
async fn a_root_that_has_nothing_to_do_with_the_target_is_refused() {
    let elsewhere = ObjectRef::namespaced(Kind::Deployment, "shop", "other");
    let bench = Bench::with(Proposal { root: elsewhere, ..cart(1) }, Mode::Enforce, |_| {}).await;
    bench.run(10).await;
    assert_eq!(bench.phase(), Phase::Denied, "{}", bench.reason());
}

#[tokio::test]
async fn people_are_told_without_a_policy_also_in_audit_mode() {
    let notify = Proposal { action: Action::Notify(Notify { message: "look at the cart".to_owned() }), ..cart(1) };
    let bench = Bench::with(notify, Mode::Audit, |_| {}).await;
    bench.run(10).await;
    assert_eq!(bench.phase(), Phase::Succeeded, "{}", bench.reason());
    let status = bench.line(STATUS);
    assert_eq!(bench.world.written(), ["POST events", status.as_str(), status.as_str()]);
    let event = bench.world.get(&format!("/events/{}.succeeded", bench.name)).unwrap();
    assert_eq!(event["note"], "look at the cart");
    assert_eq!(bench.outcomes().await.len(), 1);
}

#[tokio::test]
async fn what_crashes_again_and_again_is_well_in_between_and_repaired_all_the_same() {
    let bench = Bench::new().await;
    let (crashed, pod) = (bench.world.get(CART).unwrap(), bench.world.get("/pods/cart-69f6589c46-hvsh5").unwrap());
    bench.heal();
    bench.run(8).await;
    bench.world.put(crashed);
    bench.world.put(pod);
    bench.run(8).await;
    assert_eq!(bench.phase(), Phase::Verifying, "{}", bench.reason());
}

#[tokio::test]
async fn what_people_are_told_is_redacted() {
    let message = "cart can't log in: password=hunter2hunter2".to_owned();
    let notify = Proposal { action: Action::Notify(Notify { message }), ..cart(1) };
    let bench = Bench::with(notify, Mode::Audit, |_| {}).await;
    bench.run(10).await;
    let event = bench.world.get(&format!("/events/{}.succeeded", bench.name)).unwrap();
    assert_eq!(event["note"], "cart can't log in: password=[redacted]");

    let bench =
        Bench::with(Proposal { rationale: "token: abcdefgh".to_owned(), ..cart(1) }, Mode::Enforce, |_| {}).await;
    bench.advance().await;
    let said = bench.world.get(&format!("/events/{}.executing", bench.name)).unwrap()["note"].to_string();
    assert!(said.contains("token: [redacted]"), "{said}");
    let mut draft = crate::plane::Draft::of(&bench.plane.index().get(&bench.name).unwrap());
    draft.step(evenkeel_model::Step::FindUnverifiable, start(), "422: env secretKey=hunter2 is invalid").unwrap();
    assert_eq!(draft.status.reason, "422: env secretKey=[redacted] is invalid");
    assert!(!serde_json::to_string(&draft.status.history).unwrap().contains("hunter2"));
}

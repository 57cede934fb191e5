//! Three gateway processes, proposals that come five times, and processes that are killed meanwhile: one effect each, one
//! Outcome each, and never more in any time than the policy allows. The oracle is the API server's audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use evenkeel_bus::permissions;
use evenkeel_bus::{Bus as _, JetStreamBus, Publish, Subject, TraceContext};
use evenkeel_model::{
    Action, Empty, Kind, ObjectRef, Origin, Outcome, Phase, Playbook, PlaybookStep, Proposal, Remediation,
};
use evenkeel_tests::{Options, Plane, World, eventually, world};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use serde_json::json;

const GATEWAYS: u8 = 3;
const COPIES: usize = 5;

const CORDON: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: cordon}
spec:
  summary: A node is away; keep new pods off it.
  priority: 60
  match: {signals: [NodeNotReady], kinds: [Node]}
  settle: 3m
  when: [{fact: target.nodeReady, op: Equals, value: false}]
  steps:
    - name: cordon
      do: {cordonNode: {}}
      verify: {within: 2m, hold: 1s, that: [{fact: target.nodeUnschedulable, op: Equals, value: true}]}
      undo: Never
      recurWithin: 1h
"#;

fn policy(cluster: &str) -> String {
    format!(
        r#"
apiVersion: evenkeel.dev/v1alpha1
kind: ActionPolicy
metadata: {{name: nodes}}
spec:
  mode: Enforce
  match: {{namespaces: ["*"], kinds: [Node], selector: {{}}}}
  actions:
    - do: cordonNode
      tier: Low
      origins: [Playbook]
      rate: {{target: 1/1h, namespace: 1000/1h, cluster: {cluster}}}
  windows: {{timeZone: UTC, allow: [{{days: ["*"], from: "00:00", to: "24:00"}}], freeze: []}}
  limits: {{concurrent: 200, unavailable: {{count: 1000, percent: 100}}}}
  gitOps: UnownedFields
"#
    )
}

fn node_of(number: usize) -> String {
    format!("silent-{number:03}")
}

/// Nodes without a kubelet: not ready, for good.
async fn add_nodes(world: &World, count: usize) -> Result<()> {
    let api: Api<Node> = Api::all(world.client.clone());
    for number in 0..count {
        let condition = json!({
            "type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "nobody is there",
            "lastHeartbeatTime": world::now(), "lastTransitionTime": world::now(),
        });
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node_of(number)},
            "status": {"conditions": [condition]},
        });
        api.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
    }
    Ok(())
}

/// What a reasoner would say about a node; its own bus user sends it.
struct Reasoner {
    bus: JetStreamBus,
    version: String,
}

impl Reasoner {
    async fn new(world: &World) -> Result<Self> {
        let playbook: Playbook = serde_saphyr::from_str(CORDON)?;
        Ok(Self { bus: world.bus_as(permissions::Plane::Reasoner).await?, version: playbook.spec.version()? })
    }

    fn proposal(&self, number: usize) -> Proposal {
        let target = ObjectRef::cluster_scoped(Kind::Node, node_of(number));
        let now = world::now();
        Proposal {
            incident: format!("many-{number:03}"),
            number: 1,
            cluster: world::CLUSTER.to_owned(),
            target: target.clone(),
            root: target,
            action: Action::CordonNode(Empty {}),
            playbook: PlaybookStep {
                name: "cordon".to_owned(),
                version: self.version.clone(),
                step: "cordon".to_owned(),
            },
            origin: Origin::Playbook,
            signals: vec!["NodeNotReady".to_owned()],
            rationale: "nobody is there".to_owned(),
            recurrence_of: None,
            proposed_at: now,
            expires_at: now + TimeDelta::hours(1),
            traceparent: None,
        }
    }

    /// Another id each time: the server takes none for a duplicate.
    async fn deliver(&self, proposal: &Proposal, copy: usize) -> Result<()> {
        let message = Publish {
            subject: Subject::Proposal,
            id: format!("{}-{copy}", proposal.name()),
            payload: serde_json::to_vec(proposal)?.into(),
            trace: TraceContext::default(),
        };
        self.bus.publish(message).await?;
        Ok(())
    }
}

async fn start_gateways(world: &mut World) -> Result<()> {
    world.engine.launch(Plane::Gateway)?;
    for number in 2..=GATEWAYS {
        world.write_replica(Plane::Gateway, number)?;
        world.engine.launch_replica(Plane::Gateway, number)?;
    }
    world.engine.ready(Plane::Gateway).await
}

/// SIGKILL, and the next start at once, as Kubernetes would.
fn kill(world: &mut World, number: u8) -> Result<()> {
    if number == 1 {
        world.engine.kill(Plane::Gateway);
        return world.engine.launch(Plane::Gateway);
    }
    world.engine.kill_replica(Plane::Gateway, number);
    world.engine.launch_replica(Plane::Gateway, number)
}

fn ended(remediation: &Remediation) -> Option<Phase> {
    let status = remediation.status.as_ref()?;
    // Told, too: then nothing more is to come.
    (status.phase.is_final() && status.outcome_published == Some(status.phase)).then_some(status.phase)
}

async fn all_ended(world: &World, count: usize, within: Duration) -> Result<BTreeMap<String, Remediation>> {
    eventually(&format!("{count} Remediations to end"), within, || async {
        let all = world.remediations().await?;
        let open: Vec<String> = all
            .iter()
            .filter(|it| ended(it).is_none())
            .map(|it| {
                let status = it.status.as_ref();
                format!("{} {:?}", it.name_any(), status.map(|status| (status.phase, status.reason.clone())))
            })
            .collect();
        ensure!(open.is_empty() && all.len() == count, "{} there, open: {open:#?}", all.len());
        Ok(Some(all.into_iter().map(|it| (it.name_any(), it)).collect()))
    })
    .await
}

/// When each node was cordoned, by the audit log: when the request came.
fn effects(world: &World) -> Result<BTreeMap<String, Vec<DateTime<Utc>>>> {
    let mut found: BTreeMap<String, Vec<DateTime<Utc>>> = BTreeMap::new();
    for request in world.audit()? {
        let Some(object) = request.object_ref.as_ref().filter(|_| request.is_ours() && request.is_mutating()) else {
            continue;
        };
        let is_own =
            ["remediations", "ledgers", "events", "leases", "actionpolicies"].contains(&object.resource.as_str());
        if request.is_dry_run() || !request.succeeded() || is_own || object.resource.ends_with("reviews") {
            continue;
        }
        ensure!(object.resource == "nodes" && request.verb == "patch", "{request:?}");
        found.entry(object.name.clone()).or_default().push(request.received);
    }
    Ok(found)
}

/// One effect where it succeeded and none where it did not, one Outcome each, and the ledger says the same.
async fn judge(world: &World, remediations: &BTreeMap<String, Remediation>) -> Result<Vec<DateTime<Utc>>> {
    let effects = effects(world)?;
    let twice: Vec<_> = effects.iter().filter(|(_, times)| times.len() > 1).collect();
    ensure!(twice.is_empty(), "{twice:#?}");
    for (name, remediation) in remediations {
        let phase = ended(remediation).context("not ended")?;
        let node = &remediation.spec.proposal.target.name;
        let was_done = effects.contains_key(node);
        ensure!(was_done == (phase == Phase::Succeeded), "{name} of {node} ended {phase}, done: {was_done}");
    }
    ensure!(effects.len() == remediations.values().filter(|it| ended(it) == Some(Phase::Succeeded)).count());

    let mut outcomes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, payload) in world.stored("outcome").await? {
        let outcome: Outcome = serde_json::from_slice(&payload)?;
        // Whoever reads them goes by their ids.
        outcomes.entry(outcome.remediation.clone()).or_default().insert(outcome.id());
    }
    for (name, remediation) in remediations {
        let phase = ended(remediation).context("not ended")?;
        let told = outcomes.remove(name).unwrap_or_default();
        ensure!(told == BTreeSet::from([format!("{name}/{phase}")]), "{name} ended {phase}: {told:?}");
    }
    ensure!(outcomes.is_empty(), "{outcomes:#?}");

    let api: Api<evenkeel_model::Ledger> = Api::namespaced(world.client.clone(), world::ENGINE);
    let ledger = api.get(evenkeel_model::LEDGER_NAME).await?.spec;
    ensure!(ledger.claims.is_empty(), "{:#?}", ledger.claims);
    let debited: BTreeSet<&String> = ledger.debits.iter().map(|debit| &debit.remediation).collect();
    let done = remediations.iter().filter(|(_, it)| ended(it) == Some(Phase::Succeeded)).map(|(name, _)| name);
    ensure!(debited == done.collect::<BTreeSet<_>>() && debited.len() == ledger.debits.len());
    let mut times: Vec<DateTime<Utc>> = effects.into_values().flatten().collect();
    times.sort_unstable();
    Ok(times)
}

/// A number that the environment may name.
#[allow(clippy::disallowed_methods, reason = "what is tried by hand is longer than what is tried each time")]
fn named(variable: &str, usual: u64) -> Result<u64> {
    Ok(std::env::var(variable).ok().map_or(Ok(usual), |named| named.parse())?)
}

fn seed() -> Result<u64> {
    let seed = named("EVENKEEL_SEED", 11)?;
    println!("EVENKEEL_SEED={seed}");
    Ok(seed)
}

/// A number below `n` (an LCG, Knuth's MMIX).
fn below(seed: &mut u64, n: usize) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap_or(0) % n.max(1)
}

#[test]
fn two_hundred_proposals_delivered_five_times_to_three_gateways_have_one_effect_each() -> Result<()> {
    const COUNT: usize = 200;
    let mut random = seed()?;
    world::run(Options::kwok(), async |world| {
        let mut configuration = world.read_configuration(Plane::Gateway)?;
        configuration["gateway"]["openPerNamespace"] = json!(2 * COUNT);
        configuration["gateway"]["openPerCluster"] = json!(2 * COUNT);
        world.write_configuration(Plane::Gateway, &configuration)?;
        world.apply(CORDON)?;
        world.apply(&policy("1000/1h"))?;
        add_nodes(world, COUNT).await?;
        start_gateways(world).await?;

        let reasoner = Reasoner::new(world).await?;
        let proposals: Vec<Proposal> = (0..COUNT).map(|number| reasoner.proposal(number)).collect();
        let mut deliveries: Vec<(usize, usize)> =
            (0..COUNT).flat_map(|number| (0..COPIES).map(move |copy| (number, copy))).collect();
        for place in (1..deliveries.len()).rev() {
            deliveries.swap(place, below(&mut random, place + 1));
        }
        let sent = futures::stream::iter(deliveries).map(|(number, copy)| {
            let (reasoner, proposal) = (&reasoner, proposals.get(number));
            async move { reasoner.deliver(proposal.context("no such proposal")?, copy).await }
        });
        sent.buffer_unordered(16).collect::<Vec<_>>().await.into_iter().collect::<Result<()>>()?;

        let remediations = all_ended(world, COUNT, Duration::from_secs(600)).await?;
        let done = judge(world, &remediations).await?;
        ensure!(done.len() == COUNT, "{} of {COUNT} were done", done.len());
        Ok(())
    })
}

/// `EVENKEEL_KILLS=75` is five minutes of killing.
#[test]
fn rates_hold_in_every_window_while_gateways_are_killed() -> Result<()> {
    const RATE: usize = 6;
    const WINDOW: Duration = Duration::from_secs(15);
    const BETWEEN: Duration = Duration::from_secs(4);
    let kills = usize::try_from(named("EVENKEEL_KILLS", 8)?)?;
    // About as many as there is room for, with those that the dead hold up.
    let count = 12 + kills / 2;
    let mut random = seed()?;
    world::run(Options::kwok(), async |world| {
        let mut configuration = world.read_configuration(Plane::Gateway)?;
        let gateway = &mut configuration["gateway"];
        gateway["openPerNamespace"] = json!(2 * count);
        gateway["openPerCluster"] = json!(2 * count);
        // What a killed process had sent is carried out within moments here, not within a minute.
        gateway["requestTimeout"] = json!("4s");
        gateway["serverRequestTimeout"] = json!("5s");
        gateway["claim"] = json!("9s");
        gateway["retry"] = json!("2s");
        world.write_configuration(Plane::Gateway, &configuration)?;
        world.apply(CORDON)?;
        world.apply(&policy(&format!("{RATE}/{}s", WINDOW.as_secs())))?;
        add_nodes(world, count).await?;
        start_gateways(world).await?;

        let reasoner = Reasoner::new(world).await?;
        let proposals: Vec<Proposal> = (0..count).map(|number| reasoner.proposal(number)).collect();
        // Each comes five times: once at the beginning, and then between any two deaths.
        for proposal in &proposals {
            reasoner.deliver(proposal, 0).await?;
        }
        let mut pace = tokio::time::interval(BETWEEN);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut victims, mut delivered) = (Vec::new(), count);
        for number in 1..=kills {
            pace.tick().await;
            let victim = u8::try_from(below(&mut random, usize::from(GATEWAYS)))? + 1;
            kill(world, victim)?;
            victims.push(victim);
            while delivered * kills < count * COPIES * number {
                let proposal = proposals.get(delivered % count).context("no such proposal")?;
                reasoner.deliver(proposal, delivered / count).await?;
                delivered += 1;
            }
        }
        let remediations = all_ended(world, count, Duration::from_secs(600)).await?;
        let done = judge(world, &remediations).await?;
        let window = TimeDelta::from_std(WINDOW)?;
        for few in done.windows(RATE + 1) {
            let (first, last) = (few.first().context("none")?, few.last().context("none")?);
            ensure!(*last - *first >= window, "{} within {}: {few:#?}", RATE + 1, *last - *first);
        }
        let nearest = done.windows(RATE + 1).filter_map(|few| Some(*few.last()? - *few.first()?)).min();
        let whole = done.first().zip(done.last()).map(|(first, last)| *last - *first).unwrap_or_default();
        println!(
            "{kills} kills {victims:?}: {} of {count} done in {} s; {} in {} ms at the narrowest, {RATE} in {} s allowed",
            done.len(),
            whole.num_seconds(),
            RATE + 1,
            nearest.map_or(0, |nearest| nearest.num_milliseconds()),
            WINDOW.as_secs(),
        );
        // It is the rate that holds them back, and not that they are dead.
        ensure!(done.len() * 10 >= count * 9, "only {} of {count} were done", done.len());
        Ok(())
    })
}

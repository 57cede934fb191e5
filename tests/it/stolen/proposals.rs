//! What the gateway makes of whatever is proposed in the reasoner's name.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use chrono::Duration as Span;
use evenkeel_bus::permissions::Plane;
use evenkeel_bus::{Bus as _, JetStreamBus, Publish, Subject, TraceContext};
use evenkeel_model::{
    Action, AvailabilityRecord, Empty, Escalate, EscalationSeverity, Kind, ObjectRef, Origin, Outcome, Phase, Playbook,
    PlaybookStep, Proposal, ScaleWorkload,
};
use evenkeel_tests::audit::user_of;
use evenkeel_tests::manifests::{App, BAD_ROLLOUT};
use evenkeel_tests::proposals::{deployment, publish, rollback};
use evenkeel_tests::world::now;
use evenkeel_tests::{World, eventually};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use regex::Regex;

use super::bus;

const IN_TIME: Duration = Duration::from_secs(45);

/// A playbook that adds a replica.
pub(super) const SCALE_OUT: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: scale-out}
spec:
  summary: There is too little of it.
  priority: 90
  match: {signals: [TooLittle], kinds: [Deployment]}
  when:
    - {fact: target.exists, op: Equals, value: true}
  steps:
    - name: more
      do: {scaleWorkload: {replicas: 3}}
      verify:
        within: 60s
        hold: 3s
        that:
          - {fact: target.well, op: Equals, value: true}
"#;

/// Each object once an hour, in the shop alone.
pub(super) const POLICY: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: ActionPolicy
metadata: {name: shop}
spec:
  mode: Enforce
  match: {namespaces: [shop], kinds: [Deployment], selector: {}}
  actions:
    - do: rollbackWorkload
      tier: Low
      origins: [Playbook]
      rate: {target: 1/1h, namespace: 100/1h, cluster: 100/1h}
  windows: {timeZone: UTC, allow: [{days: ["*"], from: "00:00", to: "24:00"}], freeze: []}
  limits: {concurrent: 10, unavailable: {count: 100, percent: 100}}
  gitOps: UnownedFields
"#;

type Change = fn(&mut Proposal) -> Result<()>;

/// What is wrong with a proposal about a Deployment that really needs it.
fn lies() -> [(&'static str, Change); 21] {
    [
        ("for another cluster", |it| {
            it.cluster = "prod".to_owned();
            Ok(())
        }),
        ("asked for by a person", |it| {
            it.origin = Origin::Person;
            Ok(())
        }),
        ("of a playbook that nobody wrote", |it| {
            it.playbook.name = "mine".to_owned();
            Ok(())
        }),
        ("of a step that nobody wrote", |it| {
            it.playbook.step = "mine".to_owned();
            Ok(())
        }),
        ("of another version of the playbook", |it| {
            it.playbook.version = "0123456789abcdef".to_owned();
            Ok(())
        }),
        ("of another action than the step's", |it| {
            it.action = Action::RestartWorkload(Empty {});
            Ok(())
        }),
        ("of more replicas than the step's", |it| {
            let playbook: Playbook = serde_saphyr::from_str(SCALE_OUT)?;
            let (name, step) = ("scale-out".to_owned(), "more".to_owned());
            it.playbook = PlaybookStep { name, version: playbook.spec.version()?, step };
            it.action = Action::ScaleWorkload(ScaleWorkload { replicas: 5000 });
            Ok(())
        }),
        ("of an action that no policy lists", |it| {
            let playbook: Playbook = serde_saphyr::from_str(SCALE_OUT)?;
            let (name, step) = ("scale-out".to_owned(), "more".to_owned());
            it.playbook = PlaybookStep { name, version: playbook.spec.version()?, step };
            it.action = Action::ScaleWorkload(ScaleWorkload { replicas: 3 });
            Ok(())
        }),
        ("of an action in the name of what is built in", |it| {
            it.playbook.name = "built-in".to_owned();
            Ok(())
        }),
        ("with another object's root", |it| {
            it.root = deployment("shop", "cart");
            Ok(())
        }),
        ("on what is well, with the root of what is not", |it| {
            it.target = deployment("shop", "cart");
            Ok(())
        }),
        ("in a namespace of nobody's policy", |it| {
            it.target = deployment("default", "vault");
            it.root = it.target.clone();
            Ok(())
        }),
        ("on a name that leads elsewhere", |it| {
            it.target.name = "../../../../api/v1/nodes/x".to_owned();
            Ok(())
        }),
        ("on a Pod, where the action is for workloads", |it| {
            it.target = ObjectRef::namespaced(Kind::Pod, "shop", "pay");
            Ok(())
        }),
        ("that lives for ever", |it| {
            it.expires_at = now() + Span::days(365);
            Ok(())
        }),
        ("of tomorrow", |it| {
            it.proposed_at = now() + Span::days(1);
            it.expires_at = now() + Span::days(1) + Span::minutes(30);
            Ok(())
        }),
        ("of yesterday", |it| {
            it.proposed_at = now() - Span::days(1);
            it.expires_at = now() - Span::days(1) + Span::minutes(30);
            Ok(())
        }),
        ("with an incident that is no name", |it| {
            it.incident = "../x".to_owned();
            Ok(())
        }),
        ("with a number beyond the last", |it| {
            it.number = 1001;
            Ok(())
        }),
        ("with a book for a reason", |it| {
            it.rationale = "x".repeat(20_000);
            Ok(())
        }),
        ("only to call people", |it| {
            it.playbook.name = "built-in".to_owned();
            it.action = Action::Escalate(Escalate { severity: EscalationSeverity::Page });
            Ok(())
        }),
    ]
}

/// How it ended, or that it waits.
async fn came(world: &World, name: &str) -> Result<(Phase, String)> {
    eventually(&format!("the end of {name}"), IN_TIME, || async {
        for (_, payload) in world.stored("outcome").await? {
            let Ok(outcome) = serde_json::from_slice::<Outcome>(&payload) else { continue };
            if outcome.remediation == name {
                return Ok(Some((outcome.phase, outcome.reason)));
            }
        }
        let found = world.remediations().await?.into_iter().find(|found| found.name_any() == name);
        let status = found.and_then(|found| found.status).filter(|status| status.phase == Phase::Deferred);
        Ok(status.map(|status| (status.phase, status.reason)))
    })
    .await
}

/// The same words in each run.
fn line(what: &str, (phase, reason): (Phase, String)) -> Result<String> {
    let time = Regex::new(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( UTC|Z)?")?.replace_all(&reason, "TIME");
    let version = Regex::new(r"at version [0-9a-f]+")?.replace_all(&time, "at version VERSION");
    Ok(format!("{phase}: proposal {what}: {version}"))
}

/// Tries all that can be proposed: lines of what it was and what came of it.
pub(super) async fn try_all(world: &World) -> Result<Vec<String>> {
    let good = "registry.example/app:v1";
    for (namespace, name) in [("shop", "cart"), ("shop", "pay"), ("default", "vault")] {
        world.deploy(&App { real: false, ..App::new(namespace, name, good) }.deployment()).await?;
    }
    world.set_image("shop", "cart", "registry.example/app:v2")?;
    world.available("shop", "cart", IN_TIME).await?;
    for (namespace, name) in [("shop", "pay"), ("default", "vault")] {
        world.set_image(namespace, name, "registry.example/app:v2-missing")?;
    }
    let bus = world.bus_as(Plane::Reasoner).await?;
    let mut lines = Vec::new();
    for (number, (what, lie)) in lies().into_iter().enumerate() {
        let mut proposal = rollback(BAD_ROLLOUT, &format!("i-lie-{number}"), deployment("shop", "pay"))?;
        lie(&mut proposal)?;
        let name = publish(&bus, &proposal).await?;
        lines.push(line(what, came(world, &name).await?)?);
    }
    lines.push(unreadable(world, &bus).await?);
    lines.push(many(world, &bus).await?);
    ensure!(world.our_writes("deployments", "shop", "pay")?.is_empty(), "a lie was believed");

    poison(world).await?;
    let name = publish(&bus, &rollback(BAD_ROLLOUT, "i-honest", deployment("shop", "pay"))?).await?;
    lines.push(line("of what an honest reasoner would propose", came(world, &name).await?)?);
    let image = world.image("shop", "pay").await?;
    ensure!(image == good, "a poisoned baseline was believed: {image}");

    world.set_image("shop", "pay", "registry.example/app:v4-missing")?;
    let name = publish(&bus, &rollback(BAD_ROLLOUT, "i-fresh", deployment("shop", "pay"))?).await?;
    lines.push(line("of the same again, for an incident of its own", came(world, &name).await?)?);
    Ok(lines)
}

/// What is no proposal, or too large for one, is put aside.
async fn unreadable(world: &World, bus: &JetStreamBus) -> Result<String> {
    let mut large = rollback(BAD_ROLLOUT, "i-large", deployment("shop", "pay"))?;
    large.rationale = "x".repeat(300 * 1024);
    let mut misspelt = serde_json::to_value(rollback(BAD_ROLLOUT, "i-misspelt", deployment("shop", "pay"))?)?;
    misspelt["approvedBy"] = serde_json::json!("jane");
    let payloads = [serde_json::to_vec(&large)?, serde_json::to_vec(&misspelt)?, b"[[[[".to_vec()];
    for (number, payload) in payloads.iter().enumerate() {
        let (id, payload) = (format!("unreadable-{number}"), Bytes::from(payload.clone()));
        bus.publish(Publish { subject: Subject::Proposal, id, payload, trace: TraceContext::default() }).await?;
    }
    eventually("what can't be read to be put aside", IN_TIME, || async {
        let dead = world.stored("dead").await?;
        Ok(payloads.iter().all(|payload| dead.iter().any(|(_, it)| it.as_ref() == payload.as_slice())).then_some(()))
    })
    .await?;
    Ok("put aside: proposals of 300 KiB, with a field of their own, and of no JSON".to_owned())
}

/// A hundred proposals, each of an incident of its own, to do something to what is well.
async fn many(world: &World, bus: &JetStreamBus) -> Result<String> {
    let mut names = BTreeSet::new();
    for number in 0..100 {
        names.insert(publish(bus, &rollback(BAD_ROLLOUT, &format!("i-{number}"), deployment("shop", "cart"))?).await?);
    }
    let ended = eventually("a hundred proposals to end", IN_TIME, || async {
        let mut ended: Vec<Phase> = Vec::new();
        let mut left = names.clone();
        for (_, payload) in world.stored("outcome").await? {
            let Ok(outcome) = serde_json::from_slice::<Outcome>(&payload) else { continue };
            if left.remove(&outcome.remediation) {
                ended.push(outcome.phase);
            }
        }
        Ok(left.is_empty().then_some(ended))
    })
    .await?;
    ensure!(ended.iter().all(|phase| matches!(phase, Phase::Obsolete | Phase::Denied)), "{ended:?}");
    Ok("Denied or Obsolete: a hundred proposals on what is well, each for an incident of its own".to_owned())
}

/// Has the server say, in the observer's bucket, that the broken revision was once available; and breaks it anew.
async fn poison(world: &World) -> Result<()> {
    let api: Api<ReplicaSet> = Api::namespaced(world.client.clone(), "shop");
    let all = api.list(&ListParams::default().labels("app=pay")).await?.items;
    let image = |it: &ReplicaSet| {
        let pod = it.spec.as_ref()?.template.as_ref()?.spec.as_ref()?;
        pod.containers.first()?.image.clone()
    };
    let broken = all.iter().find(|it| image(it).is_some_and(|image| image.ends_with("v2-missing")));
    let broken = broken.context("no ReplicaSet of the broken revision")?;
    let revision_uid = broken.uid().context("no uid")?;
    let owner_uid = broken.owner_references().first().map(|owner| owner.uid.clone()).unwrap_or_default();
    let record = AvailabilityRecord { revision_uid: revision_uid.clone(), owner_uid, since: now() - Span::hours(1) };
    let (client, _) = world.nats_as(Plane::Reasoner).await?;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
    let forged = bus::put(&client, "poison", headers, serde_json::to_vec(&record)?.into()).await?;
    let to = format!("$KV.evenkeel_test_baselines.{}", AvailabilityRecord::key(&revision_uid));
    client.publish_with_reply(forged, to.clone(), Bytes::new()).await?;
    let (admin, _) = world.nats_as(Plane::Admin).await?;
    let place = format!("$JS.API.DIRECT.GET.KV_evenkeel_test_baselines.{to}");
    eventually("the poisoned baseline to be stored", IN_TIME, || async {
        let found = admin.request(place.clone(), Bytes::new()).await?.payload;
        Ok(serde_json::from_slice::<AvailabilityRecord>(&found).ok().map(drop))
    })
    .await?;
    world.set_image("shop", "pay", "registry.example/app:v3-missing")
}

/// What the API server saw of us: one rollback, tried and done, and nothing else in anybody's objects. The reasoner was
/// never there.
pub(super) fn only_what_was_allowed_was_done(world: &World) -> Result<()> {
    let audit = world.audit()?;
    let reasoner = user_of(evenkeel_tests::Plane::Reasoner);
    ensure!(audit.iter().all(|request| request.user.username != reasoner), "the reasoner was at the API server");
    // Our own objects, what is told about others', and questions.
    let ours = [
        "remediations",
        "ledgers",
        "approvals",
        "requests",
        "actionpolicies",
        "playbooks",
        "leases",
        "events",
        "subjectaccessreviews",
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
    ];
    let mut done: Vec<(String, bool)> = Vec::new();
    for request in audit.iter().filter(|request| request.is_ours() && request.is_mutating() && request.succeeded()) {
        let object = request.object_ref.clone().unwrap_or_default();
        if !ours.contains(&object.resource.as_str()) {
            let what = format!("{} {} {}/{}", request.verb, object.resource, object.namespace, object.name);
            done.push((what, request.is_dry_run()));
        }
    }
    let rollback = "patch deployments shop/pay".to_owned();
    ensure!(done == [(rollback.clone(), true), (rollback, false)], "{done:#?}");
    Ok(())
}

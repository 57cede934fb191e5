//! People decide, by kubectl and by `evenkeel approve`, each under a client certificate of their own; whatever else says
//! that it is a person's approval is refused with a reason.

mod forgeries;
mod refusals;
mod restored;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evenkeel_model::{Asked, Origin, Phase, Playbook, Remediation, RemediationSpec};
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::people::{APPROVERS, Person};
use evenkeel_tests::proposals::{deployment, rollback};
use evenkeel_tests::world::{ENGINE, SHOP, now};
use evenkeel_tests::{Options, Plane, World, eventually, world};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

/// How long the gateway has for what it does by itself.
pub(crate) const SOON: Duration = Duration::from_secs(45);

/// Rollbacks in the shop, when so many people approve.
pub(crate) fn medium(approvers: u32) -> String {
    let tier = format!("tier: Medium\n      approvers: {approvers}");
    policy("Enforce").replace("tier: Low", &tier).replace("origins: [Playbook]", "origins: [Playbook, Person]")
}

/// A gateway that counts approvals, with rollbacks in the shop that take so many people, who may approve when they are
/// in the group sre.
async fn where_people_decide(world: &mut World, approvers: u32) -> Result<()> {
    world.apply(&medium(approvers))?;
    world.apply(APPROVERS)?;
    world.guard_approvals()?;
    world.engine.launch(Plane::Gateway)?;
    world.engine.ready(Plane::Gateway).await
}

/// A Deployment of which the newest revision does not come up.
pub(crate) async fn broken(world: &World, name: &str) -> Result<()> {
    let image = "registry.example/app:v1";
    world.deploy(&App { real: false, ..App::new(SHOP, name, image) }.deployment()).await?;
    world.set_image(SHOP, name, "registry.example/app:v2-missing")
}

/// What the gateway makes of a proposal to roll a Deployment back, made by hand: it is judged as any other.
pub(crate) async fn propose(
    world: &World,
    name: &str,
    of: &str,
    lives: chrono::Duration,
    by: Option<&str>,
) -> Result<String> {
    let playbook: Playbook = serde_saphyr::from_str(BAD_ROLLOUT)?;
    let mut proposal = rollback(BAD_ROLLOUT, &format!("i-{name}"), deployment(SHOP, of))?;
    proposal.expires_at = proposal.proposed_at + lives;
    if by.is_some() {
        proposal.origin = Origin::Person;
    }
    let mut spec = RemediationSpec::new(proposal).with_step_of(&playbook.spec);
    spec.requested_by = by.map(str::to_owned);
    let api: Api<Remediation> = Api::namespaced(world.client.clone(), ENGINE);
    api.create(&PostParams::default(), &Remediation::new(name, spec)).await?;
    Ok(name.to_owned())
}

async fn status(world: &World, name: &str) -> Result<evenkeel_model::RemediationStatus> {
    let api: Api<Remediation> = Api::namespaced(world.client.clone(), ENGINE);
    api.get(name).await?.status.context("it has no status yet")
}

pub(crate) async fn phase(world: &World, name: &str, phases: &[Phase]) -> Result<evenkeel_model::RemediationStatus> {
    eventually(&format!("{name} to be {phases:?}"), SOON, || async {
        let status = status(world, name).await?;
        ensure!(phases.contains(&status.phase), "it is {} ({})", status.phase, status.reason);
        Ok(Some(status))
    })
    .await
}

/// What is asked of people about a Remediation, once it is as `so` wants it.
pub(crate) async fn asked(world: &World, name: &str, what: &str, so: impl Fn(&Asked) -> bool) -> Result<Asked> {
    eventually(&format!("{name}: {what}"), SOON, || async {
        let status = status(world, name).await?;
        let asked =
            status.approval.with_context(|| format!("nobody is asked: {} ({})", status.phase, status.reason))?;
        ensure!(so(&asked), "{asked:#?}");
        Ok(Some(asked))
    })
    .await
}

/// What is asked, once an approval that is made now counts: admission has been seen to refuse a forgery, and the
/// clocks' tolerance has passed since.
pub(crate) async fn guarded(world: &World, name: &str) -> Result<Asked> {
    let old =
        |asked: &Asked| asked.guard.as_ref().is_some_and(|guard| now() - guard.since > chrono::Duration::seconds(7));
    asked(world, name, "admission to be known to hold for a while", old).await
}

/// An approval of what is asked.
pub(crate) fn approval(remediation: &str, asked: &Asked, who: &str, groups: &[&str]) -> Value {
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1",
        "kind": "Approval",
        "metadata": {"generateName": format!("{remediation}-"), "namespace": ENGINE},
        "spec": {
            "remediation": remediation,
            "digest": asked.digest,
            "decision": "Approve",
            "tier": asked.tier,
            "namespace": SHOP,
            "approver": who,
            "groups": groups,
            "reason": "looked at it",
        },
    })
}

/// Creates an approval with kubectl, as somebody, and gives its name.
pub(crate) fn create(world: &World, person: &Person, approval: &Value) -> Result<String> {
    let made = world.kubectl_as(person, &["create", "-f", "-", "-o", "name"], &approval.to_string())?;
    Ok(made.trim().rsplit('/').next().unwrap_or_default().to_owned())
}

/// From the fault to the repair, with a person in between who has nothing but kubectl.
#[test]
fn what_a_person_approves_by_kubectl_is_carried_out() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(&medium(1))?;
        world.apply(APPROVERS)?;
        world.guard_approvals()?;
        let jane = world.person("jane", Some("sre")).await?;
        world.engine.start().await?;
        broken(world, "cart").await?;

        let waits = [Phase::AwaitingApproval];
        let found = world.remediation("rollbackWorkload", "cart", &waits, Duration::from_secs(90)).await?;
        let name = found.metadata.name.context("it has no name")?;
        let asked = guarded(world, &name).await?;
        ensure!(asked.changes.concat().contains("app:v2-missing → "), "{asked:#?}");
        ensure!(
            world.our_writes("deployments", "shop", "cart")?.is_empty(),
            "something was done before anybody said so"
        );

        create(world, &jane, &approval(&name, &asked, "jane", &["sre"]))?;
        let done = world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], Duration::from_secs(90)).await?;
        let status = done.status.context("it has no status")?;
        let given: Vec<String> = status.approval.into_iter().flat_map(|it| it.given).map(|it| it.approver).collect();
        ensure!(given == ["jane"], "{given:?}");
        ensure!(world.image("shop", "cart").await? == "registry.example/app:v1");
        // The gateway has all the rights it needs for it, and nothing that it asked for was refused but its own forgery.
        let gateway = evenkeel_tests::audit::user_of(Plane::Gateway);
        let refused: Vec<_> =
            world.audit()?.into_iter().filter(|it| it.user.username == gateway && it.code() == 403).collect();
        ensure!(refused.len() == 1 && refused[0].is_dry_run(), "{refused:#?}");
        Ok(())
    })
}

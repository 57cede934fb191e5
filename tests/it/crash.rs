//! The gateway dies, or loses the reply, at the worst moments: one effect, one outcome.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use evenkeel_model::{Outcome, Phase};
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::proxy::{Rule, Trouble};
use evenkeel_tests::{Options, Plane, World, eventually, world};
use serde_json::json;

async fn repair_through(world: &mut World, trouble: Trouble) -> Result<()> {
    let proxy = world.behind_proxy(Plane::Gateway).await?;
    let mut configuration = world.read_configuration(Plane::Gateway)?;
    // Shorter than the API server's own minute is true here: what the proxy troubles is not under way there any more.
    configuration["gateway"]["requestTimeout"] = json!("3s");
    configuration["gateway"]["serverRequestTimeout"] = json!("5s");
    configuration["gateway"]["claim"] = json!("10s");
    world.write_configuration(Plane::Gateway, &configuration)?;
    world.apply(BAD_ROLLOUT)?;
    world.apply(&policy("Enforce"))?;
    world.engine.start().await?;
    world.deploy(&App::new("shop", "cart", "registry.example/app:v1").deployment()).await?;
    proxy.trouble(Rule {
        method: http::Method::PATCH,
        path: "/namespaces/shop/deployments/cart".to_owned(),
        times: 1,
        trouble,
    });
    world.set_image("shop", "cart", "registry.example/app:no-such-tag")?;
    tokio::time::timeout(Duration::from_secs(90), proxy.struck()).await?;
    if trouble != Trouble::LoseReply {
        world.engine.kill(Plane::Gateway);
        world.engine.launch(Plane::Gateway)?;
    }
    world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], Duration::from_secs(120)).await?;
    ensure!(world.image("shop", "cart").await? == "registry.example/app:v1");

    let writes = world.our_writes("deployments", "shop", "cart")?;
    let effects = writes.iter().filter(|write| !write.is_dry_run() && write.succeeded()).count();
    ensure!(effects == 1, "{writes:#?}");
    ensure!(
        world.remediations().await?.iter().filter(|found| found.spec.proposal.action.name().is_mutating()).count() == 1
    );
    let outcomes = eventually("the outcome", Duration::from_secs(30), || async {
        let outcomes = outcomes(world).await?;
        Ok((!outcomes.is_empty()).then_some(outcomes))
    })
    .await?;
    ensure!(outcomes.len() == 1 && outcomes.values().all(|outcome| outcome.phase == Phase::Succeeded), "{outcomes:#?}");
    Ok(())
}

/// Distinct outcomes of mutating actions on the bus.
async fn outcomes(world: &World) -> Result<BTreeMap<String, Outcome>> {
    let stored = world.stored("outcome").await?;
    let outcomes = stored.into_iter().map(|(_, payload)| Ok(serde_json::from_slice::<Outcome>(&payload)?));
    let outcomes: Vec<Outcome> = outcomes.collect::<Result<_>>()?;
    Ok(outcomes.into_iter().filter(|o| o.action.is_mutating()).map(|o| (o.id(), o)).collect())
}

#[test]
fn killed_before_the_request_left_it_is_sent_once() -> Result<()> {
    world::run(Options::real(), async |world| repair_through(world, Trouble::HoldBeforeSend).await)
}

#[test]
fn killed_after_the_commit_it_is_not_sent_again() -> Result<()> {
    world::run(Options::real(), async |world| repair_through(world, Trouble::HoldAfterCommit).await)
}

#[test]
fn a_lost_reply_is_found_out_by_the_stamp() -> Result<()> {
    world::run(Options::real(), async |world| repair_through(world, Trouble::LoseReply).await)
}

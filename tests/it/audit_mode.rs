//! In audit mode it says what it would do, and does nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use evenkeel_model::Phase;
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::{Options, World, world};

async fn would_execute(world: &mut World) -> Result<()> {
    world.engine.start().await?;
    world.deploy(&App::new("shop", "cart", "registry.example/app:v1").deployment()).await?;
    world.set_image("shop", "cart", "registry.example/app:no-such-tag")?;
    let done = world.remediation("rollbackWorkload", "cart", &[Phase::WouldExecute], Duration::from_secs(90)).await?;
    ensure!(
        done.status.is_some_and(|status| status.outcome_published.is_none() || status.phase == Phase::WouldExecute)
    );
    ensure!(world.image("shop", "cart").await? == "registry.example/app:no-such-tag");
    let ours = "system:serviceaccount:evenkeel:";
    // Of policies, whether they can be enforced.
    let own = ["remediations", "ledgers", "events", "actionpolicies", "selfsubjectaccessreviews"];
    // Whether admission refuses forgeries is only tried out, on the gateway's own kinds.
    let tried_out = ["requests", "approvals"];
    let writes: Vec<_> = world
        .audit()?
        .into_iter()
        .filter(|request| request.is_mutating() && request.user.username.starts_with(ours))
        .filter(|request| request.object_ref.as_ref().is_none_or(|object| !own.contains(&object.resource.as_str())))
        .filter(|request| {
            let is_own = request.object_ref.as_ref().is_some_and(|it| tried_out.contains(&it.resource.as_str()));
            !(is_own && request.is_dry_run())
        })
        .collect();
    ensure!(writes.is_empty(), "{writes:#?}");
    Ok(())
}

#[test]
fn a_policy_in_audit_mode_writes_nothing() -> Result<()> {
    world::run(Options::real(), async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(&policy("Audit"))?;
        would_execute(world).await
    })
}

#[test]
fn the_installation_s_mode_is_the_ceiling() -> Result<()> {
    let mut options = Options::real();
    options.mode = "Audit";
    world::run(options, async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(&policy("Enforce"))?;
        would_execute(world).await
    })
}

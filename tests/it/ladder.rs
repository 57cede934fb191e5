//! What did not help is not tried again: the ladder goes on, and people are told.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use evenkeel_bus::{BucketName, Bus as _};
use evenkeel_model::Phase;
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::{Options, Plane, World, eventually, world};
use serde_json::json;

fn settings(mode: &str) -> String {
    format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {{\"name\": \"settings\", \"namespace\": \"shop\"}}, \"data\": {{\"MODE\": \"{mode}\"}}}}"
    )
}

/// Every step of a playbook that was carried out, and how often.
async fn steps(world: &World) -> Result<BTreeMap<String, usize>> {
    let mut steps = BTreeMap::new();
    for found in world.remediations().await? {
        if found.spec.proposal.action.name().is_mutating() {
            *steps.entry(found.spec.proposal.playbook.step).or_default() += 1;
        }
    }
    Ok(steps)
}

#[test]
fn when_the_revision_before_is_bad_too_people_are_told_and_no_step_is_repeated() -> Result<()> {
    world::run(Options::real(), async |world| {
        world.apply(&BAD_ROLLOUT.replace("within: 60s", "within: 20s"))?;
        world.apply(&policy("Enforce"))?;
        world.apply(&settings("good"))?;
        let mut configuration = world.read_configuration(Plane::Observer)?;
        configuration["observer"]["kubernetes"] = json!({"availableFor": "2s"});
        world.write_configuration(Plane::Observer, &configuration)?;
        world.engine.start().await?;
        let mut app = App::new("shop", "cart", "registry.example/app:v1-strict");
        app.strategy = "Recreate";
        app.env_from = Some("settings");
        world.deploy(&app.deployment()).await?;
        // With Recreate nothing in the API will tell that it was available once it is gone.
        eventually("the observer to have noted that v1 was available", Duration::from_secs(30), || async {
            let noted = world.bus().await?.bucket(BucketName::Baselines).await?.keys().await?;
            Ok(noted.iter().any(|key| key.starts_with("available.")).then_some(()))
        })
        .await?;
        // Every pod that starts from now on fails, of whatever version.
        world.apply(&settings("bad"))?;
        world.set_image("shop", "cart", "registry.example/app:v2-strict")?;

        let tried = [Phase::NotUndoable, Phase::RolledBack];
        world.remediation("rollbackWorkload", "cart", &tried, Duration::from_secs(150)).await?;
        world.remediation("escalate", "cart", &[Phase::Succeeded], Duration::from_secs(60)).await?;
        let steps = steps(world).await?;
        ensure!(steps == BTreeMap::from([("roll-back".to_owned(), 1)]), "{steps:?}");
        let incidents = world.incidents()?;
        ensure!(incidents.iter().any(|incident| incident.needs_human.is_some()), "{incidents:#?}");
        let waiting = eventually("the metric that pages", Duration::from_secs(90), || async {
            let value = world
                .engine
                .metric(Plane::Reasoner, "evenkeel_incident_needs_human", &["deployment/shop/cart"])
                .await?;
            Ok((value >= 1.0).then_some(value))
        });
        waiting.await?;
        Ok(())
    })
}

#[test]
fn the_same_fault_again_is_recorded_as_a_regression_and_its_step_is_not_repeated() -> Result<()> {
    world::run(Options::real(), async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(&policy("Enforce"))?;
        world.engine.start().await?;
        world.deploy(&App::new("shop", "cart", "registry.example/app:v1").deployment()).await?;
        world.set_image("shop", "cart", "registry.example/app:no-such-tag")?;
        let first =
            world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], Duration::from_secs(120)).await?;
        eventually("the incident to close", Duration::from_secs(60), || async {
            let incidents = world.incidents()?;
            Ok(incidents.iter().all(|incident| incident.closed_at.is_some()).then_some(()))
        })
        .await?;

        world.set_image("shop", "cart", "registry.example/app:no-such-tag")?;
        world.remediation("rollbackWorkload", "cart", &[Phase::Regressed], Duration::from_secs(90)).await?;
        world.remediation("escalate", "cart", &[Phase::Succeeded], Duration::from_secs(60)).await?;
        let steps = steps(world).await?;
        ensure!(steps == BTreeMap::from([("roll-back".to_owned(), 1)]), "{steps:?}");
        let regressed =
            world.remediations().await?.into_iter().find(|found| found.metadata.name == first.metadata.name);
        ensure!(regressed.and_then(|found| found.status).is_some_and(|status| status.phase == Phase::Regressed));
        let counted = world
            .engine
            .metric(Plane::Gateway, "evenkeel_remediation_phases", &["Regressed", "rollbackWorkload"])
            .await?;
        ensure!(counted >= 1.0, "{counted}");
        Ok(())
    })
}

//! A freeze stops everything new at once, and nothing that has to be taken back.

use std::time::Duration;

use anyhow::{Result, ensure};
use evenkeel_bus::{BucketName, Bus as _};
use evenkeel_model::{Phase, Remediation};
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::{Options, Plane, World, eventually, world};
use serde_json::json;

const IN_TIME: Duration = Duration::from_secs(90);

/// Who may freeze and thaw.
fn let_jane_freeze(world: &World) -> Result<()> {
    world.allow(
        "jane",
        &json!([{"apiGroups": ["evenkeel.dev"], "resources": ["freezes"], "verbs": ["create", "list", "delete"]}]),
    )
}

fn reason(found: &Remediation) -> &str {
    found.status.as_ref().map(|status| status.reason.as_str()).unwrap_or_default()
}

#[test]
fn while_it_is_frozen_nothing_is_written_and_once_it_is_thawed_it_is_repaired() -> Result<()> {
    world::run(Options::real(), async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(&policy("Enforce"))?;
        let_jane_freeze(world)?;
        world.engine.start().await?;
        for name in ["cart", "pay"] {
            world.deploy(&App::new("shop", name, "registry.example/app:v1").deployment()).await?;
        }

        let told = world.run_as("jane", &["freeze", "-n", "shop", "--reason", "release day", "--name", "release"])?;
        ensure!(told.contains("evenkeel thaw release"), "{told}");
        let refused = world.refused_as("joe", &["freeze", "-A", "--reason", "mischief"])?;
        ensure!(refused.contains("freezes.evenkeel.dev") && refused.contains("forbidden"), "{refused}");
        world.set_image("shop", "cart", "registry.example/app:no-such-tag")?;
        let waiting = world.remediation("rollbackWorkload", "cart", &[Phase::Deferred], IN_TIME).await?;
        let said = "freeze release: frozen by jane (release day)";
        ensure!(reason(&waiting).starts_with(said), "{}", reason(&waiting));
        let writes = world.our_writes("deployments", "shop", "cart")?;
        ensure!(writes.is_empty(), "not even a dry run: {writes:#?}");

        world.run_as("jane", &["thaw", "release"])?;
        world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], IN_TIME).await?;
        ensure!(world.image("shop", "cart").await? == "registry.example/app:v1");

        // Without the kind nobody can say that it is not frozen.
        world.cluster.kubectl(&["delete", "crd", "freezes.evenkeel.dev", "--wait"])?;
        world.set_image("shop", "pay", "registry.example/app:no-such-tag")?;
        let waiting = world.remediation("rollbackWorkload", "pay", &[Phase::Deferred], IN_TIME).await?;
        ensure!(reason(&waiting).contains("the kind Freeze is not installed"), "{}", reason(&waiting));
        ensure!(world.our_writes("deployments", "shop", "pay")?.is_empty());
        world.install_kinds()?;
        world.remediation("rollbackWorkload", "pay", &[Phase::Succeeded], IN_TIME).await?;
        Ok(())
    })
}

#[test]
fn what_did_not_help_is_undone_while_it_is_frozen_unless_the_freeze_says_all() -> Result<()> {
    world::run(Options::real(), async |world| {
        let undone = BAD_ROLLOUT.replace("within: 60s", "within: 20s").replace("undo: Never", "undo: Automatic");
        world.apply(&undone)?;
        world.apply(&policy("Enforce"))?;
        world.apply(&settings("good"))?;
        let_jane_freeze(world)?;
        let mut configuration = world.read_configuration(Plane::Observer)?;
        configuration["observer"]["kubernetes"] = json!({"availableFor": "2s"});
        world.write_configuration(Plane::Observer, &configuration)?;
        world.engine.start().await?;
        for name in ["cart", "pay"] {
            let mut app = App::new("shop", name, "registry.example/app:v1-strict");
            app.strategy = "Recreate";
            app.env_from = Some("settings");
            world.deploy(&app.deployment()).await?;
        }
        eventually("the observer to have noted that v1 was available", Duration::from_secs(30), || async {
            let noted = world.bus().await?.bucket(BucketName::Baselines).await?.keys().await?;
            Ok((noted.iter().filter(|key| key.starts_with("available.")).count() == 2).then_some(()))
        })
        .await?;
        world.apply(&settings("bad"))?;

        world.set_image("shop", "cart", "registry.example/app:v2-strict")?;
        world.remediation("rollbackWorkload", "cart", &[Phase::Verifying], IN_TIME).await?;
        world.run_as("jane", &["freeze", "-A", "--reason", "release day", "--name", "release"])?;
        world.remediation("rollbackWorkload", "cart", &[Phase::RolledBack], IN_TIME).await?;
        ensure!(world.image("shop", "cart").await? == "registry.example/app:v2-strict");
        world.run_as("jane", &["thaw", "--everything"])?;

        world.set_image("shop", "pay", "registry.example/app:v2-strict")?;
        world.remediation("rollbackWorkload", "pay", &[Phase::Verifying], IN_TIME).await?;
        let all = ["freeze", "-n", "shop", "--all", "--reason", "hands off", "--for", "1h", "--name", "hands-off"];
        world.run_as("jane", &all)?;
        eventually("the undo to wait", IN_TIME, || async {
            let found = world.remediation("rollbackWorkload", "pay", &[Phase::Ineffective], IN_TIME).await?;
            Ok(reason(&found).contains("not undone yet: frozen by jane (hands off)").then_some(()))
        })
        .await?;
        ensure!(world.image("shop", "pay").await? == "registry.example/app:v1-strict");
        world.run_as("jane", &["thaw", "hands-off"])?;
        world.remediation("rollbackWorkload", "pay", &[Phase::RolledBack], IN_TIME).await?;
        ensure!(world.image("shop", "pay").await? == "registry.example/app:v2-strict");
        Ok(())
    })
}

fn settings(mode: &str) -> String {
    let metadata = json!({"name": "settings", "namespace": "shop"});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"MODE": mode}}).to_string()
}

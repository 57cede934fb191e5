//! What was done is proved by a copy of the audit log, also over a gateway's death, and a copy that was changed is
//! refused.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evenkeel_model::Phase;
use evenkeel_tests::audit_log::tamper;
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::{Options, Plane, World, world};
use kube::ResourceExt as _;
use serde_json::Value;

const GOOD: &str = "registry.example/app:v1";
const BAD: &str = "registry.example/app:no-such-tag";

/// Breaks a Deployment and gives the name of the Remediation that repaired it.
async fn repaired(world: &World, name: &str) -> Result<String> {
    world.deploy(&App::new("shop", name, GOOD).deployment()).await?;
    world.set_image("shop", name, BAD)?;
    let done = world.remediation("rollbackWorkload", name, &[Phase::Succeeded], Duration::from_secs(120)).await?;
    ensure!(world.image("shop", name).await? == GOOD);
    Ok(done.name_any())
}

fn lines(course: &[Value]) -> Vec<String> {
    let text = |record: &Value, key| record[key].as_str().unwrap_or_default().to_owned();
    course.iter().map(|record| format!("{} {}", text(record, "kind"), text(record, "phase"))).collect()
}

#[test]
fn a_repair_is_proved_by_a_copy_and_a_changed_copy_is_refused() -> Result<()> {
    world::run(Options::real(), async |world| {
        let log = world.with_audit_log()?;
        world.apply(BAD_ROLLOUT)?;
        world.apply(&policy("Enforce"))?;
        world.engine.start().await?;

        let cart = repaired(world, "cart").await?;
        let course = log.course(&cart).await?;
        ensure!(
            lines(&course)
                == [
                    "Proposal Proposed",
                    "Phase Authorized",
                    "Phase Claimed",
                    "Phase Executing",
                    "DryRun Executing",
                    "Request Executing",
                    "Phase Verifying",
                    "Phase Succeeded",
                    "Outcome Succeeded",
                ],
            "{course:#?}"
        );
        // What the log says was asked of the API server is what the API server says.
        let writes = world.our_writes("deployments", "shop", "cart")?;
        ensure!(writes.iter().filter(|write| !write.is_dry_run() && write.succeeded()).count() == 1, "{writes:#?}");
        let request = course.iter().find(|record| record["kind"] == "Request").context("no request")?;
        ensure!(request["reason"] == "done" && request["target"]["name"] == "cart", "{request:#}");

        let copies = tempfile::tempdir()?;
        let (first, second) = (copies.path().join("first"), copies.path().join("second"));
        log.export(&first)?;
        let verified = log.verify(&first, None)?;
        ensure!(verified.code == Some(0) && verified.text.starts_with("whole: "), "{verified:?}");

        // The gateway that seals is killed; another goes on with the same log.
        world.engine.kill(Plane::Gateway);
        world.engine.launch(Plane::Gateway)?;
        let till = repaired(world, "till").await?;
        log.course(&till).await?;
        log.export(&second)?;
        let verified = log.verify(&second, Some(&first.join("checkpoint")))?;
        ensure!(verified.code == Some(0), "{verified:?}");
        ensure!(log.records(&second, &cart)? == course);
        let ids: BTreeSet<String> = log.course(&till).await?.iter().map(|record| record["id"].to_string()).collect();
        ensure!(ids.len() == log.course(&till).await?.len(), "a record is there twice");

        // An older copy in the place of the newer, and a record that was changed.
        let cut = log.verify(&first, Some(&second.join("checkpoint")))?;
        ensure!(cut.code == Some(1) && cut.text.contains("its end was cut off"), "{cut:?}");
        let changed = course.iter().find(|record| record["phase"] == "Claimed").context("no claim")?;
        let object = tamper(&second, changed)?;
        let refused = log.verify(&second, None)?;
        let named = format!("record {} was changed", changed["index"]);
        ensure!(refused.code == Some(1) && refused.text.contains(&named), "{object}: {refused:?}");
        println!("{}", refused.text);
        Ok(())
    })
}

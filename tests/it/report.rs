//! The road from Audit to Enforce, read from a live cluster and bus.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evenkeel_model::Phase;
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::{Options, eventually, world};
use serde_json::Value;

#[test]
fn a_report_tells_what_a_person_repaired_from_what_healed_alone() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        let file = world.configuration_of_a_person()?;
        let file = file.to_str().context("a path")?;

        world.apply(BAD_ROLLOUT)?;
        world.apply(&policy("Audit"))?;
        world.engine.start().await?;
        world.deploy(&App::new("shop", "cart", "registry.example/app:v1").deployment()).await?;
        world.set_image("shop", "cart", "registry.example/app:v2-missing")?;
        world.remediation("rollbackWorkload", "cart", &[Phase::WouldExecute], Duration::from_secs(90)).await?;
        world.set_image("shop", "cart", "registry.example/app:v1")?;

        let report = || world.engine.command(&["report", "--since", "7d", "--json", "--config", file]);
        let one = eventually("the incident to be over in the report", Duration::from_secs(120), || async {
            let road: Value = serde_json::from_str(&report()?)?;
            let playbooks = road["playbooks"].as_array().context("playbooks")?;
            let one = playbooks.iter().find(|playbook| playbook["name"] == "bad-rollout").cloned();
            Ok(one.filter(|playbook| playbook["stillIll"] == 0))
        });
        let one = one.await?;
        ensure!(one["wouldExecute"] == 1 && one["done"] == 0, "{one:#}");
        ensure!(one["repairedByOthers"] == 1 && one["healedAlone"]["count"] == 0, "{one:#}");
        let by = one["cases"][0]["repairedBy"].as_str().context("repairedBy")?;
        ensure!(by.contains("kubectl"), "{by}");

        let table = world.engine.command(&["report", "--since", "7d", "--config", file])?;
        ensure!(table.contains("BY OTHERS") && table.contains("1 of 1 repaired by somebody else"), "{table}");
        let listed = world.engine.command(&["get", "playbooks", "--config", file])?;
        ensure!(listed.lines().any(|line| line.starts_with("bad-rollout ") && line.contains("in use")), "{listed}");
        Ok(())
    })
}

//! What does not help is not done for ever.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evenkeel_bus::permissions;
use evenkeel_model::{Phase, Remediation};
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::people::APPROVERS;
use evenkeel_tests::proposals::{deployment, publish, rollback};
use evenkeel_tests::{Options, Plane, World, eventually, world};
use serde_json::json;

use crate::approvals::{approval, create, guarded, phase};

const IN_TIME: Duration = Duration::from_secs(60);

/// The playbook with something for success that it will never bring about.
fn useless() -> String {
    BAD_ROLLOUT
        .replace(
            "{fact: target.well, op: Equals, value: true}",
            "{fact: target.unavailableReplicas, op: AtLeast, value: 50}",
        )
        .replace("within: 60s", "within: 4s")
        .replace("hold: 3s", "hold: 1s")
}

async fn deploy(world: &World, names: &[&str]) -> Result<()> {
    for name in names {
        world.deploy(&App { real: false, ..App::new("shop", name, "registry.example/app:v1") }.deployment()).await?;
    }
    Ok(())
}

fn break_it(world: &World, name: &str) -> Result<()> {
    world.set_image("shop", name, "registry.example/app:v2-missing")
}

fn reason(found: &Remediation) -> &str {
    found.status.as_ref().map(|status| status.reason.as_str()).unwrap_or_default()
}

/// That the shipped rule fires on what the gateway now says.
async fn alerted(world: &World, alert: &str, series: &str, stops: &str) -> Result<()> {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?.join("alerts/evenkeel.yaml");
    let rules = std::fs::read_to_string(rules)?;
    let rule = rules.split("- alert: ").find(|rule| rule.starts_with(alert)).context("no such alert")?;
    ensure!(rule.contains(series), "{rule}");
    eventually(&format!("{series} to be measured"), IN_TIME, || async {
        let open = world.engine.metric(Plane::Gateway, "evenkeel_breakers_open", &[stops]).await?;
        Ok((open >= 1.0).then_some(()))
    })
    .await
}

async fn rearm(world: &World, what: &str) -> Result<String> {
    eventually("the gateway to rearm", IN_TIME, || async {
        match world.run_as("jane", &["rearm", what, "--reason", "mended"]) {
            Ok(told) => Ok(Some(told)),
            // Admission takes effect late, and is not relied on before.
            Err(error)
                if ["ask again", "can't be told who asks"].iter().any(|it| format!("{error:#}").contains(it)) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    })
    .await
}

#[test]
fn a_playbook_that_does_not_help_with_three_causes_is_suspended_until_a_person_rearms_it() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        world.apply(&useless())?;
        world.apply(&policy("Enforce"))?;
        world.install_admission(&policy("Enforce"))?;
        let all =
            json!({"apiGroups": ["evenkeel.dev"], "resources": ["requests"], "verbs": ["create", "get", "rearm"]});
        let read = json!({"apiGroups": ["evenkeel.dev"], "resources": ["remediations", "requests"], "verbs": ["list"]});
        world.allow("jane", &json!([all, read]))?;
        world.engine.start().await?;
        let causes = ["cart", "pay", "web"];
        deploy(world, &["cart", "pay", "web", "ship", "mail"]).await?;

        let mut incidents = BTreeSet::new();
        for name in causes {
            break_it(world, name)?;
        }
        for name in causes {
            let found = world.remediation("rollbackWorkload", name, &[Phase::NotUndoable], IN_TIME).await?;
            incidents.insert(found.spec.proposal.incident);
        }
        ensure!(incidents.len() == 3, "{incidents:?}");

        break_it(world, "ship")?;
        let denied = world.remediation("rollbackWorkload", "ship", &[Phase::Denied], IN_TIME).await?;
        ensure!(reason(&denied).contains("playbook bad-rollout is suspended until"), "{}", reason(&denied));
        ensure!(reason(&denied).contains("did not help with 3 of 3 causes"), "{}", reason(&denied));
        ensure!(world.our_writes("deployments", "shop", "ship")?.is_empty(), "not even a dry run");
        // The ladder ends in people's hands.
        world.remediation("escalate", "ship", &[Phase::Succeeded], IN_TIME).await?;
        let listed = world.run_as("jane", &["get", "breakers"])?;
        ensure!(listed.contains("bad-rollout") && listed.contains("suspends the playbook"), "{listed}");
        let series = "evenkeel_breakers_open{stops=\"playbook\"}";
        alerted(world, "EvenkeelPlaybookSuspended", series, "stops=\"playbook\"").await?;

        world.apply(BAD_ROLLOUT)?;
        rearm(world, "bad-rollout").await?;
        ensure!(!world.run_as("jane", &["get", "breakers"])?.contains("bad-rollout"));
        break_it(world, "mail")?;
        world.remediation("rollbackWorkload", "mail", &[Phase::Succeeded], IN_TIME).await?;
        ensure!(world.image("shop", "mail").await? == "registry.example/app:v1");
        Ok(())
    })
}

#[test]
fn many_roots_broken_for_one_cause_ask_for_one_approval_instead() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        world.apply(&useless())?;
        world.apply(&policy("Enforce"))?;
        world.apply(APPROVERS)?;
        world.guard_approvals()?;
        let jane = world.person("jane", Some("sre")).await?;
        let mut configuration = world.read_configuration(Plane::Gateway)?;
        configuration["gateway"]["breakers"] = json!({"roots": 3});
        world.write_configuration(Plane::Gateway, &configuration)?;
        world.engine.launch(Plane::Gateway)?;
        world.engine.ready(Plane::Gateway).await?;
        let names = ["cart", "pay", "web", "ship"];
        deploy(world, &names).await?;
        for name in names {
            break_it(world, name)?;
        }

        // One incident, as a reasoner makes of a wave.
        let bus = world.bus_as(permissions::Plane::Reasoner).await?;
        for (name, number) in ["cart", "pay", "web"].into_iter().zip(1..) {
            let mut proposal = rollback(&useless(), "i-wave", deployment("shop", name))?;
            proposal.number = number;
            publish(&bus, &proposal).await?;
        }
        for name in ["cart", "pay", "web"] {
            world.remediation("rollbackWorkload", name, &[Phase::NotUndoable], IN_TIME).await?;
        }
        alerted(world, "EvenkeelBreakerOpen", "evenkeel_breakers_open{stops!=\"playbook\"}", "stops=\"one_cause\"")
            .await?;

        let next = publish(&bus, &rollback(&useless(), "i-next", deployment("shop", "ship"))?).await?;
        let status = phase(world, &next, &[Phase::AwaitingApproval]).await?;
        ensure!(
            status.reason.contains("3 of 3 roots are broken") && status.reason.contains("i-wave"),
            "{}",
            status.reason
        );
        ensure!(
            world.our_writes("deployments", "shop", "ship")?.is_empty(),
            "something was done before anybody said so"
        );
        let asked = guarded(world, &next).await?;
        create(world, &jane, &approval(&next, &asked, "jane", &["sre"]))?;
        phase(world, &next, &[Phase::Verifying, Phase::NotUndoable]).await?;
        ensure!(world.image("shop", "ship").await? == "registry.example/app:v1");
        Ok(())
    })
}

//! Something breaks, and it is repaired: once, by whom it may, and provably.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use evenkeel_model::Phase;
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, TELL, policy};
use evenkeel_tests::{Options, World, eventually, world};

pub(crate) const RULES: &str = r#"
groups:
- name: kubernetes-apps
  rules:
  - alert: KubeContainerWaiting
    expr: kube_pod_container_status_waiting_reason{reason=~"ImagePullBackOff|ErrImagePull"} > 0
    for: 2s
    labels: {severity: warning}
    annotations: {summary: "Container {{ $labels.container }} of {{ $labels.pod }} waits: {{ $labels.reason }}"}
"#;

const GATEWAY: &str = "system:serviceaccount:evenkeel:evenkeel-gateway";

async fn break_and_repair(world: &mut World) -> Result<()> {
    world.deploy(&App::new("shop", "cart", "registry.example/app:v1").deployment()).await?;
    world.set_image("shop", "cart", "registry.example/app:no-such-tag")?;
    let done = world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], Duration::from_secs(120)).await?;
    world.available("shop", "cart", Duration::from_secs(10)).await?;
    ensure!(world.image("shop", "cart").await? == "registry.example/app:v1");

    let writes = world.our_writes("deployments", "shop", "cart")?;
    let kinds: Vec<(bool, bool)> = writes.iter().map(|write| (write.is_dry_run(), write.succeeded())).collect();
    ensure!(kinds == [(true, true), (false, true)], "expected one dry-run and one request, found {writes:#?}");
    ensure!(writes.iter().all(|write| write.verb == "patch" && write.user.username == GATEWAY), "{writes:#?}");

    let status = done.status.unwrap_or_else(|| unreachable!());
    ensure!(status.target_well == Some(true), "{status:?}");
    let phases: Vec<Phase> = status.history.iter().map(|transition| transition.phase).collect();
    ensure!(
        phases
            == [
                Phase::Proposed,
                Phase::Authorized,
                Phase::Claimed,
                Phase::Executing,
                Phase::Verifying,
                Phase::Succeeded
            ],
        "{phases:?}"
    );
    Ok(())
}

#[test]
fn an_alert_of_a_bad_image_ends_with_the_last_available_revision() -> Result<()> {
    let mut options = Options::real().with_alerts(RULES, 1);
    options.watches = false;
    world::run(options, async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(&policy("Enforce"))?;
        world.engine.start().await?;
        world.route_alerts()?;
        break_and_repair(world).await?;

        let one = eventually("one trace with all spans", Duration::from_secs(30), || async {
            let spans = world.traces.spans();
            let Some(act) = spans.iter().find(|span| span.name == "gate.act") else { return Ok(None) };
            let names: BTreeSet<String> =
                spans.iter().filter(|span| span.trace == act.trace).map(|span| span.name.clone()).collect();
            let needed = [
                "observe",
                "reason.fold",
                "reason.plan",
                "reason.propose",
                "gate.receive",
                "gate.judge",
                "gate.act",
                "gate.verify",
                "gate.outcome",
                "reason.outcome",
            ];
            let missing: Vec<&str> = needed.into_iter().filter(|name| !names.contains(*name)).collect();
            if missing.is_empty() { Ok(Some(names)) } else { anyhow::bail!("missing {missing:?} of {names:?}") }
        })
        .await?;
        ensure!(one.len() >= 10);

        let events = world.cluster.kubectl(&[
            "--namespace",
            "shop",
            "get",
            "events",
            "-o",
            "custom-columns=R:.reason,O:.involvedObject.name,S:.reportingComponent,M:.message",
        ])?;
        ensure!(events.lines().any(|line| line.contains("cart") && line.contains("evenkeel")), "{events}");
        let story = world.cluster.kubectl(&["--namespace", "evenkeel", "get", "remediations"])?;
        println!("{story}");
        ensure!(story.contains("rollbackWorkload deployment/shop/cart") && story.contains("Succeeded"), "{story}");
        Ok(())
    })
}

#[test]
fn watches_alone_see_and_repair_a_bad_image() -> Result<()> {
    world::run(Options::real(), async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(TELL)?;
        world.apply(&policy("Enforce"))?;
        world.engine.start().await?;
        break_and_repair(world).await
    })
}

//! Many alerts, planes killed meanwhile, the bus away: nothing accepted is lost, nothing is done twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use evenkeel_model::{Incident, Phase, Signal};
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::{Options, Plane, World, alerts, eventually, world};
use futures::StreamExt as _;
use serde_json::{Value, json};

fn alert(number: usize) -> Value {
    let labels =
        json!({"alertname": "Burst", "severity": "info", "namespace": "shop", "deployment": format!("d-{number}")});
    alerts::firing(labels, chrono::DateTime::UNIX_EPOCH + chrono::Duration::days(20_000))
}

/// Posts as Alertmanager does: again and again until it is accepted.
async fn deliver(client: &reqwest::Client, webhook: &str, number: usize) -> Result<()> {
    eventually(&format!("alert {number} to be accepted"), Duration::from_secs(120), || async {
        let answer = alerts::post(client, webhook, alert(number).to_string(), None).await?;
        ensure!(answer.status == 200 || answer.status == 503, "{answer:?}");
        Ok((answer.status == 200).then_some(()))
    })
    .await
}

/// The roots of all signals of the burst on the bus.
async fn signals(world: &World) -> Result<BTreeSet<String>> {
    let stored = world.stored("signal").await?;
    let mut roots = BTreeSet::new();
    for (_, payload) in stored {
        let signal: Signal = serde_json::from_slice(&payload)?;
        if let Some(root) = signal.root.filter(|_| signal.name == "Burst") {
            roots.insert(root.name);
        }
    }
    Ok(roots)
}

#[test]
fn each_plane_is_killed_during_a_burst_and_every_alert_is_accounted_for() -> Result<()> {
    const BURST: usize = 2_000;
    world::run(Options::kwok(), async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(&policy("Enforce"))?;
        world.engine.start().await?;
        let mut app = App::new("shop", "cart", "registry.example/app:v1");
        app.real = false;
        world.deploy(&app.deployment()).await?;
        world.set_image("shop", "cart", "registry.example/app:v2-missing")?;

        let client = alerts::client()?;
        let webhook = world.engine.webhook.clone();
        let delivered = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&delivered);
        let burst = tokio::spawn(async move {
            let posts = futures::stream::iter(0..BURST).map(|number| {
                let (client, webhook, counter) = (client.clone(), webhook.clone(), Arc::clone(&counter));
                async move {
                    deliver(&client, &webhook, number).await?;
                    counter.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, anyhow::Error>(())
                }
            });
            posts.buffer_unordered(16).collect::<Vec<_>>().await.into_iter().collect::<Result<()>>()
        });
        for (plane, after) in
            [(Plane::Observer, BURST / 5), (Plane::Reasoner, BURST * 2 / 5), (Plane::Gateway, BURST * 3 / 5)]
        {
            eventually("part of the burst", Duration::from_secs(120), || async {
                Ok((delivered.load(Ordering::Relaxed) >= after).then_some(()))
            })
            .await?;
            world.engine.kill(plane);
            world.engine.launch(plane)?;
        }
        burst.await??;

        let expected: BTreeSet<String> = (0..BURST).map(|number| format!("d-{number}")).collect();
        let stored = signals(world).await?;
        ensure!(stored == expected, "{} of {BURST} are on the bus", stored.len());
        eventually("an incident for each alert", Duration::from_secs(180), || async {
            let incidents = world.incidents()?;
            let roots: BTreeSet<String> = incidents
                .iter()
                .filter(|incident| incident.decided.is_some())
                .filter_map(|incident| Some(incident.root.as_ref()?.name.clone()))
                .collect();
            ensure!(roots.is_superset(&expected), "{} of {BURST}", roots.intersection(&expected).count());
            Ok(Some(()))
        })
        .await?;
        world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], Duration::from_secs(120)).await?;
        let writes = world.our_writes("deployments", "shop", "cart")?;
        let effects = writes.iter().filter(|write| !write.is_dry_run() && write.succeeded()).count();
        ensure!(effects == 1, "{writes:#?}");
        Ok(())
    })
}

#[test]
fn while_the_bus_is_away_alerts_are_refused_and_nothing_accepted_is_lost() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        world.engine.start().await?;
        let client = alerts::client()?;
        let webhook = world.engine.webhook.clone();
        for number in 0..100 {
            deliver(&client, &webhook, number).await?;
        }
        world.cluster.stop("nats")?;
        let away = tokio::time::Instant::now();
        let mut refused = 0;
        let mut number = 100;
        let mut pace = tokio::time::interval(Duration::from_millis(200));
        while away.elapsed() < Duration::from_secs(20) {
            pace.tick().await;
            let answer = alerts::post(&client, &webhook, alert(number).to_string(), None).await?;
            ensure!(answer.status == 503 && answer.retry_after.is_some(), "{answer:?}");
            refused += 1;
            number += 1;
        }
        ensure!(refused >= 5, "only {refused} answers in 20 seconds");
        world.cluster.start("nats")?;
        for number in 100..number {
            deliver(&client, &webhook, number).await?;
        }
        let expected: BTreeSet<String> = (0..number).map(|number| format!("d-{number}")).collect();
        ensure!(signals(world).await? == expected);
        eventually("an incident for each alert", Duration::from_secs(60), || async {
            let roots: BTreeSet<String> =
                world.incidents()?.into_iter().filter_map(|incident| Some(incident.root?.name)).collect();
            Ok(roots.is_superset(&expected).then_some(()))
        })
        .await
    })
}

#[test]
fn what_two_alertmanagers_deliver_five_times_is_one_incident_and_one_effect() -> Result<()> {
    const RULES: &str = r#"
groups:
- name: kubernetes-apps
  rules:
  - alert: KubeContainerWaiting
    expr: kube_pod_container_status_waiting_reason{reason=~"ImagePullBackOff|ErrImagePull"} > 0
    for: 1s
    labels: {severity: warning}
"#;
    let mut options = Options::real().with_alerts(RULES, 2);
    options.watches = false;
    world::run(options, async |world| {
        world.apply(&BAD_ROLLOUT.replace("settle: 3s", "settle: 20s"))?;
        world.apply(&policy("Enforce"))?;
        world.engine.start().await?;
        let url = format!("{}/webhooks/alertmanager", world.engine.webhook);
        let often = evenkeel_xtask::cluster::webhook_receiver(&url, world::TOKEN)
            .replace("repeat_interval: 1m", "repeat_interval: 1s");
        world.cluster.set_alertmanager_config(&often)?;
        world.deploy(&App::new("shop", "cart", "registry.example/app:v1").deployment()).await?;
        world.set_image("shop", "cart", "registry.example/app:no-such-tag")?;
        world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], Duration::from_secs(150)).await?;
        let requests = world.engine.metric(Plane::Observer, "evenkeel_observer_webhook_requests", &["200"]).await?;
        ensure!(requests >= 10.0, "expected each alert at least 5 times from each of 2, found {requests} requests");
        let about: Vec<Incident> = world
            .incidents()?
            .into_iter()
            .filter(|incident| incident.root.as_ref().is_some_and(|root| root.name == "cart"))
            .collect();
        ensure!(about.len() == 1 && about.iter().all(|incident| incident.earlier.is_empty()), "{about:#?}");
        let writes = world.our_writes("deployments", "shop", "cart")?;
        let effects = writes.iter().filter(|write| !write.is_dry_run() && write.succeeded()).count();
        ensure!(effects == 1, "{writes:#?}");
        Ok(())
    })
}

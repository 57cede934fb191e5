//! From an alert to its effect on the API server, beside the time in which the API server had requests of the engine and
//! the round trips of the bus, measured in the same run: what is above is the engine's own.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use evenkeel_model::Phase;
use evenkeel_tests::manifests::{App, policy};
use evenkeel_tests::{Options, World, alerts, audit, world};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::stats::{median, percentile, round};

const REPAIRS: usize = 30;

const AT_ONCE: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: at-once}
spec:
  summary: Goes back without waiting.
  priority: 100
  match: {signals: [BenchBroken], kinds: [Deployment]}
  settle: 0s
  when:
    - {fact: target.unavailableReplicas, op: AtLeast, value: 1}
  steps:
    - name: roll-back
      do: {rollbackWorkload: {to: LastAvailable}}
      verify:
        within: 60s
        hold: 1s
        that:
          - {fact: target.well, op: Equals, value: true}
"#;

/// Round trips of the bus on the way from a stored alert to a stored proposal: the signal, the
/// incident read and written, its wake-up, the evidence request, the incident read and written again with
/// its wake-up, the proposal; and the two deliveries.
const BUS_WRITES: f64 = 6.0;
const BUS_READS: f64 = 5.0;

pub(crate) fn run() -> Result<Value> {
    let mut options = Options::kwok();
    options.watches = false;
    let mut figures = Value::Null;
    world::run(options, async |world| {
        world.apply(AT_ONCE)?;
        world.apply(&policy("Enforce"))?;
        world.engine.start().await?;
        figures = measure(world).await?;
        Ok(())
    })?;
    Ok(figures)
}

async fn measure(world: &World) -> Result<Value> {
    let bus = BusCosts::measure(world).await?;
    let client = alerts::client()?;
    let (mut latencies, mut needed, mut ratios, mut requests) = (vec![], vec![], vec![], vec![]);
    for number in 0..REPAIRS {
        let name = format!("d-{number}");
        let mut app = App::new("shop", &name, "registry.example/app:v1");
        app.real = false;
        world.deploy(&app.deployment()).await?;
        world.set_image("shop", &name, "registry.example/app:v2-missing")?;
        failing(world, &name).await?;

        let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "shop");
        let version = deployments.get(&name).await?.resource_version().context("no resourceVersion")?;
        let fields = format!("metadata.name={name}");
        let mut changes = deployments.watch(&WatchParams::default().fields(&fields), &version).await?.boxed();
        let labels =
            json!({"alertname": "BenchBroken", "severity": "critical", "namespace": "shop", "deployment": name});
        let started = world::now();
        let body = alerts::firing(labels, started).to_string();
        let began = Instant::now();
        let answer = alerts::post(&client, &world.engine.webhook, body, None).await?;
        ensure!(answer.status == 200, "{answer:?}");
        let waited = async {
            while let Some(change) = changes.next().await {
                if let WatchEvent::Modified(deployment) = change?
                    && image(&deployment).is_some_and(|image| image.ends_with(":v1"))
                {
                    return Ok::<_, anyhow::Error>((began.elapsed(), world::now()));
                }
            }
            anyhow::bail!("the watch ended")
        };
        let (latency, effect) =
            tokio::time::timeout(Duration::from_secs(60), waited).await.context("no effect in a minute")??;
        world.remediation("rollbackWorkload", &name, &[Phase::Succeeded], Duration::from_secs(60)).await?;
        let (count, busy) = at_the_server(world, started, effect)?;
        let sum = busy + bus.round_trips();
        requests.push(count as f64);
        ratios.push(latency.as_secs_f64() / sum.as_secs_f64());
        needed.push(sum);
        latencies.push(latency);
    }
    Ok(json!({
        "repairs": REPAIRS,
        "alert_to_effect_p50_ms": percentile(&latencies, 50),
        "alert_to_effect_p99_ms": percentile(&latencies, 99),
        "round_trips_p50_ms": percentile(&needed, 50),
        "round_trips_p99_ms": percentile(&needed, 99),
        "ratio": median(&ratios),
        "api_requests": median(&requests),
        "bus_write_ms": round(bus.write * 1e3),
        "bus_read_ms": round(bus.read * 1e3),
    }))
}

fn image(deployment: &Deployment) -> Option<&str> {
    deployment.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.as_deref()
}

/// Waits until a pod of the new revision can't pull its image.
async fn failing(world: &World, name: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "shop");
    evenkeel_tests::eventually("a pod that can't pull", Duration::from_secs(60), || async {
        let found = pods.list(&ListParams::default().labels(&format!("app={name}"))).await?;
        let waiting = found
            .items
            .iter()
            .flat_map(|pod| pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()));
        let mut reasons = waiting.filter_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
        Ok(reasons.any(|reason| reason == "ImagePullBackOff").then_some(()))
    })
    .await
}

/// How many requests of the engine the API server had in a time, and for how long it had at least one: those that are
/// on their way together cost once. Watches do not count.
fn at_the_server(world: &World, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<(usize, Duration)> {
    let ours = format!("system:serviceaccount:{}:", world::ENGINE);
    let is_meant = |request: &audit::Request| {
        request.user.username.starts_with(&ours) && request.verb != "watch" && (from..=to).contains(&request.received)
    };
    let mut spans: Vec<_> =
        world.audit()?.into_iter().filter(is_meant).map(|it| (it.received, it.answered.min(to))).collect();
    spans.sort();
    let (mut busy, mut counted) = (TimeDelta::zero(), from);
    for (received, answered) in &spans {
        let begin = counted.max(*received);
        if *answered > begin {
            busy += *answered - begin;
            counted = *answered;
        }
    }
    Ok((spans.len(), busy.to_std()?))
}

/// What one round trip of the bus costs, in seconds, as this process sees it.
struct BusCosts {
    write: f64,
    read: f64,
}

impl BusCosts {
    async fn measure(world: &World) -> Result<Self> {
        const TIMES: usize = 40;
        let context = world.raw_bus().await?;
        let (mut writes, mut reads) = (vec![], vec![]);
        for number in 0..TIMES {
            let subject = format!("evenkeel.v1.{}.signal.bench", world::CLUSTER);
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("costs-{number}"));
            let payload = serde_json::to_vec(&json!({"not": "a signal", "padding": "x".repeat(1024)}))?;
            let began = Instant::now();
            context.publish_with_headers(subject, headers, payload.into()).await?.await?;
            writes.push(began.elapsed().as_secs_f64());
            let began = Instant::now();
            let info = format!("$JS.API.STREAM.INFO.EVENKEEL_{}_SIGNALS", world::CLUSTER.to_uppercase());
            context.client().request(info, "".into()).await?;
            reads.push(began.elapsed().as_secs_f64());
        }
        Ok(Self { write: median_seconds(&writes), read: median_seconds(&reads) })
    }

    fn round_trips(&self) -> Duration {
        Duration::from_secs_f64(BUS_WRITES * self.write + BUS_READS * self.read)
    }
}

fn median_seconds(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

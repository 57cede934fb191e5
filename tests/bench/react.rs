//! From an alert to its effect on the API server, beside the round trips to API server and bus
//! that this takes one after the other, measured in the same run.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use evenkeel_model::Phase;
use evenkeel_tests::manifests::{App, policy};
use evenkeel_tests::{Options, World, alerts, world};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
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
    let costs = Costs::measure(world).await?;
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
                    return Ok::<_, anyhow::Error>(began.elapsed());
                }
            }
            anyhow::bail!("the watch ended")
        };
        let latency =
            tokio::time::timeout(Duration::from_secs(60), waited).await.context("no effect in a minute")??;
        let ended = world::now();
        world.remediation("rollbackWorkload", &name, &[Phase::Succeeded], Duration::from_secs(60)).await?;
        let verbs = requests_between(world, started, ended)?;
        let sum = costs.of(&verbs);
        requests.push(verbs.values().sum::<usize>() as f64);
        needed.push(Duration::from_secs_f64(sum));
        ratios.push(latency.as_secs_f64() / sum);
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
        "api_round_trip_ms": costs.api.iter().map(|(verb, seconds)| (verb.clone(), json!(round(seconds * 1e3)))).collect::<serde_json::Map<_, _>>(),
        "bus_write_ms": round(costs.bus_write * 1e3),
        "bus_read_ms": round(costs.bus_read * 1e3),
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

/// How many requests of each verb the engine sent in a time, as the API server recorded them. Watches do not count.
fn requests_between(world: &World, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<BTreeMap<String, usize>> {
    let ours = format!("system:serviceaccount:{}:", world::ENGINE);
    let mut verbs = BTreeMap::new();
    for request in world.audit()? {
        let within = request.received >= from && request.received <= to;
        if within && request.user.username.starts_with(&ours) && request.verb != "watch" {
            *verbs.entry(request.verb).or_default() += 1;
        }
    }
    Ok(verbs)
}

/// What one round trip costs, in seconds, as this process sees it.
struct Costs {
    api: BTreeMap<String, f64>,
    bus_write: f64,
    bus_read: f64,
}

impl Costs {
    async fn measure(world: &World) -> Result<Self> {
        const TIMES: usize = 40;
        let mut app = App::new("shop", "costs", "registry.example/app:v1");
        app.real = false;
        world.deploy(&app.deployment()).await?;
        let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "shop");
        let pods: Api<Pod> = Api::namespaced(world.client.clone(), "shop");
        let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(world.client.clone(), "shop");
        let mut api: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut note =
            |verb: &str, began: Instant| api.entry(verb.to_owned()).or_default().push(began.elapsed().as_secs_f64());
        for number in 0..TIMES {
            let began = Instant::now();
            deployments.get("costs").await?;
            note("get", began);
            let began = Instant::now();
            pods.list(&ListParams::default().labels("app=costs")).await?;
            note("list", began);
            let patch = json!({"metadata": {"annotations": {"costs": number.to_string()}}});
            let began = Instant::now();
            deployments.patch("costs", &PatchParams::default(), &Patch::Merge(&patch)).await?;
            note("patch", began);
            let map = json!({"metadata": {"name": format!("costs-{number}")}, "data": {"x": "y".repeat(2048)}});
            let mut map: k8s_openapi::api::core::v1::ConfigMap = serde_json::from_value(map)?;
            let began = Instant::now();
            map.metadata.resource_version = maps.create(&PostParams::default(), &map).await?.metadata.resource_version;
            note("create", began);
            map.data = Some(BTreeMap::from([("x".to_owned(), "z".repeat(2048))]));
            let began = Instant::now();
            maps.replace(&map.name_any(), &PostParams::default(), &map).await?;
            note("update", began);
        }
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
        let api = api.into_iter().map(|(verb, times)| (verb, median_seconds(&times))).collect();
        Ok(Self { api, bus_write: median_seconds(&writes), bus_read: median_seconds(&reads) })
    }

    fn of(&self, verbs: &BTreeMap<String, usize>) -> f64 {
        let api: f64 = verbs
            .iter()
            .map(|(verb, count)| {
                *count as f64 * self.api.get(verb).or_else(|| self.api.get("update")).copied().unwrap_or(0.0)
            })
            .sum();
        api + BUS_WRITES * self.bus_write + BUS_READS * self.bus_read
    }
}

fn median_seconds(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

//! How many alerts a second are accepted, each in its own POST and durable before its answer,
//! beside what JetStream itself takes under the same settings and concurrency.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evenkeel_tests::{Options, Plane, World, alerts, world};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::http::Connection;
use crate::stats::{median, percentile, round};

const CONCURRENCY: usize = 64;
const ROUND: usize = 10_000;
const ROUNDS: usize = 5;
const STORM: usize = 100_000;

pub(crate) fn run() -> Result<Value> {
    let mut options = Options::kwok();
    options.watches = false;
    let mut figures = Value::Null;
    world::run(options, async |world| {
        world.engine.launch(Plane::Observer)?;
        world.engine.ready(Plane::Observer).await?;
        figures = measure(world).await?;
        Ok(())
    })?;
    Ok(figures)
}

async fn measure(world: &World) -> Result<Value> {
    let next = Arc::new(AtomicUsize::new(0));
    post(world, &next, 2_000).await?;
    let stored = world.stored("signal").await?;
    let payload = stored.first().context("nothing was stored")?.1.clone();

    let (mut raw, mut ours, mut ratios, mut latencies) = (vec![], vec![], vec![], vec![]);
    for round_number in 0..ROUNDS {
        let direct = publish(world, &payload, round_number).await?;
        let (elapsed, mut times) = post(world, &next, ROUND).await?;
        let accepted = ROUND as f64 / elapsed.as_secs_f64();
        raw.push(direct);
        ours.push(accepted);
        ratios.push(accepted / direct);
        latencies.append(&mut times);
    }

    let before = next.load(Ordering::Relaxed);
    let (storm, _) = post(world, &next, STORM).await?;
    let pid = world.engine.pid(Plane::Observer).context("the observer has ended")?;
    let peak = peak_rss_mib(pid)?;
    let ids: std::collections::BTreeSet<String> =
        world.stored("signal").await?.into_iter().map(|(id, _)| id).filter(|id| !id.starts_with("raw-")).collect();
    let accepted = before + STORM;
    ensure!(ids.len() == accepted, "{} of {accepted} accepted alerts are on the bus", ids.len());

    Ok(json!({
        "alerts_per_second": median(&ours),
        "jetstream_publishes_per_second": median(&raw),
        "ratio": median(&ratios),
        "ratio_of_each_round": ratios.iter().copied().map(round).collect::<Vec<_>>(),
        "p50_ms": percentile(&latencies, 50),
        "p99_ms": percentile(&latencies, 99),
        "concurrency": CONCURRENCY,
        "payload_bytes": payload.len(),
        "storm_alerts": STORM,
        "storm_alerts_per_second": round(STORM as f64 / storm.as_secs_f64()),
        "peak_rss_mib": peak,
        "accepted": accepted,
        "lost": accepted - ids.len(),
    }))
}

/// Posts `count` distinct alerts, one a request, over [`CONCURRENCY`] connections.
async fn post(world: &World, next: &Arc<AtomicUsize>, count: usize) -> Result<(Duration, Vec<Duration>)> {
    let address = world.engine.webhook.trim_start_matches("http://").to_owned();
    let end = next.load(Ordering::Relaxed) + count;
    let mut connections = Vec::new();
    for _ in 0..CONCURRENCY {
        connections.push(Connection::open(&address, "/webhooks/alertmanager", world::TOKEN).await?);
    }
    let began = Instant::now();
    let workers = connections.into_iter().map(|mut connection| {
        let next = Arc::clone(next);
        tokio::spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return Ok::<_, anyhow::Error>(times);
                }
                let body = alert(number).to_string();
                let sent = Instant::now();
                let status = connection.post(&body).await?;
                ensure!(status == 200, "alert {number} was answered with {status}");
                times.push(sent.elapsed());
            }
        })
    });
    let mut times = Vec::new();
    for worker in futures::future::join_all(workers.collect::<Vec<_>>()).await {
        times.append(&mut worker??);
    }
    let elapsed = began.elapsed();
    // The workers have each counted one too many.
    next.store(end, Ordering::Relaxed);
    Ok((elapsed, times))
}

fn alert(number: usize) -> Value {
    let labels = json!({
        "alertname": "KubeDeploymentReplicasMismatch",
        "severity": "warning",
        "cluster": "test",
        "namespace": "shop",
        "deployment": format!("deployment-{number}"),
        "job": "kube-state-metrics",
        "instance": "10.0.0.7:8080",
        "pod": "kube-state-metrics-6c9d5f7b9-x2x4z",
        "container": "kube-state-metrics",
        "service": "kube-prometheus-stack-kube-state-metrics",
        "prometheus": "monitoring/kube-prometheus-stack-prometheus",
    });
    alerts::firing(labels, chrono::DateTime::UNIX_EPOCH + chrono::Duration::days(20_000))
}

/// Publishes [`ROUND`] messages of the same size to the same stream without us in between, each
/// awaited, over as many tasks.
async fn publish(world: &World, payload: &bytes::Bytes, round_number: usize) -> Result<f64> {
    let context = world.raw_bus().await?;
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let workers = (0..CONCURRENCY).map(|_| {
        let (context, next, payload) = (context.clone(), Arc::clone(&next), payload.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= ROUND {
                    return Ok::<_, anyhow::Error>(());
                }
                let mut headers = async_nats::HeaderMap::new();
                headers.insert("Nats-Msg-Id", format!("raw-{round_number}-{number}"));
                let subject = format!("evenkeel.v1.{}.signal.alertmanager", world::CLUSTER);
                context.publish_with_headers(subject, headers, payload.clone()).await?.await?;
            }
        })
    });
    for worker in futures::future::join_all(workers.collect::<Vec<_>>()).await {
        worker??;
    }
    Ok(ROUND as f64 / began.elapsed().as_secs_f64())
}

/// The most memory a process ever had resident.
fn peak_rss_mib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.split_whitespace().next().context("no figure")?.parse()?;
    Ok(round(kib / 1024.0))
}

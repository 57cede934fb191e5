//! Where stories are played: each in a namespace of its own, in a simulated cluster or in a real one.

use std::time::Duration;

use anyhow::{Context as _, Result};
use evenkeel_simulator::{ImageLife, Images, NodeOptions, Options, Simulator};
use futures::StreamExt as _;
use kube::Client;
use serde_json::{Value, json};

use super::case::{Behaviour, Group, home};
use super::golden::Golden;
use super::run::{Request, send, transcript};

/// How many stories a real cluster plays at once.
const AT_ONCE: usize = 24;

/// How long a story may take in a real cluster.
const LONGEST: Duration = Duration::from_secs(400);

/// The lives of the images that a real node of the tests can pull.
fn images() -> Result<Images> {
    let programs = json!({
        "/app exit": {"crash": {"after": "0s", "exitCode": 0}},
        "/app exit --code 3": {"crash": {"after": "0s", "exitCode": 3}},
        "/app exit --after 2s": {"crash": {"after": "2s", "exitCode": 0}},
        "/app sleep": {},
        "/app serve": {},
        "/app unready": {"ready": {"never": true}},
        "/app crash": {"crash": {"after": "0s", "exitCode": 1}},
    });
    let lives = json!({
        "registry.example/app:v1": {"programs": programs},
        "registry.example/app:v2": {"programs": programs},
        "registry.example/app:sleep": {"programs": programs},
        "registry.example/app:crash": {"crash": {"after": "0s", "exitCode": 1}},
        "registry.example/app:oom": {"memory": "10Gi", "oom": "1s"},
        "registry.example/app:unready": {"ready": {"never": true}},
        "registry.example/app:missing": {"missing": true},
    });
    let lives = lives.as_object().context("images by name")?;
    let life = |life: &Value| -> Result<ImageLife> { Ok(serde_json::from_value(life.clone())?) };
    lives.iter().map(|(image, it)| Ok((image.clone(), life(it)?))).collect()
}

fn crds() -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(home().join("../../crds/evenkeel.yaml"))?;
    Ok(serde_saphyr::from_multiple(&text)?)
}

async fn install(client: &Client) -> Result<()> {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for crd in crds()? {
        let answer = send(client, &Request::new("POST", path).with(&crd)).await?;
        anyhow::ensure!(matches!(answer.code, 201 | 409), "installing a CRD: {}", answer.body);
        let name = crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let end = tokio::time::Instant::now() + LONGEST;
        loop {
            anyhow::ensure!(tokio::time::Instant::now() < end, "{name} is never served");
            let answer = send(client, &Request::new("GET", &format!("{path}/{name}"))).await?;
            let conditions = answer.body.pointer("/status/conditions").and_then(Value::as_array);
            let is_established =
                conditions.into_iter().flatten().any(|it| it["type"] == "Established" && it["status"] == "True");
            // Established, it is still refused for a moment: "storage is (re)initializing".
            if is_established && send(client, &Request::new("GET", &list_of(&crd))).await?.code == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Where all objects of a custom resource are listed.
fn list_of(crd: &Value) -> String {
    let text = |pointer| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!("/apis/{}/{}/{}", text("/spec/group"), text("/spec/versions/0/name"), text("/spec/names/plural"))
}

/// A story in a simulated cluster of its own, in virtual time.
///
/// # Errors
/// A step could not be carried out.
pub fn simulated(behaviour: &Behaviour) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(async {
        let start = "2026-06-03T09:00:10Z".parse()?;
        let simulator = Simulator::new(Options { start, seed: 1, images: images()? });
        simulator.add_node("real-node", &NodeOptions::default()).map_err(|failure| anyhow::anyhow!("{failure}"))?;
        let turning = simulator.clone();
        let wheel = tokio::spawn(async move { turning.run().await });
        let client = simulator.client("admin");
        tokio::time::sleep(Duration::from_secs(30)).await;
        if behaviour.crds {
            install(&client).await?;
        }
        let result = transcript(&client, behaviour).await;
        wheel.abort();
        if let Some(failure) = simulator.failure() {
            anyhow::bail!("the simulation failed: {failure}");
        }
        result
    })
}

/// All stories of these groups in a real cluster.
///
/// # Errors
/// A CRD can't be installed.
pub async fn real(client: &Client, groups: &[Group]) -> Result<Golden> {
    if groups.iter().flat_map(|group| &group.behaviours).any(|behaviour| behaviour.crds) {
        install(client).await?;
    }
    let stories = groups.iter().flat_map(|group| group.behaviours.iter().map(|it| (group.name.clone(), it.clone())));
    let played = futures::stream::iter(stories)
        .map(|(group, behaviour)| async move {
            let transcript = match tokio::time::timeout(LONGEST, transcript(client, &behaviour)).await {
                Ok(Ok(transcript)) => transcript,
                Ok(Err(error)) => json!({"broken": format!("{error:#}")}),
                Err(_) => json!({"broken": "took too long"}),
            };
            (group, behaviour.name, transcript)
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut golden = Golden::default();
    for (group, name, transcript) in played {
        golden.0.entry(group).or_default().insert(name, transcript);
    }
    Ok(golden)
}

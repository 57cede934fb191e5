//! Bad input is refused with a reason; labels that lie mislead nobody.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use evenkeel_model::Signal;
use evenkeel_tests::manifests::TELL;
use evenkeel_tests::{Options, Plane, World, alerts, eventually, world};
use serde_json::json;

const BAD_PLAYBOOK: &str = "apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: broken}
spec:
  summary: Misspelt.
  priority: 5
  match: {signals: [Anything], kinds: [Deployment]}
  when:
    - {fact: target.unavailableReplica, op: AtLeast, value: 1}
  steps:
    - name: hand-over
      do: {escalate: {severity: Page}}
";

fn bomb() -> Result<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![b' '; 1024 * 1024];
    for _ in 0..256 {
        writer.write_all(&block)?;
    }
    Ok(writer.finish()?)
}

#[test]
fn hostile_bodies_get_a_4xx_with_a_reason_and_publish_nothing() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        world.engine.start().await?;
        let client = alerts::client()?;
        let webhook = world.engine.webhook.clone();
        let nested = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
        let cases: Vec<(&str, Vec<u8>, Option<&str>, u16)> = vec![
            ("malformed", b"{\"version\": \"4\", \"alerts\": [".to_vec(), None, 400),
            ("not ours", b"{\"hello\": \"world\"}".to_vec(), None, 400),
            ("deeply nested", nested.into_bytes(), None, 400),
            ("oversized", vec![b' '; 64 * 1024 * 1024], None, 413),
            ("a gzip bomb", bomb()?, Some("gzip"), 413),
            ("an unknown encoding", b"x".to_vec(), Some("br"), 415),
        ];
        for (what, body, encoding, expected) in cases {
            let answer = alerts::post(&client, &webhook, body, encoding).await?;
            println!("{what}: {} {}", answer.status, answer.text);
            ensure!(answer.status == expected && !answer.text.trim().is_empty(), "{what}: {answer:?}");
        }
        let refused = client.post(format!("{webhook}/webhooks/alertmanager")).body("{}").send().await?;
        ensure!(refused.status().as_u16() == 401);
        ensure!(world.stored("signal").await?.is_empty());

        // The exporter's own pod is not what the alert is about.
        let labels = json!({
            "alertname": "KubeDeploymentReplicasMismatch", "severity": "warning",
            "namespace": "shop", "deployment": "cart", "pod": "kube-state-metrics-7d4b-x", "container": "kube-state-metrics",
            "service": "kube-state-metrics", "instance": "10.0.0.9:8080", "job": "kube-state-metrics",
        });
        let body = alerts::firing(labels, chrono::DateTime::UNIX_EPOCH + chrono::Duration::days(20_000));
        ensure!(alerts::post(&client, &webhook, body.to_string(), None).await?.status == 200);
        let stored = world.stored("signal").await?;
        let signals: Vec<Signal> =
            stored.iter().map(|(_, payload)| Ok(serde_json::from_slice(payload)?)).collect::<Result<_>>()?;
        let roots: Vec<String> = signals.iter().filter_map(|signal| Some(signal.root.as_ref()?.to_string())).collect();
        ensure!(roots == ["deployment/shop/cart"], "{signals:#?}");
        Ok(())
    })
}

async fn playbooks(world: &World) -> Result<f64> {
    world.engine.metric(Plane::Reasoner, "evenkeel_reasoner_playbooks", &[]).await
}

#[test]
fn a_bad_playbook_is_named_with_its_place_and_the_others_keep_working() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        let dir = tempfile::tempdir()?;
        let bad = dir.path().join("broken.yaml");
        std::fs::write(&bad, BAD_PLAYBOOK)?;
        std::fs::write(dir.path().join("tell.yaml"), TELL)?;
        let Err(error) = world.engine.command(&["check", &dir.path().to_string_lossy()]) else {
            anyhow::bail!("check found nothing")
        };
        ensure!(!format!("{error:#}").contains("tell.yaml"), "{error:#}");
        let output = std::process::Command::new(evenkeel_tests::engine::binary()?).arg("check").arg(&bad).output()?;
        let said = String::from_utf8(output.stdout)?;
        println!("{said}");
        ensure!(output.status.code() == Some(1));
        ensure!(said.contains("broken.yaml:9:") && said.contains("target.unavailableReplicas"), "{said}");

        for plane in [Plane::Observer, Plane::Gateway] {
            let mut configuration = world.read_configuration(plane)?;
            configuration["playbooks"] = json!({"from": {"files": [dir.path()]}});
            world.write_configuration(plane, &configuration)?;
        }
        world.engine.start().await?;
        eventually("the good playbook to be in use", Duration::from_secs(30), || async {
            Ok((playbooks(world).await? == 1.0).then_some(()))
        })
        .await?;
        let log = std::fs::read_to_string(world.engine.log(Plane::Observer))?;
        ensure!(log.contains("broken.yaml:9:"), "{log}");
        Ok(())
    })
}

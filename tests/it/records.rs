//! What gateways alone write is written by nobody else, whatever RBAC gives them; and nothing else is in their way.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use evenkeel_model::Phase;
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::people::APPROVERS;
use evenkeel_tests::world::ENGINE;
use evenkeel_tests::{Options, Plane, World, eventually, world};
use serde_json::{Value, json};

const IN_TIME: Duration = Duration::from_secs(90);
const ONLY: &str = "only the gateway writes this";

/// That the cluster's administrator is refused it, in these words.
fn refused(world: &World, arguments: &[&str], input: &str, words: &str) -> Result<()> {
    let all: Vec<&str> = ["--namespace", ENGINE].iter().chain(arguments).copied().collect();
    match world.cluster.kubectl_with(&all, input) {
        Ok(said) => bail!("{arguments:?}: {said}"),
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(said.contains(words), "{arguments:?}: expected {words:?}, found {said}");
            Ok(())
        }
    }
}

fn kubectl(world: &World, arguments: &[&str]) -> Result<String> {
    let all: Vec<&str> = ["--namespace", ENGINE].iter().chain(arguments).copied().collect();
    world.cluster.kubectl(&all)
}

#[test]
fn nobody_but_the_gateway_writes_remediations_the_ledger_and_answers() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(&policy("Enforce"))?;
        world.apply(APPROVERS)?;
        world.install_admission(&policy("Enforce"))?;
        let ask = json!({"apiGroups": ["evenkeel.dev"], "resources": ["requests"], "verbs": ["create", "cancel"]});
        world.allow("jane", &json!([ask]))?;
        let jane = world.person("jane", Some("sre")).await?;
        world.engine.start().await?;
        world.deploy(&App { real: false, ..App::new("shop", "cart", "registry.example/app:v1") }.deployment()).await?;
        world.set_image("shop", "cart", "registry.example/app:v2-missing")?;
        // The gateway does all it has to.
        let done = world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], IN_TIME).await?;
        let name = done.metadata.name.clone().context("it has no name")?;

        let mut forged = serde_json::to_value(&done)?;
        forged["metadata"] = json!({"name": "r-forged", "namespace": ENGINE});
        forged["spec"]["proposal"]["origin"] = json!("Person");
        refused(world, &["create", "-f", "-"], &forged.to_string(), ONLY)?;
        let status = json!({"status": {"phase": "Cancelled"}}).to_string();
        let patch = |what: &str, patch: &str, more: &[&str]| -> Result<()> {
            let all: Vec<&str> =
                ["patch", what, "--type=merge", "--patch", patch].iter().chain(more).copied().collect();
            refused(world, &all, "", ONLY)
        };
        let remediation = format!("remediation/{name}");
        patch(&remediation, &status, &["--subresource=status"])?;
        let ledger = kubectl(world, &["get", "ledgers", "--output", "name"])?;
        patch(ledger.trim(), &json!({"spec": {"debits": [], "claims": {}, "epoch": 0}}).to_string(), &[])?;
        let made_up = json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Ledger",
            "metadata": {"name": "another", "namespace": ENGINE}, "spec": {"debits": [], "claims": {}, "epoch": 0},
        });
        refused(world, &["create", "-f", "-"], &made_up.to_string(), ONLY)?;
        let request = json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Request",
            "metadata": {"name": "q-1", "namespace": ENGINE},
            "spec": {"do": {"cancel": {"remediation": name}}, "by": "jane", "reason": "x"},
        });
        world.kubectl_as(&jane, &["create", "-f", "-"], &request.to_string())?;
        let answer = json!({"status": {"answer": "Done", "reason": "x", "at": "2026-11-21T04:00:00Z"}}).to_string();
        patch("request/q-1", &answer, &["--subresource=status"])?;

        // With definitions that let it be changed, what people said still can't.
        let approval = json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Approval",
            "metadata": {"name": "a-1", "namespace": ENGINE},
            "spec": {
                "remediation": name, "digest": "0".repeat(64), "decision": "Approve", "tier": "Medium",
                "namespace": "shop", "approver": "jane", "groups": ["sre"], "reason": "x",
            },
        });
        world.kubectl_as(&jane, &["create", "-f", "-"], &approval.to_string())?;
        for kind in ["approvals", "requests"] {
            let rules = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations";
            let without = json!([{"op": "remove", "path": rules}]).to_string();
            let definition = format!("crd/{kind}.evenkeel.dev");
            world.cluster.kubectl(&["patch", &definition, "--type=json", "--patch", &without])?;
        }
        for (what, field, words) in [
            ("approval/a-1", "approver", "denied request: evenkeel: an Approval can't be changed"),
            ("request/q-1", "by", "denied request: evenkeel: what is asked for can't be changed"),
        ] {
            let change = json!({"spec": {(field): "joe"}}).to_string();
            // The API server takes a changed definition up in its time; until then that one refuses it.
            eventually(words, Duration::from_secs(30), || async {
                refused(world, &["patch", what, "--type=merge", "--patch", &change], "", words).map(Some)
            })
            .await?;
            kubectl(world, &["label", what, "seen=yes"])?;
        }

        // Labels are everybody's; so is deleting, with the garbage collector's part in it.
        kubectl(world, &["annotate", &remediation, "note=seen"])?;
        kubectl(world, &["delete", &remediation, "--cascade=foreground", "--wait", "--timeout=60s"])?;
        world.engine.terminate(Plane::Gateway).await?;
        let left = kubectl(world, &["get", "ledgers,requests,approvals", "--output", "json"])?;
        let left: Value = serde_json::from_str(&left)?;
        ensure!(left["items"].as_array().is_some_and(|items| items.len() >= 2), "{left:#}");
        world.cluster.kubectl(&["delete", "namespace", ENGINE, "--wait", "--timeout=90s"])?;
        Ok(())
    })
}

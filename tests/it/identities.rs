//! Three processes, three identities, each with the least it needs.

use std::time::Duration;

use anyhow::{Result, ensure};
use evenkeel_model::Phase;
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::{Options, Plane, alerts, world};
use serde_json::json;

/// Acts on whatever it is told about: only the gateway's own look can stop it.
const GULLIBLE: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: gullible}
spec:
  summary: Goes back whenever it is told to.
  priority: 50
  match: {signals: [Forged], kinds: [Deployment]}
  settle: 1s
  when:
    - {fact: target.exists, op: Equals, value: true}
  steps:
    - name: roll-back
      do: {rollbackWorkload: {to: LastAvailable}}
      verify:
        within: 60s
        hold: 3s
        that:
          - {fact: target.well, op: Equals, value: true}
"#;

#[test]
fn a_forged_alert_about_a_healthy_deployment_ends_obsolete_with_nothing_done() -> Result<()> {
    world::run(Options::real(), async |world| {
        world.apply(GULLIBLE)?;
        world.apply(&policy("Enforce"))?;
        world.engine.start().await?;
        // Two good revisions, so that there is one to go back to.
        world.deploy(&App::new("shop", "cart", "registry.example/app:v1").deployment()).await?;
        world.set_image("shop", "cart", "registry.example/app:v2")?;
        world.available("shop", "cart", Duration::from_secs(60)).await?;

        let forged = json!({"alertname": "Forged", "severity": "critical", "namespace": "shop", "deployment": "cart"});
        let body = alerts::firing(forged, chrono::DateTime::UNIX_EPOCH + chrono::Duration::days(20_000));
        let answer = alerts::post(&alerts::client()?, &world.engine.webhook, body.to_string(), None).await?;
        ensure!(answer.status == 200, "{answer:?}");
        world.remediation("rollbackWorkload", "cart", &[Phase::Obsolete], Duration::from_secs(60)).await?;
        let writes = world.our_writes("deployments", "shop", "cart")?;
        ensure!(writes.is_empty(), "{writes:#?}");
        ensure!(world.image("shop", "cart").await? == "registry.example/app:v2");
        Ok(())
    })
}

#[test]
fn each_plane_has_what_it_needs_and_nothing_else() -> Result<()> {
    world::run(Options::real(), async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(&policy("Enforce"))?;
        world.engine.start().await?;
        world.deploy(&App::new("shop", "cart", "registry.example/app:v1").deployment()).await?;
        world.set_image("shop", "cart", "registry.example/app:no-such-tag")?;
        world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], Duration::from_secs(120)).await?;

        let pids: Vec<_> = Plane::ALL.into_iter().filter_map(|plane| world.engine.pid(plane)).collect();
        ensure!(pids.len() == 3, "{pids:?}");
        ensure!(world.read_configuration(Plane::Reasoner)?.get("kubernetes").is_none());

        // In a full run nothing was refused: no plane asks for more than it has.
        let ours = "system:serviceaccount:evenkeel:";
        let audit = world.audit()?;
        let refused: Vec<_> = audit.iter().filter(|r| r.user.username.starts_with(ours) && r.code() == 403).collect();
        ensure!(refused.is_empty(), "{refused:#?}");
        let reasoner: Vec<_> = audit.iter().filter(|r| r.user.username.ends_with(":evenkeel-reasoner")).collect();
        ensure!(reasoner.is_empty(), "{reasoner:#?}");

        // What is beyond each is refused by the API server itself.
        let attempts: [(Plane, &[&str]); 12] = [
            (Plane::Gateway, &["get", "secrets", "--all-namespaces"]),
            (Plane::Gateway, &["--namespace", "shop", "create", "configmap", "x"]),
            (Plane::Gateway, &["--namespace", "shop", "delete", "deployment", "cart"]),
            (Plane::Gateway, &["--namespace", "shop", "delete", "deployments", "--all"]),
            (Plane::Gateway, &["create", "namespace", "x"]),
            (Plane::Gateway, &["delete", "node", "real-node"]),
            (
                Plane::Gateway,
                &["patch", "actionpolicy", "shop", "--type=merge", "--patch", "{\"spec\":{\"mode\":\"Enforce\"}}"],
            ),
            (Plane::Gateway, &["delete", "playbook", "bad-rollout"]),
            (Plane::Gateway, &["create", "clusterrolebinding", "x", "--clusterrole=cluster-admin", "--user=x"]),
            (Plane::Observer, &["--namespace", "shop", "delete", "deployment", "cart"]),
            (Plane::Observer, &["get", "secrets", "--all-namespaces"]),
            (Plane::Observer, &["--namespace", "evenkeel", "delete", "remediations", "--all"]),
        ];
        for (plane, arguments) in attempts {
            let kubeconfig = world.kubeconfig_of(plane)?;
            let kubeconfig = kubeconfig.to_string_lossy().into_owned();
            let mut all = vec!["--kubeconfig", kubeconfig.as_str()];
            all.extend(arguments);
            let Err(error) = world.cluster.kubectl(&all) else { anyhow::bail!("{} may {arguments:?}", plane.name()) };
            ensure!(
                error.to_string().contains("Forbidden") || format!("{error:#}").contains("forbidden"),
                "{arguments:?}: {error:#}"
            );
        }
        Ok(())
    })
}

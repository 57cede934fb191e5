//! Whether the cluster lets policies be enforced is told on each of them, by what is missing.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evenkeel_model::{ActionPolicy, StatusCondition};
use evenkeel_tests::manifests::policy;
use evenkeel_tests::{Options, Plane, World, audit, eventually, world};
use kube::Api;
use serde_json::{Value, json};

const IN_TIME: Duration = Duration::from_secs(60);
const PATCH: &str = "patch deployments.apps in namespace shop";

/// The condition of a policy as it is now, as `True AsGenerated: …`, once it says this.
async fn said(world: &World, name: &str, wanted: &str) -> Result<String> {
    let api: Api<ActionPolicy> = Api::all(world.client.clone());
    eventually(&format!("policy {name} to be {wanted}"), IN_TIME, || async {
        let policy = api.get(name).await?;
        let conditions = policy.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let condition = conditions.iter().find(|it| it.about == StatusCondition::ENFORCEABLE);
        let current = condition.filter(|it| it.observed_generation == policy.metadata.generation);
        let said = current.map(|it| format!("{:?} {}: {}", it.status, it.reason, it.message));
        Ok(said.filter(|said| said.starts_with(wanted)))
    })
    .await
}

/// Takes a verb on a resource from the gateway's ClusterRole, and leaves everything else.
fn take(world: &World, resource: &str, verb: &str) -> Result<()> {
    let role = world.cluster.kubectl(&["get", "clusterrole", "evenkeel-gateway", "--output", "json"])?;
    let mut role: Value = serde_json::from_str(&role)?;
    for rule in role["rules"].as_array_mut().context("rules")? {
        if rule["resources"] == json!([resource]) {
            rule["verbs"].as_array_mut().context("verbs")?.retain(|it| it != verb);
        }
    }
    world.apply(&role.to_string())
}

#[test]
fn rbac_and_admission_that_do_not_fit_the_policies_are_told_by_what_is_missing() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        let enforce = policy("Enforce");
        world.apply(&enforce)?;
        let mut configuration = world.read_configuration(Plane::Gateway)?;
        configuration["gateway"]["policyCheck"] = json!("2s");
        world.write_configuration(Plane::Gateway, &configuration)?;
        let list = json!([{"apiGroups": ["evenkeel.dev"], "resources": ["actionpolicies"], "verbs": ["list"]}]);
        world.allow("jane", &list)?;
        world.engine.start().await?;

        let told = said(world, "shop", "False AdmissionMissing").await?;
        ensure!(told.contains("ValidatingAdmissionPolicy evenkeel-gateway is not installed"), "{told}");
        world.install_admission(&enforce)?;
        said(world, "shop", "True AsGenerated").await?;
        let listed = world.run_as("jane", &["get", "policies"])?;
        ensure!(listed.contains("in use") && !listed.contains("not enforceable"), "{listed}");

        // A right is taken away; and `policy rbac` gives it back, exactly it.
        take(world, "deployments", "patch")?;
        let told = said(world, "shop", "False RuleMissing").await?;
        ensure!(told.contains(&format!("RBAC lacks {PATCH};")), "{told}");
        let listed = world.run_as("jane", &["get", "policies"])?;
        ensure!(listed.contains(&format!("not enforceable: RBAC lacks {PATCH}")), "{listed}");
        world.install_rights(&enforce)?;
        said(world, "shop", "True AsGenerated").await?;

        // The policy is changed, and what is installed is not; then it is, and only tried out.
        let wider = enforce.replace("rollbackWorkload", "restartWorkload");
        world.apply(&wider)?;
        let told = said(world, "shop", "False AdmissionDiffers").await?;
        ensure!(told.contains("spec.validations["), "{told}");
        world.install_admission(&wider)?;
        said(world, "shop", "True AsGenerated").await?;
        world.cluster.kubectl(&[
            "patch",
            "validatingadmissionpolicybinding",
            "evenkeel-gateway",
            "--type=merge",
            "--patch",
            "{\"spec\":{\"validationActions\":[\"Audit\",\"Warn\"]}}",
        ])?;
        let told = said(world, "shop", "False AdmissionDiffers").await?;
        ensure!(told.contains("spec.validationActions"), "{told}");

        // It was told once each time, by a gateway that may ask for all it asks for and can't change what policies say.
        let gateway = audit::user_of(Plane::Gateway);
        let ours: Vec<_> = world.audit()?.into_iter().filter(|it| it.user.username == gateway).collect();
        let refused: Vec<_> = ours.iter().filter(|it| it.code() == 403).collect();
        ensure!(refused.is_empty(), "{refused:#?}");
        let is_status = |it: &&audit::Request| {
            it.object_ref.as_ref().is_some_and(|it| it.resource == "actionpolicies" && it.subresource == "status")
        };
        let told = ours.iter().filter(is_status).filter(|it| it.succeeded()).count();
        ensure!((7..=9).contains(&told), "{told} times, where 7 things were to be told");
        let kubeconfig = world.kubeconfig_of(Plane::Gateway)?;
        let kubeconfig = kubeconfig.to_string_lossy().into_owned();
        let widen = "{\"spec\":{\"mode\":\"Audit\"}}";
        let arguments =
            ["--kubeconfig", kubeconfig.as_str(), "patch", "actionpolicy", "shop", "--type=merge", "--patch", widen];
        let answer = world.cluster.kubectl(&arguments).err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(answer.contains("forbidden"), "{answer}");
        Ok(())
    })
}

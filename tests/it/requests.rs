//! What people ask for goes through the same gate, under the name that the API server knows them by.

use std::time::Duration;

use anyhow::{Result, ensure};
use evenkeel_model::{Origin, Phase};
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::{Options, World, eventually, world};
use serde_json::{Value, json};

const IN_TIME: Duration = Duration::from_secs(90);
const RUN: [&str; 5] = ["run", "bad-rollout", "deployment/shop/cart", "--reason", "I can't wait"];

fn for_people() -> String {
    policy("Enforce").replace("origins: [Playbook]", "origins: [Playbook, Person]")
}

fn let_them_ask(world: &World) -> Result<()> {
    let rule = |resource: &str, verbs: &[&str]| json!({"apiGroups": ["evenkeel.dev"], "resources": [resource], "verbs": verbs});
    let frozen = rule("freezes", &["create", "list", "delete"]);
    let all = rule("requests", &["create", "get", "cancel", "ack", "rearm"]);
    world.allow("jane", &json!([all, rule("remediations", &["run"]), frozen]))?;
    // They may ask, and not for anything.
    let only_ask = rule("requests", &["create", "get"]);
    world.allow("joe", &json!([only_ask]))?;
    world.allow("system:serviceaccount:shop:robot", &json!([all, rule("remediations", &["run"])]))
}

fn forged(by: &str, user: &str, world: &World) -> String {
    let request = json!({
        "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Request",
        "metadata": {"generateName": "forged-", "namespace": "evenkeel"},
        "spec": {"do": {"rearm": {"playbooks": ["*"]}}, "by": by, "reason": "mischief"},
    });
    match world.cluster.kubectl_with(&["create", "--as", user, "-f", "-"], &request.to_string()) {
        Ok(made) => format!("made: {made}"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn a_person_s_request_is_carried_out_once_it_is_theirs_and_they_may() -> Result<()> {
    world::run(Options::real(), async |world| {
        // The reasoner lets it settle for longer than the test takes.
        world.apply(&BAD_ROLLOUT.replace("settle: 3s", "settle: 30m"))?;
        world.apply(&for_people())?;
        let_them_ask(world)?;
        world.engine.start().await?;
        for name in ["cart", "pay"] {
            world.deploy(&App::new("shop", name, "registry.example/app:v1").deployment()).await?;
            world.set_image("shop", name, "registry.example/app:no-such-tag")?;
        }

        // Without the admission policy anybody could be anybody.
        let refused = world.refused_as("jane", &RUN)?;
        ensure!(refused.contains("it can't be told who asks"), "{refused}");
        world.install_admission(&for_people())?;

        eventually("the policy to hold", IN_TIME, || async {
            let answer = forged("jane", "joe", world);
            Ok(answer.contains("by has to be whoever sends it").then_some(()))
        })
        .await?;
        let refused = forged("system:serviceaccount:shop:robot", "system:serviceaccount:shop:robot", world);
        ensure!(refused.contains("a ServiceAccount is nobody who could ask"), "{refused}");
        let refused = world.refused_as("joe", &RUN)?;
        ensure!(refused.contains("needs the verb run"), "{refused}");
        let refused = forged("joe", "joe", world);
        ensure!(refused.contains("needs the verb cancel, ack or rearm"), "{refused}");

        let told = eventually("the gateway to believe it", IN_TIME, || async {
            match world.run_as("jane", &RUN) {
                Ok(told) => Ok(Some(told)),
                Err(error) if format!("{error:#}").contains("ask again") => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await?;
        let done = world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], IN_TIME).await?;
        ensure!(told.contains(done.metadata.name.as_deref().unwrap_or_default()), "{told}");
        ensure!(done.spec.proposal.origin == Origin::Person && done.spec.requested_by.as_deref() == Some("jane"));
        ensure!(world.image("shop", "cart").await? == "registry.example/app:v1");

        // What has ended can't be cancelled, and holds nothing.
        let name = done.metadata.name.clone().unwrap_or_default();
        for (verb, why) in [("cancel", "has ended: Succeeded"), ("ack", "nothing is held for it")] {
            let refused = world.refused_as("jane", &[verb, &name, "--reason", "x"])?;
            ensure!(refused.contains(why), "{refused}");
        }

        // What waits can.
        world.run_as("jane", &["freeze", "-n", "shop", "--reason", "release day", "--name", "release"])?;
        let pay = ["run", "bad-rollout", "deployment/shop/pay", "--step", "roll-back", "--reason", "now"];
        world.run_as("jane", &pay)?;
        let waiting = world.remediation("rollbackWorkload", "pay", &[Phase::Deferred], IN_TIME).await?;
        let name = waiting.metadata.name.unwrap_or_default();
        world.run_as("jane", &["cancel", &name, "--reason", "changed my mind"])?;
        let cancelled = world.remediation("rollbackWorkload", "pay", &[Phase::Cancelled], IN_TIME).await?;
        let reason = cancelled.status.map(|status| status.reason).unwrap_or_default();
        ensure!(reason.contains("cancelled by jane") && reason.contains("changed my mind"), "{reason}");
        world.run_as("jane", &["thaw", "release"])?;
        ensure!(world.our_writes("deployments", "shop", "pay")?.is_empty());

        // A policy that does not name persons.
        world.apply(&policy("Enforce"))?;
        world.run_as("jane", &pay)?;
        let denied = world.remediation("rollbackWorkload", "pay", &[Phase::Denied], IN_TIME).await?;
        let reason = denied.status.map(|status| status.reason).unwrap_or_default();
        ensure!(reason.contains("may not be asked for by a person"), "{reason}");
        let refused = world.refused_as("jane", &["run", "no-such", "deployment/shop/pay", "--reason", "x"])?;
        ensure!(refused.contains("playbook no-such does not exist"), "{refused}");

        // A policy of the right name that refuses forgeries, and spares what has a label.
        let spares = json!({"spec": {"matchResources": {"objectSelector": {"matchLabels": {"checked": "yes"}}}}});
        let binding = "validatingadmissionpolicybinding/evenkeel-people";
        world.cluster.kubectl(&["patch", binding, "--type=merge", "--patch", &spares.to_string()])?;
        let refused = world.refused_as("jane", &["rearm", "--all", "--reason", "x"])?;
        ensure!(
            refused.contains("evenkeel-people is not what") && refused.contains("spec.matchResources"),
            "{refused}"
        );
        // Made anew, it has to be seen to hold anew.
        world.cluster.kubectl(&["delete", binding])?;
        world.install_admission(&for_people())?;
        let refused = world.refused_as("jane", &["rearm", "--all", "--reason", "x"])?;
        ensure!(refused.contains("ask again") || refused.contains("not in effect"), "{refused}");

        let requests = world.cluster.kubectl(&["--namespace", "evenkeel", "get", "requests", "-o", "json"])?;
        let requests: Value = serde_json::from_str(&requests)?;
        let all = requests["items"].as_array().cloned().unwrap_or_default();
        ensure!(all.iter().all(|request| request["status"]["answer"].is_string()), "{all:#?}");
        ensure!(all.iter().all(|request| request["spec"]["by"] == "jane"), "{all:#?}");
        Ok(())
    })
}

//! Somebody has the reasoner's NATS user and its ServiceAccount, and tries everything with them.

mod bus;
mod proposals;

use std::time::Duration;

use anyhow::{Result, ensure};
use evenkeel_tests::manifests::BAD_ROLLOUT;
use evenkeel_tests::world::ENGINE;
use evenkeel_tests::{Options, Plane, World, eventually, world};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use self::proposals::{POLICY, SCALE_OUT};

/// The API server lets the reasoner's ServiceAccount do nothing, and nobody gives it a token.
async fn the_account_is_nobody(world: &World) -> Result<()> {
    let reviews: Api<SubjectAccessReview> = Api::all(world.client.clone());
    let verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
    let things = [
        ("", "pods"),
        ("", "secrets"),
        ("", "nodes"),
        ("apps", "deployments"),
        ("evenkeel.dev", "remediations"),
        ("evenkeel.dev", "approvals"),
    ];
    for (verb, (group, resource)) in verbs.iter().flat_map(|verb| things.iter().map(move |thing| (verb, thing))) {
        let review = json!({"spec": {
            "user": format!("system:serviceaccount:{ENGINE}:evenkeel-reasoner"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{ENGINE}"), "system:authenticated"],
            "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": ENGINE},
        }});
        let review = reviews.create(&PostParams::default(), &serde_json::from_value(review)?).await?;
        ensure!(review.status.is_some_and(|status| !status.allowed), "the reasoner may {verb} {resource}");
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), ENGINE);
    let account = accounts.get("evenkeel-reasoner").await?;
    ensure!(account.automount_service_account_token == Some(false), "{account:?}");
    Ok(())
}

#[test]
fn whoever_has_the_reasoners_user_gets_no_further_than_policies_and_indications_allow() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        world.apply(BAD_ROLLOUT)?;
        world.apply(SCALE_OUT)?;
        world.apply(POLICY)?;
        the_account_is_nobody(world).await?;
        for plane in [Plane::Observer, Plane::Gateway] {
            world.engine.launch(plane)?;
        }
        for plane in [Plane::Observer, Plane::Gateway] {
            world.engine.ready(plane).await?;
        }
        let mut lines = bus::try_all(world).await?;
        lines.push(String::new());
        lines.extend(proposals::try_all(world).await?);
        lines.push(String::new());
        lines.extend(bus::server_asks_itself(world).await?);
        proposals::only_what_was_allowed_was_done(world)?;
        // What is gone is missed, and can be made again.
        eventually("the gateway to miss its consumer", Duration::from_secs(30), || async {
            let ready = reqwest::get(format!("{}/readyz", world.engine.admin_url(Plane::Gateway)?)).await?;
            Ok((!ready.status().is_success()).then_some(()))
        })
        .await?;
        world.init_bus()?;
        world.engine.ready(Plane::Gateway).await?;
        insta::assert_snapshot!("matrix", lines.join("\n"));
        Ok(())
    })
}

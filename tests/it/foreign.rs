//! On a cluster that is somebody's: the same repair, as well observed, and nothing stays behind.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use evenkeel_model::Phase;
use evenkeel_tests::audit::{self, Request};
use evenkeel_tests::foreign::LABEL;
use evenkeel_tests::manifests::{App, BAD_ROLLOUT, policy};
use evenkeel_tests::{Options, Plane, World, world};
use evenkeel_xtask::cluster::{Cluster, ClusterOptions, Foreign};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;

/// Fake nodes pull nothing, so any prefix will do, and one that is not the usual shows that it is used.
const IMAGES: &str = "mirror.example:5000/tests";

/// A cluster of ours as somebody's: by a kubeconfig that has everything in it, as kind and k3d write theirs.
fn as_foreign(cluster: &Cluster, dir: &Path) -> Result<Foreign> {
    let text = cluster.kubectl(&["config", "view", "--raw", "--flatten"])?;
    ensure!(text.contains("certificate-authority-data") && text.contains("client-certificate-data"), "{text}");
    let kubeconfig = dir.join("kubeconfig");
    std::fs::write(&kubeconfig, text)?;
    Ok(Foreign { kubeconfig, image_prefix: IMAGES.to_owned() })
}

/// Whatever of the suites is in a cluster.
fn ours(cluster: &Cluster) -> Result<Vec<String>> {
    let kinds = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings";
    let all = cluster.kubectl(&["get", kinds, "--output", "name"])?;
    Ok(all.lines().filter(|name| name.contains("evenkeel") || name.ends_with("/shop")).map(ToOwned::to_owned).collect())
}

/// Everything about a request but its time.
fn told(request: &Request) -> String {
    let (who, what) = (&request.user.username, &request.object_ref);
    format!("{who}: {} {} {what:?} {}", request.verb, request.uri, request.code())
}

async fn repair(world: &mut World) -> Result<Vec<Request>> {
    world.apply(BAD_ROLLOUT)?;
    world.apply(&policy("Enforce"))?;
    world.engine.start().await?;
    world.deploy(&App::new("shop", "cart", "registry.example/app:v1").deployment()).await?;
    world.set_image("shop", "cart", "registry.example/app:v2-missing")?;
    world.remediation("rollbackWorkload", "cart", &[Phase::Succeeded], Duration::from_secs(90)).await?;
    ensure!(world.image("shop", "cart").await? == "registry.example/app:v1");
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), "shop");
    let manifest = serde_json::to_string(&api.get("cart").await?)?;
    ensure!(manifest.contains(&format!("{IMAGES}/app:v1")), "{manifest}");

    let writes = world.our_writes("deployments", "shop", "cart")?;
    let kinds: Vec<(bool, bool)> = writes.iter().map(|write| (write.is_dry_run(), write.succeeded())).collect();
    ensure!(kinds == [(true, true), (false, true)], "expected one dry-run and one request, found {writes:#?}");
    let gateway = audit::user_of(Plane::Gateway);
    ensure!(writes.iter().all(|write| write.verb == "patch" && write.user.username == gateway), "{writes:#?}");
    world.audit()
}

#[test]
fn on_a_foreign_cluster_a_repair_is_recorded_as_the_audit_log_has_it_and_nothing_stays() -> Result<()> {
    let cluster = Cluster::up(ClusterOptions::kwok())?;
    let dir = tempfile::tempdir()?;
    let mut recorded = Vec::new();
    world::run_on(as_foreign(&cluster, dir.path())?, Options::kwok(), async |world| {
        recorded = repair(world).await?;
        Ok(())
    })?;
    ensure!(ours(&cluster)?.is_empty(), "{:?}", ours(&cluster)?);

    let logged: Vec<Request> = audit::read(&cluster.audit_log())?.into_iter().filter(Request::is_ours).collect();
    let known: BTreeSet<String> = logged.iter().map(told).collect();
    // The cluster's audit policy leaves out paths that are no resource's.
    let invented: Vec<String> =
        recorded.iter().filter(|r| r.object_ref.is_some()).map(told).filter(|told| !known.contains(told)).collect();
    ensure!(invented.is_empty(), "the audit log has nothing of {invented:#?}");
    ensure!(recorded.iter().all(Request::is_ours), "{recorded:#?}");
    for verb in ["watch", "list", "get", "create", "patch", "update"] {
        ensure!(recorded.iter().any(|request| request.verb == verb), "no {verb} was recorded");
    }
    let writes = |all: &[Request]| -> Vec<String> {
        all.iter().filter(|r| r.is_mutating() && r.is_about("deployments", "shop", "cart")).map(told).collect()
    };
    ensure!(writes(&recorded) == writes(&logged), "{:#?} and {:#?}", writes(&recorded), writes(&logged));
    Ok(())
}

#[test]
fn somebody_else_s_installation_is_left_alone_and_what_a_failed_test_left_is_not() -> Result<()> {
    let cluster = Cluster::up(ClusterOptions::kwok())?;
    let dir = tempfile::tempdir()?;
    let foreign = as_foreign(&cluster, dir.path())?;
    let fails = |begun: &mut bool| {
        world::run_on(foreign.clone(), Options::kwok(), async |_: &mut World| {
            *begun = true;
            bail!("as it should")
        })
    };

    cluster.kubectl(&["create", "namespace", "evenkeel"])?;
    let mut begun = false;
    let refused = format!("{:#}", fails(&mut begun).err().unwrap_or_else(|| anyhow::anyhow!("it ran")));
    ensure!(!begun && refused.contains("namespace/evenkeel"), "{refused}");
    ensure!(ours(&cluster)? == ["namespace/evenkeel"], "{:?}", ours(&cluster)?);

    // As if the run that made it had been killed.
    cluster.kubectl(&["label", "namespace", "evenkeel", LABEL])?;
    let failed = fails(&mut begun).err().map(|error| format!("{error:#}"));
    ensure!(begun && failed.as_deref() == Some("as it should"), "{failed:?}");
    ensure!(ours(&cluster)?.is_empty(), "{:?}", ours(&cluster)?);
    Ok(())
}

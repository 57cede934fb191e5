//! etcd is put back to what it was: what ended since is open again, and what it was approved by is gone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use evenkeel_model::Phase;
use evenkeel_tests::audit::Request;
use evenkeel_tests::people::APPROVERS;
use evenkeel_tests::world::now;
use evenkeel_tests::{Options, Plane, World, eventually, world};

use super::{approval, broken, create, guarded, medium, phase, propose};

/// What holds what etcd tells it: after a restore Kubernetes' own documentation has them started again, and ours the
/// gateway.
const READERS: [&str; 3] = ["kwok", "kube-scheduler", "kube-controller-manager"];

/// Does something while nothing runs that keeps the cluster's state.
fn at_rest(world: &mut World, act: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    world.engine.kill(Plane::Gateway);
    let stopped: Vec<&str> = READERS.into_iter().chain(["kube-apiserver", "etcd"]).collect();
    for service in &stopped {
        world.cluster.stop(service)?;
    }
    act(&world.cluster.dir().join("etcd"))?;
    for service in stopped.iter().rev() {
        world.cluster.start(service)?;
    }
    world.engine.launch(Plane::Gateway)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(copied.success(), "cp -a {} {}: {copied}", from.display(), to.display());
    Ok(())
}

fn writes_of(world: &World, name: &str) -> Result<Vec<Request>> {
    let writes = world.our_writes("deployments", "shop", name)?;
    Ok(writes.into_iter().filter(|write| !write.is_dry_run() && write.succeeded()).collect())
}

#[test]
fn of_an_etcd_that_was_restored_nothing_is_done_that_is_past_its_time_or_was_approved_in_another_history() -> Result<()>
{
    world::run(Options::kwok(), async |world| {
        world.apply(&medium(1))?;
        world.apply(APPROVERS)?;
        world.guard_approvals()?;
        let jane = world.person("jane", Some("sre")).await?;
        world.engine.launch(Plane::Gateway)?;
        world.engine.ready(Plane::Gateway).await?;
        broken(world, "cart").await?;
        broken(world, "web").await?;
        let expires_at = now() + chrono::Duration::seconds(75);
        let old = propose(world, "r-cart", "cart", expires_at - now(), None).await?;
        let young = propose(world, "r-web", "web", chrono::Duration::minutes(50), None).await?;
        for name in [&old, &young] {
            phase(world, name, &[Phase::AwaitingApproval]).await?;
        }

        let aside = tempfile::tempdir()?;
        let kept: PathBuf = aside.path().join("etcd");
        at_rest(world, |etcd| copy(etcd, &kept))?;
        world.engine.ready(Plane::Gateway).await?;
        for (name, target) in [(&old, "cart"), (&young, "web")] {
            let asked = guarded(world, name).await?;
            create(world, &jane, &approval(name, &asked, "jane", &["sre"]))?;
            phase(world, name, &[Phase::Verifying, Phase::Succeeded]).await?;
            ensure!(writes_of(world, target)?.len() == 1, "{:#?}", writes_of(world, target)?);
        }
        eventually("the older one to be past its time", Duration::from_secs(90), || async {
            Ok((now() > expires_at).then_some(()))
        })
        .await?;

        at_rest(world, |etcd| {
            std::fs::remove_dir_all(etcd).with_context(|| format!("{}", etcd.display()))?;
            copy(&kept, etcd)
        })?;
        world.engine.ready(Plane::Gateway).await?;
        ensure!(world.image("shop", "cart").await? == "registry.example/app:v2-missing", "it was not restored");
        phase(world, &old, &[Phase::Expired]).await?;
        // What jane said was about a world that never was.
        let asked = guarded(world, &young).await?;
        ensure!(asked.given.is_empty(), "{asked:#?}");
        phase(world, &young, &[Phase::AwaitingApproval]).await?;
        for target in ["cart", "web"] {
            ensure!(writes_of(world, target)?.len() == 1, "{:#?}", writes_of(world, target)?);
        }

        create(world, &jane, &approval(&young, &asked, "jane", &["sre"]))?;
        phase(world, &young, &[Phase::Verifying, Phase::Succeeded]).await?;
        ensure!(world.image("shop", "web").await? == "registry.example/app:v1");
        ensure!(writes_of(world, "web")?.len() == 2 && writes_of(world, "cart")?.len() == 1);
        Ok(())
    })
}

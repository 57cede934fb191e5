//! What the simulator is held to, a real cluster still does.

use anyhow::{Result, ensure};
use evenkeel_tests::behaviours::{Golden, Group, differences, real};
use evenkeel_xtask::cluster::{Cluster, ClusterOptions};

#[test]
fn a_real_cluster_does_what_was_recorded() -> Result<()> {
    // An error means that another test of this process has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let groups = Group::all()?;
    let cluster = Cluster::up(ClusterOptions::real())?;
    let kubeconfig = cluster.kubeconfig();
    let found = cluster.inside(|| {
        // After entering: the runtime's threads inherit the network.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let mut config = kube::Config::from_custom_kubeconfig(
                kube::config::Kubeconfig::read_from(&kubeconfig)?,
                &kube::config::KubeConfigOptions::default(),
            )
            .await?;
            // A refused eviction is an answer, not trouble.
            config.default_retry = false;
            real(&kube::Client::try_from(config)?, &groups).await
        })
    })?;
    let recorded = Golden::load(groups.iter().map(|group| group.name.as_str()))?;
    let told = differences(&recorded, &found);
    ensure!(told.is_empty(), "{} behaviours differ:\n{}", told.len(), told.join("\n"));
    Ok(())
}

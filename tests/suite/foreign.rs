//! Being a guest in a cluster: nothing of anybody else's is touched, and nothing of ours stays.

use anyhow::{Context as _, Result, bail};
use evenkeel_xtask::cluster::Cluster;

use crate::world::{ENGINE, SHOP};

/// Tells what the suites made from what was there.
pub const LABEL: &str = "evenkeel.dev/made-by=evenkeel-tests";
/// What has no label of ours.
const OTHERS: &str = "evenkeel.dev/made-by!=evenkeel-tests";

/// What the suites make outside namespaces. Custom resources go with their definitions.
const KINDS: &str = "validatingadmissionpolicybindings,validatingadmissionpolicies,clusterrolebindings,clusterroles,\
                     customresourcedefinitions";

/// Makes sure that what the suites will create and remove is nobody else's, and removes what an earlier run left that
/// was killed.
///
/// # Errors
/// Something of the same names is there already, or the cluster does not let us look.
pub(crate) fn enter(cluster: &Cluster) -> Result<()> {
    let kinds = format!("namespaces,{KINDS}");
    let listed = cluster
        .kubectl(&["get", &kinds, "--selector", OTHERS, "--output", "name"])
        .context("the suites need a cluster's administrator")?;
    let taken: Vec<&str> = listed.lines().filter(|found| is_wanted(found)).collect();
    if !taken.is_empty() {
        bail!(
            "expected a cluster without evenkeel, found {}: the suites would replace and remove it. Take another \
             cluster, or remove it yourself (what has the label {LABEL} is the suites' own)",
            taken.join(", ")
        );
    }
    leave(cluster)
}

/// Removes everything that the suites made, and waits until it is gone.
///
/// # Errors
/// Something does not go.
pub(crate) fn leave(cluster: &Cluster) -> Result<()> {
    // The API server tries to empty a definition's storage ever later while it has only just been made.
    for (kinds, timeout) in [("namespaces", "180s"), (KINDS, "180s")] {
        let timeout = format!("--timeout={timeout}");
        cluster
            .kubectl(&["delete", kinds, "--selector", LABEL, "--wait", &timeout])
            .with_context(|| format!("remove what has the label {LABEL} by hand"))?;
    }
    Ok(())
}

/// A manifest with our label on every object of it.
///
/// # Errors
/// It is no manifest.
pub(crate) fn labelled(cluster: &Cluster, manifest: &str) -> Result<String> {
    // As YAML it would print the objects without anything between them.
    cluster.kubectl_with(&["label", "--local", "--overwrite", "--filename", "-", "--output", "json", LABEL], manifest)
}

/// Whether `KIND.GROUP/NAME` is what the suites create or could be taken for it.
fn is_wanted(listed: &str) -> bool {
    match listed.split_once('/') {
        Some(("namespace", name)) => [ENGINE, SHOP].contains(&name),
        Some((_, name)) => name.starts_with(ENGINE) || name.ends_with(".evenkeel.dev"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_our_names_stands_in_the_way() {
        for wanted in [
            "namespace/evenkeel",
            "namespace/shop",
            "customresourcedefinition.apiextensions.k8s.io/playbooks.evenkeel.dev",
            "clusterrole.rbac.authorization.k8s.io/evenkeel-gateway",
        ] {
            assert!(is_wanted(wanted), "{wanted}");
        }
        for other in ["namespace/default", "namespace/workshop", "clusterrole.rbac.authorization.k8s.io/admin", ""] {
            assert!(!is_wanted(other), "{other}");
        }
    }
}

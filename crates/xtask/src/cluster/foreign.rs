//! A cluster that was there before us and stays after us: somebody's kind, k3d or lab cluster.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::images::PREFIX;
use super::options::ClusterOptions;
use crate::env;

/// How to use somebody's cluster.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// Its administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// What its nodes know the test images by: `PREFIX/app:TAG`.
    pub image_prefix: String,
}

impl Foreign {
    /// The cluster that `cargo xtask test --kubeconfig` names for this process, if it names one.
    #[must_use]
    pub fn named() -> Option<Self> {
        let image_prefix = env::test_image_prefix().unwrap_or_else(|| PREFIX.to_owned());
        Some(Self { kubeconfig: env::test_kubeconfig()?, image_prefix })
    }
}

/// Nobody can give flags to programs that run already.
pub(super) fn check(options: &ClusterOptions) -> Result<()> {
    if options.foreign_kubeconfig().is_some()
        && let Some(flag) = options.control_plane_args().next()
    {
        bail!(not_ours(&format!("what was to get {flag}")));
    }
    Ok(())
}

/// What a test is told that asks too much of a foreign cluster.
pub(super) fn not_ours(what: &str) -> String {
    format!(
        "expected a cluster of our own, and {what} is not ours in a foreign one: name the test and the reason in \
         crates/xtask/src/cli/own_cluster.rs, so that `cargo xtask test --kubeconfig` leaves it out and says so"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_for_a_foreign_control_plane_are_refused() {
        let mut options = ClusterOptions::foreign("/kubeconfig".into());
        check(&options).unwrap();
        options.api_server_args.push("--request-timeout=5s".to_owned());
        assert!(check(&options).unwrap_err().to_string().contains("--request-timeout=5s"));
        check(&ClusterOptions { node: ClusterOptions::kwok().node, ..options }).unwrap();
    }
}

//! What a cluster is to be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Where pods run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// Fake nodes: pods exist as objects only. Needs no privileges.
    Kwok {
        /// How many.
        nodes: u32,
    },
    /// A kubelet with containerd, runc and kube-proxy, in namespaces of its own. Needs root.
    Real {
        /// How many fake nodes besides; they are tainted, so pods land on them only where they tolerate it.
        kwok: u32,
    },
    /// Somewhere else, in a cluster that is there already: nothing of Kubernetes is started or ended here, only what is
    /// to run beside it.
    Foreign {
        /// Its administrator's kubeconfig, of whatever kind.
        kubeconfig: PathBuf,
    },
}

/// What runs beside Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Addon {
    /// nats-server with JetStream.
    Nats,
    /// Prometheus, and an exporter with kube-state-metrics' series.
    Prometheus,
    /// One Alertmanager, or two.
    Alertmanager,
}

/// What a cluster is to be. Start from [`ClusterOptions::kwok`] or [`ClusterOptions::real`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterOptions {
    /// Where pods run.
    pub node: Node,
    /// What runs beside Kubernetes.
    pub with: BTreeSet<Addon>,
    /// Where everything is kept; a temporary directory, removed in the end, otherwise.
    pub dir: Option<PathBuf>,
    /// Further flags of kube-apiserver.
    pub api_server_args: Vec<String>,
    /// Further flags of kube-controller-manager.
    pub controller_manager_args: Vec<String>,
    /// Further flags of kube-scheduler.
    pub scheduler_args: Vec<String>,
    /// Further flags of the kubelet.
    pub kubelet_args: Vec<String>,
    /// Appended to nats-server's configuration: users, permissions, limits.
    pub nats_config: Option<String>,
    /// A Prometheus rule file's content.
    pub prometheus_rules: Option<String>,
    /// Alertmanager's configuration; one without a receiver otherwise.
    pub alertmanager_config: Option<String>,
    /// How many Alertmanagers form the cluster: 1 or 2.
    pub alertmanagers: u8,
}

impl ClusterOptions {
    /// Three fake nodes.
    #[must_use]
    pub fn kwok() -> Self {
        Self::new(Node::Kwok { nodes: 3 })
    }

    /// One real node.
    #[must_use]
    pub fn real() -> Self {
        Self::new(Node::Real { kwok: 0 })
    }

    /// A cluster that is there already.
    #[must_use]
    pub fn foreign(kubeconfig: PathBuf) -> Self {
        Self::new(Node::Foreign { kubeconfig })
    }

    fn new(node: Node) -> Self {
        Self {
            node,
            with: BTreeSet::new(),
            dir: None,
            api_server_args: Vec::new(),
            controller_manager_args: Vec::new(),
            scheduler_args: Vec::new(),
            kubelet_args: Vec::new(),
            nats_config: None,
            prometheus_rules: None,
            alertmanager_config: None,
            alertmanagers: 1,
        }
    }

    /// The same with an addon.
    #[must_use]
    pub fn with(mut self, addon: Addon) -> Self {
        self.with.insert(addon);
        self
    }

    pub(crate) fn has(&self, addon: Addon) -> bool {
        self.with.contains(&addon)
    }

    pub(crate) fn is_real(&self) -> bool {
        matches!(self.node, Node::Real { .. })
    }

    pub(crate) fn kwok_nodes(&self) -> u32 {
        match self.node {
            Node::Kwok { nodes } => nodes,
            Node::Real { kwok } => kwok,
            Node::Foreign { .. } => 0,
        }
    }

    /// The kubeconfig of a cluster that is not ours.
    pub(crate) fn foreign_kubeconfig(&self) -> Option<&Path> {
        match &self.node {
            Node::Foreign { kubeconfig } => Some(kubeconfig),
            Node::Kwok { .. } | Node::Real { .. } => None,
        }
    }

    /// Further flags of programs that run only in a cluster of ours.
    pub(crate) fn control_plane_args(&self) -> impl Iterator<Item = &str> {
        let all = [&self.api_server_args, &self.controller_manager_args, &self.scheduler_args, &self.kubelet_args];
        all.into_iter().flatten().map(String::as_str)
    }
}

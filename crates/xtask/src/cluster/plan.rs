//! Everything the holder needs to know, on file before it starts: options, ports, programs, paths.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::options::{Addon, ClusterOptions, Node};
use crate::ports;
use crate::proc::Identity;
use crate::tools::{Family, Toolbox};

/// The ports that are listened on, all on loopback.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) api: u16,
    pub(crate) etcd: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) kwok: u16,
    pub(crate) nats: u16,
    pub(crate) prometheus: u16,
    pub(crate) exporter: u16,
    pub(crate) registry: u16,
    /// Of each Alertmanager: HTTP, gossip.
    pub(crate) alertmanagers: Vec<(u16, u16)>,
}

impl Ports {
    /// The usual ones, for a cluster with a network namespace of its own.
    fn fixed() -> Self {
        Self {
            api: 6443,
            etcd: 2379,
            etcd_peer: 2380,
            kwok: 10247,
            nats: 4222,
            prometheus: 9090,
            exporter: 9100,
            registry: 5000,
            alertmanagers: vec![(9093, 9094), (9095, 9096)],
        }
    }

    fn free() -> Result<Self> {
        let mut found = ports::free(12)?.into_iter();
        let mut next = || found.next().context("too few free ports");
        Ok(Self {
            api: next()?,
            etcd: next()?,
            etcd_peer: next()?,
            kwok: next()?,
            nats: next()?,
            prometheus: next()?,
            exporter: next()?,
            registry: next()?,
            alertmanagers: vec![(next()?, next()?), (next()?, next()?)],
        })
    }
}

/// The holder's orders.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) dir: PathBuf,
    pub(crate) options: ClusterOptions,
    pub(crate) ports: Ports,
    pub(crate) programs: BTreeMap<String, PathBuf>,
    /// The real node's cgroup, unique on this machine: a kubelet ends every pod below its root that it does not know.
    pub(crate) cgroup: String,
    /// Whether the directory is to go when the owner goes without a word.
    pub(crate) temporary: bool,
}

impl Plan {
    /// Builds the tools the options ask for and chooses ports.
    pub(crate) fn new(options: ClusterOptions, dir: PathBuf, temporary: bool) -> Result<Self> {
        let tools = Toolbox::ensure(&families(&options))?;
        let programs = tools.programs().map(|(name, path)| (name.to_owned(), path.to_path_buf())).collect();
        let ports = if options.is_real() { Ports::fixed() } else { Ports::free()? };
        let own = Identity::of(i32::try_from(std::process::id())?).context("/proc is not mounted")?;
        let salt = ports::free(1)?.first().copied().unwrap_or_default();
        let cgroup = format!("evenkeel-{}-{}-{salt}", own.pid, own.started);
        Ok(Self { dir, options, ports, programs, cgroup, temporary })
    }

    pub(crate) fn save(&self) -> Result<()> {
        write_json(&plan_file(&self.dir), self)
    }

    pub(crate) fn load(dir: &Path) -> Result<Self> {
        read_json(&plan_file(dir)).with_context(|| format!("{} does not hold a cluster", dir.display()))
    }

    pub(crate) fn program(&self, name: &str) -> Result<&Path> {
        self.programs
            .get(name)
            .map(PathBuf::as_path)
            .with_context(|| format!("{name} is not among this cluster's programs"))
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.join(below)
    }

    /// The same as text, for flags and configuration files.
    pub(crate) fn text(&self, below: &str) -> String {
        self.path(below).display().to_string()
    }

    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        match (user, self.options.foreign_kubeconfig()) {
            ("admin", Some(foreign)) => foreign.to_path_buf(),
            ("admin", None) => self.path("kubeconfig"),
            (user, _) => self.path("kube").join(user),
        }
    }

    /// Where kubectl has its home; in a foreign cluster the caller's, which a kubeconfig's login plugin may need.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.options.foreign_kubeconfig().is_none().then(|| self.path("kube"))
    }

    pub(crate) fn api_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api)
    }

    /// What a shell or a test process is to have in its environment; `namespaces` is the process that has the
    /// cluster's, with a real node.
    pub(crate) fn environment(&self, namespaces: Option<&Identity>) -> Vec<(String, String)> {
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        let mut all = vec![
            ("KUBECONFIG", self.kubeconfig("admin").display().to_string()),
            ("KUBECACHEDIR", self.text("kube/cache")),
        ];
        if self.options.foreign_kubeconfig().is_none() {
            all.push(("EVENKEEL_TEST_API", self.api_url()));
            all.push(("AUDIT_LOG", self.text("logs/audit.json")));
        }
        if let Some(process) = namespaces {
            all.push(("NETNS", format!("/proc/{}/ns/net", process.pid)));
        }
        if self.options.has(Addon::Nats) {
            all.push(("NATS_URL", format!("nats://127.0.0.1:{}", self.ports.nats)));
        }
        if self.options.has(Addon::Prometheus) {
            all.push(("PROMETHEUS_URL", at(self.ports.prometheus)));
        }
        if self.options.has(Addon::Alertmanager) {
            let used = self.ports.alertmanagers.iter().take(usize::from(self.options.alertmanagers));
            let urls: Vec<String> = used.map(|(port, _)| at(*port)).collect();
            all.push(("ALERTMANAGER_URL", urls.join(",")));
        }
        if self.options.is_real() {
            all.push(("REGISTRY", at(self.ports.registry)));
        }
        all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn families(options: &ClusterOptions) -> Vec<Family> {
    let mut families = match options.node {
        Node::Kwok { .. } => Family::KWOK_CLUSTER,
        Node::Real { .. } => Family::REAL_CLUSTER,
        Node::Foreign { .. } => Family::FOREIGN_CLUSTER,
    }
    .to_vec();
    for addon in &options.with {
        families.push(match addon {
            Addon::Nats => Family::Nats,
            Addon::Prometheus => Family::Prometheus,
            Addon::Alertmanager => Family::Alertmanager,
        });
    }
    families
}

/// Who holds the cluster, on file while it does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    /// The holder; with a real node, the part of it that stays outside the namespaces.
    pub(crate) holder: Identity,
    /// The process whose network and mount namespaces are the cluster's, with a real node.
    pub(crate) namespaces: Option<Identity>,
}

impl State {
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        write_json(&state_file(dir), self)
    }

    /// None when nothing holds a cluster there.
    pub(crate) fn load(dir: &Path) -> Option<Self> {
        read_json(&state_file(dir)).ok()
    }
}

pub(crate) fn state_file(dir: &Path) -> PathBuf {
    dir.join("state.json")
}

fn plan_file(dir: &Path) -> PathBuf {
    dir.join("plan.json")
}

fn write_json<T: Serialize>(file: &Path, value: &T) -> Result<()> {
    let unfinished = file.with_extension("unfinished");
    std::fs::write(&unfinished, serde_json::to_vec_pretty(value)?)
        .with_context(|| format!("writing {}", unfinished.display()))?;
    std::fs::rename(&unfinished, file).with_context(|| format!("writing {}", file.display()))
}

fn read_json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("reading {}", file.display()))
}

/// Writes a file, with the directories above it.
pub(crate) fn write(file: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    std::fs::write(file, content).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(options: ClusterOptions) -> Vec<String> {
        let plan = Plan {
            dir: "/d".into(),
            options,
            ports: Ports::fixed(),
            programs: BTreeMap::new(),
            cgroup: String::new(),
            temporary: false,
        };
        plan.environment(None).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn a_foreign_cluster_is_reached_by_its_own_kubeconfig_and_has_no_log_of_ours() {
        let options = ClusterOptions::foreign("/home/config".into()).with(Addon::Nats);
        assert_eq!(
            environment(options),
            ["KUBECONFIG=/home/config", "KUBECACHEDIR=/d/kube/cache", "NATS_URL=nats://127.0.0.1:4222"]
        );
    }

    #[test]
    fn the_environment_names_what_runs_and_nothing_else() {
        let options = ClusterOptions { alertmanagers: 2, ..ClusterOptions::real().with(Addon::Alertmanager) };
        assert_eq!(
            environment(options),
            [
                "KUBECONFIG=/d/kubeconfig",
                "KUBECACHEDIR=/d/kube/cache",
                "EVENKEEL_TEST_API=https://127.0.0.1:6443",
                "AUDIT_LOG=/d/logs/audit.json",
                "ALERTMANAGER_URL=http://127.0.0.1:9093,http://127.0.0.1:9095",
                "REGISTRY=http://127.0.0.1:5000",
            ]
        );
    }
}

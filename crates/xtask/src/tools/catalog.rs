//! The tools, their pinned versions and how each is built.

use clap::ValueEnum;

/// Tools built from one Go module in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Family {
    /// kube-apiserver, kube-controller-manager, kube-scheduler and kubectl.
    Kubernetes,
    /// kubectl alone, for a cluster that is there already.
    Kubectl,
    /// kubelet and kube-proxy.
    Kubelet,
    /// etcd.
    Etcd,
    /// Fake nodes.
    Kwok,
    /// nats-server.
    Nats,
    /// prometheus and promtool.
    Prometheus,
    /// alertmanager and amtool.
    Alertmanager,
    /// containerd and its shim.
    NodeContainerd,
    /// runc.
    NodeRunc,
    /// CNI plugins.
    NodeCni,
    /// Gatekeeper's command line.
    Gatekeeper,
    /// Our own test application.
    App,
}

/// One program of a family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binary {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

/// How a family is built.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// The directory's name in the cache.
    pub(crate) name: &'static str,
    /// The Go module, from the workspace's root.
    pub(crate) module: &'static str,
    /// The release, as the programs print it; empty where they print none.
    pub(crate) version: &'static str,
    pub(crate) binaries: Vec<Binary>,
    pub(crate) tags: Vec<&'static str>,
    pub(crate) ldflags: String,
    pub(crate) cgo: bool,
    pub(crate) source: Source,
    /// Roughly how long a first build takes on two cores, in seconds.
    pub(crate) cold_seconds: u32,
}

/// Where the main packages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Pinned modules, as they are published.
    Module,
    /// A copy of this module with one generated file that its publication lacks.
    Patched { module: &'static str, file: &'static str, gzipped: &'static [u8] },
    /// Our own Go code, hashed as a whole.
    Own,
}

const KUBERNETES: &str = "1.36.3";

const fn binary(name: &'static str, package: &'static str) -> Binary {
    Binary { name, package }
}

impl Recipe {
    fn of(name: &'static str, version: &'static str, binaries: &[Binary]) -> Self {
        Self {
            name,
            module: "",
            version,
            binaries: binaries.to_vec(),
            tags: Vec::new(),
            ldflags: String::new(),
            cgo: false,
            source: Source::Module,
            cold_seconds: 10,
        }
    }

    /// What, besides go.mod and go.sum, decides the result.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{self:?}")
    }
}

impl Family {
    /// What a cluster without a real node runs.
    pub const KWOK_CLUSTER: &[Self] = &[Self::Kubernetes, Self::Etcd, Self::Kwok, Self::App];
    /// What a cluster with a real node runs.
    pub const REAL_CLUSTER: &[Self] = &[
        Self::Kubernetes,
        Self::Etcd,
        Self::Kwok,
        Self::App,
        Self::Kubelet,
        Self::NodeContainerd,
        Self::NodeRunc,
        Self::NodeCni,
    ];
    /// What is needed beside a cluster that is there already.
    pub const FOREIGN_CLUSTER: &[Self] = &[Self::Kubectl, Self::App];

    pub(crate) fn recipe(self) -> Recipe {
        match self {
            Self::Kubernetes => kubernetes(
                "kubernetes",
                420,
                &[
                    binary("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
                    binary("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
                    binary("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
                    binary("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
                ],
            ),
            Self::Kubectl => kubernetes("kubectl", 60, &[binary("kubectl", "k8s.io/kubernetes/cmd/kubectl")]),
            Self::Kubelet => kubernetes(
                "kubelet",
                150,
                &[
                    binary("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
                    binary("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
                ],
            ),
            Self::Etcd => Recipe {
                module: "tests/tools/etcd",
                cold_seconds: 55,
                ..Recipe::of("etcd", "3.7.3", &[binary("etcd", "go.etcd.io/etcd/server/v3")])
            },
            Self::Kwok => Recipe {
                module: "tests/tools/kwok",
                ldflags: "-X sigs.k8s.io/kwok/pkg/consts.Version=v0.8.0".into(),
                cold_seconds: 90,
                ..Recipe::of("kwok", "0.8.0", &[binary("kwok", "sigs.k8s.io/kwok/cmd/kwok")])
            },
            Self::Nats => Recipe {
                module: "tests/tools/nats",
                cold_seconds: 30,
                ..Recipe::of("nats", "2.15.2", &[binary("nats-server", "github.com/nats-io/nats-server/v2")])
            },
            Self::Prometheus => Recipe {
                module: "tests/tools/prometheus",
                tags: vec!["remove_all_sd", "enable_kubernetes_sd"],
                ldflags: "-X github.com/prometheus/common/version.Version=3.15.0".into(),
                cold_seconds: 250,
                ..Recipe::of(
                    "prometheus",
                    "3.15.0",
                    &[
                        binary("prometheus", "github.com/prometheus/prometheus/cmd/prometheus"),
                        binary("promtool", "github.com/prometheus/prometheus/cmd/promtool"),
                    ],
                )
            },
            Self::Alertmanager => Recipe {
                module: "tests/tools/alertmanager",
                ldflags: "-X github.com/prometheus/common/version.Version=0.34.2".into(),
                source: Source::Patched {
                    module: "github.com/prometheus/alertmanager",
                    file: "ui/app/dist/index.html.gz",
                    gzipped: STUB_PAGE,
                },
                cold_seconds: 80,
                ..Recipe::of(
                    "alertmanager",
                    "0.34.2",
                    &[
                        binary("alertmanager", "github.com/prometheus/alertmanager/cmd/alertmanager"),
                        binary("amtool", "github.com/prometheus/alertmanager/cmd/amtool"),
                    ],
                )
            },
            Self::NodeContainerd => Recipe {
                module: "tests/tools/node-containerd",
                tags: vec!["no_btrfs", "no_devmapper", "no_zfs", "no_aufs"],
                ldflags: "-X github.com/containerd/containerd/v2/version.Version=v2.4.2".into(),
                cold_seconds: 95,
                ..Recipe::of(
                    "node-containerd",
                    "2.4.2",
                    &[
                        binary("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
                        binary(
                            "containerd-shim-runc-v2",
                            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                        ),
                    ],
                )
            },
            Self::NodeRunc => Recipe {
                module: "tests/tools/node-runc",
                tags: vec!["netgo", "osusergo"],
                ldflags: "-extldflags -static -X main.version=1.5.2".into(),
                cgo: true,
                cold_seconds: 20,
                ..Recipe::of("node-runc", "1.5.2", &[binary("runc", "github.com/opencontainers/runc")])
            },
            Self::NodeCni => Recipe {
                module: "tests/tools/node-cni",
                ..Recipe::of(
                    "node-cni",
                    "",
                    &[
                        binary("ptp", "github.com/containernetworking/plugins/plugins/main/ptp"),
                        binary("loopback", "github.com/containernetworking/plugins/plugins/main/loopback"),
                        binary("host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
                        binary("portmap", "github.com/containernetworking/plugins/plugins/meta/portmap"),
                    ],
                )
            },
            Self::Gatekeeper => Recipe {
                module: "tests/tools/gatekeeper",
                ldflags: "-X github.com/open-policy-agent/gatekeeper/v3/pkg/version.Version=3.23.1".into(),
                cold_seconds: 300,
                ..Recipe::of(
                    "gatekeeper",
                    "3.23.1",
                    &[binary("gator", "github.com/open-policy-agent/gatekeeper/v3/cmd/gator")],
                )
            },
            Self::App => {
                Recipe { module: "tests/app", source: Source::Own, ..Recipe::of("app", "", &[binary("app", "./...")]) }
            }
        }
    }
}

fn kubernetes(name: &'static str, cold_seconds: u32, binaries: &[Binary]) -> Recipe {
    let ldflags: Vec<String> = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
        .iter()
        .map(|package| {
            format!("-X {package}.gitVersion=v{KUBERNETES} -X {package}.gitMajor=1 -X {package}.gitMinor=36 -X {package}.gitTreeState=clean")
        })
        .collect();
    Recipe {
        module: "tests/tools/kubernetes",
        ldflags: ldflags.join(" "),
        cold_seconds,
        ..Recipe::of(name, KUBERNETES, binaries)
    }
}

/// An empty file, gzipped: Alertmanager embeds its built web page, which its Go module does not carry.
const STUB_PAGE: &[u8] = &[0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0xff, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    /// The version a module requires, without the v; Prometheus numbers its module 0.315.0 for release 3.15.0.
    fn required(go_mod: &str, module: &str) -> Option<String> {
        let prefix = format!("{module} v");
        let version = go_mod.lines().find_map(|line| line.trim().strip_prefix(&prefix))?;
        Some(version.split_whitespace().next()?.to_owned())
    }

    #[test]
    fn versions_agree_with_the_pinned_modules() {
        let root = crate::env::workspace().unwrap();
        for family in Family::value_variants() {
            let recipe = family.recipe();
            if recipe.version.is_empty() {
                continue;
            }
            let go_mod = std::fs::read_to_string(root.join(recipe.module).join("go.mod")).unwrap();
            for binary in &recipe.binaries {
                let module = binary.package.split("/cmd/").next().unwrap();
                let expected = if *family == Family::Prometheus { "0.315.0" } else { recipe.version };
                assert_eq!(required(&go_mod, module).as_deref(), Some(expected), "{module}");
            }
        }
    }

    #[test]
    fn a_changed_recipe_has_another_fingerprint() {
        let recipe = Family::Etcd.recipe();
        let changed = Recipe { ldflags: "-X main.a=b".into(), ..recipe.clone() };
        assert_ne!(recipe.fingerprint(), changed.fingerprint());
    }
}

//! The programs a cluster consists of: how each is started and when it is ready.

use std::path::PathBuf;

use anyhow::Result;

use super::options::Addon;
use super::plan::Plan;
use crate::proc::Launch;
use crate::{http, nats};

/// What tells that a service can be used.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ready {
    /// It runs.
    Running,
    /// It listens on the port.
    Listens(u16),
    /// It answers 200 to a GET.
    Answers(u16, &'static str),
    /// It greets as nats-server does, with JetStream up.
    Nats(u16),
}

impl Ready {
    pub(super) fn holds(self) -> bool {
        match self {
            Self::Running => true,
            Self::Listens(port) => http::listens(port),
            Self::Answers(port, path) => http::status(port, path) == Some(200),
            Self::Nats(port) => nats::answers(port),
        }
    }
}

/// One program of the cluster.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) launch: Launch,
    pub(super) ready: Ready,
}

impl Service {
    pub(super) fn new(plan: &Plan, name: &str, program: &str, args: Vec<String>, ready: Ready) -> Result<Self> {
        let path = crate::env::path_with(&PathBuf::from("/usr/sbin"));
        let mut env = vec![("PATH".to_owned(), path)];
        env.extend(plan.home().map(|home| ("HOME".to_owned(), home.display().to_string())));
        let launch = Launch {
            program: plan.program(program)?.to_path_buf(),
            args,
            env,
            log: plan.path("logs").join(format!("{name}.log")),
        };
        Ok(Self { name: name.to_owned(), launch, ready })
    }
}

/// `--name=value`, … from pairs.
pub(super) fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

pub(super) fn etcd(plan: &Plan) -> Result<Service> {
    let client = format!("https://127.0.0.1:{}", plan.ports.etcd);
    let peer = format!("http://127.0.0.1:{}", plan.ports.etcd_peer);
    let mut args = flags(&[
        ("name", "default"),
        ("data-dir", &plan.text("etcd")),
        ("log-level", "warn"),
        ("listen-client-urls", &client),
        ("advertise-client-urls", &client),
        ("listen-peer-urls", &peer),
        ("initial-advertise-peer-urls", &peer),
        ("initial-cluster", &format!("default={peer}")),
        ("cert-file", &plan.text("pki/etcd.crt")),
        ("key-file", &plan.text("pki/etcd.key")),
        ("trusted-ca-file", &plan.text("pki/etcd-ca.crt")),
    ]);
    // Tests end with their cluster; what a power cut would lose is not theirs to keep.
    args.extend(["--client-cert-auth".to_owned(), "--unsafe-no-fsync".to_owned()]);
    Service::new(plan, "etcd", "etcd", args, Ready::Listens(plan.ports.etcd))
}

/// The API server's name as a service.
pub(super) const API_SERVER: &str = "kube-apiserver";

pub(super) fn api_server(plan: &Plan) -> Result<Service> {
    let pki = |name: &str| plan.text(&format!("pki/{name}"));
    let real = plan.options.is_real();
    let mut args = flags(&[
        ("bind-address", if real { "0.0.0.0" } else { "127.0.0.1" }),
        ("advertise-address", if real { "172.31.0.1" } else { "127.0.0.1" }),
        // Loopback is no endpoint to publish; pods of a real node find the API server on the bridge.
        ("endpoint-reconciler-type", if real { "lease" } else { "none" }),
        ("secure-port", &plan.ports.api.to_string()),
        ("etcd-servers", &format!("https://127.0.0.1:{}", plan.ports.etcd)),
        ("etcd-cafile", &pki("etcd-ca.crt")),
        ("etcd-certfile", &pki("etcd-client.crt")),
        ("etcd-keyfile", &pki("etcd-client.key")),
        ("tls-cert-file", &pki("apiserver.crt")),
        ("tls-private-key-file", &pki("apiserver.key")),
        ("client-ca-file", &pki("ca.crt")),
        ("anonymous-auth", "false"),
        ("authorization-mode", "Node,RBAC"),
        ("enable-admission-plugins", "NodeRestriction"),
        ("allow-privileged", "true"),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        ("service-account-key-file", &pki("accounts.pub")),
        ("service-account-signing-key-file", &pki("accounts.key")),
        ("service-cluster-ip-range", "10.96.0.0/16"),
        ("kubelet-certificate-authority", &pki("ca.crt")),
        ("kubelet-client-certificate", &pki("kubelet-client.crt")),
        ("kubelet-client-key", &pki("kubelet-client.key")),
        ("kubelet-preferred-address-types", "InternalIP"),
        ("requestheader-client-ca-file", &pki("front.crt")),
        ("requestheader-allowed-names", "front-proxy-client"),
        ("requestheader-username-headers", "X-Remote-User"),
        ("requestheader-group-headers", "X-Remote-Group"),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ("proxy-client-cert-file", &pki("front-client.crt")),
        ("proxy-client-key-file", &pki("front-client.key")),
        ("audit-policy-file", &plan.text("config/audit-policy.yaml")),
        ("audit-log-path", &plan.text("logs/audit.json")),
        ("audit-log-mode", "blocking"),
        ("audit-log-maxsize", "200"),
    ]);
    args.extend(plan.options.api_server_args.iter().cloned());
    Service::new(plan, API_SERVER, "kube-apiserver", args, Ready::Listens(plan.ports.api))
}

/// Not before the API server is ready: it exits when the bootstrap roles do not exist yet.
pub(super) fn controller_manager(plan: &Plan) -> Result<Service> {
    let pki = |name: &str| plan.text(&format!("pki/{name}"));
    let mut args = flags(&[
        ("secure-port", "0"),
        ("kubeconfig", &plan.text("kube/controller-manager")),
        ("leader-elect", "false"),
        ("use-service-account-credentials", "true"),
        ("service-account-private-key-file", &pki("accounts.key")),
        ("root-ca-file", &pki("ca.crt")),
        ("cluster-signing-cert-file", &pki("ca.crt")),
        ("cluster-signing-key-file", &pki("ca.key")),
        ("allocate-node-cidrs", "true"),
        ("cluster-cidr", "10.244.0.0/16"),
        ("service-cluster-ip-range", "10.96.0.0/16"),
        // With the usual 20 requests a second the first service account takes ten seconds.
        ("kube-api-qps", "500"),
        ("kube-api-burst", "1000"),
        ("flex-volume-plugin-dir", &plan.text("kube/flexvolume")),
        ("controllers", "*"),
    ]);
    args.extend(plan.options.controller_manager_args.iter().cloned());
    Service::new(plan, "kube-controller-manager", "kube-controller-manager", args, Ready::Running)
}

pub(super) fn scheduler(plan: &Plan) -> Result<Service> {
    let mut args = flags(&[
        ("secure-port", "0"),
        ("kubeconfig", &plan.text("kube/scheduler")),
        ("leader-elect", "false"),
        ("kube-api-qps", "500"),
        ("kube-api-burst", "1000"),
    ]);
    args.extend(plan.options.scheduler_args.iter().cloned());
    Service::new(plan, "kube-scheduler", "kube-scheduler", args, Ready::Running)
}

pub(super) fn kwok(plan: &Plan) -> Result<Service> {
    let mut args = flags(&[
        ("kubeconfig", &plan.text("kube/kwok")),
        ("server-address", &format!("127.0.0.1:{}", plan.ports.kwok)),
        ("node-port", &plan.ports.kwok.to_string()),
        ("tls-cert-file", &plan.text("pki/kwok-server.crt")),
        ("tls-private-key-file", &plan.text("pki/kwok-server.key")),
    ]);
    args.extend(
        ["kwok", "kwok-pods", "kwok-faults", "kwok-metrics"]
            .map(|name| format!("--config={}", plan.text(&format!("config/{name}.yaml")))),
    );
    Service::new(plan, "kwok", "kwok", args, Ready::Listens(plan.ports.kwok))
}

/// NATS, Prometheus and Alertmanager, as far as they were asked for.
pub(super) fn addons(plan: &Plan) -> Result<Vec<Service>> {
    let mut services = Vec::new();
    if plan.options.has(Addon::Nats) {
        let launch = nats::launch(
            plan.program("nats-server")?,
            &plan.path("nats"),
            plan.ports.nats,
            plan.options.nats_config.as_deref(),
        )?;
        services.push(Service { name: "nats".to_owned(), launch, ready: Ready::Nats(plan.ports.nats) });
    }
    if plan.options.has(Addon::Alertmanager) {
        for number in 0..plan.options.alertmanagers {
            services.push(alertmanager(plan, usize::from(number))?);
        }
    }
    if plan.options.has(Addon::Prometheus) {
        if plan.options.foreign_kubeconfig().is_some() {
            services.push(read_only(plan)?);
        }
        services.push(exporter(plan)?);
        services.push(prometheus(plan)?);
    }
    Ok(services)
}

fn alertmanager(plan: &Plan, number: usize) -> Result<Service> {
    let ports = &plan.ports.alertmanagers;
    let (http, gossip) = ports.get(number).copied().unwrap_or_default();
    let name = format!("alertmanager-{number}");
    let mut args = flags(&[
        ("config.file", &plan.text("config/alertmanager.yaml")),
        ("storage.path", &plan.text(&name)),
        ("web.listen-address", &format!("127.0.0.1:{http}")),
    ]);
    if plan.options.alertmanagers < 2 {
        args.push("--cluster.listen-address=".to_owned());
    } else {
        args.push(format!("--cluster.listen-address=127.0.0.1:{gossip}"));
        args.extend(flags(&[
            ("cluster.settle-timeout", "2s"),
            ("cluster.peer-timeout", "2s"),
            ("cluster.gossip-interval", "50ms"),
        ]));
        let others = ports.iter().take(usize::from(plan.options.alertmanagers)).filter(|(_, other)| *other != gossip);
        args.extend(others.map(|(_, other)| format!("--cluster.peer=127.0.0.1:{other}")));
    }
    Service::new(plan, &name, "alertmanager", args, Ready::Answers(http, "/-/ready"))
}

/// Lets the exporter read a foreign cluster, whatever its kubeconfig asks for: kubectl knows how to log in. What it opens
/// is a socket in a directory of ours and not a port, because whoever reaches it reads as the administrator does.
fn read_only(plan: &Plan) -> Result<Service> {
    let mut args = vec!["proxy".to_owned()];
    args.extend(flags(&[
        ("kubeconfig", &plan.kubeconfig("admin").display().to_string()),
        ("unix-socket", &plan.text(SOCKET)),
        ("reject-methods", "^(POST|PUT|PATCH|DELETE)$"),
    ]));
    Service::new(plan, "kubectl-proxy", "kubectl", args, Ready::Running)
}

const SOCKET: &str = "kubectl-proxy.socket";

fn exporter(plan: &Plan) -> Result<Service> {
    let mut args = vec!["exporter".to_owned()];
    args.extend(flags(&[("listen", &format!("127.0.0.1:{}", plan.ports.exporter))]));
    if plan.options.foreign_kubeconfig().is_some() {
        args.extend(flags(&[("socket", &plan.text(SOCKET))]));
    } else {
        args.extend(flags(&[
            ("server", &plan.api_url()),
            ("ca", &plan.text("pki/ca.crt")),
            ("cert", &plan.text("pki/exporter.crt")),
            ("key", &plan.text("pki/exporter.key")),
        ]));
    }
    Service::new(plan, "exporter", "app", args, Ready::Answers(plan.ports.exporter, "/metrics"))
}

fn prometheus(plan: &Plan) -> Result<Service> {
    let mut args = flags(&[
        ("config.file", &plan.text("config/prometheus.yaml")),
        ("storage.tsdb.path", &plan.text("prometheus")),
        ("web.listen-address", &format!("127.0.0.1:{}", plan.ports.prometheus)),
        // An alert goes out as soon as it fires, and again often enough for a test to see it resolve.
        ("rules.alert.resend-delay", "1s"),
    ]);
    args.push("--web.enable-lifecycle".to_owned());
    Service::new(plan, "prometheus", "prometheus", args, Ready::Answers(plan.ports.prometheus, "/-/ready"))
}

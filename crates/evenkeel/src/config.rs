//! The whole configuration, of all planes: one file serves all of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use evenkeel_bus::admin::{BusOptions, StreamLimits};
use evenkeel_model::{Mode, Span};
use evenkeel_runtime::{config as loader, telemetry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const MIB: u64 = 1024 * 1024;

/// Configuration of evenkeel. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Name of the Kubernetes cluster: 1 to 63 lower-case letters, digits and hyphens. Part of every subject on the
    /// bus. Required.
    pub(crate) cluster: String,
    /// The engine's own namespace: Remediations and the Ledger live there.
    pub(crate) namespace: String,
    /// Audit: say what would be done. Enforce: let policies decide. No policy goes above it.
    pub(crate) mode: Mode,
    /// How the planes talk to each other.
    pub(crate) bus: Bus,
    /// How the cluster is reached: a kubeconfig, else the pod's ServiceAccount.
    pub(crate) kubernetes: Kubernetes,
    /// Where webhooks are taken: Alertmanager's by the observer, Slack's by the gateway.
    pub(crate) listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are.
    pub(crate) admin: SocketAddr,
    /// Logs and traces.
    pub(crate) telemetry: telemetry::Config,
    /// Where playbooks come from.
    pub(crate) playbooks: Playbooks,
    /// The observer.
    pub(crate) observer: evenkeel_observer::Config,
    /// The reasoner.
    pub(crate) reasoner: evenkeel_reasoner::Config,
    /// The gateway.
    pub(crate) gateway: evenkeel_gateway::Config,
    /// The audit log, which gateways keep.
    pub(crate) audit: evenkeel_audit::Config,
    /// Chats and pagers that the gateway tells.
    pub(crate) chat: evenkeel_chat::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: String::new(),
            namespace: "evenkeel".to_owned(),
            mode: Mode::Audit,
            bus: Bus::default(),
            kubernetes: Kubernetes::default(),
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            admin: SocketAddr::from(([0, 0, 0, 0], 9090)),
            telemetry: telemetry::Config::default(),
            playbooks: Playbooks::default(),
            observer: evenkeel_observer::Config::default(),
            reasoner: evenkeel_reasoner::Config::default(),
            gateway: evenkeel_gateway::Config::default(),
            audit: evenkeel_audit::Config::default(),
            chat: evenkeel_chat::Config::default(),
        }
    }
}

/// How the planes talk to each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Bus {
    /// NATS JetStream.
    Jetstream(Box<Jetstream>),
    /// In the process' own memory: nothing outlives it. Only for `evenkeel all --dev`.
    Memory,
}

impl Default for Bus {
    fn default() -> Self {
        Self::Jetstream(Box::default())
    }
}

/// NATS JetStream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Jetstream {
    /// `nats://HOST:PORT` or `tls://HOST:PORT`, any number of one NATS cluster.
    pub(crate) servers: Vec<String>,
    /// User name; with `passwordFile`.
    pub(crate) user: Option<String>,
    /// File with the user's password.
    pub(crate) password_file: Option<PathBuf>,
    /// File with a token, instead of a user.
    pub(crate) token_file: Option<PathBuf>,
    /// Credentials file as `nsc` writes it, instead of a user.
    pub(crate) credentials_file: Option<PathBuf>,
    /// PEM file with the roots to trust. Absent: the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM file with our certificate; with `keyFile`.
    pub(crate) cert_file: Option<PathBuf>,
    /// PEM file with our certificate's key.
    pub(crate) key_file: Option<PathBuf>,
    /// Where replies arrive. Absent: the plane's own, as `evenkeel bus permissions` has it.
    pub(crate) inbox_prefix: Option<String>,
    /// How long the server may take for one answer.
    pub(crate) timeout: Span,
    /// What `evenkeel bus init` creates. The planes do not look at it.
    pub(crate) storage: Storage,
}

impl Default for Jetstream {
    fn default() -> Self {
        Self {
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            user: None,
            password_file: None,
            token_file: None,
            credentials_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            inbox_prefix: None,
            timeout: Span::seconds(2),
            storage: Storage::default(),
        }
    }
}

/// What `evenkeel bus init` creates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Storage {
    /// Copies of everything: 3 where there are three servers or more.
    pub(crate) replicas: usize,
    /// A message not acknowledged in this time comes again.
    pub(crate) ack_wait: Span,
    /// How many messages of a consumer may be unacknowledged at once.
    pub(crate) max_ack_pending: u32,
    /// Signals.
    pub(crate) signals: StreamStorage,
    /// Proposals.
    pub(crate) proposals: StreamStorage,
    /// Outcomes.
    pub(crate) outcomes: StreamStorage,
    /// Audit records, until they are sealed and beyond.
    pub(crate) audit: StreamStorage,
    /// Wake-ups of incidents.
    pub(crate) wake_ups: StreamStorage,
    /// Messages nobody could handle.
    pub(crate) dead: StreamStorage,
    /// Room for incidents, in MiB.
    pub(crate) incidents_mib: u64,
    /// Room for baselines, in MiB.
    pub(crate) baselines_mib: u64,
    /// Room for playbooks, in MiB.
    pub(crate) playbooks_mib: u64,
    /// Room for the audit log's checkpoint and lease, in MiB.
    pub(crate) audit_mib: u64,
    /// Room for what was told and clicked in chats, in MiB.
    pub(crate) chat_mib: u64,
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StreamStorage {
    /// Older messages are dropped.
    pub(crate) max_age: Span,
    /// At so many MiB it is full. The server reserves them.
    pub(crate) max_mib: u64,
}

impl Default for Storage {
    fn default() -> Self {
        let bus = BusOptions::default();
        let stream = |limits: StreamLimits| StreamStorage {
            max_age: Span::seconds(limits.max_age.as_secs()),
            max_mib: limits.max_bytes / MIB,
        };
        Self {
            replicas: bus.replicas,
            ack_wait: Span::seconds(bus.ack_wait.as_secs()),
            max_ack_pending: bus.max_ack_pending,
            signals: stream(bus.signals),
            proposals: stream(bus.proposals),
            outcomes: stream(bus.outcomes),
            audit: stream(bus.audit),
            wake_ups: stream(bus.wake_ups),
            dead: stream(bus.dead),
            incidents_mib: bus.incidents_bytes / MIB,
            baselines_mib: bus.baselines_bytes / MIB,
            playbooks_mib: bus.playbooks_bytes / MIB,
            audit_mib: bus.audit_bytes / MIB,
            chat_mib: bus.chat_bytes / MIB,
        }
    }
}

impl Storage {
    /// As the bus takes it.
    pub(crate) fn options(&self) -> BusOptions {
        let stream = |storage: StreamStorage| StreamLimits {
            max_age: storage.max_age.get(),
            max_bytes: storage.max_mib.saturating_mul(MIB),
            max_messages: None,
        };
        BusOptions {
            replicas: self.replicas,
            ack_wait: self.ack_wait.get(),
            max_ack_pending: self.max_ack_pending,
            signals: stream(self.signals),
            proposals: stream(self.proposals),
            outcomes: stream(self.outcomes),
            audit: stream(self.audit),
            wake_ups: stream(self.wake_ups),
            dead: stream(self.dead),
            incidents_bytes: self.incidents_mib.saturating_mul(MIB),
            baselines_bytes: self.baselines_mib.saturating_mul(MIB),
            playbooks_bytes: self.playbooks_mib.saturating_mul(MIB),
            audit_bytes: self.audit_mib.saturating_mul(MIB),
            chat_bytes: self.chat_mib.saturating_mul(MIB),
            ..BusOptions::default()
        }
    }
}

/// How the cluster is reached: a kubeconfig, else the pod's ServiceAccount.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Kubernetes {
    /// Kubeconfig file. Absent: `$KUBECONFIG`, then `~/.kube/config`, then the pod's ServiceAccount.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Absent: its current one.
    pub(crate) context: Option<String>,
}

/// Where playbooks come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Playbooks {
    /// Where from. Observer and gateway read them each for itself.
    pub(crate) from: PlaybooksFrom,
}

/// Where from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum PlaybooksFrom {
    /// Playbook objects of the cluster.
    #[default]
    Cluster,
    /// Files, and directories whose .yaml and .yml files are read.
    Files(Vec<PathBuf>),
}

impl Config {
    /// Reads the file and the environment.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        Self::checked(loader::load(path)?)
    }

    /// For people's commands, which can go without a file.
    pub(crate) fn load_or_default(path: Option<&Path>) -> Result<Self> {
        match path {
            Some(path) => Self::load(path),
            None => Self::checked(loader::load_environment()?),
        }
    }

    fn checked(loaded: loader::Loaded<Self>) -> Result<Self> {
        let loader::Loaded { config, unknown_variables } = loaded;
        for variable in unknown_variables.iter().filter(|name| !is_service_variable(name)) {
            // Telemetry does not run yet; a misspelt variable would otherwise go unseen.
            crate::output::warn(&format!("environment variable {variable} names no key of the configuration"));
        }
        Ok(config)
    }

    /// The cluster's name as the bus wants it.
    pub(crate) fn cluster(&self) -> Result<evenkeel_bus::Cluster> {
        if self.cluster.is_empty() {
            bail!(
                "cluster: expected the cluster's name, found nothing; set `cluster` in the configuration or EVENKEEL_CLUSTER"
            );
        }
        evenkeel_bus::Cluster::new(&self.cluster).context("cluster")
    }
}

/// What Kubernetes itself sets in every pod for each Service, such as `EVENKEEL_GATEWAY_SERVICE_HOST`,
/// and what the test suites are told by.
fn is_service_variable(name: &str) -> bool {
    name.starts_with("EVENKEEL_TEST_")
        || ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|end| name.ends_with(end))
        || ["_SERVICE_PORT_", "_TCP", "_UDP"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Config {
        loader::parse::<Config>(text, "evenkeel.yaml", []).unwrap().config
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = read(
            "cluster: prod\nmode: Enforce\nlisten: 127.0.0.1:0\nadmin: 127.0.0.1:0\n\
             bus: {jetstream: {servers: [nats://nats:4222], user: observer, passwordFile: /etc/nats/password}}\n\
             kubernetes: {kubeconfig: /tmp/kubeconfig}\n\
             playbooks: {from: {files: [playbooks]}}\n\
             telemetry: {logs: {format: json}, otlp: {endpoint: 'http://otel:4318'}}\n",
        );
        assert_eq!((config.cluster.as_str(), config.mode), ("prod", Mode::Enforce));
        assert_eq!(config.playbooks.from, PlaybooksFrom::Files(vec!["playbooks".into()]));
        let Bus::Jetstream(jetstream) = config.bus else { panic!("jetstream") };
        assert_eq!(jetstream.user.as_deref(), Some("observer"));
        assert_eq!(read("bus: memory\nplaybooks: {from: cluster}").bus, Bus::Memory);
    }

    #[test]
    fn without_a_word_nothing_is_carried_out() {
        assert_eq!(read("").mode, Mode::Audit);
    }

    #[test]
    fn a_cluster_needs_a_name() {
        let error = read("").cluster().unwrap_err().to_string();
        assert!(error.contains("EVENKEEL_CLUSTER"), "{error}");
        assert!(read("cluster: Prod").cluster().is_err());
    }

    #[test]
    fn variables_of_services_are_not_mistaken_for_keys() {
        assert!(is_service_variable("EVENKEEL_GATEWAY_SERVICE_HOST"));
        assert!(is_service_variable("EVENKEEL_GATEWAY_PORT_9090_TCP_ADDR"));
        assert!(!is_service_variable("EVENKEEL_OBSERVER_PROMETHUES_URL"));
    }
}

use std::path::PathBuf;

use evenkeel_model::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::detect::Thresholds;
use crate::tracker::Damping;

/// Configuration of the observer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Alerts that Alertmanagers post, and their silences.
    pub alertmanager: Alertmanager,
    /// Alerts and PromQL.
    pub prometheus: Prometheus,
    /// What is watched in the cluster.
    pub kubernetes: Kubernetes,
    /// How alerts' targets are told.
    pub targets: Targets,
    /// What evidence may cost.
    pub evidence: Evidence,
}

/// Alerts that Alertmanagers post, and their silences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Alertmanager {
    /// File with the bearer token that Alertmanagers send (`http_config.authorization.credentials_file`), or several,
    /// one a line, so that they can be exchanged without a gap. Read again when it changes. Required outside `--dev`.
    pub bearer_token_file: Option<PathBuf>,
    /// Base URL of an Alertmanager whose silences and inhibitions stop automatic action. Absent: none do.
    pub url: Option<String>,
    /// How often silences are read.
    pub interval: Span,
    /// The largest body taken, as it is sent and unpacked, bytes.
    pub max_body_bytes: usize,
    /// How deep JSON may be nested.
    pub max_depth: usize,
    /// How many alerts one body may hold.
    pub max_alerts: usize,
    /// How many requests are worked on at a time; more are asked to come back.
    pub max_requests: usize,
    /// How many bytes of bodies are held at a time; more are asked to come back.
    pub max_bytes_in_flight: usize,
    /// How many connections are held at a time; more wait in the listener's queue.
    pub max_connections: usize,
    /// The longest a body may take to arrive.
    pub read_timeout: Span,
    /// The longest the bus may take to store the alerts of one request.
    pub publish_timeout: Span,
    /// What a 503 says in Retry-After.
    pub retry_after: Span,
    /// Name of the alert that always fires.
    pub watchdog: String,
    /// How often at least the watchdog is heard of while all is well (more than Alertmanager's `repeat_interval` for
    /// it). While it is silent, nothing is concluded to be healed. Absent: nothing is concluded from its silence.
    pub watchdog_every: Option<Span>,
}

impl Default for Alertmanager {
    fn default() -> Self {
        Self {
            bearer_token_file: None,
            url: None,
            interval: Span::seconds(15),
            max_body_bytes: 4 * 1024 * 1024,
            max_depth: 32,
            max_alerts: 10_000,
            max_requests: 1024,
            max_bytes_in_flight: 32 * 1024 * 1024,
            max_connections: 4096,
            read_timeout: Span::seconds(10),
            publish_timeout: Span::seconds(10),
            retry_after: Span::seconds(2),
            watchdog: "Watchdog".to_owned(),
            watchdog_every: None,
        }
    }
}

/// Alerts and PromQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Prometheus {
    /// Base URL. Absent: alerts are not polled and PromQL evidence is unknown.
    pub url: Option<String>,
    /// File with a bearer token for it. Read again when it changes.
    pub bearer_token_file: Option<PathBuf>,
    /// Whether firing alerts are polled.
    pub alerts: bool,
    /// How often they are polled.
    pub interval: Span,
    /// The longest one request may take.
    pub timeout: Span,
    /// How many PromQL questions are asked at a time; more wait.
    pub max_queries: usize,
    /// The largest answer taken, bytes.
    pub max_answer_bytes: usize,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            url: None,
            bearer_token_file: None,
            alerts: true,
            interval: Span::seconds(30),
            timeout: Span::seconds(5),
            max_queries: 4,
            max_answer_bytes: 8 * 1024 * 1024,
        }
    }
}

/// What is watched in the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kubernetes {
    /// Whether what watches see becomes signals. Without, watches only tell alerts' targets.
    pub signals: bool,
    /// From when on something is trouble.
    pub thresholds: Thresholds,
    /// How flapping is damped.
    pub damping: Damping,
    /// How many troubles are held at most; more are counted and left out.
    pub max_troubles: usize,
    /// For how long all pods of a revision must have been available before it counts as one that once was.
    pub available_for: Span,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            signals: true,
            thresholds: Thresholds::default(),
            damping: Damping::default(),
            max_troubles: 20_000,
            available_for: Span::seconds(10),
        }
    }
}

/// How alerts' targets are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Targets {
    /// Names of exporters: a `pod` label that names one of their pods is not what the alert is about. Pods with
    /// `exporter` as a word of their name are taken for exporters, too.
    pub exporters: Vec<String>,
}

impl Default for Targets {
    fn default() -> Self {
        let exporters = [
            "kube-state-metrics",
            "prometheus",
            "alertmanager",
            "pushgateway",
            "metrics-server",
            "cadvisor",
            "opentelemetry-collector",
            "otel-collector",
            "grafana-agent",
            "alloy",
        ];
        Self { exporters: exporters.map(str::to_owned).into() }
    }
}

/// What evidence may cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Evidence {
    /// How many questions are worked on at a time; more wait on the bus.
    pub max_questions: usize,
    /// The longest one answer may take.
    pub timeout: Span,
    /// How many Events or changes one answer holds at most.
    pub max_rows: usize,
    /// How many bytes of a log are read at most.
    pub max_log_bytes: usize,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { max_questions: 16, timeout: Span::seconds(5), max_rows: 100, max_log_bytes: 64 * 1024 }
    }
}

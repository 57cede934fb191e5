//! Scenario files: `kind: Simulation`. A file, never a CRD; unknown fields are errors with their place.

mod event;
mod expect;
mod load;
mod references;
mod schema;

pub(crate) use event::{
    Alert, AlertState, ApiTrouble, BusTrouble, ClockSkew, Event, Kill, KillPod, Nats, On, Plane, Reply, Silence,
    Watches,
};
pub(crate) use expect::{Expect, Failed, Finally, Written};
pub use load::{Disk, Files, Instead, Scenario, load, load_with};
pub use schema::schema;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use evenkeel_model::{Mode, ObjectRef, Span};
use evenkeel_simulator::ImageLife;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A simulation: a cluster, what happens to it, and what is to come of it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SimulationSpec {
    /// What it shows, in a sentence.
    #[serde(default)]
    pub summary: String,
    /// When it begins; windows of policies depend on it.
    #[serde(default = "start")]
    pub start: DateTime<Utc>,
    /// Playbooks and policies of the engine.
    #[serde(rename = "use")]
    pub uses: Uses,
    /// How many of each plane, and how they are set.
    #[serde(default)]
    pub engine: EngineSpec,
    /// The cluster as it is at the start.
    pub cluster: ClusterSpec,
    /// What happens, in order of time.
    #[serde(default)]
    pub timeline: Vec<Event>,
    /// How long it lasts.
    pub until: Span,
    /// What is to come of it.
    pub expect: Expect,
}

fn start() -> DateTime<Utc> {
    // 2026-06-03T09:00:00Z, a Wednesday.
    DateTime::from_timestamp(1_780_477_200, 0).unwrap_or_default()
}

/// Files or directories, relative to the scenario's directory or the nearest one above it that has them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Uses {
    /// Playbooks.
    pub playbooks: Vec<String>,
    /// Policies.
    pub policies: Vec<String>,
    /// Rules of the simulated Prometheus, besides the shipped ones of Kubernetes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

/// How many of each plane, and how they are set.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EngineSpec {
    /// Gateways.
    #[schemars(range(min = 0, max = 5))]
    pub gateway: u32,
    /// Reasoners.
    #[schemars(range(min = 0, max = 5))]
    pub reasoner: u32,
    /// The installation's mode.
    pub mode: Mode,
    /// Whether the engine asks the simulated Prometheus and Alertmanager.
    pub prometheus: bool,
    /// Whether the gateways keep an audit log. At the end it has to be whole and tell of every change.
    pub audit: bool,
}

impl Default for EngineSpec {
    fn default() -> Self {
        Self { gateway: 1, reasoner: 1, mode: Mode::Enforce, prometheus: true, audit: false }
    }
}

/// The cluster at the start. Namespaces that objects name are there.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    /// Worker nodes: `node-1`, `node-2` …
    #[serde(default = "three")]
    #[schemars(range(min = 0, max = 50))]
    pub nodes: u32,
    /// Workloads in short.
    #[serde(default)]
    pub workloads: Vec<WorkloadSpec>,
    /// Anything else, as `kubectl apply` takes it.
    #[serde(default)]
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    pub objects: Vec<Value>,
    /// What the simulated kubelet does with each image.
    #[serde(default)]
    pub images: BTreeMap<String, ImageLife>,
    /// Requests that users send.
    #[serde(default)]
    pub traffic: Vec<TrafficSpec>,
}

fn three() -> u32 {
    3
}

/// A workload in short: one container named as the workload.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadSpec {
    /// `deployment/shop/cart`; a Deployment, StatefulSet, DaemonSet, Job or CronJob.
    pub object: Object,
    /// How many pods; a Job's completions.
    #[serde(default = "one")]
    pub replicas: u32,
    /// The container's image.
    pub image: String,
    /// The container's resource requests, which are its limits too: `{cpu: 100m, memory: 64Mi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, String>,
    /// A CronJob's schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// A Deployment's `progressDeadlineSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Span>,
    /// A Job's `backoffLimit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_limit: Option<u32>,
    /// Annotations of the object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// A port of the container, and of a Service of the same name in front of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

fn one() -> u32 {
    1
}

/// Users' requests to a Service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficSpec {
    /// `service/shop/cart`
    pub to: Object,
    /// Requests a second.
    pub rate: f64,
}

/// An object as it is written: `deployment/shop/cart`, `node/node-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object(pub ObjectRef);

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ObjectRef::from_str(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Object {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Object".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[a-zA-Z]+(/[a-z0-9.-]+)?/[a-z0-9.*-]+$",
            "description": "KIND/NAMESPACE/NAME (deployment/shop/cart) or KIND/NAME (node/node-1)"
        })
    }
}

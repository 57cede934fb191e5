//! What is wrong with an object, told from what is known of it and of what is around it. Pure: the
//! same input tells the same trouble, and the [tracker](crate::tracker) turns it into signals.

mod event;
mod node;
mod pod;
mod workload;

pub(crate) use event::{count_and_last, event};

use chrono::{DateTime, Utc};
use evenkeel_model::{Kind, ObjectRef, Severity, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::world::World;

/// From when on something is trouble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Thresholds {
    /// How long a pod must have been unschedulable.
    pub unschedulable: Span,
    /// How long a pod that was ready must not have been.
    pub pod_not_ready: Span,
    /// How long a new pod may take to get ready.
    pub pod_starting: Span,
    /// How long a pod must have been out of order on a node that is not ready, or its deletion overdue.
    pub pod_stuck: Span,
    /// How long a workload must have missed replicas.
    pub replicas_unavailable: Span,
    /// How long a node must not have been ready.
    pub node_not_ready: Span,
    /// How long a new node may take to get ready.
    pub node_starting: Span,
    /// How long a node that evenkeel cordoned must have been well again.
    pub node_still_cordoned: Span,
    /// How long a container must run before it no longer counts as crashing again and again.
    pub crash_loop_quiet: Span,
    /// How long a kill for memory is news.
    pub out_of_memory_quiet: Span,
    /// How long a warning Event is news.
    pub event_quiet: Span,
    /// How often a probe must have failed.
    pub probe_failures: i32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            unschedulable: Span::seconds(10),
            pod_not_ready: Span::seconds(15),
            pod_starting: Span::minutes(2),
            pod_stuck: Span::seconds(30),
            replicas_unavailable: Span::minutes(1),
            node_not_ready: Span::seconds(5),
            node_starting: Span::minutes(2),
            node_still_cordoned: Span::minutes(10),
            crash_loop_quiet: Span::minutes(2),
            out_of_memory_quiet: Span::minutes(10),
            event_quiet: Span::minutes(5),
            probe_failures: 3,
        }
    }
}

/// Names of all signals that watches give, for metrics with bounded labels.
pub(crate) const NAMES: [&str; 20] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PostStartHookError",
    "OOMKilled",
    "FailedScheduling",
    "PodNotReady",
    "PodStuckOnNode",
    "ProgressDeadlineExceeded",
    "ReplicasUnavailable",
    "FailedCreate",
    "JobFailed",
    "NodeNotReady",
    "NodePressure",
    "NodeStillCordoned",
    "Unhealthy",
    "FailedMount",
    "FailedCreatePodSandBox",
];

/// One thing that is wrong with one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trouble {
    /// Its name, one of [`NAMES`].
    pub(crate) name: &'static str,
    pub(crate) severity: Severity,
    /// What makes this transition another than the one before: a lastTransitionTime, a bucket of
    /// restarts, a generation. Never a resourceVersion.
    pub(crate) mark: String,
    /// When it began, where the object tells.
    pub(crate) since: Option<DateTime<Utc>>,
    /// It is news only once it has lasted so long.
    pub(crate) after: Span,
    /// It ends then unless it is seen again.
    pub(crate) until: Option<DateTime<Utc>>,
    /// What it may be an effect of.
    pub(crate) causes: Vec<ObjectRef>,
    pub(crate) summary: String,
}

impl Trouble {
    fn new(name: &'static str, severity: Severity, mark: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name,
            severity,
            mark: mark.into(),
            since: None,
            after: Span::seconds(0),
            until: None,
            causes: Vec::new(),
            summary: summary.into(),
        }
    }

    fn since(mut self, since: DateTime<Utc>) -> Self {
        self.since = Some(since);
        self
    }

    fn after(mut self, after: Span) -> Self {
        self.after = after;
        self
    }

    fn until(mut self, until: DateTime<Utc>) -> Self {
        self.until = Some(until);
        self
    }

    fn because_of(mut self, causes: impl IntoIterator<Item = ObjectRef>) -> Self {
        self.causes.extend(causes);
        self
    }
}

/// The object with its uid and all that is wrong with it; `None` when it is not known.
pub(crate) fn troubles(
    world: &World,
    kind: Kind,
    namespace: &str,
    name: &str,
    limits: &Thresholds,
    now: DateTime<Utc>,
) -> Option<(ObjectRef, Vec<Trouble>)> {
    let object = reference(kind, namespace, name);
    let uid = (*world.meta(&object)?.uid).to_owned();
    let found = match kind {
        Kind::Pod => pod::troubles(world, &object, world.pods.get(namespace, name)?, limits, now),
        Kind::Node => node::troubles(world.nodes.get("", name)?, limits),
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => {
            workload::troubles(world, &object, world.workload(kind, namespace, name)?, limits)
        }
        Kind::ReplicaSet => workload::replica_set(namespace, world.replica_sets.get(namespace, name)?),
        Kind::Job => workload::job(world.jobs.get(namespace, name)?),
        _ => Vec::new(),
    };
    Some((object.with_uid(uid), found))
}

/// A reference by names as the tables hold them.
pub(crate) fn reference(kind: Kind, namespace: &str, name: &str) -> ObjectRef {
    if namespace.is_empty() {
        ObjectRef::cluster_scoped(kind, name)
    } else {
        ObjectRef::namespaced(kind, namespace, name)
    }
}

/// A count's bucket: the greatest power of two not above it. Every doubling is news, every step is not.
fn bucket(count: i32) -> u32 {
    let count = u32::try_from(count).unwrap_or_default().max(1);
    1 << count.ilog2()
}

/// A time as a mark.
fn mark(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// The word after `before` and a quote or a space, up to a quote, comma or space.
fn word_after<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    let rest = rest.trim_start_matches([' ', '"', '\\']);
    let word = rest.split([' ', '"', ',', '\\', ':']).next()?;
    (!word.is_empty()).then_some(word)
}

/// The quota that an API server's refusal names.
fn quota(namespace: &str, message: &str) -> Option<ObjectRef> {
    let name = word_after(message, "exceeded quota:")?;
    Some(ObjectRef::namespaced(Kind::ResourceQuota, namespace, name))
}

#[cfg(test)]
mod tests;

//! What is kept of objects: what detection, targets and owner chains read, and no more. Ten
//! thousand pods are a few megabytes this way.

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use evenkeel_model::{ChangeKind, Kind, MODE_ANNOTATION};
use k8s_openapi::api::{apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch, core::v1 as core};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::de::DeserializeOwned;

use super::workload::{self, Autoscaler, Job, Namespace, ReplicaSet, Workload};
use super::{Node, Pod, Table, World};

/// Messages of conditions and containers are kept up to so many bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 256;

/// An API type that is watched, and of which a part is kept.
pub(crate) trait Watched:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
    /// The part.
    type Kept: Kept;

    /// Its kind as signals name it.
    const KIND: Kind;

    /// Takes what is needed; `old` is what was kept before.
    fn keep(self, old: Option<&Self::Kept>) -> Self::Kept;

    /// Where it is kept.
    fn table(world: &mut World) -> &mut Table<Self::Kept>;
}

/// A part that is kept.
pub(crate) trait Kept: Send + Sync + 'static {
    /// What all kinds have.
    fn meta(&self) -> &Meta;

    /// What happened between two sights of one object; `None`: it was not known before.
    fn noticed(&self, _before: Option<&Self>) -> Vec<Noticed> {
        Vec::new()
    }
}

/// Something that happened to an object, beside the trouble it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Noticed {
    /// Somebody changed what it should be; told in one line.
    Change(ChangeKind, String),
    /// A node got ready, or no longer is.
    NodeTurned,
}

/// Says how one API type is kept.
macro_rules! watched {
    ($full:ty => $kept:ty, $kind:ident, $field:ident, $keep:path) => {
        impl Watched for $full {
            type Kept = $kept;
            const KIND: Kind = Kind::$kind;
            fn keep(self, old: Option<&$kept>) -> $kept {
                $keep(self, old)
            }
            fn table(world: &mut World) -> &mut Table<$kept> {
                &mut world.$field
            }
        }
    };
}

watched!(core::Pod => Pod, Pod, pods, Pod::keep);
watched!(core::Node => Node, Node, nodes, Node::keep);
watched!(core::Namespace => Namespace, Namespace, namespaces, Namespace::keep);
watched!(apps::Deployment => Workload, Deployment, deployments, workload::deployment);
watched!(apps::StatefulSet => Workload, StatefulSet, stateful_sets, workload::stateful_set);
watched!(apps::DaemonSet => Workload, DaemonSet, daemon_sets, workload::daemon_set);
watched!(apps::ReplicaSet => ReplicaSet, ReplicaSet, replica_sets, ReplicaSet::keep);
watched!(batch::Job => Job, Job, jobs, Job::keep);
watched!(autoscaling::HorizontalPodAutoscaler => Autoscaler, HorizontalPodAutoscaler, autoscalers, Autoscaler::keep);

/// The controller of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) kind: Kind,
    pub(crate) name: Box<str>,
    pub(crate) uid: Box<str>,
}

/// What every kept object has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) uid: Box<str>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    pub(crate) generation: i64,
    pub(crate) owner: Option<Owner>,
    /// `evenkeel.dev/mode: off`.
    pub(crate) off: bool,
}

impl Meta {
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            created_at: meta.creation_timestamp.as_ref().map(time).unwrap_or_default(),
            deleted_at: meta.deletion_timestamp.as_ref().map(time),
            generation: meta.generation.unwrap_or_default(),
            owner: owner(meta),
            off: annotation(meta, MODE_ANNOTATION) == Some("off"),
        }
    }
}

/// One condition that is not as it should be, or is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) status: Status,
    pub(crate) since: DateTime<Utc>,
    pub(crate) reason: Box<str>,
    pub(crate) message: Box<str>,
}

/// A condition's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    True,
    False,
    Unknown,
}

impl Status {
    pub(crate) fn of(text: &str) -> Self {
        match text {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

impl Condition {
    /// A reason and message are kept only where they explain trouble.
    pub(crate) fn new(
        status: &str,
        since: Option<&Time>,
        reason: Option<&str>,
        message: Option<&str>,
        healthy: Status,
    ) -> Self {
        let status = Status::of(status);
        let keep = status != healthy;
        let text = |text: Option<&str>| text.filter(|_| keep).map(short).unwrap_or_default();
        Self { status, since: since.map(time).unwrap_or_default(), reason: text(reason), message: text(message) }
    }

    pub(crate) fn is(&self, status: Status) -> bool {
        self.status == status
    }
}

/// The text, cut to [`MAX_MESSAGE_BYTES`].
pub(crate) fn short(text: &str) -> Box<str> {
    crate::alert::bounded(text, MAX_MESSAGE_BYTES).into()
}

/// Kubernetes' time as ours.
pub(crate) fn time(time: &Time) -> DateTime<Utc> {
    let nanos = u32::try_from(time.0.subsec_nanosecond()).unwrap_or_default();
    DateTime::from_timestamp(time.0.as_second(), nanos).unwrap_or_default()
}

pub(crate) fn annotation<'m>(meta: &'m ObjectMeta, name: &str) -> Option<&'m str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

fn owner(meta: &ObjectMeta) -> Option<Owner> {
    let owner = meta.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))?;
    let kind: Kind = owner.kind.parse().ok()?;
    // Another API group may have a kind of the same name.
    (owner.api_version.split_once('/').map_or("", |(group, _)| group) == kind.group()).then(|| Owner {
        kind,
        name: owner.name.as_str().into(),
        uid: owner.uid.as_str().into(),
    })
}

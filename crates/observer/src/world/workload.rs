use evenkeel_model::{ChangeKind, Kind, digest};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::api::{apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch, core::v1 as core};

use super::slim::{Condition, Kept, Meta, Noticed, Status};

/// What is kept of a Deployment, StatefulSet or DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) meta: Meta,
    /// Replicas asked for; for a DaemonSet, nodes that should run it.
    pub(crate) desired: i32,
    /// Its replicas are asked for; a DaemonSet's follow from the nodes.
    pub(crate) scalable: bool,
    /// Pods of the newest template.
    pub(crate) updated: i32,
    pub(crate) available: i32,
    /// The controller has seen the newest spec.
    pub(crate) observed: bool,
    pub(crate) paused: bool,
    /// Deployments: Progressing is False.
    pub(crate) stuck: Option<Condition>,
    /// Deployments: Available is False.
    pub(crate) unavailable: Option<Condition>,
    /// Deployments: ReplicaFailure is True.
    pub(crate) replica_failure: Option<Condition>,
    /// StatefulSets: name of the newest ControllerRevision.
    pub(crate) revision: Option<Box<str>>,
    /// Short hash over the pod template, and its images: to see and tell changes.
    pub(crate) template: Box<str>,
    pub(crate) images: Box<[Box<str>]>,
    /// Who wrote the spec last, as managedFields tell.
    pub(crate) writer: Option<Box<str>>,
}

impl Workload {
    /// Pods missing. A rollout under way misses some, too.
    pub(crate) fn missing(&self) -> i32 {
        (self.desired - self.available).max(0)
    }

    /// Every pod there should be is of the newest template and available.
    pub(crate) fn is_complete(&self) -> bool {
        self.observed && self.desired > 0 && self.updated >= self.desired && self.available >= self.desired
    }
}

pub(super) fn deployment(full: apps::Deployment, _: Option<&Workload>) -> Workload {
    let meta = Meta::of(&full.metadata);
    let spec = full.spec.unwrap_or_default();
    let status = full.status.unwrap_or_default();
    let condition = |name: &str, bad: Status, healthy: Status| {
        let all = status.conditions.as_deref().unwrap_or_default();
        all.iter().find(|it| it.type_ == name && Status::of(&it.status) == bad).map(|it| {
            let since = it.last_transition_time.as_ref();
            Condition::new(&it.status, since, it.reason.as_deref(), it.message.as_deref(), healthy)
        })
    };
    let (template, images) = template(&spec.template);
    Workload {
        desired: spec.replicas.unwrap_or(1),
        scalable: true,
        updated: status.updated_replicas.unwrap_or_default(),
        available: status.available_replicas.unwrap_or_default(),
        observed: status.observed_generation.unwrap_or_default() >= meta.generation,
        paused: spec.paused.unwrap_or_default(),
        stuck: condition("Progressing", Status::False, Status::True),
        unavailable: condition("Available", Status::False, Status::True),
        replica_failure: condition("ReplicaFailure", Status::True, Status::False),
        revision: None,
        template,
        images,
        writer: writer(&full.metadata),
        meta,
    }
}

pub(super) fn stateful_set(full: apps::StatefulSet, _: Option<&Workload>) -> Workload {
    let meta = Meta::of(&full.metadata);
    let spec = full.spec.unwrap_or_default();
    let status = full.status.unwrap_or_default();
    let (template, images) = template(&spec.template);
    // updatedReplicas is left out once currentRevision has caught up.
    let settled = status.current_revision == status.update_revision;
    let updated = if settled { status.replicas } else { status.updated_replicas.unwrap_or_default() };
    Workload {
        desired: spec.replicas.unwrap_or(1),
        scalable: true,
        updated,
        available: status.available_replicas.unwrap_or_default(),
        observed: status.observed_generation.unwrap_or_default() >= meta.generation,
        paused: false,
        stuck: None,
        unavailable: None,
        replica_failure: None,
        revision: status.update_revision.map(Into::into),
        template,
        images,
        writer: writer(&full.metadata),
        meta,
    }
}

pub(super) fn daemon_set(full: apps::DaemonSet, _: Option<&Workload>) -> Workload {
    let meta = Meta::of(&full.metadata);
    let status = full.status.unwrap_or_default();
    let (template, images) = full.spec.as_ref().map(|spec| template(&spec.template)).unwrap_or_default();
    Workload {
        desired: status.desired_number_scheduled,
        scalable: false,
        updated: status.updated_number_scheduled.unwrap_or_default(),
        available: status.number_available.unwrap_or_default(),
        observed: status.observed_generation.unwrap_or_default() >= meta.generation,
        paused: false,
        stuck: None,
        unavailable: None,
        replica_failure: None,
        revision: None,
        template,
        images,
        writer: writer(&full.metadata),
        meta,
    }
}

/// Hash and images of a pod template, without the annotation of a restart: that is no new version.
fn template(template: &PodTemplateSpec) -> (Box<str>, Box<[Box<str>]>) {
    let hash = digest(template).unwrap_or_default();
    let spec = template.spec.as_ref();
    let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let images = containers.iter().filter_map(|container| container.image.as_deref()).map(Into::into).collect();
    (hash.get(..16).unwrap_or_default().into(), images)
}

/// The manager of the newest managedFields entry that is not about the status.
pub(crate) fn writer(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Option<Box<str>> {
    let entries = meta.managed_fields.as_deref().unwrap_or_default();
    let spec = entries.iter().filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty());
    let newest = spec.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    newest.manager.as_deref().map(Into::into)
}

/// What is kept of a ReplicaSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplicaSet {
    pub(crate) meta: Meta,
    pub(crate) desired: i32,
    pub(crate) available: i32,
    pub(crate) replica_failure: Option<Condition>,
    pub(crate) images: Box<[Box<str>]>,
}

impl ReplicaSet {
    pub(super) fn keep(full: apps::ReplicaSet, _: Option<&Self>) -> Self {
        let spec = full.spec.unwrap_or_default();
        let status = full.status.unwrap_or_default();
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let failure = conditions.iter().find(|it| it.type_ == "ReplicaFailure" && it.status == "True").map(|it| {
            let since = it.last_transition_time.as_ref();
            Condition::new(&it.status, since, it.reason.as_deref(), it.message.as_deref(), Status::False)
        });
        let containers = spec.template.as_ref().and_then(|template| template.spec.as_ref());
        let containers = containers.map(|spec| spec.containers.as_slice()).unwrap_or_default();
        Self {
            meta: Meta::of(&full.metadata),
            desired: spec.replicas.unwrap_or(1),
            available: status.available_replicas.unwrap_or_default(),
            replica_failure: failure,
            images: containers.iter().filter_map(|it| it.image.as_deref()).map(Into::into).collect(),
        }
    }
}

/// What is kept of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) meta: Meta,
    /// Failed is True.
    pub(crate) failed: Option<Condition>,
}

impl Job {
    pub(super) fn keep(full: batch::Job, _: Option<&Self>) -> Self {
        let status = full.status.unwrap_or_default();
        let conditions = status.conditions.as_deref().unwrap_or_default();
        Self {
            meta: Meta::of(&full.metadata),
            failed: conditions.iter().find(|it| it.type_ == "Failed" && it.status == "True").map(|it| {
                let since = it.last_transition_time.as_ref();
                Condition::new(&it.status, since, it.reason.as_deref(), it.message.as_deref(), Status::False)
            }),
        }
    }
}

/// What is kept of a HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Autoscaler {
    pub(crate) meta: Meta,
    /// What it scales, in its own namespace.
    pub(crate) scales: Option<(Kind, Box<str>)>,
}

impl Autoscaler {
    pub(super) fn keep(full: autoscaling::HorizontalPodAutoscaler, _: Option<&Self>) -> Self {
        let scales = full.spec.and_then(|spec| {
            let kind: Kind = spec.scale_target_ref.kind.parse().ok()?;
            Some((kind, spec.scale_target_ref.name.into()))
        });
        Self { meta: Meta::of(&full.metadata), scales }
    }
}

/// What is kept of a Namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Namespace {
    pub(crate) meta: Meta,
}

impl Namespace {
    pub(super) fn keep(full: core::Namespace, _: Option<&Self>) -> Self {
        Self { meta: Meta::of(&full.metadata) }
    }
}

impl Kept for Workload {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn noticed(&self, before: Option<&Self>) -> Vec<Noticed> {
        let mut noticed = Vec::new();
        if let Some(before) = before {
            if before.template != self.template {
                let what = if before.images == self.images {
                    "pod template changed, images did not".to_owned()
                } else {
                    format!("image {} → {}", before.images.join(", "), self.images.join(", "))
                };
                noticed.push(Noticed::Change(ChangeKind::PodTemplate, what));
            }
            // A DaemonSet's follows the nodes: nobody asked for it.
            if before.desired != self.desired && self.scalable {
                let what = format!("replicas {} → {}", before.desired, self.desired);
                noticed.push(Noticed::Change(ChangeKind::Scale, what));
            }
            let was_changed = before.template != self.template || before.desired != self.desired;
            if before.meta.generation != self.meta.generation && !was_changed {
                noticed.push(Noticed::Change(ChangeKind::Spec, "another part of its spec changed".to_owned()));
            }
        }
        noticed
    }
}

impl Kept for ReplicaSet {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl ReplicaSet {
    /// All the pods it should have are available, and it should have some.
    pub(crate) fn is_available(&self) -> bool {
        self.desired > 0 && self.available >= self.desired
    }
}

impl Kept for Job {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Kept for Autoscaler {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl Kept for Namespace {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}

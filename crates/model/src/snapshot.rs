//! What was read of an object and its surroundings at one moment: the input of facts,
//! indications and well-conditions, the same whether observer or gateway read it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::ObjectRef;

/// At most so many pods of a workload are listed in a snapshot; the counts are of all.
pub const MAX_PODS: usize = 100;
/// At most so many revisions, newest first.
pub const MAX_REVISIONS: usize = 20;

/// One object, as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// The object, with its uid when it exists.
    pub target: ObjectRef,
    /// When it was read.
    pub taken_at: DateTime<Utc>,
    /// Its metadata; absent when the object does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
    /// Set for Deployments, StatefulSets and DaemonSets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// Set for Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// Set for Nodes, and for Pods that are bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
    /// Set for Jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
    /// A workload's pods, or a node's or a Job's; sorted by name, at most [`MAX_PODS`], worst first.
    #[serde(default)]
    pub pods: Vec<Pod>,
    /// The pod-template revisions of a workload, newest first, at most [`MAX_REVISIONS`].
    #[serde(default)]
    pub revisions: Vec<Revision>,
    /// Name of the HorizontalPodAutoscaler that scales the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled_by: Option<String>,
    /// Of a pod: how the ReplicaSet that controls it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerReplicas>,
    /// Why no automatic action may follow at this moment, as the observer knows of it and of its root: a
    /// silence, a pause, `off`, a planned disruption. Only evidence has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<String>,
}

/// What all objects have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// The object's uid.
    pub uid: String,
    /// The version that was read.
    pub resource_version: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its deletion was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
    /// `evenkeel.dev/mode` on it or its namespace, the narrower: `off` or `audit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `evenkeel.dev/remediation`: who of us wrote it last, `<remediation>/<epoch>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<String>,
    /// Which GitOps tool tracks it (tracking annotations or labels of Argo CD, Flux and Helm-by-Flux; never
    /// `app.kubernetes.io/instance`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_ops: Option<String>,
    /// Who controls it, when anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<ObjectRef>,
    /// Writers of its spec as managedFields tell, newest first.
    #[serde(default)]
    pub writers: Vec<Writer>,
}

/// One entry of managedFields that touches the spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Writer {
    /// The field manager.
    pub manager: String,
    /// When it wrote last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// Whether it owns fields of the pod template.
    pub pod_template: bool,
    /// Whether it owns `spec.replicas`.
    pub replicas: bool,
}

/// A Deployment, StatefulSet or DaemonSet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Replicas asked for (for a DaemonSet: nodes that should run it).
    pub desired: i32,
    /// Pods there are.
    pub current: i32,
    /// Pods of the newest template.
    pub updated: i32,
    /// Ready pods.
    pub ready: i32,
    /// Available pods.
    pub available: i32,
    /// Whether the controller has seen the newest spec.
    pub observed: bool,
    /// `spec.paused`.
    pub paused: bool,
    /// Number of the newest revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Hash over the pod template.
    pub template_hash: String,
    /// When the pod template was changed last: creation of the newest revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_changed_at: Option<DateTime<Utc>>,
    /// Its Progressing condition says ProgressDeadlineExceeded.
    pub deadline_exceeded: bool,
    /// Why pods can't be created (ReplicaFailure), in the controller's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_failure: Option<String>,
    /// Has volume claims: a stateful one.
    pub stateful: bool,
}

/// One revision of a workload's pod template: a ReplicaSet or a ControllerRevision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Its number; the newest is the highest.
    pub number: i64,
    /// Name of the ReplicaSet or ControllerRevision.
    pub name: String,
    /// Uid of the ReplicaSet or ControllerRevision.
    pub uid: String,
    /// Hash over the pod template; equal to [`Workload::template_hash`] for the current one.
    pub template_hash: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Available pods of it now.
    pub available: i32,
    /// Known to have been available in the past: see [`crate::AvailabilityRecord`].
    pub was_available: bool,
    /// Its containers' images, in order.
    pub images: Vec<String>,
}

/// How the ReplicaSet that controls a pod stands. A pod that is being deleted does not count for it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReplicas {
    /// Replicas asked for.
    pub desired: i32,
    /// Available pods.
    pub available: i32,
}

impl OwnerReplicas {
    /// Replicas asked for that are not available.
    pub fn unavailable(self) -> i32 {
        self.desired.saturating_sub(self.available).max(0)
    }
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Pending, Running, Succeeded, Failed, Unknown.
    pub phase: String,
    /// Its Ready condition.
    pub ready: bool,
    /// Since when Ready is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<DateTime<Utc>>,
    /// Deletion asked for, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<DateTime<Utc>>,
    /// Its grace period has passed and it is still there.
    pub overdue: bool,
    /// The node it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Restarts of all containers.
    pub restarts: i32,
    /// Why containers wait (`CrashLoopBackOff`), sorted, distinct.
    pub waiting: Vec<String>,
    /// Why containers ended last (`OOMKilled`, `Error`), sorted, distinct.
    pub terminated: Vec<String>,
    /// Why it can't be scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unschedulable: Option<String>,
    /// Hash of the revision it belongs to (`pod-template-hash` or `controller-revision-hash`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_hash: Option<String>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Ready is True. Unknown counts as not ready.
    pub ready: bool,
    /// Since when Ready is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<DateTime<Utc>>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// Pressure conditions that are True (`MemoryPressure`), sorted.
    pub pressure: Vec<String>,
    /// Who cordons or drains on purpose: marks of Karpenter, cluster-autoscaler, kured and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_disruption: Option<String>,
    /// `evenkeel.dev/remediation` on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<String>,
}

/// One Job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its Failed condition is True, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<DateTime<Utc>>,
    /// Reason of the Failed condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_reason: Option<String>,
    /// Its Complete condition is True.
    pub complete: bool,
    /// Running pods.
    pub active: i32,
    /// A later Job of the same CronJob has completed.
    pub later_run_succeeded: bool,
}

/// What the observer noted of a revision that had all its pods available: kept on the bus in the
/// `baselines` bucket, since nothing in the API remembers it once the revision is scaled to zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AvailabilityRecord {
    /// The ReplicaSet or ControllerRevision.
    pub revision_uid: String,
    /// The workload that owns it.
    pub owner_uid: String,
    /// Since when it was seen fully available.
    pub since: DateTime<Utc>,
}

impl AvailabilityRecord {
    /// The key it is kept under in the `baselines` bucket.
    pub fn key(revision_uid: &str) -> String {
        format!("available.{}", crate::short_digest([revision_uid], 40))
    }
}

impl Snapshot {
    /// Whether the object exists and is not being deleted.
    pub fn is_there(&self) -> bool {
        self.meta.as_ref().is_some_and(|meta| meta.deleted_at.is_none())
    }

    /// The newest revision before the current template that is available, or is known to have
    /// been when none is.
    pub fn last_available_revision(&self) -> Option<&Revision> {
        let current = self.workload.as_ref()?.template_hash.as_str();
        let earlier = || self.revisions.iter().filter(|revision| revision.template_hash != current);
        earlier().find(|revision| revision.available > 0).or_else(|| earlier().find(|revision| revision.was_available))
    }

    /// Whether ready pods of the newest template are still increasing: a rollout under way, as far
    /// as one reading can tell. One whose new pods crash or can't pull is not.
    pub fn rollout_in_progress(&self) -> bool {
        let Some(workload) = &self.workload else { return false };
        let incomplete =
            !workload.observed || workload.updated < workload.desired || workload.available < workload.desired;
        incomplete && !workload.paused && !workload.deadline_exceeded && !self.has_failing_pods()
    }

    /// Whether a pod can't start or keeps crashing.
    pub fn has_failing_pods(&self) -> bool {
        self.pods.iter().any(Pod::is_failing)
    }

    /// Whether the target does what it is there for. Workloads: rollout complete and all replicas
    /// available, no pod failing. Pods: ready. Nodes: ready and without pressure. Jobs: complete.
    /// `None` where the kind has no such notion or the object was not read.
    pub fn is_well(&self) -> Option<bool> {
        if !self.is_there() {
            return Some(false);
        }
        if let Some(workload) = &self.workload {
            return Some(
                workload.observed
                    && workload.updated >= workload.desired
                    && workload.current == workload.desired
                    && workload.ready >= workload.desired
                    && workload.available >= workload.desired
                    && workload.replica_failure.is_none()
                    && !self.has_failing_pods(),
            );
        }
        if let Some(pod) = &self.pod {
            return Some(pod.phase == "Succeeded" || (pod.ready && !pod.is_failing()));
        }
        if let Some(job) = &self.job {
            return Some(job.failed_at.is_none() && (job.complete || job.active > 0));
        }
        self.node.as_ref().map(|node| node.ready && node.pressure.is_empty())
    }
}

impl Pod {
    /// Waiting reasons with which a container does not come up by itself soon.
    pub const FAILING: [&'static str; 9] = [
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PostStartHookError",
    ];

    /// Whether it can't start or keeps crashing.
    pub fn is_failing(&self) -> bool {
        self.deleted_at.is_none()
            && (self.phase == "Failed" || self.waiting.iter().any(|reason| Self::FAILING.contains(&reason.as_str())))
    }
}

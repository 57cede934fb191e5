use chrono::{DateTime, Utc};
use evenkeel_model::{MAX_REVISIONS, ObjectRef, Pod, Revision, Workload, Writer};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::meta::annotation;
use super::revision::{belongs_to, template_hash, template_of_revision};
use super::time::to_chrono;

/// Whether an object's controller has that uid.
pub fn controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    meta.owner_references.iter().flatten().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// Reads a Deployment with the ReplicaSets it controls.
pub fn deployment(
    deployment: &Deployment,
    replica_sets: &[ReplicaSet],
    writers: &[Writer],
) -> (Workload, Vec<Revision>) {
    let spec = deployment.spec.clone().unwrap_or_default();
    let status = deployment.status.clone().unwrap_or_default();
    let revisions = newest_first(replica_sets.iter().map(replica_set_revision).collect());
    let condition = |kind: &str| status.conditions.iter().flatten().find(|it| it.type_ == kind);
    let progressing = condition("Progressing");
    let workload = Workload {
        desired: spec.replicas.unwrap_or(1),
        current: status.replicas.unwrap_or(0),
        updated: status.updated_replicas.unwrap_or(0),
        ready: status.ready_replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
        observed: observed(&deployment.metadata, status.observed_generation),
        paused: spec.paused.unwrap_or(false),
        revision: revision_number(&deployment.metadata).or_else(|| revisions.first().map(|it| it.number)),
        template_hash: template_hash(&spec.template),
        template_changed_at: changed_at(&revisions, writers),
        deadline_exceeded: progressing
            .is_some_and(|it| it.status == "False" && it.reason.as_deref() == Some("ProgressDeadlineExceeded")),
        replica_failure: condition("ReplicaFailure")
            .filter(|it| it.status == "True")
            .map(|it| format!("{}: {}", it.reason.clone().unwrap_or_default(), it.message.clone().unwrap_or_default())),
        stateful: has_claims(&spec.template),
    };
    (workload, revisions)
}

fn replica_set_revision(replica_set: &ReplicaSet) -> Revision {
    let template = replica_set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let number = revision_number(&replica_set.metadata).unwrap_or(0);
    let available = replica_set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
    revision(&replica_set.metadata, number, &template, available)
}

fn revision_number(meta: &ObjectMeta) -> Option<i64> {
    annotation(meta, "deployment.kubernetes.io/revision")?.parse().ok()
}

/// Reads a StatefulSet with the ControllerRevisions it controls and its pods. Pods held back on
/// purpose (OnDelete, a partition) count as updated.
pub fn stateful_set(
    set: &StatefulSet,
    revisions: &[ControllerRevision],
    pods: &[Pod],
    writers: &[Writer],
    now: DateTime<Utc>,
) -> (Workload, Vec<Revision>) {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let desired = spec.replicas.unwrap_or(1);
    let observed = observed(&set.metadata, status.observed_generation);
    let strategy = spec.update_strategy.unwrap_or_default();
    let held_back = if strategy.type_.as_deref() == Some("OnDelete") {
        desired
    } else {
        strategy.rolling_update.and_then(|it| it.partition).unwrap_or(0).clamp(0, desired)
    };
    let revisions = controller_revisions(revisions, pods, spec.min_ready_seconds, now);
    let newest = status.update_revision.as_deref().filter(|_| observed);
    let hash = template_hash(&spec.template);
    let revisions = mark_current(revisions, newest, &hash);
    let workload = Workload {
        desired,
        current: status.replicas,
        updated: status.updated_replicas.unwrap_or(0).max(if observed { held_back } else { 0 }),
        ready: status.ready_replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
        observed,
        paused: false,
        revision: revisions.first().map(|it| it.number),
        template_hash: hash,
        template_changed_at: changed_at(&revisions, writers),
        deadline_exceeded: false,
        replica_failure: None,
        stateful: spec.volume_claim_templates.is_some_and(|it| !it.is_empty()) || has_claims(&spec.template),
    };
    (workload, revisions)
}

/// Reads a DaemonSet with the ControllerRevisions it controls and its pods. With OnDelete, pods
/// held back count as updated.
pub fn daemon_set(
    set: &DaemonSet,
    revisions: &[ControllerRevision],
    pods: &[Pod],
    writers: &[Writer],
    now: DateTime<Utc>,
) -> (Workload, Vec<Revision>) {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let observed = observed(&set.metadata, status.observed_generation);
    let on_delete = spec.update_strategy.and_then(|it| it.type_).as_deref() == Some("OnDelete");
    let desired = status.desired_number_scheduled;
    let revisions = controller_revisions(revisions, pods, spec.min_ready_seconds, now);
    let newest = revisions.first().map(|it| it.name.clone()).filter(|_| observed);
    let hash = template_hash(&spec.template);
    let revisions = mark_current(revisions, newest.as_deref(), &hash);
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let workload = Workload {
        desired,
        current: status.current_number_scheduled,
        updated: if on_delete && observed { desired } else { updated },
        ready: status.number_ready,
        available: status.number_available.unwrap_or(0),
        observed,
        paused: false,
        revision: revisions.first().map(|it| it.number),
        template_hash: hash,
        template_changed_at: changed_at(&revisions, writers),
        deadline_exceeded: false,
        replica_failure: None,
        stateful: has_claims(&spec.template),
    };
    (workload, revisions)
}

fn controller_revisions(
    revisions: &[ControllerRevision],
    pods: &[Pod],
    min_ready_seconds: Option<i32>,
    now: DateTime<Utc>,
) -> Vec<Revision> {
    let read = |it: &ControllerRevision| {
        let template = template_of_revision(it).and_then(|json| serde_json::from_value(json).ok()).unwrap_or_default();
        let mut found = revision(&it.metadata, it.revision, &template, 0);
        let available = pods.iter().filter(|pod| belongs_to(pod, &found) && is_available(pod, min_ready_seconds, now));
        found.available = i32::try_from(available.count()).unwrap_or(i32::MAX);
        found
    };
    newest_first(revisions.iter().map(read).collect())
}

fn is_available(pod: &Pod, min_ready_seconds: Option<i32>, now: DateTime<Utc>) -> bool {
    let wait = chrono::Duration::seconds(min_ready_seconds.unwrap_or(0).into());
    pod.ready
        && pod.deleted_at.is_none()
        && (wait.is_zero() || pod.ready_since.is_some_and(|since| now - since >= wait))
}

/// A ControllerRevision holds the template as it was written; defaults that a newer API server added
/// since are not in it. Which one is current, the controller knows.
fn mark_current(mut revisions: Vec<Revision>, current: Option<&str>, hash: &str) -> Vec<Revision> {
    if let Some(revision) = revisions.iter_mut().find(|it| Some(it.name.as_str()) == current) {
        revision.template_hash = hash.to_owned();
    }
    revisions
}

fn revision(meta: &ObjectMeta, number: i64, template: &PodTemplateSpec, available: i32) -> Revision {
    Revision {
        number,
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        template_hash: template_hash(template),
        created_at: meta.creation_timestamp.as_ref().map(to_chrono).unwrap_or_default(),
        available,
        was_available: false,
        images: template
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .map(|container| container.image.clone().unwrap_or_default())
            .collect(),
    }
}

fn newest_first(mut revisions: Vec<Revision>) -> Vec<Revision> {
    revisions.sort_by(|a, b| b.number.cmp(&a.number).then_with(|| a.name.cmp(&b.name)));
    revisions.truncate(MAX_REVISIONS);
    revisions
}

fn observed(meta: &ObjectMeta, seen: Option<i64>) -> bool {
    seen.unwrap_or(0) >= meta.generation.unwrap_or(0)
}

/// When the template was changed last. Going back to an earlier revision reuses its object, so that
/// its creation says nothing; then the last writer of the template does.
fn changed_at(revisions: &[Revision], writers: &[Writer]) -> Option<DateTime<Utc>> {
    let newest = revisions.first()?;
    let created_last = revisions.iter().map(|it| it.created_at).max()?;
    if newest.created_at == created_last {
        return Some(created_last);
    }
    let written = writers.iter().filter(|it| it.pod_template).filter_map(|it| it.at).max();
    Some(written.map_or(created_last, |at| at.max(created_last)))
}

fn has_claims(template: &PodTemplateSpec) -> bool {
    template
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
        .any(|volume| volume.persistent_volume_claim.is_some())
}

/// Name of the HorizontalPodAutoscaler that scales a workload (KEDA makes one, too).
pub fn scaled_by<'a>(
    target: &ObjectRef,
    autoscalers: impl IntoIterator<Item = &'a HorizontalPodAutoscaler>,
) -> Option<String> {
    let scales = |it: &&HorizontalPodAutoscaler| {
        it.spec.as_ref().is_some_and(|spec| {
            let reference = &spec.scale_target_ref;
            let group = reference.api_version.as_deref().map(|it| it.split_once('/').map_or("", |(group, _)| group));
            reference.kind == target.kind.as_str()
                && reference.name == target.name
                && group.is_none_or(|group| group == target.kind.group())
        })
    };
    autoscalers.into_iter().find(scales).and_then(|it| it.metadata.name.clone())
}

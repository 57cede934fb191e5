//! Workloads, as kube-state-metrics tells of them.

use serde_json::Value;

use super::{Exposition, flag, identity, owner};
use crate::value::{is_true, items, text};

pub(super) fn deployment(object: &Value, out: &mut Exposition) {
    let id = identity("deployment", object);
    for (series, field) in [
        ("kube_deployment_status_replicas", "replicas"),
        ("kube_deployment_status_replicas_ready", "readyReplicas"),
        ("kube_deployment_status_replicas_available", "availableReplicas"),
        ("kube_deployment_status_replicas_unavailable", "unavailableReplicas"),
        ("kube_deployment_status_replicas_updated", "updatedReplicas"),
        ("kube_deployment_status_observed_generation", "observedGeneration"),
    ] {
        out.count(series, &id, object, &format!("/status/{field}"));
    }
    for condition in items(object, "/status/conditions") {
        let [namespace, name] = id;
        let labels = [namespace, name, ("reason", text(condition, "/reason")), ("condition", text(condition, "/type"))];
        out.condition("kube_deployment_status_condition", &labels, "status", text(condition, "/status"));
    }
    out.number("kube_deployment_spec_replicas", &id, object, "/spec/replicas");
    out.add("kube_deployment_spec_paused", &id, flag(is_true(object, "/spec/paused")));
    out.number("kube_deployment_metadata_generation", &id, object, "/metadata/generation");
    out.time("kube_deployment_created", &id, object, "/metadata/creationTimestamp");
}

pub(super) fn replica_set(object: &Value, out: &mut Exposition) {
    let id = identity("replicaset", object);
    for (series, field) in [
        ("kube_replicaset_status_replicas", "replicas"),
        ("kube_replicaset_status_fully_labeled_replicas", "fullyLabeledReplicas"),
        ("kube_replicaset_status_ready_replicas", "readyReplicas"),
        ("kube_replicaset_status_observed_generation", "observedGeneration"),
    ] {
        out.count(series, &id, object, &format!("/status/{field}"));
    }
    out.number("kube_replicaset_spec_replicas", &id, object, "/spec/replicas");
    out.number("kube_replicaset_metadata_generation", &id, object, "/metadata/generation");
    owners("kube_replicaset_owner", &id, object, out);
}

pub(super) fn stateful_set(object: &Value, out: &mut Exposition) {
    let id = identity("statefulset", object);
    for (series, field) in [
        ("kube_statefulset_status_replicas", "replicas"),
        ("kube_statefulset_status_replicas_available", "availableReplicas"),
        ("kube_statefulset_status_replicas_current", "currentReplicas"),
        ("kube_statefulset_status_replicas_ready", "readyReplicas"),
        ("kube_statefulset_status_replicas_updated", "updatedReplicas"),
        ("kube_statefulset_status_observed_generation", "observedGeneration"),
    ] {
        out.count(series, &id, object, &format!("/status/{field}"));
    }
    out.number("kube_statefulset_replicas", &id, object, "/spec/replicas");
    out.number("kube_statefulset_metadata_generation", &id, object, "/metadata/generation");
    for (series, field) in [
        ("kube_statefulset_status_current_revision", "/status/currentRevision"),
        ("kube_statefulset_status_update_revision", "/status/updateRevision"),
    ] {
        let [namespace, name] = id;
        out.add(series, &[namespace, name, ("revision", text(object, field))], 1.0);
    }
}

pub(super) fn daemon_set(object: &Value, out: &mut Exposition) {
    let id = identity("daemonset", object);
    for (series, field) in [
        ("kube_daemonset_status_current_number_scheduled", "currentNumberScheduled"),
        ("kube_daemonset_status_desired_number_scheduled", "desiredNumberScheduled"),
        ("kube_daemonset_status_number_available", "numberAvailable"),
        ("kube_daemonset_status_number_misscheduled", "numberMisscheduled"),
        ("kube_daemonset_status_number_ready", "numberReady"),
        ("kube_daemonset_status_number_unavailable", "numberUnavailable"),
        ("kube_daemonset_status_observed_generation", "observedGeneration"),
        ("kube_daemonset_status_updated_number_scheduled", "updatedNumberScheduled"),
    ] {
        out.count(series, &id, object, &format!("/status/{field}"));
    }
    out.number("kube_daemonset_metadata_generation", &id, object, "/metadata/generation");
}

pub(super) fn job(object: &Value, out: &mut Exposition) {
    let id = identity("job_name", object);
    out.count("kube_job_status_active", &id, object, "/status/active");
    out.count("kube_job_status_succeeded", &id, object, "/status/succeeded");
    out.number("kube_job_spec_completions", &id, object, "/spec/completions");
    out.number("kube_job_spec_parallelism", &id, object, "/spec/parallelism");
    out.time("kube_job_status_start_time", &id, object, "/status/startTime");
    out.time("kube_job_status_completion_time", &id, object, "/status/completionTime");
    for condition in items(object, "/status/conditions") {
        let series = match text(condition, "/type") {
            "Failed" => "kube_job_failed",
            "Complete" => "kube_job_complete",
            _ => continue,
        };
        out.condition(series, &id, "condition", text(condition, "/status"));
    }
    failures(object, &id, out);
    owners("kube_job_owner", &id, object, out);
}

/// How many pods failed, under the reason why the Job did.
fn failures(object: &Value, id: &[(&str, &str); 2], out: &mut Exposition) {
    const REASONS: [&str; 3] = ["BackoffLimitExceeded", "DeadlineExceeded", "Evicted"];
    let failed = object.pointer("/status/failed").and_then(Value::as_f64).unwrap_or(0.0);
    let [namespace, name] = *id;
    if failed == 0.0 {
        out.add("kube_job_status_failed", id, 0.0);
        return;
    }
    let conditions = items(object, "/status/conditions");
    let why = conditions.iter().find(|it| text(it, "/type") == "Failed").map(|it| text(it, "/reason"));
    for reason in REASONS {
        let value = if why == Some(reason) { failed } else { 0.0 };
        out.add("kube_job_status_failed", &[namespace, name, ("reason", reason)], value);
    }
    if !why.is_some_and(|why| REASONS.contains(&why)) {
        out.add("kube_job_status_failed", id, failed);
    }
}

pub(super) fn cron_job(object: &Value, out: &mut Exposition) {
    let id = identity("cronjob", object);
    out.add("kube_cronjob_spec_suspend", &id, flag(is_true(object, "/spec/suspend")));
    #[expect(clippy::cast_precision_loss, reason = "a handful of Jobs")]
    let active = items(object, "/status/active").len() as f64;
    out.add("kube_cronjob_status_active", &id, active);
    out.time("kube_cronjob_status_last_schedule_time", &id, object, "/status/lastScheduleTime");
    out.time("kube_cronjob_status_last_successful_time", &id, object, "/status/lastSuccessfulTime");
}

fn owners(series: &str, id: &[(&str, &str); 2], object: &Value, out: &mut Exposition) {
    let [namespace, name] = *id;
    let references = items(object, "/metadata/ownerReferences");
    for reference in references {
        let is_controller = if is_true(reference, "/controller") { "true" } else { "false" };
        let [kind, of, controller] = owner(reference, is_controller);
        out.add(series, &[namespace, name, kind, of, controller], 1.0);
    }
    if references.is_empty() {
        out.add(series, id, 1.0);
    }
}

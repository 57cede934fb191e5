use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use evenkeel_model::{MAX_PODS, Pod};
use k8s_openapi::api::core::v1 as core;

use super::meta::deletion_asked_at;
use super::time::to_chrono;

/// A pod is overdue only so long after its grace period: kubelets need a moment, and clocks differ.
pub const OVERDUE_SLACK: Duration = Duration::from_secs(30);

/// Reads a pod.
pub fn pod(pod: &core::Pod, now: DateTime<Utc>) -> Pod {
    let meta = &pod.metadata;
    let status = pod.status.clone().unwrap_or_default();
    let ends = meta.deletion_timestamp.as_ref().map(to_chrono);
    let ready = condition(&status, "Ready");
    let label = |name: &str| meta.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
    Pod {
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        phase: status.phase.clone().unwrap_or_else(|| "Pending".to_owned()),
        ready: ready.is_some_and(|it| it.status == "True"),
        ready_since: ready.and_then(|it| it.last_transition_time.as_ref()).map(to_chrono),
        deleted_at: deletion_asked_at(meta),
        overdue: ends.is_some_and(|ends| now.signed_duration_since(ends).to_std().is_ok_and(|it| it > OVERDUE_SLACK)),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty()),
        restarts: containers(&status).map(|it| it.restart_count).fold(0, i32::saturating_add),
        waiting: waiting(&status),
        terminated: terminated(&status),
        unschedulable: condition(&status, "PodScheduled")
            .filter(|it| it.status == "False" && it.reason.as_deref() == Some("Unschedulable"))
            .map(|it| it.message.clone().unwrap_or_default()),
        revision_hash: label("pod-template-hash").or_else(|| label("controller-revision-hash")),
        created_at: meta.creation_timestamp.as_ref().map(to_chrono).unwrap_or_default(),
    }
}

fn condition<'a>(status: &'a core::PodStatus, kind: &str) -> Option<&'a core::PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn containers(status: &core::PodStatus) -> impl Iterator<Item = &core::ContainerStatus> {
    status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
}

fn waiting(status: &core::PodStatus) -> Vec<String> {
    let reasons = containers(status).filter_map(|it| it.state.as_ref()?.waiting.as_ref()?.reason.clone());
    reasons.collect::<BTreeSet<_>>().into_iter().collect()
}

/// An init container that has completed did what it is there for; a main container should not end.
fn terminated(status: &core::PodStatus) -> Vec<String> {
    let ended = |it: &core::ContainerStatus| {
        [it.state.as_ref(), it.last_state.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|it| it.terminated.clone())
            .filter_map(|it| it.reason)
            .collect::<Vec<_>>()
    };
    let init = status.init_container_statuses.iter().flatten().flat_map(ended).filter(|reason| reason != "Completed");
    let main = status.container_statuses.iter().flatten().flat_map(ended);
    init.chain(main).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The worst [`MAX_PODS`] pods, sorted by how bad they are and by name.
pub fn worst_first(mut pods: Vec<Pod>) -> Vec<Pod> {
    let badness = |pod: &Pod| match pod {
        pod if pod.is_failing() => 0,
        pod if pod.overdue => 1,
        pod if pod.phase == "Succeeded" => 5,
        pod if pod.deleted_at.is_some() => 3,
        pod if !pod.ready => 2,
        _ => 4,
    };
    pods.sort_by(|a, b| badness(a).cmp(&badness(b)).then_with(|| a.name.cmp(&b.name)));
    pods.truncate(MAX_PODS);
    pods
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Pod {
        pod(&serde_json::from_value(json).unwrap(), "2026-01-01T01:00:00Z".parse().unwrap())
    }

    fn named(name: &str, status: serde_json::Value) -> Pod {
        read(serde_json::json!({"metadata": {"name": name}, "status": status}))
    }

    #[test]
    fn a_crashing_pod_says_why_it_waits_and_how_it_ended() {
        let pod = named(
            "cart-1",
            serde_json::json!({"phase": "Running",
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "initContainerStatuses": [{"name": "i", "image": "", "imageID": "", "ready": true, "restartCount": 1,
                    "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}],
                "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 4,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}),
        );
        assert!(pod.is_failing() && !pod.ready);
        assert_eq!(
            (pod.restarts, pod.waiting, pod.terminated),
            (5, vec!["CrashLoopBackOff".into()], vec!["OOMKilled".into()])
        );
    }

    #[test]
    fn a_pod_is_overdue_some_time_after_its_grace_period() {
        for (ends, overdue) in
            [("2026-01-01T00:59:00Z", true), ("2026-01-01T00:59:40Z", false), ("2026-01-01T01:05:00Z", false)]
        {
            let pod =
                read(serde_json::json!({"metadata": {"deletionTimestamp": ends, "deletionGracePeriodSeconds": 30}}));
            assert_eq!((pod.deleted_at.is_some(), pod.overdue), (true, overdue), "{ends}");
        }
    }

    #[test]
    fn a_pod_that_fits_nowhere_says_so() {
        let pod = named(
            "a",
            serde_json::json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]}),
        );
        assert_eq!(pod.unschedulable.as_deref(), Some("0/3 nodes"));
    }

    #[test]
    fn the_worst_are_kept() {
        let fine = serde_json::json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let mut pods: Vec<Pod> = (0..150).map(|n| named(&format!("b-{n:03}"), fine.clone())).collect();
        pods.push(named("z-unready", serde_json::json!({"phase": "Running"})));
        pods.push(named("z-failed", serde_json::json!({"phase": "Failed"})));
        let kept = worst_first(pods);
        let names: Vec<&str> = kept.iter().take(3).map(|pod| pod.name.as_str()).collect();
        assert_eq!((kept.len(), names), (MAX_PODS, vec!["z-failed", "z-unready", "b-000"]));
    }
}

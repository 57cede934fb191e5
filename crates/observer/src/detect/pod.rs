use chrono::{DateTime, Utc};
use evenkeel_model::{Kind, ObjectRef, Severity};

use super::{Thresholds, Trouble, bucket, mark, word_after};
use crate::world::{Container, Phase, Pod, State, Status, World};

/// A run shorter than this is a crash; kubelets forget the back-off after as long.
const SHORT_RUN: chrono::Duration = chrono::Duration::minutes(10);

/// Waiting reasons and the names they go by. What keeps an image from being had is one trouble.
const WAITING: [(&str, &str); 10] = [
    ("ImagePullBackOff", "ImagePullBackOff"),
    ("ErrImagePull", "ImagePullBackOff"),
    ("InvalidImageName", "ImagePullBackOff"),
    ("ErrImageNeverPull", "ImagePullBackOff"),
    ("ImageInspectError", "ImagePullBackOff"),
    ("RegistryUnavailable", "ImagePullBackOff"),
    ("CreateContainerConfigError", "CreateContainerConfigError"),
    ("CreateContainerError", "CreateContainerError"),
    ("RunContainerError", "RunContainerError"),
    ("PostStartHookError", "PostStartHookError"),
];

pub(super) fn troubles(
    world: &World,
    object: &ObjectRef,
    pod: &Pod,
    limits: &Thresholds,
    now: DateTime<Utc>,
) -> Vec<Trouble> {
    let owner = pod.meta.owner.as_ref().map(|owner| owner.kind);
    let node = pod.node.as_deref();
    let cause = node.and_then(|node| world.bad_node(node));
    let mut found: Vec<Trouble> = Vec::new();
    if pod.meta.deleted_at.is_none() && !pod.is_finished() {
        let severity = severity(world, object);
        found.extend(waiting(object, pod, severity));
        found.extend(crash_loop(pod, severity, limits, now));
        found.extend(out_of_memory(pod, severity, limits, now));
        found.extend(unschedulable(pod, severity, limits));
        // Of a pod that can't start or crashes, or whose node is away, nothing new would be said.
        if found.is_empty() && cause.is_none() && owner != Some(Kind::Job) {
            found.extend(not_ready(pod, severity, limits));
        }
    }
    // DaemonSets' and static pods belong to their node; nobody else could run them.
    if let Some(node) = node.filter(|_| !matches!(owner, Some(Kind::DaemonSet | Kind::Node))) {
        found.extend(stuck(world, pod, node, limits));
    }
    for trouble in &mut found {
        if let Some(cause) = &cause
            && !trouble.causes.contains(cause)
        {
            trouble.causes.push(cause.clone());
        }
    }
    found
}

/// Critical when nothing of the workload is left to serve.
fn severity(world: &World, object: &ObjectRef) -> Severity {
    let root = world.root(object);
    let workload = root
        .as_ref()
        .and_then(|root| world.workload(root.kind, root.namespace.as_deref().unwrap_or_default(), &root.name));
    match workload {
        Some(workload) if workload.desired > 0 && workload.available <= 0 => Severity::Critical,
        _ => Severity::Warning,
    }
}

/// Since when the pod is not ready: what marks one episode of a container that can't start.
fn unready_since(pod: &Pod) -> DateTime<Utc> {
    pod.ready.as_ref().map_or(pod.meta.created_at, |ready| ready.since)
}

fn waiting(object: &ObjectRef, pod: &Pod, severity: Severity) -> Vec<Trouble> {
    let mut found: Vec<Trouble> = Vec::new();
    for container in &pod.containers {
        let State::Waiting { reason, message } = &container.state else { continue };
        let Some((_, name)) = WAITING.iter().find(|(waiting, _)| **waiting == **reason) else { continue };
        if found.iter().any(|trouble| trouble.name == *name) {
            continue;
        }
        let since = unready_since(pod);
        let summary = format!("container {} waits: {reason}: {message}", container.name);
        let trouble = Trouble::new(name, severity, mark(since), summary).since(since);
        found.push(trouble.because_of(missing(object.namespace.as_deref().unwrap_or_default(), message)));
    }
    found
}

/// The ConfigMap or Secret that a kubelet misses; only its name.
fn missing(namespace: &str, message: &str) -> Option<ObjectRef> {
    if !message.contains("not found") && !message.contains("couldn't find key") {
        return None;
    }
    let kinds = [
        (Kind::ConfigMap, "configmap "),
        (Kind::ConfigMap, "in ConfigMap "),
        (Kind::Secret, "secret "),
        (Kind::Secret, "in Secret "),
    ];
    kinds.iter().find_map(|(kind, before)| {
        let word = word_after(message, before)?;
        // `couldn't find key x in ConfigMap shop/settings`
        let name = word.rsplit('/').next().unwrap_or(word);
        Some(ObjectRef::namespaced(*kind, namespace, name))
    })
}

fn crash_loop(pod: &Pod, severity: Severity, limits: &Thresholds, now: DateTime<Utc>) -> Option<Trouble> {
    let quiet = limits.crash_loop_quiet.chrono();
    let crashing = |container: &&Container| -> Option<Option<DateTime<Utc>>> {
        let again = container.restarts >= 2 || container.looped;
        let crashed = container.last.as_ref().is_some_and(|last| last.at - last.since < SHORT_RUN);
        match &container.state {
            State::Waiting { reason, .. } if &**reason == "CrashLoopBackOff" => Some(None),
            // Between two crashes it runs, for a while.
            State::Running { since } if again && crashed && now < *since + quiet => Some(Some(*since + quiet)),
            State::Ended(ended) if again && crashed && ended.exit_code != 0 => Some(None),
            _ => None,
        }
    };
    let (container, until) = pod.containers.iter().find_map(|it| Some((it, crashing(&it)?)))?;
    let last = container.last.as_ref();
    let how = last.map(|last| format!("; last: {} with exit code {}", last.reason, last.exit_code)).unwrap_or_default();
    let restarts = pod.restarts();
    let times = if restarts == 1 { "restarted once".to_owned() } else { format!("restarted {restarts} times") };
    let summary = format!("container {} crashes again and again ({times}{how})", container.name);
    let trouble = Trouble::new("CrashLoopBackOff", severity, bucket(restarts).to_string(), summary);
    let trouble = match last {
        Some(last) => trouble.since(last.at),
        None => trouble,
    };
    Some(match until {
        Some(until) => trouble.until(until),
        None => trouble,
    })
}

fn out_of_memory(pod: &Pod, severity: Severity, limits: &Thresholds, now: DateTime<Utc>) -> Option<Trouble> {
    let quiet = limits.out_of_memory_quiet.chrono();
    pod.containers.iter().find_map(|container| {
        let now_ended = match &container.state {
            State::Ended(ended) => Some(ended),
            State::Waiting { .. } | State::Running { .. } => None,
        };
        let killed = now_ended.into_iter().chain(&container.last).find(|ended| &*ended.reason == "OOMKilled")?;
        let until = killed.at + quiet;
        (now < until).then(|| {
            let summary =
                format!("container {} was killed for memory ({} restarts)", container.name, container.restarts);
            Trouble::new("OOMKilled", severity, bucket(pod.restarts()).to_string(), summary)
                .since(killed.at)
                .until(until)
        })
    })
}

fn unschedulable(pod: &Pod, severity: Severity, limits: &Thresholds) -> Option<Trouble> {
    let scheduled = pod.scheduled.as_ref()?;
    (scheduled.is(Status::False) && &*scheduled.reason == "Unschedulable").then(|| {
        Trouble::new("FailedScheduling", severity, mark(scheduled.since), scheduled.message.to_string())
            .since(scheduled.since)
            .after(limits.unschedulable)
    })
}

fn not_ready(pod: &Pod, severity: Severity, limits: &Thresholds) -> Option<Trouble> {
    let ready = pod.ready.as_ref()?;
    if pod.phase != Phase::Running || ready.is(Status::True) {
        return None;
    }
    let after = if pod.was_ready { limits.pod_not_ready } else { limits.pod_starting };
    let summary = format!("not ready: {}", ready.message);
    Some(Trouble::new("PodNotReady", severity, mark(ready.since), summary).since(ready.since).after(after))
}

fn stuck(world: &World, pod: &Pod, node: &str, limits: &Thresholds) -> Option<Trouble> {
    let bad = world.nodes.get("", node).filter(|node| !node.is_ready())?;
    let since = bad.ready.as_ref().map_or(bad.meta.created_at, |ready| ready.since);
    // deletionTimestamp has the grace period in it already.
    let (since, what) = match pod.meta.deleted_at {
        Some(deleted_at) => (since.max(deleted_at), "its deletion is overdue"),
        None if !pod.is_finished() && !pod.is_ready() => (since.max(unready_since(pod)), "not ready"),
        None => return None,
    };
    let summary = format!("{what} on node {node}, which is not ready");
    Some(Trouble::new("PodStuckOnNode", Severity::Warning, mark(since), summary).since(since).after(limits.pod_stuck))
}

//! Facts of the target, read from its [`Snapshot`].

use chrono::{DateTime, Utc};
use evenkeel_model::{Fact, Job, Kind, Node, Pod, Revision, Snapshot, Workload};

use super::answers::{count, list};
use super::{FactEntry, FactKind, Read};

const ANY: &[Kind] = &[];
const WORKLOADS: &[Kind] = &[Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet];
const PODS: &[Kind] = &[Kind::Pod];
const JOBS: &[Kind] = &[Kind::Job];
const WITH_PODS: &[Kind] = &[Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job, Kind::Node, Kind::Pod];
const NODE_OR_ON_ONE: &[Kind] = &[Kind::Node, Kind::Pod];

const fn fact(
    name: &'static str,
    kind: FactKind,
    kinds: &'static [Kind],
    doc: &'static str,
    read: fn(&Snapshot) -> Fact,
) -> FactEntry {
    FactEntry { name, kind, kinds, from_cluster: true, doc, read: Read::Target(read) }
}

pub(super) const FACTS: &[FactEntry] = &[
    fact("target.exists", FactKind::Bool, ANY, "The object is there, also while it is being deleted.", |s| {
        Fact::Bool(s.meta.is_some())
    }),
    FactEntry {
        // Known from the signal, before anything is read.
        from_cluster: false,
        ..fact("target.kind", FactKind::Text, ANY, "Its kind: `Deployment`.", |s| Fact::Text(s.target.kind.to_string()))
    },
    fact(
        "target.well",
        FactKind::Bool,
        ANY,
        "It does what it is there for. Workloads: rollout complete, all replicas available, no pod failing. Pods: \
         ready. Nodes: ready, without pressure. Jobs: not failed, and complete or running. False when it does not exist.",
        |s| {
            s.is_well()
                .map_or_else(|| Fact::Unknown(format!("a {} is neither well nor ill", s.target.kind)), Fact::Bool)
        },
    ),
    fact("target.age", FactKind::Seconds, ANY, "Time since it was created.", |s| {
        since(s, s.meta.as_ref().map(|meta| meta.created_at))
    }),
    fact("target.beingDeleted", FactKind::Bool, ANY, "Its deletion was asked for.", |s| {
        Fact::Bool(s.meta.as_ref().is_some_and(|meta| meta.deleted_at.is_some()))
    }),
    fact(
        "target.controlledBy",
        FactKind::Text,
        ANY,
        "Kind of what controls it, and would make it anew: `ReplicaSet`. Absent for objects on their own.",
        |s| text(s.meta.as_ref().and_then(|meta| meta.controller.as_ref()).map(|owner| owner.kind.to_string())),
    ),
    fact(
        "target.gitOps",
        FactKind::Text,
        ANY,
        "The GitOps tool that tracks it, and would take a change back. Absent where none does.",
        |s| text(s.meta.as_ref().and_then(|meta| meta.git_ops.clone())),
    ),
    fact(
        "target.mode",
        FactKind::Text,
        ANY,
        "`evenkeel.dev/mode` on it or its namespace. Absent where not set.",
        |s| text(s.meta.as_ref().and_then(|meta| meta.mode.clone())),
    ),
    fact("target.stampedByUs", FactKind::Bool, ANY, "It carries the stamp of an earlier change of ours.", |s| {
        let node = s.node.as_ref().filter(|_| s.target.kind == Kind::Node).and_then(|node| node.stamp.as_ref());
        Fact::Bool(node.is_some() || s.meta.as_ref().is_some_and(|meta| meta.stamp.is_some()))
    }),
    // Replicas.
    fact(
        "target.desiredReplicas",
        FactKind::Number,
        WORKLOADS,
        "Replicas asked for; for a DaemonSet, nodes that should run it.",
        |s| workload(s, |w| w.desired.into()),
    ),
    fact("target.currentReplicas", FactKind::Number, WORKLOADS, "Pods there are.", |s| {
        workload(s, |w| w.current.into())
    }),
    fact("target.updatedReplicas", FactKind::Number, WORKLOADS, "Pods of the newest template.", |s| {
        workload(s, |w| w.updated.into())
    }),
    fact("target.readyReplicas", FactKind::Number, WORKLOADS, "Ready pods.", |s| workload(s, |w| w.ready.into())),
    fact("target.availableReplicas", FactKind::Number, WORKLOADS, "Available pods.", |s| {
        workload(s, |w| w.available.into())
    }),
    fact(
        "target.unavailableReplicas",
        FactKind::Number,
        WORKLOADS,
        "Replicas asked for, or there beyond that for a rollout, and not available: as a Deployment's status counts them.",
        |s| workload(s, |w| (w.desired.max(w.current) - w.available).max(0).into()),
    ),
    fact(
        "target.scaledBy",
        FactKind::Text,
        WORKLOADS,
        "The HorizontalPodAutoscaler that scales it. Absent where none does.",
        |s| text(s.scaled_by.clone()),
    ),
    fact(
        "target.replicaFailure",
        FactKind::Text,
        WORKLOADS,
        "Why its pods can't be created, in the controller's words. Absent while they can.",
        |s| known(s.workload.as_ref(), "workload", |w: &Workload| text(w.replica_failure.clone())),
    ),
    fact("target.stateful", FactKind::Bool, WORKLOADS, "It keeps data in volume claims.", |s| {
        known(s.workload.as_ref(), "workload", |w: &Workload| Fact::Bool(w.stateful))
    }),
    // Rollout.
    fact(
        "target.rolloutInProgress",
        FactKind::Bool,
        WORKLOADS,
        "A rollout is under way and its new pods come up.",
        |s| known(s.workload.as_ref(), "workload", |_| Fact::Bool(s.rollout_in_progress())),
    ),
    fact(
        "target.progressDeadlineExceeded",
        FactKind::Bool,
        WORKLOADS,
        "Its rollout made no progress within its deadline.",
        |s| known(s.workload.as_ref(), "workload", |w: &Workload| Fact::Bool(w.deadline_exceeded)),
    ),
    fact("target.paused", FactKind::Bool, WORKLOADS, "Its rollout is paused.", |s| {
        known(s.workload.as_ref(), "workload", |w: &Workload| Fact::Bool(w.paused))
    }),
    fact("target.revision", FactKind::Number, WORKLOADS, "Number of the newest revision.", |s| {
        known(s.workload.as_ref(), "workload", |w: &Workload| w.revision.map_or(Fact::Absent, large))
    }),
    fact(
        "target.lastAvailableRevision",
        FactKind::Number,
        WORKLOADS,
        "Number of the newest earlier revision that is, or is known to have been, available. Absent when there is none.",
        |s| {
            known(s.workload.as_ref(), "workload", |_| {
                s.last_available_revision().map_or(Fact::Absent, |revision| large(revision.number))
            })
        },
    ),
    fact("target.templateAge", FactKind::Seconds, WORKLOADS, "Time since the pod template was changed last.", |s| {
        known(s.workload.as_ref(), "workload", |w: &Workload| since(s, w.template_changed_at))
    }),
    fact(
        "target.currentRevisionFailing",
        FactKind::Bool,
        WORKLOADS,
        "A pod of the newest template can't start or keeps crashing.",
        |s| known(s.workload.as_ref(), "workload", |w: &Workload| current_revision_failing(s, w)),
    ),
    fact(
        "target.currentRevisionWasAvailable",
        FactKind::Bool,
        WORKLOADS,
        "All pods of the newest template were available at some time: it worked, whatever happened since.",
        |s| {
            known(s.workload.as_ref(), "workload", |w: &Workload| {
                known(current_revision(s, w), "newest revision", |revision: &Revision| {
                    // What is so right now counts, noted or not.
                    Fact::Bool(revision.was_available || (w.desired > 0 && revision.available >= w.desired))
                })
            })
        },
    ),
    // Pods: the target itself, or its pods.
    fact(
        "target.failingPods",
        FactKind::Number,
        WITH_PODS,
        "Pods that can't start or keep crashing, of the worst 100.",
        |s| count(pods(s).filter(|pod| pod.is_failing()).count()),
    ),
    fact(
        "target.unschedulablePods",
        FactKind::Number,
        WITH_PODS,
        "Pods no node is found for, of the worst 100.",
        |s| count(pods(s).filter(|pod| pod.unschedulable.is_some()).count()),
    ),
    fact("target.restarts", FactKind::Number, WITH_PODS, "Restarts of all containers, of the worst 100 pods.", |s| {
        large(pods(s).map(|pod| i64::from(pod.restarts)).sum())
    }),
    fact(
        "target.waitingReasons",
        FactKind::List,
        WITH_PODS,
        "Why containers wait: `CrashLoopBackOff`, `ImagePullBackOff`.",
        |s| list(pods(s).flat_map(|pod| pod.waiting.iter().cloned())),
    ),
    fact(
        "target.terminatedReasons",
        FactKind::List,
        WITH_PODS,
        "Why containers ended last: `OOMKilled`, `Error`.",
        |s| list(pods(s).flat_map(|pod| pod.terminated.iter().cloned())),
    ),
    fact("target.podPhase", FactKind::Text, PODS, "Pending, Running, Succeeded, Failed or Unknown.", |s| {
        known(s.pod.as_ref(), "pod", |pod: &Pod| Fact::Text(pod.phase.clone()))
    }),
    fact("target.podReady", FactKind::Bool, PODS, "Its Ready condition.", |s| {
        known(s.pod.as_ref(), "pod", |pod: &Pod| Fact::Bool(pod.ready))
    }),
    fact(
        "target.podStuckTerminating",
        FactKind::Bool,
        PODS,
        "Its grace period has passed and it is still there.",
        |s| known(s.pod.as_ref(), "pod", |pod: &Pod| Fact::Bool(pod.overdue)),
    ),
    // Nodes: the target itself, or the node the pod is bound to.
    fact(
        "target.nodeReady",
        FactKind::Bool,
        NODE_OR_ON_ONE,
        "The node is ready. Absent for pods bound to none.",
        |s| node(s, |n| Fact::Bool(n.ready)),
    ),
    fact(
        "target.ownerUnavailableReplicas",
        FactKind::Number,
        PODS,
        "Replicas that the pod's ReplicaSet is asked for and that are not available; a pod that is being deleted is \
         not one of them. Absent for pods of anything else.",
        |s| s.owner.map_or(Fact::Absent, |owner| Fact::Number(owner.unavailable().into())),
    ),
    fact(
        "target.nodeNotReadyFor",
        FactKind::Seconds,
        NODE_OR_ON_ONE,
        "For how long the node has not been ready. Absent while it is.",
        |s| node(s, |n| if n.ready { Fact::Absent } else { since(s, n.ready_since) }),
    ),
    fact("target.nodeUnschedulable", FactKind::Bool, NODE_OR_ON_ONE, "The node is cordoned.", |s| {
        node(s, |n| Fact::Bool(n.unschedulable))
    }),
    fact("target.nodePressure", FactKind::List, NODE_OR_ON_ONE, "Pressure on the node: `MemoryPressure`.", |s| {
        node(s, |n| Fact::List(n.pressure.clone()))
    }),
    fact(
        "target.plannedDisruption",
        FactKind::Text,
        NODE_OR_ON_ONE,
        "Who cordons or drains the node on purpose: Karpenter, cluster-autoscaler, kured. Absent where nobody does.",
        |s| node(s, |n| text(n.planned_disruption.clone())),
    ),
    // Jobs.
    fact("target.jobFailed", FactKind::Bool, JOBS, "It has failed for good.", |s| {
        known(s.job.as_ref(), "job", |job: &Job| Fact::Bool(job.failed_at.is_some()))
    }),
    fact(
        "target.jobFailedReason",
        FactKind::Text,
        JOBS,
        "Why: `BackoffLimitExceeded`, `DeadlineExceeded`. Absent while it has not.",
        |s| known(s.job.as_ref(), "job", |job: &Job| text(job.failed_reason.clone())),
    ),
    fact("target.jobLaterRunSucceeded", FactKind::Bool, JOBS, "A later Job of the same CronJob has completed.", |s| {
        known(s.job.as_ref(), "job", |job: &Job| Fact::Bool(job.later_run_succeeded))
    }),
];

fn known<T>(part: Option<&T>, what: &str, read: impl Fn(&T) -> Fact) -> Fact {
    part.map_or_else(|| Fact::Unknown(format!("the {what} was not read")), read)
}

fn workload(snapshot: &Snapshot, read: impl Fn(&Workload) -> f64) -> Fact {
    known(snapshot.workload.as_ref(), "workload", |workload| Fact::Number(read(workload)))
}

fn node(snapshot: &Snapshot, read: impl Fn(&Node) -> Fact) -> Fact {
    let is_bound = snapshot.pod.as_ref().is_none_or(|pod| pod.node.is_some());
    if is_bound { known(snapshot.node.as_ref(), "node", read) } else { Fact::Absent }
}

fn pods(snapshot: &Snapshot) -> impl Iterator<Item = &Pod> {
    snapshot.pod.iter().chain(&snapshot.pods)
}

fn text(text: Option<String>) -> Fact {
    text.map_or(Fact::Absent, Fact::Text)
}

fn large(n: i64) -> Fact {
    // Revision numbers count rollouts: far below 2^53.
    #[allow(clippy::cast_precision_loss)]
    Fact::Number(n as f64)
}

fn since(snapshot: &Snapshot, at: Option<DateTime<Utc>>) -> Fact {
    let Some(at) = at else { return Fact::Unknown("it is not known since when".to_owned()) };
    let seconds = (snapshot.taken_at - at).num_seconds().max(0);
    Fact::Number(f64::from(u32::try_from(seconds).unwrap_or(u32::MAX)))
}

fn current_revision<'a>(snapshot: &'a Snapshot, workload: &Workload) -> Option<&'a Revision> {
    snapshot.revisions.iter().find(|revision| revision.template_hash == workload.template_hash)
}

/// Pods name their revision by the ReplicaSet's hash, or for StatefulSets by the
/// ControllerRevision's name, whose end is the hash.
fn current_revision_failing(snapshot: &Snapshot, workload: &Workload) -> Fact {
    let is_current = |hash: &str| {
        hash == workload.template_hash
            || current_revision(snapshot, workload)
                .is_some_and(|r| r.name == hash || r.name.ends_with(&format!("-{hash}")))
    };
    let mut failing = pods(snapshot).filter(|pod| pod.is_failing()).peekable();
    if failing.peek().is_none() {
        return Fact::Bool(false);
    }
    let hashes: Vec<&str> = failing.filter_map(|pod| pod.revision_hash.as_deref()).collect();
    if hashes.is_empty() {
        return Fact::Unknown("the failing pods don't tell their revision".to_owned());
    }
    Fact::Bool(hashes.into_iter().any(is_current))
}

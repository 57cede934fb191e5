//! What the shipped playbooks do to the faults of AIOpsLab and ITBench, and to those of nodes and
//! jobs: the first playbook whose conditions hold, as the planner takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use evenkeel_model::{
    ChangeKind, Evidence, Finding, Job, Kind, Meta, Node, ObjectRef, ObservedChange, OwnerReplicas, Pod, Revision,
    Snapshot, Span, Workload,
};
use evenkeel_playbook::facts;

use crate::shipped::playbooks;

fn now() -> DateTime<Utc> {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn ago(minutes: i64) -> DateTime<Utc> {
    now() - TimeDelta::minutes(minutes)
}

fn cart() -> ObjectRef {
    ObjectRef::namespaced(Kind::Deployment, "shop", "cart")
}

fn cart_pod() -> ObjectRef {
    ObjectRef::namespaced(Kind::Pod, "shop", "cart-1")
}

fn node_ref() -> ObjectRef {
    ObjectRef::cluster_scoped(Kind::Node, "n1")
}

fn snapshot(target: ObjectRef) -> Snapshot {
    let meta = Meta {
        uid: "u".to_owned(),
        resource_version: "1".to_owned(),
        created_at: ago(6000),
        deleted_at: None,
        mode: None,
        stamp: None,
        git_ops: None,
        controller: None,
        writers: Vec::new(),
    };
    Snapshot {
        target,
        taken_at: now(),
        meta: Some(meta),
        workload: None,
        pod: None,
        node: None,
        job: None,
        pods: Vec::new(),
        revisions: Vec::new(),
        scaled_by: None,
        owner: None,
        suppressed: None,
    }
}

fn pod(hash: &str, waiting: Option<&str>) -> Pod {
    Pod {
        name: format!("cart-{hash}-1"),
        uid: "p".to_owned(),
        phase: "Running".to_owned(),
        ready: waiting.is_none(),
        ready_since: Some(ago(5)),
        deleted_at: None,
        overdue: false,
        node: Some("n1".to_owned()),
        restarts: 0,
        waiting: waiting.map(str::to_owned).into_iter().collect(),
        terminated: Vec::new(),
        unschedulable: None,
        revision_hash: Some(hash.to_owned()),
        created_at: ago(5),
    }
}

fn revision(number: i64, hash: &str, available: i32, was_available: bool) -> Revision {
    Revision {
        number,
        name: format!("cart-{hash}"),
        uid: hash.to_owned(),
        template_hash: hash.to_owned(),
        created_at: ago(600),
        available,
        was_available,
        images: vec![format!("web:{number}")],
    }
}

/// A Deployment of three, all well, rolled out long ago.
fn well() -> Snapshot {
    let mut s = snapshot(cart());
    s.workload = Some(Workload {
        desired: 3,
        current: 3,
        updated: 3,
        ready: 3,
        available: 3,
        observed: true,
        paused: false,
        revision: Some(2),
        template_hash: "new".to_owned(),
        template_changed_at: Some(ago(5000)),
        deadline_exceeded: false,
        replica_failure: None,
        stateful: false,
    });
    s.pods = vec![pod("new", None)];
    s.revisions = vec![revision(2, "new", 3, true), revision(1, "old", 0, true)];
    s
}

/// The newest revision does not come up; the one before still serves.
fn rolled_to(waiting: Option<&str>) -> Snapshot {
    let mut s = well();
    if let Some(workload) = &mut s.workload {
        (workload.updated, workload.current, workload.ready, workload.available) = (1, 4, 3, 3);
        workload.template_changed_at = Some(ago(4));
    }
    let mut new = pod("new", waiting);
    new.ready = false;
    s.pods = vec![new, pod("old", None)];
    s.revisions = vec![revision(2, "new", 0, false), revision(1, "old", 3, true)];
    s
}

/// It was well with its newest revision; now some of its pods are not.
fn broken_since(waiting: &str, rolled_out_minutes_ago: i64) -> Snapshot {
    let mut s = well();
    if let Some(workload) = &mut s.workload {
        (workload.ready, workload.available) = (1, 1);
        workload.template_changed_at = Some(ago(rolled_out_minutes_ago));
    }
    s.pods = vec![pod("new", Some(waiting)), pod("new", None)];
    s
}

fn unavailable(s: Snapshot) -> Snapshot {
    let mut s = s;
    if let Some(workload) = &mut s.workload {
        (workload.ready, workload.available) = (2, 2);
    }
    s
}

fn past_deadline(s: Snapshot) -> Snapshot {
    let mut s = s;
    if let Some(workload) = &mut s.workload {
        workload.deadline_exceeded = true;
        workload.template_changed_at = Some(ago(11));
    }
    s
}

fn without_history(s: Snapshot) -> Snapshot {
    let mut s = s;
    s.revisions.truncate(1);
    s
}

fn node(ready: bool, away_for: i64) -> Node {
    Node {
        name: "n1".to_owned(),
        uid: "n".to_owned(),
        ready,
        ready_since: Some(ago(away_for)),
        unschedulable: false,
        pressure: Vec::new(),
        planned_disruption: None,
        stamp: None,
    }
}

fn about_node(node: Node) -> Snapshot {
    Snapshot { node: Some(node), ..snapshot(node_ref()) }
}

fn stuck_pod(owner: Kind, node: Node) -> Snapshot {
    let mut s = snapshot(cart_pod());
    if let Some(meta) = &mut s.meta {
        meta.controller = Some(ObjectRef::namespaced(owner, "shop", "cart-new"));
    }
    s.pod = Some(Pod { ready: false, ..pod("new", None) });
    s.node = Some(node);
    s.owner = (owner == Kind::ReplicaSet).then_some(OwnerReplicas { desired: 3, available: 2 });
    s
}

fn not_missed(pod: Snapshot) -> Snapshot {
    Snapshot { owner: Some(OwnerReplicas { desired: 3, available: 3 }), ..pod }
}

fn job(later_run_succeeded: bool, owner: Option<Kind>) -> Snapshot {
    let mut s = snapshot(ObjectRef::namespaced(Kind::Job, "shop", "report-1"));
    if let Some(meta) = &mut s.meta {
        meta.controller = owner.map(|kind| ObjectRef::namespaced(kind, "shop", "report"));
    }
    s.job = Some(Job {
        failed_at: Some(ago(6)),
        failed_reason: Some("BackoffLimitExceeded".to_owned()),
        complete: false,
        active: 0,
        later_run_succeeded,
    });
    s
}

struct Fault {
    what: &'static str,
    signals: &'static [&'static str],
    root: Option<ObjectRef>,
    /// What is read, by object; the signals' targets are these.
    read: Vec<Snapshot>,
    /// Minutes since the pod template was changed; `None` when it can't be told.
    changed: Result<Option<i64>, &'static str>,
}

fn fault(what: &'static str, signals: &'static [&'static str], target: Snapshot, changed: Option<i64>) -> Fault {
    Fault { what, signals, root: Some(target.target.clone()), read: vec![target], changed: Ok(changed) }
}

impl Fault {
    fn of_root(mut self, root: Snapshot) -> Self {
        self.root = Some(root.target.clone());
        self.read.push(root);
        self
    }

    fn evidence(&self, playbook: &evenkeel_playbook::Loaded, target: &ObjectRef) -> Evidence {
        let mut named = BTreeMap::new();
        for asked in &playbook.spec.diagnose {
            let finding = match (&asked.changes, self.changed) {
                (Some(_), Err(reason)) => Finding::Unknown { reason: reason.to_owned() },
                (Some(lately), Ok(changed)) => {
                    let within = |minutes: &i64| TimeDelta::minutes(*minutes) <= lately.within.chrono();
                    let changes = changed.filter(within).map(|minutes| ObservedChange {
                        object: target.clone(),
                        what: ChangeKind::PodTemplate,
                        at: ago(minutes),
                        by: Some("kubectl".to_owned()),
                        summary: "image web:1 → web:2".to_owned(),
                    });
                    Finding::Changes(changes.into_iter().collect())
                }
                (None, _) if asked.events.is_some() => Finding::Events(Vec::new()),
                (None, _) => Finding::Logs(Vec::new()),
            };
            named.insert(asked.name.clone(), finding);
        }
        let target = self.read.iter().find(|read| read.target.is_same(target)).cloned();
        Evidence { target, named }
    }

    /// The first playbook whose conditions hold, and when it may act.
    fn answer(&self) -> String {
        let playbooks = playbooks();
        let signals: BTreeSet<String> = self.signals.iter().map(|&signal| signal.to_owned()).collect();
        let targets: Vec<ObjectRef> = self.read.iter().map(|read| read.target.clone()).collect();
        for found in playbooks.candidates(&signals, self.root.as_ref(), &targets) {
            let spec = &found.playbook.spec;
            let target = found.target.unwrap_or_else(cart);
            let evidence = self.evidence(found.playbook, &target);
            let held: Vec<_> = spec.when.iter().map(|condition| facts::holds(condition, &evidence)).collect();
            if held.iter().any(facts::Held::is_no) {
                continue;
            }
            if let Some(unknown) = held.iter().find(|held| held.is_unknown()) {
                return format!("{} waits: {}", found.playbook.name, unknown.found);
            }
            let step = spec.steps.first().unwrap();
            let on = if step.action.name().is_mutating() { format!(" {target}") } else { String::new() };
            return format!("{} after {}: {}{on}", found.playbook.name, spec.settle, step.action.name());
        }
        "nothing".to_owned()
    }
}

fn faults() -> Vec<Fault> {
    let crash: &[&str] = &["CrashLoopBackOff", "KubePodCrashLooping"];
    let pull: &[&str] = &["ImagePullBackOff", "KubePodNotReady"];
    let not_ready: &[&str] = &["PodNotReady", "KubePodNotReady"];
    let pending: &[&str] = &["FailedScheduling", "KubePodNotReady"];
    let stuck: &[&str] = &["PodStuckOnNode"];
    let away: &[&str] = &["NodeNotReady", "KubeNodeNotReady"];
    let failed: &[&str] = &["JobFailed", "KubeJobFailed"];
    let lost = || node(false, 12);
    let quota = |s: Snapshot| {
        let mut s = unavailable(s);
        if let Some(workload) = &mut s.workload {
            workload.replica_failure = Some("exceeded quota: compute".to_owned());
        }
        s
    };
    let only_one = |waiting| {
        // One replica, surging: the old pod serves on, so nothing is unavailable.
        let mut s = rolled_to(Some(waiting));
        if let Some(workload) = &mut s.workload {
            (workload.desired, workload.current, workload.ready, workload.available) = (1, 2, 1, 1);
        }
        s
    };
    let db = |s: Snapshot| Snapshot { target: ObjectRef::namespaced(Kind::StatefulSet, "shop", "db"), ..s };
    let planned = || Node { planned_disruption: Some("karpenter".to_owned()), ..lost() };
    let cordoned = || Node { unschedulable: true, ..lost() };
    vec![
        // Rollouts.
        fault("misconfig_app_hotel_res: bad image, crash loop", crash, rolled_to(Some("CrashLoopBackOff")), Some(4)),
        fault("nonexistent-container-image", pull, rolled_to(Some("ImagePullBackOff")), Some(4)),
        fault("the same with one replica", pull, only_one("ImagePullBackOff"), Some(4)),
        fault("invalid-container-command", &["RunContainerError"], rolled_to(Some("RunContainerError")), Some(4)),
        fault("crashing-init-container", &["CrashLoopBackOff"], rolled_to(Some("CrashLoopBackOff")), Some(4)),
        fault(
            "insufficient-container-resources: came up, then killed for memory",
            &["OOMKilled"],
            broken_since("CrashLoopBackOff", 15),
            Some(15),
        ),
        fault("misconfigured-readiness-probe, before its deadline", not_ready, rolled_to(None), Some(4)),
        fault("misconfigured-readiness-probe, past its deadline", not_ready, past_deadline(rolled_to(None)), Some(11)),
        fault(
            "hanging-init-container, past its deadline",
            &["KubeDeploymentRolloutStuck"],
            past_deadline(rolled_to(None)),
            Some(11),
        ),
        fault("nonexistent-workload-node, past its deadline", pending, past_deadline(rolled_to(None)), Some(11)),
        fault(
            "wrong_bin_usage: deleted and applied again, no history",
            crash,
            without_history(rolled_to(Some("CrashLoopBackOff"))),
            Some(4),
        ),
        fault(
            "assign_to_non_existent_node: no history",
            pending,
            without_history(past_deadline(rolled_to(None))),
            Some(11),
        ),
        Fault {
            changed: Err("the observer was restarted"),
            ..fault("a crash loop, and nobody knows what was changed", crash, rolled_to(Some("CrashLoopBackOff")), None)
        },
        // Nothing was rolled out.
        fault("a crash loop out of the blue", crash, broken_since("CrashLoopBackOff", 5000), None),
        fault("an image deleted from its registry", pull, broken_since("ImagePullBackOff", 5000), None),
        fault(
            "a ConfigMap deleted under a running workload",
            &["CreateContainerConfigError"],
            broken_since("CreateContainerConfigError", 5000),
            None,
        ),
        fault("insufficient-resource-quota", &["FailedCreate"], quota(well()), None),
        // Must not be acted on: over before anything is done.
        fault("container_kill: one restart, over in seconds", &["CrashLoopBackOff"], well(), None),
        fault("pod_kill: a new pod, over in a minute", &["ReplicasUnavailable"], unavailable(well()), None),
        fault("pod_failure for 200 s", crash, broken_since("CrashLoopBackOff", 5000), None),
        fault(
            "pod_failure for 200 s, half an hour after a rollout",
            crash,
            broken_since("CrashLoopBackOff", 30),
            Some(30),
        ),
        fault(
            "a forged alert about a healthy workload",
            &["KubePodCrashLooping", "KubeDeploymentRolloutStuck"],
            well(),
            Some(30),
        ),
        // Chaos that comes again and again.
        fault("scheduled-chaos-mesh-experiment: pod-failure", crash, broken_since("RunContainerError", 5000), None),
        // Nodes.
        fault("a node is away", away, about_node(lost()), None),
        fault("a node reboots", away, about_node(node(false, 1)), None),
        fault("a node is away on purpose", away, about_node(planned()), None),
        fault("a cordoned node is away", away, about_node(cordoned()), None),
        fault("a node is back", away, about_node(node(true, 1)), None),
        fault("a pod is stuck on a lost node", stuck, stuck_pod(Kind::ReplicaSet, lost()), None)
            .of_root(unavailable(well())),
        fault(
            "a pod that nobody misses is stuck on a lost node",
            stuck,
            not_missed(stuck_pod(Kind::ReplicaSet, lost())),
            None,
        )
        .of_root(well()),
        fault("a pod on a node lost just now", stuck, stuck_pod(Kind::ReplicaSet, node(false, 2)), None)
            .of_root(unavailable(well())),
        fault("a pod is stuck on a node away on purpose", stuck, stuck_pod(Kind::ReplicaSet, planned()), None)
            .of_root(unavailable(well())),
        fault("a StatefulSet's pod is stuck on a lost node", stuck, stuck_pod(Kind::StatefulSet, lost()), None)
            .of_root(db(unavailable(well()))),
        // Jobs.
        fault("a failed run, a later one succeeded", failed, job(true, Some(Kind::CronJob)), None),
        fault("a failed run, none after it", failed, job(false, Some(Kind::CronJob)), None),
        fault("a failed Job of nobody", failed, job(false, None), None),
        // The rest.
        fault(
            "three workloads miss one ConfigMap",
            &["ManyAffected"],
            snapshot(ObjectRef::namespaced(Kind::ConfigMap, "shop", "settings")),
            None,
        ),
        fault(
            "misconfigured-horizontal-pod-autoscaler",
            &["KubeHpaMaxedOut"],
            snapshot(ObjectRef::namespaced(Kind::HorizontalPodAutoscaler, "shop", "cart")),
            None,
        ),
        Fault {
            what: "an alert that names no object",
            signals: &["KubeAPIErrorBudgetBurn"],
            root: None,
            read: Vec::new(),
            changed: Ok(None),
        },
    ]
}

#[test]
fn what_is_done_to_each_fault() {
    let mut told = String::new();
    for fault in faults() {
        let _ = writeln!(told, "{}\n  {}", fault.what, fault.answer());
    }
    insta::assert_snapshot!(told);
}

/// Whatever the shipped playbooks do to a workload without being asked by a person waits longer than
/// the transient faults of the suites last, or needs a revision that never came up.
#[test]
fn what_heals_by_itself_is_left_to_heal() {
    let longest = Span::seconds(200);
    for fault in faults().into_iter().filter(|fault| fault.what.contains("200 s") || fault.what.contains("over in")) {
        let answer = fault.answer();
        let name = answer.split(' ').next().unwrap();
        let playbooks = playbooks();
        let spec = &playbooks.get(name).unwrap().spec;
        assert!(spec.settle > longest, "{}: {answer}", fault.what);
    }
}

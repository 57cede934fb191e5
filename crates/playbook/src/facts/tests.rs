use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use evenkeel_model::{ChangeKind, Condition, Job, Meta, Node, ObjectRef, Operator, Pod, Revision, Workload};
use serde_json::{Value, json};

use super::*;

fn now() -> DateTime<Utc> {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn ago(minutes: i64) -> DateTime<Utc> {
    now() - TimeDelta::minutes(minutes)
}

fn snapshot(target: ObjectRef) -> Snapshot {
    let meta = Meta {
        uid: "u".to_owned(),
        resource_version: "1".to_owned(),
        created_at: ago(600),
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

fn pod(name: &str, waiting: &[&str]) -> Pod {
    Pod {
        name: name.to_owned(),
        uid: name.to_owned(),
        phase: "Running".to_owned(),
        ready: waiting.is_empty(),
        ready_since: Some(ago(5)),
        deleted_at: None,
        overdue: false,
        node: Some("n1".to_owned()),
        restarts: 2,
        waiting: waiting.iter().map(|&reason| reason.to_owned()).collect(),
        terminated: vec!["Error".to_owned()],
        unschedulable: None,
        revision_hash: Some("new".to_owned()),
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
        images: vec!["web:1".to_owned()],
    }
}

/// A Deployment five minutes after a rollout whose one new pod crashes.
fn bad_rollout() -> Snapshot {
    let mut s = snapshot(ObjectRef::namespaced(Kind::Deployment, "shop", "cart"));
    s.workload = Some(Workload {
        desired: 4,
        current: 5,
        updated: 1,
        ready: 3,
        available: 3,
        observed: true,
        paused: false,
        revision: Some(2),
        template_hash: "new".to_owned(),
        template_changed_at: Some(ago(5)),
        deadline_exceeded: false,
        replica_failure: None,
        stateful: false,
    });
    s.pods = vec![pod("cart-new-1", &["CrashLoopBackOff"]), pod("cart-old-1", &[])];
    s.revisions = vec![revision(2, "new", 0, false), revision(1, "old", 3, true)];
    s
}

fn stuck_pod() -> Snapshot {
    let mut s = snapshot(ObjectRef::namespaced(Kind::Pod, "shop", "cart-1"));
    if let Some(meta) = &mut s.meta {
        meta.controller = Some(ObjectRef::namespaced(Kind::ReplicaSet, "shop", "cart-new"));
        meta.deleted_at = Some(ago(4));
    }
    s.pod = Some(Pod { overdue: true, ready: false, deleted_at: Some(ago(4)), ..pod("cart-1", &[]) });
    s.node = Some(node());
    s
}

fn node() -> Node {
    Node {
        name: "n1".to_owned(),
        uid: "n1".to_owned(),
        ready: false,
        ready_since: Some(ago(12)),
        unschedulable: true,
        pressure: vec!["DiskPressure".to_owned()],
        planned_disruption: None,
        stamp: Some("r-1/1".to_owned()),
    }
}

fn lost_node() -> Snapshot {
    Snapshot { node: Some(node()), ..snapshot(ObjectRef::cluster_scoped(Kind::Node, "n1")) }
}

fn failed_job() -> Snapshot {
    let job = Job {
        failed_at: Some(ago(3)),
        failed_reason: Some("BackoffLimitExceeded".to_owned()),
        complete: false,
        active: 0,
        later_run_succeeded: true,
    };
    Snapshot { job: Some(job), ..snapshot(ObjectRef::namespaced(Kind::Job, "shop", "report-1")) }
}

fn gone() -> Snapshot {
    Snapshot { meta: None, ..snapshot(ObjectRef::namespaced(Kind::Deployment, "shop", "cart")) }
}

fn about(target: Snapshot) -> Evidence {
    Evidence { target: Some(target), named: BTreeMap::new() }
}

fn condition(fact: &str, op: Operator, value: Value) -> Condition {
    Condition { fact: fact.to_owned(), op, value: (!value.is_null()).then_some(value) }
}

/// The table as it is documented: a change is seen in review, and is additive only.
#[test]
fn the_table_of_facts() {
    let mut table = String::new();
    for entry in super::table() {
        let kinds: Vec<_> = entry.kinds.iter().map(|kind| kind.as_str()).collect();
        let kinds = if kinds.is_empty() { "any".to_owned() } else { kinds.join(",") };
        let cluster = if entry.from_cluster { "cluster" } else { "-" };
        let _ = writeln!(table, "{} | {:?} | {kinds} | {cluster} | {}", entry.name, entry.kind, entry.doc);
    }
    insta::assert_snapshot!(table);
}

#[test]
fn names_are_distinct_and_every_kind_of_question_has_facts() {
    let mut names: Vec<_> = super::table().iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), super::table().len());
    for source in ["target", "changes", "events", "promql", "logs"] {
        assert!(of(source).count() > 0, "{source}");
    }
}

/// Each fact as it is read from five typical objects; what is about other kinds is left out.
#[test]
fn facts_of_typical_targets() {
    let mut told = String::new();
    for (what, target) in [
        ("a rollout that crashes", bad_rollout()),
        ("a pod stuck on a lost node", stuck_pod()),
        ("a lost node", lost_node()),
        ("a failed job", failed_job()),
        ("an object that is gone", gone()),
    ] {
        let evidence = about(target);
        let _ = writeln!(told, "{what}");
        for entry in of("target") {
            let fact = evaluate(entry.name, &evidence);
            if fact != Fact::Absent {
                let _ = writeln!(told, "  {} = {} ({fact:?})", entry.name, show(&fact, Some(entry.kind)));
            }
        }
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_source_that_was_not_read_is_unknown_and_never_false() {
    let nothing = Evidence::default();
    for entry in of("target") {
        assert!(matches!(evaluate(entry.name, &nothing), Fact::Unknown(_)), "{}", entry.name);
    }
    let reason = "Prometheus did not answer within 5s".to_owned();
    let named = BTreeMap::from([("errors".to_owned(), Finding::Unknown { reason: reason.clone() })]);
    let away = Evidence { target: None, named };
    assert_eq!(evaluate("errors.value", &away), Fact::Unknown(reason));
    for name in ["other.value", "target.nonsense", "nonsense", "", "."] {
        assert!(matches!(evaluate(name, &away), Fact::Unknown(_)), "{name}");
    }
    // Read, but the part was not: its workload's status.
    let empty = about(snapshot(ObjectRef::namespaced(Kind::Deployment, "shop", "cart")));
    assert!(matches!(evaluate("target.unavailableReplicas", &empty), Fact::Unknown(_)));
    for op in
        [Operator::Equals, Operator::NotEquals, Operator::AtLeast, Operator::AtMost, Operator::Exists, Operator::Absent]
    {
        let held = holds(&condition("target.unavailableReplicas", op, json!(1)), &empty);
        assert!(held.is_unknown() && held.found == "the workload was not read", "{op:?} {held:?}");
    }
}

#[test]
fn the_revision_that_fails_is_told_from_the_one_that_works() {
    let failing = |s: &Snapshot| evaluate("target.currentRevisionFailing", &about(s.clone()));
    let mut s = bad_rollout();
    assert_eq!(failing(&s), Fact::Bool(true));
    // StatefulSets' pods name the whole ControllerRevision.
    s.pods[0].revision_hash = Some("cart-new".to_owned());
    assert_eq!(failing(&s), Fact::Bool(true));
    s.pods[0].revision_hash = Some("old".to_owned());
    assert_eq!(failing(&s), Fact::Bool(false));
    s.pods[0].revision_hash = None;
    assert!(matches!(failing(&s), Fact::Unknown(_)));
    s.pods.remove(0);
    assert_eq!(failing(&s), Fact::Bool(false));

    let was_available = |s: &Snapshot| evaluate("target.currentRevisionWasAvailable", &about(s.clone()));
    assert_eq!(was_available(&s), Fact::Bool(false));
    s.revisions[0].available = 4;
    assert_eq!(was_available(&s), Fact::Bool(true));
    (s.revisions[0].available, s.revisions[0].was_available) = (0, true);
    assert_eq!(was_available(&s), Fact::Bool(true));
    // One replica that surges: the old pod is the available one.
    let mut one = bad_rollout();
    if let Some(workload) = &mut one.workload {
        (workload.desired, workload.current, workload.available) = (1, 2, 1);
    }
    assert_eq!(was_available(&one), Fact::Bool(false));
    s.revisions.remove(0);
    assert!(matches!(was_available(&s), Fact::Unknown(_)));
}

fn change(what: ChangeKind, minutes: i64, by: Option<&str>) -> ObservedChange {
    let object = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
    let by = by.map(str::to_owned);
    ObservedChange { object, what, at: ago(minutes), by, summary: format!("{what:?} {minutes}m ago") }
}

fn answered(finding: Finding) -> Evidence {
    Evidence { target: None, named: BTreeMap::from([("q".to_owned(), finding)]) }
}

#[test]
fn facts_of_questions() {
    let event = |reason: &str, count| Happened {
        object: ObjectRef::namespaced(Kind::Pod, "shop", "cart-1"),
        severity: "Warning".to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        count,
        at: ago(1),
    };
    let mut told = String::new();
    for (what, source, finding) in [
        ("no change", "changes", Finding::Changes(Vec::new())),
        (
            "two changes",
            "changes",
            Finding::Changes(vec![
                change(ChangeKind::Scale, 9, Some("hpa")),
                change(ChangeKind::PodTemplate, 5, Some("kubectl")),
            ]),
        ),
        ("a change of ours", "changes", Finding::Changes(vec![change(ChangeKind::PodTemplate, 5, Some("evenkeel"))])),
        ("nobody's change", "changes", Finding::Changes(vec![change(ChangeKind::PodTemplate, 5, None)])),
        ("events", "events", Finding::Events(vec![event("Failed", 3), event("BackOff", 0), event("Failed", 1)])),
        ("a value", "promql", Finding::Value(Some(0.25))),
        ("no value", "promql", Finding::Value(None)),
        ("not a number", "promql", Finding::Value(Some(f64::NAN))),
        ("a log", "logs", Finding::Logs(vec!["starting".to_owned(), "panic: no config".to_owned()])),
        ("no log", "logs", Finding::Logs(Vec::new())),
    ] {
        let evidence = answered(finding);
        let _ = writeln!(told, "{what}");
        for entry in of(source) {
            let _ =
                writeln!(told, "  {} = {:?}", entry.name, evaluate(&format!("q.{}", entry.short_name()), &evidence));
        }
    }
    insta::assert_snapshot!(told);
}

/// Every operator against every kind of value, in words.
#[test]
fn conditions_say_what_was_found() {
    let mut evidence = about(bad_rollout());
    evidence.named.insert("errors".to_owned(), Finding::Value(Some(0.5)));
    let mut told = String::new();
    for (fact, op, value) in [
        ("target.well", Operator::Equals, json!(true)),
        ("target.well", Operator::NotEquals, json!(true)),
        ("target.unavailableReplicas", Operator::AtLeast, json!(1)),
        ("target.unavailableReplicas", Operator::AtLeast, json!(2)),
        ("target.unavailableReplicas", Operator::OneOf, json!([0, 1])),
        ("target.templateAge", Operator::AtMost, json!("10m")),
        ("target.templateAge", Operator::AtMost, json!(60)),
        ("target.waitingReasons", Operator::Contains, json!("CrashLoopBackOff")),
        ("target.waitingReasons", Operator::Contains, json!("ErrImagePull")),
        ("target.waitingReasons", Operator::Exists, Value::Null),
        ("target.kind", Operator::OneOf, json!(["Pod", "Deployment"])),
        ("target.kind", Operator::Contains, json!("ploy")),
        ("target.gitOps", Operator::Absent, Value::Null),
        ("target.gitOps", Operator::Equals, json!("argocd")),
        ("target.gitOps", Operator::NotEquals, json!("argocd")),
        ("target.scaledBy", Operator::Exists, Value::Null),
        ("target.lastAvailableRevision", Operator::Exists, Value::Null),
        ("target.nodeReady", Operator::Equals, json!(true)),
        ("target.nodeNotReadyFor", Operator::AtLeast, json!("5m")),
        ("errors.value", Operator::AtMost, json!(1)),
        ("errors.value", Operator::AtMost, json!("much")),
        ("recent.podTemplateChanged", Operator::Equals, json!(true)),
    ] {
        let condition = condition(fact, op, value);
        let _ = writeln!(told, "{}", explain(&condition, &holds(&condition, &evidence)));
    }
    insta::assert_snapshot!(told);
}

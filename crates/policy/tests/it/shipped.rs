//! The policies in `policies/` mean what they say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use evenkeel_model::{
    Action, ActionName, ActionPolicySpec, Decision, Empty, Kind, Mode, ObjectRef, Origin, RollbackTo, RollbackWorkload,
    ScaleWorkload,
};
use evenkeel_policy::{Context, Disruption, GitOps, PolicySource, check, evaluate};

use crate::generated::{Plan, protected};

/// A Wednesday, at noon.
const NOON: &str = "2026-11-18T12:00:00Z";

fn text(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies").join(file);
    std::fs::read_to_string(&path).unwrap()
}

fn shipped(file: &str) -> Vec<PolicySource> {
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text(file)).unwrap();
    let policies = documents.into_iter().map(|document| {
        let name = document["metadata"]["name"].as_str().unwrap().to_owned();
        let spec: ActionPolicySpec = serde_json::from_value(document["spec"].clone()).unwrap();
        assert_eq!(check(&spec), [], "{name}");
        PolicySource::Loaded { name, spec }
    });
    policies.collect()
}

fn actions() -> [Action; 8] {
    [
        Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable }),
        Action::RestartWorkload(Empty {}),
        Action::ScaleWorkload(ScaleWorkload { replicas: 4 }),
        Action::DeletePod(Empty {}),
        Action::EvictPod(Empty {}),
        Action::CordonNode(Empty {}),
        Action::UncordonNode(Empty {}),
        Action::DeleteJob(Empty {}),
    ]
}

fn plan(action: &Action, origin: Origin) -> Plan {
    let kind = action.name().kinds()[0];
    let target = match kind {
        Kind::Node => ObjectRef::cluster_scoped(kind, "worker-1"),
        _ => ObjectRef::namespaced(kind, "shop", "cart"),
    };
    Plan {
        action: action.clone(),
        target,
        labels: BTreeMap::new(),
        origin,
        now: NOON.parse().unwrap(),
        ceiling: Mode::Enforce,
        narrowed: None,
        context: Context { replicas: Some(2), ..Context::default() },
    }
}

fn said(plan: &Plan, policies: &[PolicySource]) -> String {
    let protected = protected();
    let question = plan.question(&protected);
    let evaluation = evaluate(&question, policies);
    match evaluation.decision {
        Decision::Allow { mode: Mode::Enforce } => "automatic".to_owned(),
        Decision::Allow { mode: Mode::Audit } => "audit".to_owned(),
        Decision::NeedsApproval { tier } => format!("{} approve ({tier:?})", evaluation.approvers),
        Decision::Defer { .. } => "later".to_owned(),
        Decision::Deny {} => "no".to_owned(),
    }
}

/// One line an action: asked for by a playbook, by a person.
fn table(policies: &[PolicySource], change: impl Fn(&mut Plan)) -> String {
    let mut table = String::new();
    for action in actions() {
        let [playbook, person] = [Origin::Playbook, Origin::Person].map(|origin| {
            let mut plan = plan(&action, origin);
            change(&mut plan);
            said(&plan, policies)
        });
        let _ = writeln!(table, "{:17} {playbook:20} {person}", action.name().as_str());
    }
    table
}

#[test]
fn each_can_be_read_in_a_minute() {
    for file in ["audit-only.yaml", "conservative.yaml", "standard.yaml"] {
        let words = text(file).split_whitespace().count();
        // Twice what people read of prose in a minute (238 words: Brysbaert 2019), since keys repeat and are skipped.
        assert!(words < 476, "{file}: {words} words");
        assert!(text(file).starts_with("# "), "{file} says first what it is for");
    }
}

#[test]
fn audit_only_carries_nothing_out_and_says_what_it_would_do() {
    let policies = shipped("audit-only.yaml");
    insta::assert_snapshot!("audit_only", table(&policies, |_| {}));
    for other in ["conservative.yaml", "standard.yaml"] {
        let both = [shipped(other), policies.clone()].concat();
        let table = table(&both, |plan| {
            plan.labels.insert("evenkeel.dev/managed".to_owned(), "true".to_owned());
        });
        assert!(!table.contains("automatic") && !table.contains("approve"), "{other} acts beside it:\n{table}");
    }
}

#[test]
fn conservative_rolls_back_what_asks_for_it_in_working_hours_and_does_nothing_else() {
    let policies = shipped("conservative.yaml");
    let managed = |plan: &mut Plan| {
        plan.labels.insert("evenkeel.dev/managed".to_owned(), "true".to_owned());
    };
    insta::assert_snapshot!("conservative", table(&policies, managed));
    assert!(!table(&policies, |_| {}).contains("automatic"), "it needs the label");
    let rollback = |change: fn(&mut Plan)| {
        let mut plan = plan(&actions()[0], Origin::Playbook);
        managed(&mut plan);
        change(&mut plan);
        said(&plan, &policies)
    };
    assert_eq!(rollback(|_| {}), "automatic");
    assert_eq!(rollback(|plan| plan.now = "2026-11-18T18:00:00Z".parse().unwrap()), "later");
    assert_eq!(rollback(|plan| plan.now = "2026-11-21T12:00:00Z".parse().unwrap()), "later", "a Saturday");
    assert_eq!(rollback(|plan| plan.context.git_ops = GitOps::FieldsFree), "no");
    assert_eq!(rollback(|plan| plan.context.stateful = true), "1 approve (Medium)");
    assert_eq!(rollback(|plan| plan.target.kind = Kind::StatefulSet), "no");
    assert_eq!(rollback(|plan| plan.target.namespace = Some("kube-system".to_owned())), "no");
}

#[test]
fn standard_lets_playbooks_do_what_the_shipped_ones_need_and_people_the_rest() {
    let policies = shipped("standard.yaml");
    insta::assert_snapshot!("standard", table(&policies, |_| {}));
    insta::assert_snapshot!(
        "standard_taking_capacity",
        table(&policies, |plan| {
            plan.context.available = 2;
            plan.context.takes_capacity = true;
            plan.context.disruption = Some(Disruption { desired: 8, unavailable: 1, takes: 1, budget: None });
        })
    );
    let crowded = table(&policies, |plan| {
        plan.context.available = 2;
        plan.context.takes_capacity = true;
        plan.context.disruption = Some(Disruption { desired: 8, unavailable: 2, takes: 1, budget: None });
    });
    assert!(!crowded.contains("approve") && !crowded.contains("automatic"), "a third of two:\n{crowded}");
    let owned = table(&policies, |plan| plan.context.git_ops = GitOps::FieldsOwned);
    assert!(!owned.contains("automatic"), "what a GitOps tool sets is left alone:\n{owned}");
    let mut scale = plan(&Action::ScaleWorkload(ScaleWorkload { replicas: 21 }), Origin::Person);
    scale.context.replicas = Some(20);
    assert_eq!(said(&scale, &policies), "no");
}

/// The playbooks that are shipped are let do what they do.
#[test]
fn every_action_is_listed_by_audit_only() {
    let policies = shipped("audit-only.yaml");
    for action in ActionName::ALL.into_iter().filter(|action| action.is_mutating()) {
        for kind in action.kinds() {
            let lists = policies.iter().any(|policy| {
                matches!(policy, PolicySource::Loaded { spec, .. }
                    if spec.matches.kinds.contains(kind) && spec.actions.iter().any(|rule| rule.action == action))
            });
            assert!(lists, "{action} of {kind}");
        }
    }
}

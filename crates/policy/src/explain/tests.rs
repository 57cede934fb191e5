use std::collections::BTreeMap;

use evenkeel_model::{Action, ActionPolicySpec, Empty, Kind, ObjectRef, RollbackTo, RollbackWorkload, ScaleWorkload};
use serde_json::json;

use super::*;
use crate::{Disruption, Protected};

fn policy(name: &str, change: impl FnOnce(&mut serde_json::Value)) -> PolicySource {
    let rate = json!({"target": "1/1h", "namespace": "3/1h", "cluster": "10/1h"});
    let mut spec = json!({
        "mode": "Enforce",
        "match": {"namespaces": ["shop"], "kinds": ["Deployment"], "selector": {}},
        "actions": [
            {"do": "rollbackWorkload", "tier": "Low", "origins": ["Playbook", "Person"], "rate": rate},
            {"do": "restartWorkload", "tier": "Medium", "approvers": 2, "origins": ["Person"], "rate": rate},
            {"do": "scaleWorkload", "tier": "Low", "origins": ["Playbook"], "rate": rate,
             "max": {"replicas": 10, "change": 3}},
        ],
        "windows": {
            "timeZone": "Europe/Berlin",
            "allow": [{"days": ["*"], "from": "08:00", "to": "18:00"}],
            "freeze": [{"from": "2026-12-20", "to": "2027-01-03", "reason": "peak season"}],
        },
        "limits": {"concurrent": 1, "unavailable": {"count": 2, "percent": 50}},
        "gitOps": "Never",
    });
    change(&mut spec);
    let spec: ActionPolicySpec = serde_json::from_value(spec).unwrap();
    PolicySource::Loaded { name: name.to_owned(), spec }
}

/// What people read, for each way a question can go.
#[test]
fn a_verdict_is_explained_with_what_would_change_it() {
    let rollback = Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable });
    let restart = Action::RestartWorkload(Empty {});
    let scale = Action::ScaleWorkload(ScaleWorkload { replicas: 12 });
    let target = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
    let (labels, protected) = (BTreeMap::new(), Protected::default());
    let at = |text: &str| text.parse().unwrap();
    let usual = Question {
        action: &rollback,
        target: &target,
        labels: &labels,
        origin: Origin::Playbook,
        now: at("2026-11-18T12:00:00Z"),
        ceiling: Mode::Enforce,
        narrowed: None,
        context: Context { replicas: Some(4), ..Context::default() },
        protected: &protected,
    };
    let taking = Context {
        available: 4,
        takes_capacity: true,
        disruption: Some(Disruption { desired: 4, unavailable: 0, takes: 1, budget: None }),
        ..usual.context
    };
    let shop = || policy("shop", |_| {});
    let narrow = || policy("night", |spec| spec["windows"]["allow"][0]["to"] = json!("10:00"));
    let audit = || policy("try", |spec| spec["mode"] = json!("Audit"));
    let cases = [
        ("allowed", usual, vec![shop()]),
        ("no policy", usual, vec![]),
        ("people", Question { action: &restart, origin: Origin::Person, context: taking, ..usual }, vec![shop()]),
        (
            "denied for several reasons",
            Question { action: &scale, origin: Origin::Person, ..usual },
            vec![shop(), narrow()],
        ),
        ("outside hours", Question { now: at("2026-11-18T18:30:00Z"), ..usual }, vec![shop(), narrow()]),
        ("frozen", Question { now: at("2026-12-31T12:00:00Z"), ..usual }, vec![shop()]),
        ("audit", Question { ceiling: Mode::Audit, ..usual }, vec![shop(), audit()]),
        ("annotated", Question { narrowed: Some("off"), ..usual }, vec![shop()]),
    ];
    let told: Vec<String> = cases
        .into_iter()
        .map(|(what, question, policies)| format!("## {what}\n{}", explain(&question, &policies)))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

/// While a rule of the greatest weight stands, the verdict stays; what is said would change it does.
#[test]
fn doing_what_it_says_changes_the_verdict() {
    let scale = Action::ScaleWorkload(ScaleWorkload { replicas: 12 });
    let target = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
    let (labels, protected) = (BTreeMap::new(), Protected::default());
    let question = Question {
        action: &scale,
        target: &target,
        labels: &labels,
        origin: Origin::Person,
        now: "2026-11-18T12:00:00Z".parse().unwrap(),
        ceiling: Mode::Enforce,
        narrowed: None,
        context: Context { replicas: Some(4), ..Context::default() },
        protected: &protected,
    };
    let said = explain(&question, &[policy("shop", |_| {})]);
    assert_eq!(
        said.to_change,
        [
            "shop: add Person to origins of scaleWorkload",
            "shop: raise max.replicas to 12, or ask for fewer",
            "shop: raise max.change to 8, or go in smaller steps",
        ]
    );
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 3] = [
        |spec| spec["actions"][2]["origins"] = json!(["Person"]),
        |spec| spec["actions"][2]["max"]["replicas"] = json!(12),
        |spec| spec["actions"][2]["max"]["change"] = json!(8),
    ];
    for left_out in 0..=changes.len() {
        let changed = policy("shop", |spec| {
            changes.iter().enumerate().filter(|(n, _)| *n != left_out).for_each(|(_, change)| change(spec));
        });
        let verdict = explain(&question, &[changed]).verdict;
        assert_eq!(verdict, if left_out == changes.len() { "Allow" } else { "Deny" }, "without change {left_out}");
    }
}

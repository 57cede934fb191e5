use std::collections::BTreeMap;
use std::fmt::Write as _;

use evenkeel_model::{Empty, Escalate, EscalationSeverity, Rate, RollbackTo, RollbackWorkload, ScaleWorkload};
use serde_json::json;

use super::*;

fn spec(mode: &str, namespaces: &[&str], kinds: &[&str], actions: serde_json::Value) -> ActionPolicySpec {
    serde_json::from_value(json!({
        "mode": mode,
        "match": {"namespaces": namespaces, "kinds": kinds, "selector": {}},
        "actions": actions,
        "windows": {"timeZone": "UTC", "allow": [{"days": ["*"], "from": "00:00", "to": "24:00"}], "freeze": []},
        "limits": {"concurrent": 2, "unavailable": {"count": 100, "percent": 100}},
        "gitOps": "UnownedFields",
    }))
    .unwrap()
}

fn rule(action: &str, tier: &str) -> serde_json::Value {
    let mut rule = json!({"do": action, "tier": tier, "origins": ["Playbook"],
           "rate": {"target": "1/1h", "namespace": "3/1h", "cluster": "10/1h"}});
    match tier {
        "Medium" => rule["approvers"] = json!(1),
        "High" => rule["approvers"] = json!(3),
        _ => {}
    }
    rule
}

fn loaded(name: &str, spec: ActionPolicySpec) -> PolicySource {
    PolicySource::Loaded { name: name.to_owned(), spec }
}

fn shop() -> PolicySource {
    let mut scale = rule("scaleWorkload", "Medium");
    scale["max"] = json!({"replicas": 20, "change": 5});
    let actions = json!([rule("rollbackWorkload", "Low"), rule("restartWorkload", "Forbidden"), scale]);
    loaded("shop-stateless", spec("Enforce", &["shop"], &["Deployment"], actions))
}

fn rollback() -> Action {
    Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable })
}

struct Case {
    action: Action,
    target: ObjectRef,
    labels: BTreeMap<String, String>,
    origin: Origin,
    ceiling: Mode,
    narrowed: Option<&'static str>,
    now: DateTime<Utc>,
    context: Context,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            action: rollback(),
            target: ObjectRef::namespaced(Kind::Deployment, "shop", "cart"),
            labels: BTreeMap::new(),
            origin: Origin::Playbook,
            ceiling: Mode::Enforce,
            narrowed: None,
            // A Monday.
            now: "2026-01-05T12:00:00Z".parse().unwrap(),
            context: Context { replicas: Some(3), ..Context::default() },
        }
    }
}

impl Case {
    fn judge(&self, policies: &[PolicySource]) -> Judgement {
        let protected = Protected {
            namespaces: BTreeMap::from([("kube-system".to_owned(), "Kubernetes lives there".to_owned())]),
            nodes: BTreeMap::from([("n0".to_owned(), "NATS runs there".to_owned())]),
        };
        let question = Question {
            action: &self.action,
            target: &self.target,
            labels: &self.labels,
            origin: self.origin,
            now: self.now,
            ceiling: self.ceiling,
            narrowed: self.narrowed,
            context: self.context,
            protected: &protected,
        };
        judge(&question, policies)
    }
}

fn told(judgement: &Judgement) -> String {
    let mut told = format!("  {:?}\n", judgement.verdict.decision);
    for rule in &judgement.verdict.rules {
        let _ = writeln!(told, "  {}: {}", rule.policy, rule.said);
    }
    told
}

/// What an operator reads in a Remediation's status, for each way a question can go.
#[test]
fn every_rule_that_spoke_is_told() {
    let node = |name: &str| ObjectRef::cluster_scoped(Kind::Node, name);
    let nodes = || loaded("nodes", spec("Enforce", &["*"], &["Node"], json!([rule("cordonNode", "Low")])));
    let scale = |replicas| Action::ScaleWorkload(ScaleWorkload { replicas });
    let broken = |namespaces: Option<&str>, kinds: Option<Kind>| PolicySource::Broken {
        name: "broken".to_owned(),
        reason: "unknown field \"tiers\"".to_owned(),
        namespaces: namespaces.map(|name| vec![name.to_owned()]),
        kinds: kinds.map(|kind| vec![kind]),
    };
    let strict = || {
        let mut rollback = rule("rollbackWorkload", "High");
        rollback["rate"]["target"] = json!("2/1d");
        loaded("all-strict", spec("Enforce", &["*"], &["Deployment"], json!([rollback])))
    };
    let audit = || loaded("audit", spec("Audit", &["*"], &["Deployment"], json!([rule("rollbackWorkload", "Low")])));
    let no_max =
        || loaded("no-max", spec("Enforce", &["shop"], &["Deployment"], json!([rule("scaleWorkload", "Low")])));
    let only_restart =
        || loaded("restart", spec("Enforce", &["*"], &["Deployment"], json!([rule("restartWorkload", "Low")])));
    let capacity = |stateful, available| Context {
        stateful,
        available,
        takes_capacity: true,
        replicas: Some(3),
        disruption: Some(Disruption { desired: 3, unavailable: 3 - available, takes: 1, budget: None }),
        ..Context::default()
    };
    let taking = |unavailable, takes, budget| Context {
        disruption: Some(Disruption { desired: 10, unavailable, takes, budget }),
        ..capacity(false, 3)
    };
    let but = |change: fn(&mut ActionPolicySpec)| {
        let PolicySource::Loaded { name, mut spec } = shop() else { unreachable!() };
        change(&mut spec);
        vec![loaded(&name, spec)]
    };
    let few = || but(|spec| spec.limits.unavailable = evenkeel_model::Unavailable { count: 5, percent: 20 });
    let office = || {
        but(|spec| {
            spec.windows = serde_json::from_value(json!({
                "timeZone": "Europe/Berlin",
                "allow": [{"days": ["Mon"], "from": "09:00", "to": "17:00"}],
                "freeze": [{"from": "2026-01-12", "to": "2026-01-14", "reason": "audit"}],
            }))
            .unwrap();
        })
    };
    let time = |text: &str| Case { now: text.parse().unwrap(), ..Case::default() };
    let tracked = |git_ops| Case { context: Context { git_ops, ..Context::default() }, ..Case::default() };
    let control_plane = BTreeMap::from([(Protected::CONTROL_PLANE[0].to_owned(), String::new())]);

    let cases: Vec<(&str, Case, Vec<PolicySource>)> = vec![
        ("allowed", Case::default(), vec![shop()]),
        ("no policy at all", Case::default(), vec![]),
        (
            "no policy for the namespace",
            Case { target: ObjectRef::namespaced(Kind::Deployment, "bank", "cart"), ..Case::default() },
            vec![shop()],
        ),
        (
            "no policy for the kind",
            Case { target: ObjectRef::namespaced(Kind::StatefulSet, "shop", "db"), ..Case::default() },
            vec![shop()],
        ),
        (
            "an action no policy lists",
            Case {
                action: Action::DeletePod(Empty {}),
                target: ObjectRef::namespaced(Kind::Pod, "shop", "p"),
                ..Case::default()
            },
            vec![shop()],
        ),
        ("a forbidden action", Case { action: Action::RestartWorkload(Empty {}), ..Case::default() }, vec![shop()]),
        ("a second policy that does not list it", Case::default(), vec![shop(), only_restart()]),
        ("the strictest tier and all rates", Case::default(), vec![shop(), strict()]),
        ("a person, where only playbooks may", Case { origin: Origin::Person, ..Case::default() }, vec![shop()]),
        ("the installation in Audit mode", Case { ceiling: Mode::Audit, ..Case::default() }, vec![shop()]),
        ("one policy in Audit mode", Case::default(), vec![shop(), audit()]),
        ("annotated audit", Case { narrowed: Some("audit"), ..Case::default() }, vec![shop()]),
        ("annotated off", Case { narrowed: Some("off"), ..Case::default() }, vec![shop()]),
        ("annotated with a slip", Case { narrowed: Some("of"), ..Case::default() }, vec![shop()]),
        ("a broken policy that may match", Case::default(), vec![shop(), broken(None, None)]),
        ("a broken policy of the namespace", Case::default(), vec![shop(), broken(Some("shop"), None)]),
        ("a broken policy of elsewhere", Case::default(), vec![shop(), broken(Some("bank"), None)]),
        ("a broken policy of another kind", Case::default(), vec![shop(), broken(Some("*"), Some(Kind::Node))]),
        (
            "a stateful target",
            Case { context: Context { stateful: true, ..Context::default() }, ..Case::default() },
            vec![shop()],
        ),
        ("taking what is available", Case { context: capacity(false, 2), ..Case::default() }, vec![shop()]),
        ("taking data and what is available", Case { context: capacity(true, 2), ..Case::default() }, vec![shop()]),
        ("nothing is available to take", Case { context: capacity(false, 0), ..Case::default() }, vec![shop()]),
        (
            "a raised tier in Audit mode",
            Case { context: capacity(true, 2), ceiling: Mode::Audit, ..Case::default() },
            vec![shop()],
        ),
        ("scaling within the maxima", Case { action: scale(8), ..Case::default() }, vec![shop()]),
        ("scaling by too much", Case { action: scale(9), ..Case::default() }, vec![shop()]),
        (
            "scaling to too many",
            Case {
                action: scale(21),
                context: Context { replicas: Some(18), ..Context::default() },
                ..Case::default()
            },
            vec![shop()],
        ),
        (
            "scaling from the unknown",
            Case { action: scale(3), context: Context::default(), ..Case::default() },
            vec![shop()],
        ),
        ("scaling without maxima", Case { action: scale(3), ..Case::default() }, vec![no_max()]),
        (
            "kube-system",
            Case { target: ObjectRef::namespaced(Kind::Deployment, "kube-system", "coredns"), ..Case::default() },
            vec![loaded("all", spec("Enforce", &["*"], &["Deployment"], json!([rule("rollbackWorkload", "Low")])))],
        ),
        ("a node", Case { action: Action::CordonNode(Empty {}), target: node("n7"), ..Case::default() }, vec![nodes()]),
        (
            "a node, by a policy for a namespace",
            Case { action: Action::CordonNode(Empty {}), target: node("n7"), ..Case::default() },
            vec![loaded("shop-nodes", spec("Enforce", &["shop"], &["Node"], json!([rule("cordonNode", "Low")])))],
        ),
        (
            "a control-plane node",
            Case { action: Action::CordonNode(Empty {}), target: node("n7"), labels: control_plane, ..Case::default() },
            vec![nodes()],
        ),
        (
            "a protected node",
            Case { action: Action::CordonNode(Empty {}), target: node("n0"), ..Case::default() },
            vec![nodes()],
        ),
        ("an action for another kind", Case { action: Action::CordonNode(Empty {}), ..Case::default() }, vec![shop()]),
        ("inside the hours", time("2026-01-05T08:00:00Z"), office()),
        ("outside the hours", time("2026-01-05T07:59:00Z"), office()),
        ("in a freeze", time("2026-01-12T10:00:00Z"), office()),
        ("hours that never hold", Case::default(), but(|spec| spec.windows.allow.clear())),
        (
            "outside the hours of one and in Audit mode of another",
            time("2026-01-06T10:00:00Z"),
            [office(), vec![audit()]].concat(),
        ),
        ("too few would be available", Case { context: taking(2, 1, None), ..Case::default() }, few()),
        ("as few as may be available", Case { context: taking(1, 1, None), ..Case::default() }, few()),
        ("more are taken than may ever be", Case { context: taking(0, 3, None), ..Case::default() }, few()),
        ("a disruption budget is spent", Case { context: taking(0, 1, Some(0)), ..Case::default() }, few()),
        (
            "a pod with two budgets is to be evicted",
            Case {
                action: Action::EvictPod(Empty {}),
                target: ObjectRef::namespaced(Kind::Pod, "shop", "cart-0"),
                context: Context { budgets: 2, ..taking(0, 1, Some(1)) },
                ..Case::default()
            },
            vec![loaded("pods", spec("Enforce", &["shop"], &["Pod"], json!([rule("evictPod", "Low")])))],
        ),
        (
            "it is not known what is available",
            Case { context: Context { disruption: None, ..capacity(false, 3) }, ..Case::default() },
            few(),
        ),
        ("tracked by GitOps, other fields", tracked(GitOps::FieldsFree), vec![shop()]),
        ("tracked by GitOps, its fields", tracked(GitOps::FieldsOwned), vec![shop()]),
        ("tracked by GitOps, never", tracked(GitOps::FieldsFree), but(|spec| spec.git_ops = GitOpsRule::Never)),
        (
            "people without a number",
            Case::default(),
            but(|spec| spec.actions.iter_mut().for_each(|rule| rule.tier = Tier::High)),
        ),
        (
            "a playbook's rate below a namespace's",
            Case::default(),
            but(|spec| spec.actions[0].rate.playbook = Some("2/1h".parse().unwrap())),
        ),
        (
            "all that is wrong with it",
            Case { action: scale(31), origin: Origin::Person, ..Case::default() },
            vec![shop()],
        ),
        (
            "telling people, anywhere, off or audit",
            Case {
                action: Action::Escalate(Escalate { severity: EscalationSeverity::Page }),
                target: ObjectRef::namespaced(Kind::Deployment, "kube-system", "coredns"),
                narrowed: Some("off"),
                ceiling: Mode::Audit,
                ..Case::default()
            },
            vec![broken(None, None)],
        ),
    ];
    let mut all = String::new();
    for (what, case, policies) in cases {
        let _ = write!(all, "{what}\n{}", told(&case.judge(&policies)));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_selector_must_be_met_by_all_its_labels() {
    let mut policy = spec("Enforce", &["shop"], &["Deployment"], json!([rule("rollbackWorkload", "Low")]));
    policy.matches.selector = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
    let with =
        |value: &str| Case { labels: BTreeMap::from([("tier".to_owned(), value.to_owned())]), ..Case::default() };
    let policies = [loaded("p", policy)];
    assert_eq!(with("web").judge(&policies).verdict.decision, Decision::Allow { mode: Mode::Enforce });
    assert_eq!(with("db").judge(&policies).verdict.decision, Decision::Deny {});
    assert_eq!(Case::default().judge(&policies).verdict.decision, Decision::Deny {});
}

#[test]
fn the_most_people_any_policy_asks_for_have_to_approve() {
    let asking = |tier, approvers| {
        let mut rule = rule("rollbackWorkload", tier);
        rule["approvers"] = json!(approvers);
        loaded("p", spec("Enforce", &["shop"], &["Deployment"], json!([rule])))
    };
    let case = Case::default();
    let approvers = |policies: &[PolicySource]| case.judge(policies).approvers;
    assert_eq!(approvers(&[shop()]), 0);
    assert_eq!(approvers(&[asking("Medium", 3), asking("Medium", 1)]), 3);
    assert_eq!(approvers(&[asking("High", 1)]), 2, "High takes two at least");
    let raised = Case { context: Context { stateful: true, ..Context::default() }, ..Case::default() };
    assert_eq!(raised.judge(&[shop()]).approvers, 1);
    assert_eq!(raised.judge(&[asking("Medium", 1)]).approvers, 2);
}

#[test]
fn rates_and_limits_of_all_matching_policies_count() {
    let mut rollback = rule("rollbackWorkload", "Low");
    rollback["rate"]["target"] = json!("2/1d");
    let second = loaded("a", spec("Enforce", &["*"], &["Deployment"], json!([rollback])));
    let judgement = Case::default().judge(&[shop(), second]);
    let rates: Vec<String> = judgement.rates.target.iter().map(Rate::to_string).collect();
    assert_eq!(rates, ["1/1h", "2/24h"]);
    let limits: Vec<_> = judgement.concurrent.iter().map(|limit| (limit.policy.as_str(), limit.limit)).collect();
    assert_eq!(limits, [("a", 2), ("shop-stateless", 2)]);
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn strictness(decision: &Decision) -> u8 {
        match decision {
            Decision::Allow { mode: Mode::Enforce } => 0,
            Decision::NeedsApproval { tier } => 1 + u8::from(*tier == Tier::High),
            Decision::Allow { mode: Mode::Audit } => 3,
            Decision::Defer { .. } => 4,
            Decision::Deny {} => 5,
        }
    }

    fn any_policy() -> impl Strategy<Value = PolicySource> {
        let actions = proptest::collection::vec(
            (
                prop_oneof![Just("rollbackWorkload"), Just("restartWorkload")],
                prop_oneof![Just("Low"), Just("Medium"), Just("High"), Just("Forbidden")],
            ),
            0..3,
        );
        (any::<bool>(), prop_oneof![Just("*"), Just("shop"), Just("bank")], actions, any::<bool>()).prop_map(
            |(audit, namespace, actions, broken)| {
                let actions: Vec<_> = actions.into_iter().map(|(action, tier)| rule(action, tier)).collect();
                if broken {
                    let (name, reason) = ("b".to_owned(), "r".to_owned());
                    return PolicySource::Broken {
                        name,
                        reason,
                        namespaces: Some(vec![namespace.to_owned()]),
                        kinds: None,
                    };
                }
                loaded(
                    "p",
                    spec(if audit { "Audit" } else { "Enforce" }, &[namespace], &["Deployment"], json!(actions)),
                )
            },
        )
    }

    proptest! {
        /// Whatever is added, the answer never gets more permissive, once anything allows at all.
        #[test]
        fn another_policy_never_widens(policies in proptest::collection::vec(any_policy(), 1..5), more in any_policy()) {
            let before = Case::default().judge(&policies);
            let mut all = policies.clone();
            all.push(more);
            let after = Case::default().judge(&all);
            let nothing_matched = before.concurrent.is_empty() && before.verdict.rules.iter().all(|rule| rule.policy == "built-in");
            prop_assert!(nothing_matched || strictness(&after.verdict.decision) >= strictness(&before.verdict.decision));
        }

        /// Nothing allows without a policy that lists the action, and none in the wrong order either.
        #[test]
        fn what_is_allowed_is_listed_and_order_does_not_matter(policies in proptest::collection::vec(any_policy(), 0..5)) {
            let judgement = Case::default().judge(&policies);
            if judgement.verdict.decision != (Decision::Deny {}) {
                let lists = |policy: &PolicySource| matches!(policy, PolicySource::Loaded { spec, .. }
                    if spec.actions.iter().any(|rule| rule.action == ActionName::RollbackWorkload));
                prop_assert!(policies.iter().any(lists));
                prop_assert!(!judgement.rates.target.is_empty());
                prop_assert!(!judgement.concurrent.is_empty());
            }
            let mut reversed = policies;
            reversed.reverse();
            prop_assert_eq!(Case::default().judge(&reversed).verdict.decision, judgement.verdict.decision);
        }
    }
}

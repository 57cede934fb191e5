use std::fmt::Write as _;

use evenkeel_model::ActionPolicySpec;
use serde_json::{Value, json};

use super::*;
use crate::Protected;

fn policy(name: &str, spec: Value) -> PolicySource {
    let always = json!({"timeZone": "UTC", "allow": [{"days": ["*"], "from": "00:00", "to": "24:00"}], "freeze": []});
    let mut full = json!({
        "mode": "Enforce",
        "match": {"namespaces": ["*"], "kinds": ["Deployment", "Pod", "Node", "Job"], "selector": {}},
        "windows": always,
        "limits": {"concurrent": 1, "unavailable": {"count": 1, "percent": 10}},
        "gitOps": "UnownedFields",
    });
    for (key, value) in spec.as_object().unwrap() {
        full[key] = value.clone();
    }
    let spec: ActionPolicySpec = serde_json::from_value(full).unwrap();
    PolicySource::Loaded { name: name.to_owned(), spec }
}

fn rules(actions: &[&str]) -> Value {
    let rule = |action: &&str| {
        let max = (*action == "scaleWorkload").then(|| json!({"replicas": 20, "change": 5}));
        json!({"do": action, "tier": "Low", "origins": ["Playbook"], "max": max,
               "rate": {"target": "1/1h", "namespace": "3/1h", "cluster": "10/1h"}})
    };
    actions.iter().map(rule).collect()
}

fn protected() -> Protected {
    Protected {
        namespaces: [("kube-system".to_owned(), "part of the cluster itself".to_owned())].into(),
        nodes: [("nats-1".to_owned(), "NATS runs there".to_owned())].into(),
    }
}

/// Rights as `where: verb group/resource`.
fn granted(policies: &[PolicySource]) -> String {
    let mut granted = String::new();
    for role in rbac(policies, "evenkeel", &protected()) {
        let Some(rules) = role["rules"].as_array() else { continue };
        let place = role["metadata"]["namespace"].as_str().unwrap_or("everywhere");
        for rule in rules {
            let _ = writeln!(granted, "{place}: {} {}/{}", rule["verbs"], rule["apiGroups"][0], rule["resources"][0]);
        }
    }
    granted.replace(['"', '[', ']'], "")
}

#[test]
fn rights_are_where_policies_can_ever_let_something_be_carried_out_and_nowhere_else() {
    let shop = |actions: &[&str]| {
        let matches =
            json!({"namespaces": ["shop", "kube-system", "evenkeel"], "kinds": ["Deployment", "Pod"], "selector": {}});
        policy("shop", json!({"match": matches, "actions": rules(actions)}))
    };
    let all = |actions: &[&str]| policy("all", json!({"actions": rules(actions)}));
    assert_eq!(granted(&[]), "");
    assert_eq!(granted(&[shop(&["rollbackWorkload"])]), "shop: patch apps/deployments\n");
    assert_eq!(
        granted(&[shop(&["deletePod", "evictPod"])]),
        "shop: delete /pods\nshop: create /pods/eviction\n",
        "not in namespaces that are out of bounds"
    );
    assert_eq!(
        granted(&[all(&["cordonNode", "deleteJob"])]),
        "everywhere: patch /nodes\neverywhere: delete batch/jobs\n"
    );
    // Policies intersect: what one of them does not list is nowhere allowed where both match.
    assert_eq!(granted(&[all(&["rollbackWorkload"]), shop(&["deletePod"])]), "everywhere: patch apps/deployments\n");
    assert_eq!(granted(&[all(&["cordonNode"]), shop(&["rollbackWorkload"])]), "everywhere: patch /nodes\n");
    let selecting = policy(
        "selecting",
        json!({"match": {"namespaces": ["shop"], "kinds": ["Pod"], "selector": {"tier": "web"}}, "actions": rules(&["deletePod"])}),
    );
    assert_eq!(granted(std::slice::from_ref(&selecting)), "shop: delete /pods\n");
    // One that only audits, is forbidden, has a fault, or can't be read, permits nothing.
    let audit = policy("audit", json!({"mode": "Audit", "actions": rules(&["deletePod"])}));
    assert_eq!(granted(&[all(&["deletePod"]), audit]), "");
    let mut forbidden = rules(&["deletePod"]);
    forbidden[0]["tier"] = json!("Forbidden");
    assert_eq!(granted(&[policy("forbidden", json!({"actions": forbidden}))]), "");
    let mut faulty = rules(&["deletePod"]);
    faulty[0]["tier"] = json!("High");
    assert_eq!(granted(&[policy("faulty", json!({"actions": faulty}))]), "");
    let broken = PolicySource::Broken { name: "b".to_owned(), reason: "r".to_owned(), namespaces: None, kinds: None };
    assert_eq!(granted(&[selecting, broken]), "");
}

#[test]
fn a_set_of_policies_becomes_these_objects() {
    let policies = [
        policy(
            "nodes",
            json!({"match": {"namespaces": ["*"], "kinds": ["Node"], "selector": {}}, "actions": rules(&["cordonNode"])}),
        ),
        policy(
            "shop",
            json!({
                "match": {"namespaces": ["shop", "bank"], "kinds": ["Deployment", "Pod"], "selector": {}},
                "actions": rules(&["rollbackWorkload", "scaleWorkload", "evictPod"]),
            }),
        ),
        policy(
            "web",
            json!({
                "match": {"namespaces": ["shop"], "kinds": ["Deployment", "Pod"], "selector": {"tier": "it's"}},
                "actions": rules(&["rollbackWorkload", "restartWorkload"]),
            }),
        ),
        PolicySource::Broken {
            name: "broken".to_owned(),
            reason: "no such field".to_owned(),
            namespaces: Some(vec!["wiki".to_owned()]),
            kinds: None,
        },
    ];
    insta::assert_json_snapshot!("rbac", rbac(&policies, "evenkeel", &protected()));
    insta::assert_json_snapshot!("admission", admission(&policies, "evenkeel", &protected(), Admission::Deny));
}

#[test]
fn trying_it_out_refuses_nothing() {
    let [_, binding] = admission(&[], "evenkeel", &protected(), Admission::Audit);
    assert_eq!(binding["spec"]["validationActions"], json!(["Audit", "Warn"]));
}

fn told(policies: &[PolicySource]) -> Vec<String> {
    let of = |need: &Need| format!("{need} for {}", need.policies.iter().cloned().collect::<Vec<_>>().join(" and "));
    needs(policies, "evenkeel", &protected()).iter().map(of).collect()
}

#[test]
fn each_right_is_needed_by_the_policies_that_can_use_it() {
    let of = |name: &str, namespaces: &[&str], actions: &[&str]| {
        let matches = json!({"namespaces": namespaces, "kinds": ["Deployment", "Pod", "Node"], "selector": {}});
        policy(name, json!({"match": matches, "actions": rules(actions)}))
    };
    let everywhere = of("all", &["*"], &["rollbackWorkload", "cordonNode", "evictPod"]);
    let shop = of("shop", &["shop", "kube-system"], &["rollbackWorkload"]);
    assert_eq!(
        told(&[shop.clone(), everywhere]),
        [
            "patch nodes in the cluster for all",
            "create pods/eviction in all namespaces for all",
            "patch deployments.apps in all namespaces for all and shop",
        ]
    );
    assert_eq!(
        told(&[shop, of("bank", &["bank"], &["rollbackWorkload"])]),
        ["patch deployments.apps in namespace bank for bank", "patch deployments.apps in namespace shop for shop"]
    );
    assert_eq!(told(&[policy("audit", json!({"mode": "Audit", "actions": rules(&["evictPod"])}))]), [""; 0]);
}

/// What operators read in the condition, for each way it can go.
#[test]
fn what_is_missing_is_named() {
    let shop = || {
        let matches = json!({"namespaces": ["shop", "bank"], "kinds": ["Deployment", "Pod"], "selector": {}});
        policy("shop", json!({"match": matches, "actions": rules(&["rollbackWorkload", "deletePod", "evictPod"])}))
    };
    let audit = || {
        let matches = json!({"namespaces": ["wiki"], "kinds": ["Pod"], "selector": {}});
        policy("audit", json!({"mode": "Audit", "match": matches, "actions": []}))
    };
    let broken = PolicySource::read("broken", &json!({"mode": "Whatever"}));
    let found = |policy: &PolicySource, held: fn(&Need) -> Held, admission: Admitted| {
        let needs = needs(&[shop(), audit()], "evenkeel", &protected());
        let rights: Vec<_> = needs.into_iter().map(|need| (need.clone(), held(&need))).collect();
        let Finding { status, reason, message } = enforceable(policy, &rights, &admission);
        format!("{status:?} {reason}: {message}\n")
    };
    let eviction = |need: &Need| if need.resource == "pods/eviction" { Held::No } else { Held::Yes };
    let unknown = |need: &Need| match need.verb {
        "delete" => Held::Unknown("no answer within 10 s".to_owned()),
        _ => Held::Yes,
    };
    let missing = || Admitted::Missing("ValidatingAdmissionPolicyBinding evenkeel-gateway".to_owned());
    let differs = || Admitted::Differs("ValidatingAdmissionPolicy evenkeel-gateway: spec.validations".to_owned());
    let text = [
        found(&shop(), |_| Held::Yes, Admitted::Same),
        found(&audit(), |_| Held::Yes, Admitted::Same),
        found(&shop(), eviction, Admitted::Same),
        found(&shop(), |_| Held::No, missing()),
        found(&audit(), |_| Held::No, Admitted::Same),
        found(&shop(), |_| Held::Yes, missing()),
        found(&audit(), |_| Held::Yes, differs()),
        found(&shop(), unknown, Admitted::Same),
        found(&shop(), |_| Held::Yes, Admitted::Unknown("the API server is away".to_owned())),
        found(&broken, |_| Held::Yes, Admitted::Same),
    ];
    insta::assert_snapshot!(text.concat());
}

#[test]
fn kyverno_and_gatekeeper_are_told_the_same_and_try_it_out_first() {
    let matches = json!({"namespaces": ["shop"], "kinds": ["Deployment", "Pod"], "selector": {"tier": "web"}});
    let actions = rules(&["rollbackWorkload", "scaleWorkload", "evictPod"]);
    let policies = [policy("shop", json!({"match": matches, "actions": actions}))];
    let [ours, _] = admission(&policies, "evenkeel", &protected(), Admission::Deny);
    let theirs = kyverno(&policies, "evenkeel", &protected());
    for part in ["failurePolicy", "matchConstraints", "matchConditions", "variables", "validations"] {
        assert_eq!(theirs["spec"][part], ours["spec"][part], "{part}");
    }
    assert_eq!(theirs["spec"]["validationActions"], json!(["Audit"]));
    let [template, constraint] = gatekeeper(&policies, "evenkeel", &protected());
    let source = &template["spec"]["targets"][0]["code"][0]["source"];
    assert_eq!((&source["variables"], &source["failurePolicy"]), (&ours["spec"]["variables"], &json!("Fail")));
    assert_eq!(source["matchCondition"], ours["spec"]["matchConditions"]);
    let expressions = |validations: &Value| -> Vec<Value> {
        validations.as_array().unwrap().iter().map(|it| json!([it["expression"], it["message"]])).collect()
    };
    assert_eq!(expressions(&source["validations"]), expressions(&ours["spec"]["validations"]));
    assert_eq!(constraint["spec"]["enforcementAction"], "dryrun");
    insta::assert_json_snapshot!("kyverno", theirs);
    insta::assert_json_snapshot!("gatekeeper", [template, constraint]);
}

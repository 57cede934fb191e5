//! What `evenkeel policy admission --for` prints is taken by the engines' own command lines, and decides there as the
//! ValidatingAdmissionPolicy does in the API server.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use evenkeel_tests::world::ENGINE;
use evenkeel_tests::{Options, engine, world};
use evenkeel_xtask::tools::{Family, Toolbox};
use serde_json::{Value, json};

const GATEWAY: &str = "system:serviceaccount:evenkeel:evenkeel-gateway";
const JANE: &str = "jane@example.com";

/// Roll back, scale to 20, evict and delete pods, in the namespace shop.
const POLICY: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: ActionPolicy
metadata: {name: shop}
spec:
  mode: Enforce
  match: {namespaces: [shop, kube-system], kinds: [Deployment, Pod], selector: {}}
  actions:
    - {do: rollbackWorkload, tier: Low, origins: [Playbook], rate: {target: 1/1h, namespace: 3/1h, cluster: 9/1h}}
    - do: scaleWorkload
      tier: Low
      origins: [Playbook]
      rate: {target: 1/1h, namespace: 3/1h, cluster: 9/1h}
      max: {replicas: 20, change: 30}
    - {do: evictPod, tier: Low, origins: [Playbook], rate: {target: 1/1h, namespace: 3/1h, cluster: 9/1h}}
  windows: {timeZone: UTC, allow: [{days: ["*"], from: "00:00", to: "24:00"}], freeze: []}
  limits: {concurrent: 1, unavailable: {count: 1, percent: 10}}
  gitOps: UnownedFields
"#;

fn printed(dir: &Path, engine: &str) -> Result<Vec<Value>> {
    let file = dir.join("policy.yaml");
    std::fs::write(&file, POLICY)?;
    let file = file.to_string_lossy().into_owned();
    let arguments = ["policy", "admission", "--for", engine, "--policies", &file, "--namespace", ENGINE];
    let printed = engine::run(&engine::binary()?, &arguments)?;
    ensure!(printed.contains("To enforce it"), "{printed}");
    Ok(serde_saphyr::from_multiple(&printed)?)
}

fn write(dir: &Path, name: &str, document: &Value) -> Result<PathBuf> {
    let file = dir.join(format!("{name}.yaml"));
    std::fs::write(&file, document.to_string())?;
    Ok(file)
}

/// A Deployment of so many replicas.
fn deployment(namespace: &str, image: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cart", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "cart"}},
            "template": {
                "metadata": {"labels": {"app": "cart"}},
                "spec": {"containers": [{"name": "cart", "image": image}]},
            },
        },
    })
}

fn pod(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cart-1", "namespace": namespace},
        "spec": {"containers": [{"name": "cart", "image": "cart:1"}]},
    })
}

/// A request as the API server shows it to admission.
fn review(user: &str, operation: &str, about: [&str; 4], old: Option<Value>, new: Option<Value>) -> Value {
    let [group, plural, kind, subresource] = about;
    let object = old.as_ref().or(new.as_ref()).cloned().unwrap_or_default();
    let mut request = json!({
        "uid": "1",
        "kind": {"group": group, "version": "v1", "kind": kind},
        // An eviction is one of pods.
        "resource": {"group": if plural == "pods" { "" } else { group }, "version": "v1", "resource": plural},
        "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"],
        "operation": operation, "userInfo": {"username": user, "groups": ["system:authenticated"]},
    });
    for (field, value) in [("object", new), ("oldObject", old), ("subResource", Some(json!(subresource)))] {
        if let Some(value) = value.filter(|value| *value != json!("")) {
            request[field] = value;
        }
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
}

/// What is sent, and what the refusal says where there has to be one.
fn cases() -> Vec<(&'static str, Value, Option<&'static str>)> {
    const DEPLOYMENT: [&str; 4] = ["apps", "deployments", "Deployment", ""];
    let update = |user, old, new| review(user, "UPDATE", DEPLOYMENT, Some(old), Some(new));
    let rolls_back =
        |user, namespace| update(user, deployment(namespace, "cart:2", 3), deployment(namespace, "cart:1", 3));
    let scales = |to| update(GATEWAY, deployment("shop", "cart:1", 3), deployment("shop", "cart:1", to));
    let mut privileged = deployment("shop", "cart:1", 3);
    privileged["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let evicts = |namespace: &str| {
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "cart-1", "namespace": namespace},
        });
        review(GATEWAY, "CREATE", ["policy", "pods", "Eviction", "eviction"], None, Some(eviction))
    };
    let deletes = |user| review(user, "DELETE", ["", "pods", "Pod", ""], Some(pod("shop")), None);
    vec![
        ("a rollback that the policy allows", rolls_back(GATEWAY, "shop"), None),
        ("a rollback elsewhere", rolls_back(GATEWAY, "bank"), Some("no ActionPolicy allows it")),
        ("a rollback elsewhere by somebody else", rolls_back(JANE, "bank"), None),
        ("a rollback out of bounds", rolls_back(GATEWAY, "kube-system"), Some("out of bounds")),
        ("as many replicas as are allowed", scales(20), None),
        ("more replicas than are allowed", scales(21), Some("allows 20 replicas")),
        (
            "privilege that was not there",
            update(GATEWAY, deployment("shop", "cart:2", 3), privileged),
            Some("privilege and capabilities are not brought in"),
        ),
        ("an eviction that the policy allows", evicts("shop"), None),
        ("an eviction elsewhere", evicts("bank"), Some("no ActionPolicy allows it")),
        ("a deletion that the policy does not list", deletes(GATEWAY), Some("ActionPolicy shop does not allow it")),
        ("a deletion by somebody else", deletes(JANE), None),
        (
            "a Deployment that is made",
            review(GATEWAY, "CREATE", DEPLOYMENT, None, Some(deployment("shop", "cart:1", 3))),
            Some("it is none of the actions there are"),
        ),
    ]
}

#[test]
fn gatekeeper_s_own_command_line_takes_it_and_refuses_what_policies_do_not_allow() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let documents = printed(dir.path(), "gatekeeper")?;
    let [template, constraint] = documents.as_slice() else { anyhow::bail!("{documents:#?}") };
    write(dir.path(), "template", template)?;
    ensure!(constraint["spec"]["enforcementAction"] == "dryrun", "{constraint:#}");
    write(dir.path(), "constraint", constraint)?;
    let mut all = Vec::new();
    for (n, (what, review, refused)) in cases().into_iter().enumerate() {
        write(dir.path(), &format!("review-{n}"), &review)?;
        let assertion = match refused {
            Some(message) => json!({"violations": "yes", "message": message}),
            None => json!({"violations": "no"}),
        };
        all.push(json!({"name": what, "object": format!("review-{n}.yaml"), "assertions": [assertion]}));
    }
    let tests = json!([
        {"name": "the gateway", "template": "template.yaml", "constraint": "constraint.yaml", "cases": all},
    ]);
    let suite = json!({"apiVersion": "test.gatekeeper.sh/v1alpha1", "kind": "Suite", "tests": tests});
    let suite = write(dir.path(), "suite", &suite)?;
    let gator = Toolbox::ensure(&[Family::Gatekeeper])?;
    let ran = Command::new(gator.program("gator")?).args(["verify", "-v"]).arg(&suite).output().context("gator")?;
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    ensure!(ran.status.success(), "{said}");
    let passed = said.lines().filter(|line| line.contains("--- PASS")).count();
    ensure!(passed > cases().len(), "each of them, and the whole: {said}");
    Ok(())
}

/// Kyverno's definition of its policies, for the API server to hold ours against.
const KYVERNO: &str = include_str!("kyverno-1.19.1.yaml");

#[test]
fn kyverno_s_own_schema_takes_it() -> Result<()> {
    world::run(Options::kwok(), async |world| {
        world.apply(KYVERNO)?;
        let kind = "validatingpolicies.policies.kyverno.io";
        world.cluster.kubectl(&["wait", "--for=condition=Established", "crd", kind, "--timeout=30s"])?;
        let dir = tempfile::tempdir()?;
        let documents = printed(dir.path(), "kyverno")?;
        let [policy] = documents.as_slice() else { anyhow::bail!("{documents:#?}") };
        ensure!(policy["spec"]["validationActions"] == json!(["Audit"]), "{policy:#}");
        let strict = ["create", "--validate=strict", "--filename", "-", "--output", "json"];
        let kept: Value = serde_json::from_str(&world.cluster.kubectl_with(&strict, &policy.to_string())?)?;
        // Nothing of it is dropped, and what is added are defaults.
        for part in ["matchConditions", "variables", "validations", "autogen", "validationActions", "failurePolicy"] {
            ensure!(kept["spec"][part] == policy["spec"][part], "{part}: {:#}", kept["spec"][part]);
        }
        ensure!(kept["spec"]["evaluation"]["background"]["enabled"] == false, "{kept:#}");
        // What is misspelt would have been found.
        let misspelt = policy.to_string().replace("\"matchConditions\"", "\"matchCondition\"");
        let refused = world.cluster.kubectl_with(&strict, &misspelt).err().map(|error| format!("{error:#}"));
        ensure!(refused.as_ref().is_some_and(|it| it.contains("unknown field \"spec.matchCondition\"")), "{refused:?}");
        Ok(())
    })
}

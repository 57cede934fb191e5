//! The cluster at the start.

use std::sync::LazyLock;

use evenkeel_model::{ActionPolicy, Approval, Freeze, Ledger, Playbook, Remediation, Request};
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use super::manifest::{namespaces, written_out};
use super::people::{Person, Refused};
use crate::engine::NAMESPACE;
use crate::file::Scenario;

/// Makes everything that the scenario begins with; the nodes are there already.
pub(crate) async fn set_up(scenario: &Scenario, admin: &Person) -> Result<(), SetUpError> {
    for crd in CRDS.as_ref().map_err(|error| SetUpError::Crds(error.clone()))? {
        admin.create(crd).await?;
    }
    admin.create(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } })).await?;
    for object in evenkeel_policy::generate::approvals(NAMESPACE) {
        admin.create(&object).await?;
    }
    for playbook in &scenario.playbooks {
        let object = serde_json::to_value(Playbook::new(&playbook.name, playbook.spec.clone()))?;
        admin.create(&object).await?;
    }
    for (name, policy) in &scenario.policies {
        let object = serde_json::to_value(ActionPolicy::new(name, policy.clone()))?;
        admin.create(&object).await?;
    }
    let cluster = &scenario.spec.cluster;
    let workloads: Vec<Value> = cluster.workloads.iter().flat_map(written_out).collect();
    let all = || cluster.objects.iter().chain(&workloads);
    let declared: Vec<&str> = cluster.objects.iter().filter_map(namespace_of).collect();
    for namespace in namespaces(all()) {
        let built_in = ["default", "kube-system", "kube-public", "kube-node-lease"].contains(&namespace.as_str());
        if !built_in && !declared.contains(&namespace.as_str()) {
            let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            admin.create(&object).await?;
        }
    }
    // Namespaces first, whatever their place in the file.
    let (first, rest): (Vec<&Value>, Vec<&Value>) = all().partition(|object| namespace_of(object).is_some());
    for object in first.into_iter().chain(rest) {
        admin.create(object).await?;
    }
    Ok(())
}

fn namespace_of(object: &Value) -> Option<&str> {
    let is_namespace = object.get("kind").and_then(Value::as_str) == Some("Namespace");
    object.pointer("/metadata/name").and_then(Value::as_str).filter(|_| is_namespace)
}

/// Why a scenario's cluster can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetUpError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("a custom resource definition can't be written as JSON: {0}")]
    Crds(String),
    #[error("an object can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Made once: thousands of runs have the same.
static CRDS: LazyLock<Result<Vec<Value>, String>> = LazyLock::new(|| {
    let decided_by = [Playbook::crd(), ActionPolicy::crd(), Freeze::crd()];
    let all = decided_by.into_iter().chain([Remediation::crd(), Approval::crd(), Request::crd(), Ledger::crd()]);
    all.map(|crd| serde_json::to_value(crd).map_err(|error| error.to_string())).collect()
});

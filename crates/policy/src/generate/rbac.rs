use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{ActionName, Kind};
use serde_json::{Value, json};

use super::Place;
use super::needs::{Right, in_place, within_bounds};
use crate::{PolicySource, Protected};

/// Name of the roles and their bindings.
const NAME: &str = "evenkeel-gateway-actions";

/// Verb and resource (API group, resource, verb) by which an action is done to a kind; `None` when it writes nothing.
pub fn mutation(action: ActionName, kind: Kind) -> Option<(&'static str, &'static str, &'static str)> {
    match action {
        ActionName::RollbackWorkload
        | ActionName::RestartWorkload
        | ActionName::ScaleWorkload
        | ActionName::CordonNode
        | ActionName::UncordonNode => Some((kind.group(), kind.plural(), "patch")),
        ActionName::DeletePod | ActionName::DeleteJob => Some((kind.group(), kind.plural(), "delete")),
        ActionName::EvictPod => Some(("", "pods/eviction", "create")),
        ActionName::Notify | ActionName::Escalate => None,
    }
}

/// The gateway's rights to write, as Roles, a ClusterRole and their bindings: for every namespace, kind and
/// action that policies can ever let it carry out, and for nothing else. `engine` is the namespace of the
/// gateway's ServiceAccount.
///
/// RBAC adds up and can't take away: where all namespaces are allowed and a policy forbids some, the admission
/// policy does. The same for selectors and maxima.
pub fn rbac(policies: &[PolicySource], engine: &str, protected: &Protected) -> Vec<Value> {
    let everywhere = rights(policies, Place::Elsewhere);
    let mut objects = Vec::new();
    if !everywhere.is_empty() {
        objects.extend(role("ClusterRole", None, engine, &everywhere));
    }
    for namespace in within_bounds(policies, engine, protected) {
        let here: Rights = rights(policies, Place::Named(namespace)).difference(&everywhere).copied().collect();
        if !here.is_empty() {
            objects.extend(role("Role", Some(namespace), engine, &here));
        }
    }
    objects
}

type Rights = BTreeSet<Right>;

fn rights(policies: &[PolicySource], place: Place<'_>) -> Rights {
    in_place(policies, place).into_keys().collect()
}

fn role(kind: &str, namespace: Option<&str>, engine: &str, rights: &Rights) -> [Value; 2] {
    let mut verbs: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (group, resource, verb) in rights {
        verbs.entry((group, resource)).or_default().push(verb);
    }
    let rules: Vec<Value> = verbs
        .into_iter()
        .map(|((group, resource), verbs)| json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs }))
        .collect();
    let metadata = match namespace {
        Some(namespace) => json!({ "name": NAME, "namespace": namespace }),
        None => json!({ "name": NAME }),
    };
    let api = "rbac.authorization.k8s.io";
    let role = json!({ "apiVersion": format!("{api}/v1"), "kind": kind, "metadata": metadata, "rules": rules });
    let binding = json!({
        "apiVersion": format!("{api}/v1"),
        "kind": format!("{kind}Binding"),
        "metadata": metadata,
        "roleRef": { "apiGroup": api, "kind": kind, "name": NAME },
        "subjects": [{ "kind": "ServiceAccount", "name": super::admission::ACCOUNT, "namespace": engine }],
    });
    [role, binding]
}

//! `evenkeel rbac`: what each plane may do in the cluster, and nothing else. One table makes all of it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use evenkeel_model::ActionName;
use serde_json::{Value, json};

use crate::args::RbacArgs;
use crate::output;

pub(crate) fn run(args: &RbacArgs) -> Result<()> {
    output::print(&yaml(&args.namespace, args.actions.as_deref().unwrap_or(&ActionName::ALL))?)
}

/// Verbs on a resource: API group, resource, verbs.
type Row = (&'static str, &'static str, &'static [&'static str]);

/// Everywhere: what the gateway decides by.
const GATEWAY: &[Row] = &[
    ("evenkeel.dev", "playbooks", &["get"]),
    ("evenkeel.dev", "actionpolicies", &["list"]),
    // Whether they can be enforced; what they say stays theirs who wrote them.
    ("evenkeel.dev", "actionpolicies/status", &["update"]),
    ("evenkeel.dev", "freezes", &["list"]),
    ("events.k8s.io", "events", &["create"]),
    ("", "events", &["list"]),
    ("", "pods/log", &["get"]),
    // What others' disruptions leave of the pods that an action takes.
    ("policy", "poddisruptionbudgets", &["list"]),
    // Whether approvers still may.
    ("authorization.k8s.io", "subjectaccessreviews", &["create"]),
    // Whether it has the rights that policies need.
    ("authorization.k8s.io", "selfsubjectaccessreviews", &["create"]),
];

/// In the engine's namespace: the gateway's own objects.
const GATEWAY_HOME: &[Row] = &[
    ("evenkeel.dev", "remediations", &["get", "list", "watch", "create", "delete"]),
    ("evenkeel.dev", "remediations/status", &["update"]),
    // Created for people of Slack, and in dry runs of a forgery that has to be refused.
    ("evenkeel.dev", "approvals", &["get", "list", "watch", "create", "delete"]),
    ("evenkeel.dev", "ledgers", &["get", "create", "update"]),
    // Created in dry runs only: a forgery that has to be refused.
    ("evenkeel.dev", "requests", &["get", "list", "watch", "create", "delete"]),
    ("evenkeel.dev", "requests/status", &["update"]),
];

/// The mutating verb of an action, on each resource it can be done to.
fn mutations(action: ActionName) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    action.kinds().iter().filter_map(move |kind| evenkeel_policy::generate::mutation(action, *kind))
}

/// Rows as RBAC rules, one a resource, sorted.
fn rules(
    rows: impl IntoIterator<Item = Row>,
    and: impl IntoIterator<Item = (&'static str, &'static str, &'static str)>,
) -> Vec<Value> {
    let mut verbs: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for (group, resource, allowed) in rows {
        verbs.entry((group, resource)).or_default().extend(allowed);
    }
    for (group, resource, allowed) in and {
        verbs.entry((group, resource)).or_default().insert(allowed);
    }
    verbs
        .into_iter()
        .map(|((group, resource), verbs)| json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs }))
        .collect()
}

fn yaml(namespace: &str, actions: &[ActionName]) -> Result<String> {
    output::documents(&objects(namespace, actions))
}

/// ServiceAccounts, roles and bindings of all planes, the gateway with the rights of these actions everywhere.
pub(crate) fn objects(namespace: &str, actions: &[ActionName]) -> Vec<Value> {
    let observer = rules(evenkeel_cluster::READS.iter().chain(evenkeel_observer::READS).copied(), []);
    let mutations = actions.iter().copied().flat_map(mutations);
    let mut gateway = rules(evenkeel_cluster::READS.iter().chain(GATEWAY).copied(), mutations);
    // What answers for people's identity, and what holds the gateway to the policies, is compared with what it should be.
    gateway.push(json!({
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["validatingadmissionpolicies", "validatingadmissionpolicybindings"],
        "resourceNames": [
            evenkeel_policy::generate::APPROVALS,
            evenkeel_policy::generate::PEOPLE,
            evenkeel_policy::generate::GATEWAY_WRITES,
        ],
        "verbs": ["get"],
    }));
    let mut objects = vec![account("observer", namespace, true)];
    objects.extend(everywhere("observer", namespace, observer));
    // No rule at all: it holds no credential.
    objects.push(account("reasoner", namespace, false));
    objects.push(account("gateway", namespace, true));
    objects.extend(everywhere("gateway", namespace, gateway));
    objects.extend(at_home("gateway", namespace, rules(GATEWAY_HOME.iter().copied(), [])));
    objects
}

fn name(plane: &str) -> String {
    format!("evenkeel-{plane}")
}

fn account(plane: &str, namespace: &str, mounts: bool) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": name(plane), "namespace": namespace },
        "automountServiceAccountToken": mounts,
    })
}

fn subject(plane: &str, namespace: &str) -> Value {
    json!([{ "kind": "ServiceAccount", "name": name(plane), "namespace": namespace }])
}

fn everywhere(plane: &str, namespace: &str, rules: Vec<Value>) -> [Value; 2] {
    let metadata = json!({ "name": name(plane) });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": rules,
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name(plane) },
        "subjects": subject(plane, namespace),
    });
    [role, binding]
}

fn at_home(plane: &str, namespace: &str, rules: Vec<Value>) -> [Value; 2] {
    let metadata = json!({ "name": name(plane), "namespace": namespace });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": rules,
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name(plane) },
        "subjects": subject(plane, namespace),
    });
    [role, binding]
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: &[&str] = &["get", "list", "watch"];

    #[test]
    fn the_planes_rights_are_as_reviewed() {
        insta::assert_snapshot!(yaml("evenkeel", &ActionName::ALL).unwrap());
    }

    fn written(actions: &[ActionName]) -> Vec<Value> {
        serde_saphyr::from_multiple(&yaml("evenkeel", actions).unwrap()).unwrap()
    }

    fn verbs<'a>(objects: &'a [Value], kind: &str, name: &str) -> Vec<(&'a str, &'a str)> {
        let role = objects.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name).unwrap();
        let rules = role["rules"].as_array().unwrap();
        let resource = |rule: &'a Value| rule["resources"][0].as_str().unwrap();
        rules
            .iter()
            .flat_map(|rule| {
                rule["verbs"].as_array().unwrap().iter().map(move |verb| (resource(rule), verb.as_str().unwrap()))
            })
            .collect()
    }

    #[test]
    fn the_observer_only_reads_and_never_secrets() {
        for (resource, verb) in verbs(&written(&ActionName::ALL), "ClusterRole", "evenkeel-observer") {
            assert!(READ.contains(&verb), "{resource} {verb}");
            assert!(resource != "secrets" && resource != "*", "{resource}");
        }
    }

    #[test]
    fn the_reasoner_has_an_account_without_a_token_and_nothing_else() {
        let objects = written(&ActionName::ALL);
        let about: Vec<&Value> =
            objects.iter().filter(|object| object.to_string().contains("evenkeel-reasoner")).collect();
        assert_eq!(about.len(), 1);
        assert_eq!(about[0]["kind"], "ServiceAccount");
        assert_eq!(about[0]["automountServiceAccountToken"], false);
    }

    #[test]
    fn the_gateway_may_write_no_more_than_its_actions() {
        let mutating = |actions: &[ActionName]| -> Vec<String> {
            let objects = written(actions);
            let mut all: Vec<String> = verbs(&objects, "ClusterRole", "evenkeel-gateway")
                .into_iter()
                .filter(|(_, verb)| !READ.contains(verb))
                .map(|(resource, verb)| format!("{verb} {resource}"))
                .collect();
            all.sort();
            all
        };
        let always = [
            "create events",
            "create selfsubjectaccessreviews",
            "create subjectaccessreviews",
            "update actionpolicies/status",
        ];
        let and = |own: &[&str]| -> Vec<String> {
            let mut all: Vec<String> = always.iter().chain(own).map(|it| (*it).to_owned()).collect();
            all.sort();
            all
        };
        assert_eq!(mutating(&[]), and(&[]));
        assert_eq!(mutating(&[ActionName::DeletePod]), and(&["delete pods"]));
        let both = [ActionName::EvictPod, ActionName::CordonNode];
        assert_eq!(mutating(&both), and(&["create pods/eviction", "patch nodes"]));
    }
}

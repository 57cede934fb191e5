//! What the API server tells of itself: its version, and the resources it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::serve::Reply;
use super::uri::Path;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::state::State;

/// The version that is simulated.
const MINOR: &str = "36";

pub(super) fn answer(state: &State, path: &Path) -> Result<Reply, Failure> {
    let found = |value: Value| Ok(Reply::Object(200, Arc::new(value)));
    let missing = || Ok(Reply::Text(404, "404 page not found\n".to_owned()));
    match path {
        Path::Version => found(json!({
            "major": "1", "minor": MINOR, "gitVersion": format!("v1.{MINOR}.0"), "gitCommit": "",
            "gitTreeState": "clean", "buildDate": "2026-04-22T00:00:00Z", "goVersion": "go1.26", "compiler": "gc",
            "platform": "linux/amd64",
        })),
        Path::Health => Ok(Reply::Text(200, "ok".to_owned())),
        Path::Core => found(json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.0.0.1:443"}]})),
        Path::Groups => {
            let groups: Vec<Value> = groups(state).iter().map(|(name, versions)| group(name, versions)).collect();
            found(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        Path::Group(name) => match groups(state).get(name) {
            Some(versions) => {
                let mut group = group(name, versions);
                crate::value::set(&mut group, "/kind", json!("APIGroup"));
                crate::value::set(&mut group, "/apiVersion", json!("v1"));
                found(group)
            }
            None => missing(),
        },
        Path::Resources { group, version } => {
            let of = |kind: &&Arc<Kind>| kind.group == *group && kind.version == *version;
            let resources: Vec<Value> = state.kinds.iter().filter(of).flat_map(|kind| resources(kind)).collect();
            if resources.is_empty() {
                return missing();
            }
            let group_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
            let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources});
            found(list)
        }
        Path::Other => missing(),
        Path::Objects(_) => Err(Failure::no_such_resource()),
    }
}

fn groups(state: &State) -> BTreeMap<String, BTreeSet<String>> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for kind in state.kinds.iter().filter(|kind| !kind.group.is_empty()) {
        groups.entry(kind.group.clone()).or_default().insert(kind.version.clone());
    }
    groups
}

fn group(name: &str, versions: &BTreeSet<String>) -> Value {
    let version = |it: &String| json!({"groupVersion": format!("{name}/{it}"), "version": it});
    let all: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": name, "versions": all, "preferredVersion": versions.last().map(version)})
}

fn resources(kind: &Kind) -> Vec<Value> {
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut all = vec![json!({
        "name": kind.plural, "singularName": kind.kind.to_lowercase(), "namespaced": kind.namespaced,
        "kind": kind.kind, "verbs": verbs,
    })];
    for subresource in &kind.subresources {
        let (kind_name, verbs): (&str, &[&str]) = match subresource.as_str() {
            "scale" => ("Scale", &["get", "patch", "update"]),
            "eviction" => ("Eviction", &["create"]),
            "binding" => ("Binding", &["create"]),
            "log" => (&kind.kind, &["get"]),
            _ => (&kind.kind, &["get", "patch", "update"]),
        };
        all.push(json!({
            "name": format!("{}/{subresource}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
            "kind": kind_name, "verbs": verbs,
        }));
    }
    all
}

//! The walls between the rooms, held over what cargo says that each crate links.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::env;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    features: BTreeMap<String, Vec<String>>,
    dependencies: Vec<Wanted>,
}

/// A dependency as a package's manifest has it, with the features it asks for.
#[derive(Deserialize)]
struct Wanted {
    name: String,
    features: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
    features: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    fn read() -> Self {
        let output = Command::new(env::cargo())
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(env::workspace().unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// What each package links directly, by name; not what only its tests or build scripts use.
struct Links(BTreeMap<String, BTreeSet<String>>);

impl Links {
    fn read() -> Self {
        let metadata = Metadata::read();
        let names: BTreeMap<&str, &str> =
            metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
        let links = metadata.resolve.nodes.iter().map(|node| {
            let normal =
                node.deps.iter().filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            (
                names[node.id.as_str()].to_owned(),
                normal.map(|dependency| names[dependency.pkg.as_str()].to_owned()).collect(),
            )
        });
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, direct) in links {
            let direct: BTreeSet<String> = direct;
            all.entry(name).or_default().extend(direct);
        }
        Self(all)
    }

    fn everything(&self, room: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open = vec![room];
        while let Some(name) = open.pop() {
            for next in self.0.get(name).unwrap_or_else(|| panic!("no package {name}")) {
                if found.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        found
    }

    fn who_links_directly(&self, library: &str) -> BTreeSet<&str> {
        let ours = self.0.iter().filter(|(name, _)| name.starts_with("evenkeel"));
        ours.filter(|(_, direct)| direct.contains(library)).map(|(name, _)| name.as_str()).collect()
    }
}

#[test]
fn pure_rooms_link_no_runtime_no_client_and_no_randomness() {
    let links = Links::read();
    for room in ["evenkeel-model", "evenkeel-playbook", "evenkeel-policy", "evenkeel-planner"] {
        let everything = links.everything(room);
        for forbidden in
            ["tokio", "kube", "kube-client", "kube-runtime", "async-nats", "hyper", "reqwest", "rand", "getrandom"]
        {
            assert!(!everything.contains(forbidden), "{room} links {forbidden}");
        }
    }
}

#[test]
fn what_is_linked_is_seen_also_through_others() {
    let links = Links::read();
    assert!(links.everything("evenkeel-gateway").contains("kube-client"));
    assert!(links.everything("evenkeel-reasoner").contains("async-nats"), "through the bus");
}

#[test]
fn rooms_know_only_whom_they_may() {
    let links = Links::read();
    for (room, forbidden) in [
        ("evenkeel-model", "evenkeel-playbook"),
        ("evenkeel-policy", "evenkeel-planner"),
        ("evenkeel-policy", "evenkeel-playbook"),
        ("evenkeel-playbook", "evenkeel-planner"),
        ("evenkeel-bus", "kube-client"),
        // Verification is to be had without us, and sealing without the cluster.
        ("evenkeel-audit", "kube-client"),
        ("evenkeel-audit", "evenkeel-policy"),
        ("evenkeel-audit", "evenkeel-gateway"),
        ("evenkeel-reasoner", "evenkeel-audit"),
        ("evenkeel-runtime", "kube-client"),
        ("evenkeel-observer", "evenkeel-planner"),
        ("evenkeel-observer", "evenkeel-policy"),
        ("evenkeel-observer", "evenkeel-gateway"),
        ("evenkeel-chat", "kube-client"),
        ("evenkeel-chat", "evenkeel-bus"),
        ("evenkeel-chat", "evenkeel-policy"),
        ("evenkeel-chat", "evenkeel-playbook"),
        ("evenkeel-chat", "evenkeel-gateway"),
        ("evenkeel-gateway", "evenkeel-planner"),
        ("evenkeel-gateway", "evenkeel-observer"),
        ("evenkeel-gateway", "evenkeel-reasoner"),
        ("evenkeel-reasoner", "evenkeel-gateway"),
        ("evenkeel-simulator", "evenkeel-observer"),
        ("evenkeel-simulator", "evenkeel-reasoner"),
        ("evenkeel-simulator", "evenkeel-gateway"),
        ("evenkeel-simulator", "evenkeel-model"),
    ] {
        assert!(!links.everything(room).contains(forbidden), "{room} links {forbidden}");
    }
}

#[test]
fn the_reasoner_has_no_way_to_the_cluster() {
    let links = Links::read();
    let everything = links.everything("evenkeel-reasoner");
    for forbidden in ["kube", "kube-client", "evenkeel-cluster"] {
        assert!(!everything.contains(forbidden), "the reasoner links {forbidden}");
    }
}

#[test]
fn nats_is_spoken_in_the_bus_alone() {
    // The benches compare the bus with NATS itself.
    assert_eq!(Links::read().who_links_directly("async-nats"), BTreeSet::from(["evenkeel-bus", "evenkeel-tests"]));
}

/// One client for HTTP, and one WebSocket, each in its place.
#[test]
fn slack_is_spoken_over_the_stacks_there_are() {
    let links = Links::read();
    assert_eq!(links.who_links_directly("tokio-websockets"), BTreeSet::from(["evenkeel-chat"]));
    assert!(!links.who_links_directly("reqwest").contains("evenkeel-chat"), "what it sends goes through the runtime");
    let everything = links.everything("evenkeel-chat");
    for forbidden in ["tungstenite", "hmac", "slack-morphism"] {
        assert!(!everything.contains(forbidden), "chat links {forbidden}");
    }
}

/// What the simulations' check of themselves switches off can't be switched off in what people run.
#[test]
fn no_binary_can_do_without_a_protection() {
    const MUTATION: &str = "mutation";
    let metadata = Metadata::read();
    let on: Vec<&str> = metadata
        .resolve
        .nodes
        .iter()
        .filter(|node| node.features.iter().any(|feature| feature == MUTATION))
        .map(|node| node.id.as_str())
        .collect();
    assert!(on.is_empty(), "on by default: {on:?}");
    for package in metadata.packages.iter().filter(|package| package.name.starts_with("evenkeel")) {
        for wanted in &package.dependencies {
            let asked = wanted.features.iter().any(|feature| feature == MUTATION);
            assert!(!asked, "{} asks for it of {}", package.name, wanted.name);
        }
        for (feature, enables) in &package.features {
            let passes_on = enables.iter().any(|it| it == MUTATION || it.ends_with("/mutation"));
            let is_the_check = package.name == "evenkeel-scenarios" && feature == MUTATION;
            assert!(!passes_on || is_the_check, "{}: feature {feature} enables it", package.name);
        }
    }
    // Asked for by hand it does not compile: `Parts` has fields then that the binary does not set.
    for field in ["mutation:", "mutation,", "Mutation", "believes_pod_labels"] {
        let found = uses("evenkeel", field);
        assert!(found.is_empty(), "{found:#?}");
    }
    // And each is switched off in one place.
    for (room, place) in [
        ("gateway", "Mutation::Ledger"),
        ("gateway", "Mutation::Fence"),
        ("gateway", "Mutation::Indication"),
        ("gateway", "Mutation::Verification"),
        ("observer", "self.believes_pod_labels"),
    ] {
        assert_eq!(uses(room, place).len(), 1, "{place}");
    }
}

#[test]
fn one_tls_stack() {
    let links = Links::read();
    let everything = links.everything("evenkeel");
    for forbidden in ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys"] {
        assert!(!everything.contains(forbidden), "the binary links {forbidden}");
    }
}

/// Lines of a crate's sources outside tests that contain `text`.
fn uses(room: &str, text: &str) -> Vec<String> {
    fn walk(dir: &Path, text: &str, found: &mut Vec<String>) {
        let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, text, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let code = source.split("#[cfg(test)]").next().unwrap_or_default();
                found.extend(
                    code.lines().filter(|line| line.contains(text)).map(|line| format!("{}: {line}", path.display())),
                );
            }
        }
    }
    let mut found = Vec::new();
    walk(&env::workspace().unwrap().join("crates").join(room).join("src"), text, &mut found);
    found
}

#[test]
fn only_the_runtime_reads_the_wall_clock() {
    // clippy refuses the calls; what is left to hold is that nobody else lifts the rule.
    for room in
        ["model", "playbook", "policy", "planner", "bus", "cluster", "chat", "observer", "reasoner", "gateway", "audit"]
    {
        let lifted = uses(room, "allow(clippy::disallowed_methods");
        assert!(lifted.is_empty(), "{lifted:#?}");
    }
}

#[test]
fn only_the_gateway_writes_to_the_cluster() {
    for room in ["observer", "reasoner"] {
        for verb in [
            "PostParams",
            "PatchParams",
            "DeleteParams",
            "evenkeel_cluster::patch",
            "evenkeel_cluster::delete",
            "evenkeel_cluster::evict",
            ".replace_status(",
        ] {
            let found = uses(room, verb);
            assert!(found.is_empty(), "{found:#?}");
        }
    }
}

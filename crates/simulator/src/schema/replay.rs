//! The cases of `fixtures/cases`, held against what a real API server answered to them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use regex::Regex;
use serde_json::{Value, json};

use crate::api::{By, Deletion, Part, Written};
use crate::failure::Failure;
use crate::images::Images;
use crate::simulator::{Options, Simulator};
use crate::state::State;
use crate::store::Key;
use crate::value::{at, name, text, unset};

const BY: By<'_> = By { user: "admin", manager: "kubectl", dry_run: false };

pub(super) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(super) fn with_state<T>(act: impl FnOnce(&mut State) -> T) -> T {
    let start = "2026-06-03T09:00:00Z".parse().unwrap();
    let simulator = Simulator::new(Options { start, seed: 7, images: Images::default() });
    let mut state = simulator.state();
    act(&mut state)
}

pub(super) fn create(state: &mut State, object: &Value, namespace: &str) -> Written {
    let kind = state.kinds.of_object(text(object, "/apiVersion"), text(object, "/kind")).cloned();
    let kind = kind.unwrap_or_else(|| panic!("not served: {object}"));
    let own = text(object, "/metadata/namespace");
    let namespace = if own.is_empty() { namespace } else { own };
    let namespace = if kind.namespaced { namespace } else { "" };
    state.create(BY, &kind.resource(), namespace, object.clone())
}

fn prepare(state: &mut State, namespace: &str) {
    for namespace in ["default", "kube-system", namespace] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let key = Key::new("namespaces", "", namespace);
        if state.store.get(&key).is_none() {
            create(state, &object, "").unwrap();
        }
        let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        if state.store.get(&Key::new("serviceaccounts", namespace, "default")).is_none() {
            create(state, &object, namespace).unwrap();
        }
    }
    let certificate = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}});
    create(state, &certificate, namespace).unwrap();
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]}});
    if state.store.get(&Key::new("services", "default", "kubernetes")).is_none() {
        create(state, &service, "default").unwrap();
    }
}

fn key(state: &State, what: &Value, namespace: &str) -> Key {
    let kind = state.kinds.of_object(text(what, "/apiVersion"), text(what, "/kind")).unwrap();
    Key::new(kind.resource(), if kind.namespaced { namespace } else { "" }, text(what, "/name"))
}

fn carry_out(state: &mut State, case: &Value, namespace: &str) -> Written {
    if let Some(object) = case.get("create") {
        return create(state, object, namespace);
    }
    if let Some(what) = case.get("delete") {
        let key = key(state, what, namespace);
        return state.delete(BY, &key, &Deletion::default());
    }
    let (part, what) = match (case.get("edit"), case.get("status")) {
        (Some(what), _) => (Part::Main, what),
        (None, what) => (Part::Status, what.unwrap()),
    };
    let key = key(state, what, namespace);
    let Some(object) = state.store.get(&key) else { return Err(Failure::not_found(&key)) };
    let mut object = (**object).clone();
    if let Some(patch) = what.get("patch") {
        json_patch::patch(&mut object, &serde_json::from_value::<json_patch::Patch>(patch.clone()).unwrap()).unwrap();
    } else {
        json_patch::merge(&mut object, at(what, "/merge"));
    }
    state.replace(BY, &key, part, object)
}

/// Takes away what differs from run to run and, of an object that controllers have had, what they wrote.
fn comparable(mut answer: Value, fresh: bool) -> Value {
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        unset(&mut answer, &format!("/metadata/{field}"));
    }
    if !fresh && text(&answer, "/kind") != "Status" && text(&answer, "/kind") != "Widget" {
        unset(&mut answer, "/status");
        if text(&answer, "/kind") == "Node" {
            for pointer in ["/metadata/annotations", "/spec/podCIDR", "/spec/podCIDRs"] {
                unset(&mut answer, pointer);
            }
        }
    }
    let masks = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (r"kube-api-access-[a-z0-9]{5}", "kube-api-access"),
        (r"^10\.96\.[0-9]+\.[0-9]+$", "10.96"),
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", "TIME"),
        // The API server prints one of its own Go types here.
        (r"Invalid value: \{.{300,}\}: field is immutable", "field is immutable"),
        (r"-x[a-z0-9]{5}", "-x"),
    ];
    let masks = masks.map(|(what, instead)| (Regex::new(what).unwrap(), instead));
    each_text(&mut answer, &|text| {
        // And appends a diff of them here.
        let text = text.split("\n@@").next().unwrap_or_default().to_owned();
        masks.iter().fold(text, |text, (what, instead)| what.replace_all(&text, *instead).into_owned())
    });
    answer
}

fn each_text(value: &mut Value, act: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = act(text),
        Value::Array(list) => list.iter_mut().for_each(|item| each_text(item, act)),
        Value::Object(map) => map.values_mut().for_each(|field| each_text(field, act)),
        _ => {}
    }
}

fn replay(file: &str) {
    let path = repository().join(format!("crates/simulator/fixtures/kubernetes-1.36.3/{file}.json"));
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut wrong = Vec::new();
    with_state(|state| {
        prepare(state, file);
        for case in &cases {
            let answer = carry_out(state, case, file);
            let code = answer.as_ref().map_or_else(|failure| u64::from(failure.code), |_| 200);
            let expected = at(case, "/answer/code").as_u64().unwrap();
            if code != expected.min(if expected < 300 { 200 } else { expected }) {
                let why = answer.as_ref().map_or_else(ToString::to_string, |_| "accepted".to_owned());
                wrong.push(format!("{}: {expected} was expected: {why}", text(case, "/case")));
                continue;
            }
            let Some(body) = at(case, "/answer").get("body") else { continue };
            let fresh = case.get("create").is_some();
            let found = answer.map_or_else(|failure| failure.status, Arc::unwrap_or_clone);
            let (found, body) = (comparable(found, fresh), comparable(body.clone(), fresh));
            if found != body {
                let mut lines = Vec::new();
                differences(&body, &found, "", &mut lines);
                wrong.push(format!("{}:\n    {}", text(case, "/case"), lines.join("\n    ")));
            }
        }
    });
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn differences(expected: &Value, found: &Value, place: &str, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(left), Value::Object(right)) => {
            let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let place = format!("{place}.{name}");
                match (left.get(name), right.get(name)) {
                    (Some(left), Some(right)) => differences(left, right, &place, lines),
                    (left, right) => lines.push(format!("{place}: expected {left:?}, found {right:?}")),
                }
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differences(left, right, &format!("{place}[{index}]"), lines);
            }
        }
        _ if expected == found => {}
        _ => lines.push(format!("{place}:\n      expected {expected}\n      found    {found}")),
    }
}

#[test]
fn workloads_are_answered_as_by_the_real_api_server() {
    replay("workloads");
}

#[test]
fn pods_are_answered_as_by_the_real_api_server() {
    replay("pods");
}

#[test]
fn other_objects_are_answered_as_by_the_real_api_server() {
    replay("objects");
}

#[test]
fn quotas_are_answered_as_by_the_real_api_server() {
    replay("quota");
}

#[test]
fn limit_ranges_are_answered_as_by_the_real_api_server() {
    replay("limits");
}

#[test]
fn custom_resources_are_answered_as_by_the_real_api_server() {
    replay("custom");
}

fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    serde_saphyr::from_multiple::<Value>(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn our_definitions_are_served_and_what_is_shipped_passes_them() {
    let mut count = 0;
    with_state(|state| {
        for definition in documents(&repository().join("crds/evenkeel.yaml")) {
            create(state, &definition, "").unwrap();
            let key = Key::new("customresourcedefinitions.apiextensions.k8s.io", "", name(&definition));
            let established = crate::value::condition(state.store.get(&key).unwrap(), "Established");
            assert_eq!(text(established.unwrap(), "/reason"), "InitialNamesAccepted");
        }
        for room in ["playbooks", "policies"] {
            let mut files: Vec<PathBuf> =
                std::fs::read_dir(repository().join(room)).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            for file in files {
                for object in documents(&file) {
                    create(state, &object, "").unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                    count += 1;
                }
            }
        }
    });
    assert!(count > 10);
}

fn definition(schema: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.dev"},
        "spec": {
            "group": "example.dev", "names": {"kind": "Thing", "plural": "things"}, "scope": "Cluster",
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

#[test]
fn a_rule_that_is_not_known_is_refused_and_named() {
    let rules = json!([{"rule": "self.replicas < 5"}]);
    let schema =
        json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": rules}}});
    let refused = with_state(|state| create(state, &definition(&schema), "").unwrap_err());
    assert_eq!(refused.code, 501);
    assert!(refused.to_string().contains("self.replicas < 5"), "{refused}");
}

#[test]
fn what_a_definition_served_goes_with_it() {
    with_state(|state| {
        let definition = definition(&json!({"type": "object"}));
        create(state, &definition, "").unwrap();
        let thing = json!({"apiVersion": "example.dev/v1", "kind": "Thing", "metadata": {"name": "one"}});
        create(state, &thing, "").unwrap();
        let key = Key::new("customresourcedefinitions.apiextensions.k8s.io", "", "things.example.dev");
        state.delete(BY, &key, &Deletion::default()).unwrap();
        assert!(state.kinds.of_object("example.dev/v1", "Thing").is_none());
        assert!(state.store.get(&Key::new("things.example.dev", "", "one")).is_none());
    });
}

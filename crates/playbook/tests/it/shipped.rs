use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use evenkeel_model::{ActionPolicySpec, Kind, ObjectRef};
use evenkeel_playbook::{Loaded, Playbooks, Problem, load, yaml};

/// What watches tell, besides alerts: reasons as Kubernetes writes them.
const WATCHED: [&str; 25] = [
    "BackoffLimitExceeded",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "Evicted",
    "FailedCreate",
    "FailedCreatePodSandBox",
    "FailedMount",
    "FailedScheduling",
    "ImagePullBackOff",
    "JobFailed",
    "ManyAffected",
    "NodeNotReady",
    "NodePressure",
    "NodeStillCordoned",
    "OOMKilled",
    "PodNotReady",
    "PodStuckOnNode",
    "PostStartHookError",
    "ProgressDeadlineExceeded",
    "ReplicasUnavailable",
    "RunContainerError",
    "Unhealthy",
    "*",
];

fn files(directory: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(directory);
    let mut files: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (format!("{directory}/{name}"), std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn told(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

pub(crate) fn playbooks() -> Playbooks {
    let mut loaded: Vec<Loaded> = Vec::new();
    for (file, text) in files("playbooks") {
        let (playbooks, problems) = load(&text, &file);
        assert_eq!(told(&problems), "");
        loaded.extend(playbooks);
    }
    let (playbooks, problems) = Playbooks::new(loaded);
    assert_eq!(told(&problems), "");
    playbooks
}

/// Name and object of each of kube-prometheus-stack's alerts, as the observer resolves them.
fn alerts() -> BTreeMap<String, Option<Kind>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../observer/data/alerts.tsv");
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let mut columns = line.split('\t');
            let name = columns.next().unwrap().to_owned();
            (name, columns.nth(3).and_then(|kind| kind.parse().ok()))
        })
        .collect()
}

#[test]
fn all_playbooks_pass_the_check() {
    assert!(playbooks().iter().count() >= 8);
}

#[test]
fn all_policies_pass_the_check() {
    let mut names = BTreeSet::new();
    for (file, text) in files("policies") {
        let (documents, problems) = yaml::documents::<ActionPolicySpec>(&text, &file, "ActionPolicy");
        assert_eq!(told(&problems), "");
        for document in documents {
            let findings = evenkeel_policy::check(&document.spec);
            let problems: Vec<_> =
                findings.into_iter().map(|found| document.source.problem(&found.path, found.message)).collect();
            assert_eq!(told(&problems), "");
            assert!(names.insert(document.name.clone()), "{file}: another policy {:?}", document.name);
        }
    }
    assert!(names.len() >= 3);
}

#[test]
fn every_signal_that_a_playbook_names_is_one_there_is() {
    let alerts = alerts();
    for playbook in playbooks().iter() {
        for signal in &playbook.spec.matches.signals {
            let known = alerts.contains_key(signal) || WATCHED.contains(&signal.as_str());
            assert!(known, "{}: nothing tells {signal:?}", playbook.name);
        }
    }
}

#[test]
fn every_file_can_be_read_in_a_minute() {
    for (file, text) in files("playbooks").into_iter().chain(files("policies")) {
        assert!(text.starts_with('#'), "{file} says first what it is for");
        assert!(text.lines().count() <= 100, "{file} is too long");
    }
}

/// Which playbooks are asked about each signal, in order.
#[test]
fn what_each_signal_leads_to() {
    let playbooks = playbooks();
    let mut all: BTreeMap<String, Option<Kind>> = alerts();
    for reason in WATCHED.into_iter().filter(|reason| *reason != "*") {
        let kind = match reason {
            "NodeNotReady" | "NodePressure" | "NodeStillCordoned" => Kind::Node,
            "JobFailed" | "BackoffLimitExceeded" => Kind::Job,
            "ManyAffected" => Kind::ConfigMap,
            "ProgressDeadlineExceeded" | "ReplicasUnavailable" | "FailedCreate" => Kind::Deployment,
            _ => Kind::Pod,
        };
        all.insert(reason.to_owned(), Some(kind));
    }
    let mut leads = String::new();
    for (signal, kind) in all {
        let object = |kind: Kind| match kind.is_namespaced() {
            true => ObjectRef::namespaced(kind, "shop", "x"),
            false => ObjectRef::cluster_scoped(kind, "x"),
        };
        let target = kind.map(object);
        let root = match kind {
            Some(Kind::Pod) => Some(object(Kind::Deployment)),
            _ => target.clone(),
        };
        let targets: Vec<ObjectRef> = target.into_iter().collect();
        let found = playbooks.candidates(&BTreeSet::from([signal.clone()]), root.as_ref(), &targets);
        let names: Vec<&str> = found.iter().map(|found| found.playbook.name.as_str()).collect();
        let about = kind.map_or("-", Kind::as_str);
        let _ = writeln!(leads, "{signal} ({about}): {}", names.join(", "));
    }
    insta::assert_snapshot!(leads);
}

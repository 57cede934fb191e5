use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use evenkeel_model::{ActionPolicySpec, Kind};
use evenkeel_playbook::yaml::{self, Document, Source};
use evenkeel_playbook::{Loaded, Problem, nearest};

use super::{SimulationSpec, references};

/// A scenario with all it uses.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// The file it stands in.
    pub file: String,
    /// What it says.
    pub spec: SimulationSpec,
    /// Its playbooks.
    pub playbooks: Vec<Loaded>,
    /// Its policies, by name.
    pub policies: BTreeMap<String, ActionPolicySpec>,
    /// Its own rules of the simulated Prometheus: file names and texts.
    pub rules: Vec<(String, String)>,
}

/// Where files are read.
pub trait Files {
    /// The texts of a file, or of the YAML files below a directory, with their names; sorted by name.
    ///
    /// # Errors
    /// Why not, in words.
    fn read(&self, near: &str, path: &str) -> Result<Vec<(String, String)>, String>;
}

/// The disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, near: &str, path: &str) -> Result<Vec<(String, String)>, String> {
        let near = std::path::absolute(near).map_err(|error| format!("{near}: {error}"))?;
        let found = near.ancestors().skip(1).map(|directory| directory.join(path)).find(|path| path.exists());
        let Some(found) = found else {
            let meant = meant(&near, path).map(|path| format!("; did you mean {path:?}?")).unwrap_or_default();
            return Err(format!(
                "expected a file or directory beside or above {}, found nothing{meant}",
                near.display()
            ));
        };
        let mut files = Vec::new();
        below(&found, &mut files)?;
        files.sort();
        let read = |path: PathBuf| match std::fs::read_to_string(&path) {
            Ok(text) => Ok((path.display().to_string(), text)),
            Err(error) => Err(format!("{}: can't be read: {error}", path.display())),
        };
        files.into_iter().map(read).collect()
    }
}

/// The path with the one part changed that makes it one that is there.
fn meant(near: &Path, path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    for directory in near.ancestors().skip(1) {
        for (index, part) in parts.iter().enumerate() {
            let before: PathBuf = parts.iter().take(index).collect();
            let Ok(entries) = std::fs::read_dir(directory.join(&before)) else { continue };
            let names: Vec<String> = entries.flatten().filter_map(|it| it.file_name().into_string().ok()).collect();
            let Some(name) = nearest(part, &names) else { continue };
            let mut meant = parts.clone();
            if let Some(part) = meant.get_mut(index) {
                *part = name;
            }
            let meant = meant.join("/");
            if directory.join(&meant).exists() {
                return Some(meant);
            }
        }
    }
    None
}

fn below(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let unreadable = |error: std::io::Error| format!("{}: can't be read: {error}", path.display());
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?.path();
        if entry.is_dir() {
            below(&entry, files)?;
        } else if entry.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(entry);
        }
    }
    Ok(())
}

/// What takes the place of what scenarios say under `use`: paths of files or directories; none leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct Instead {
    /// Of `use.playbooks`.
    pub playbooks: Option<String>,
    /// Of `use.policies`.
    pub policies: Option<String>,
}

/// Reads the scenarios of a YAML text, with the playbooks and policies they use.
pub fn load(text: &str, origin: &str, files: &dyn Files) -> (Vec<Scenario>, Vec<Problem>) {
    load_with(text, origin, files, &Instead::default())
}

/// As [`load`], with other playbooks or policies.
pub fn load_with(text: &str, origin: &str, files: &dyn Files, instead: &Instead) -> (Vec<Scenario>, Vec<Problem>) {
    let (documents, mut problems) = yaml::documents::<SimulationSpec>(text, origin, "Simulation");
    let mut scenarios = Vec::new();
    for mut document in documents {
        let uses = &mut document.spec.uses;
        for (paths, other) in [(&mut uses.playbooks, &instead.playbooks), (&mut uses.policies, &instead.policies)] {
            if let Some(other) = other {
                *paths = vec![other.clone()];
            }
        }
        let mut found = wrong_with(&document);
        found.extend(references::wrong_with(&document.spec, &document.source));
        match scenario(document, files) {
            Ok(scenario) if found.is_empty() => scenarios.push(scenario),
            Ok(_) => {}
            Err(more) => found.extend(more),
        }
        problems.extend(found);
    }
    problems.sort();
    (scenarios, problems)
}

fn scenario(document: Document<SimulationSpec>, files: &dyn Files) -> Result<Scenario, Vec<Problem>> {
    let Document { name, spec, source } = document;
    let mut problems = Vec::new();
    let mut playbooks = Vec::new();
    for (origin, text) in texts(&spec.uses.playbooks, "spec.use.playbooks", &source, files, &mut problems) {
        let (loaded, wrong) = evenkeel_playbook::load(&text, &origin);
        playbooks.extend(loaded);
        problems.extend(wrong);
    }
    problems.extend(evenkeel_playbook::check(&playbooks));
    let mut policies = BTreeMap::new();
    for (origin, text) in texts(&spec.uses.policies, "spec.use.policies", &source, files, &mut problems) {
        let (documents, wrong) = yaml::documents::<ActionPolicySpec>(&text, &origin, "ActionPolicy");
        problems.extend(wrong);
        for policy in documents {
            let findings = evenkeel_policy::check(&policy.spec);
            problems.extend(findings.into_iter().map(|finding| policy.source.problem(&finding.path, finding.message)));
            if policies.insert(policy.name.clone(), policy.spec).is_some() {
                let message = format!("there is an ActionPolicy {:?} already", policy.name);
                problems.push(policy.source.problem("metadata.name", message));
            }
        }
    }
    let rules = texts(&spec.uses.rules, "spec.use.rules", &source, files, &mut problems);
    if problems.is_empty() {
        Ok(Scenario { name, file: source.file().to_owned(), spec, playbooks, policies, rules })
    } else {
        Err(problems)
    }
}

fn texts(
    paths: &[String],
    field: &str,
    source: &Source,
    files: &dyn Files,
    problems: &mut Vec<Problem>,
) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        match files.read(source.file(), path) {
            Ok(found) => texts.extend(found),
            Err(reason) => problems.push(source.problem(&format!("{field}[{index}]"), reason)),
        }
    }
    texts
}

/// What the types can't say.
fn wrong_with(document: &Document<SimulationSpec>) -> Vec<Problem> {
    let Document { spec, source, .. } = document;
    let mut problems = Vec::new();
    let mut before = None;
    for (index, event) in spec.timeline.iter().enumerate() {
        let path = format!("spec.timeline[{index}]");
        match event.what().as_slice() {
            [_] => {}
            [] => problems.push(source.problem(&path, "expected something that happens, found none")),
            more => problems.push(source.problem(&path, format!("expected one thing, found {}", more.join(" and ")))),
        }
        if before.is_some_and(|before| event.at < before) {
            problems.push(source.problem(&format!("{path}.at"), "expected events in order of time"));
        }
        if event.at > spec.until {
            problems.push(source.problem(&format!("{path}.at"), format!("is after the end ({})", spec.until)));
        }
        if event.patch.as_ref().is_some_and(|patch| patch.merge.is_some() == patch.json.is_some()) {
            problems.push(source.problem(&format!("{path}.patch"), "expected one of merge and json"));
        }
        before = Some(event.at);
    }
    for (index, workload) in spec.cluster.workloads.iter().enumerate() {
        let path = format!("spec.cluster.workloads[{index}]");
        let kind = workload.object.0.kind;
        if !kind.is_workload() && !matches!(kind, Kind::Job | Kind::CronJob) {
            let expected = "expected a Deployment, StatefulSet, DaemonSet, Job or CronJob";
            problems.push(source.problem(&format!("{path}.object"), format!("{expected}, found {kind}")));
        }
        if (kind == Kind::CronJob) != workload.schedule.is_some() {
            problems.push(source.problem(&path, "expected a schedule for a CronJob and for nothing else"));
        }
    }
    for (index, finally) in spec.expect.finally.iter().enumerate() {
        let path = format!("spec.expect.finally[{index}]");
        match (&finally.fact, &finally.field) {
            (Some(fact), None) => {
                let known = evenkeel_playbook::facts::table().iter().any(|entry| entry.name == fact);
                if !known || !fact.starts_with("target.") {
                    let message = format!("expected a fact of the target (docs/facts.md), found {fact:?}");
                    problems.push(source.problem(&format!("{path}.fact"), message));
                }
            }
            (None, Some(_)) => {}
            _ => problems.push(source.problem(&path, "expected one of fact and field")),
        }
    }
    for (index, requests) in spec.expect.requests.iter().enumerate() {
        if requests.at_least.is_none() && requests.at_most.is_none() {
            problems.push(source.problem(&format!("spec.expect.requests[{index}]"), "expected atLeast or atMost"));
        }
    }
    if spec.expect.nothing && !(spec.expect.writes.is_empty() && spec.expect.escalations.is_empty()) {
        problems.push(source.problem("spec.expect.nothing", "contradicts writes or escalations"));
    }
    problems
}

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use evenkeel_model::{ActionPolicySpec, Condition, Operator};
use evenkeel_playbook::{Loaded, Playbooks, Problem, yaml};
use evenkeel_policy::PolicySource;

/// A fact that can be told from the signal alone.
const TOLD_BY_SIGNAL: &str = "target.kind";

/// Playbooks and policies to put a recording through.
#[derive(Debug, Clone)]
pub struct Rules {
    /// As they are written.
    pub playbooks: Vec<Loaded>,
    /// By name.
    pub policies: BTreeMap<String, ActionPolicySpec>,
    /// The playbooks with each condition replaced that no recording can answer.
    pub(crate) assumed: Playbooks,
    /// The policies without their selectors: whether an object has the labels is not recorded.
    pub(crate) sources: Vec<PolicySource>,
}

/// Rules that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A file or directory can't be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// There is something wrong in them: what `evenkeel check` says.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faulty(Vec<Problem>),
}

impl Rules {
    /// Reads the playbooks and policies of the YAML files that paths name, or that lie below them.
    ///
    /// # Errors
    /// [`RulesError`]: a set with something wrong in it would be compared as another than was meant.
    pub fn read(playbooks: &Path, policies: &Path) -> Result<Self, RulesError> {
        let mut problems = Vec::new();
        let mut loaded = Vec::new();
        for (origin, text) in texts(playbooks)? {
            let (found, wrong) = evenkeel_playbook::load(&text, &origin);
            loaded.extend(found);
            problems.extend(wrong);
        }
        let mut specs = BTreeMap::new();
        for (origin, text) in texts(policies)? {
            let (found, wrong) = yaml::documents::<ActionPolicySpec>(&text, &origin, "ActionPolicy");
            problems.extend(wrong);
            for document in found {
                let wrong = evenkeel_policy::check(&document.spec);
                problems.extend(wrong.into_iter().map(|it| document.source.problem(&it.path, it.message)));
                if specs.contains_key(&document.name) {
                    let message = format!("there is another ActionPolicy {:?}", document.name);
                    problems.push(document.source.problem("metadata.name", message));
                }
                specs.insert(document.name, document.spec);
            }
        }
        problems.extend(evenkeel_playbook::check(&loaded));
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(Self::new(loaded, specs)) } else { Err(RulesError::Faulty(problems)) }
    }

    /// Of playbooks and policies that nothing is wrong with.
    pub fn new(playbooks: Vec<Loaded>, policies: BTreeMap<String, ActionPolicySpec>) -> Self {
        let (assumed, _) = Playbooks::new(playbooks.iter().cloned().map(assume).collect());
        let sources = policies
            .iter()
            .map(|(name, spec)| {
                let mut spec = spec.clone();
                spec.matches.selector.clear();
                PolicySource::Loaded { name: name.clone(), spec }
            })
            .collect();
        Self { playbooks, policies, assumed, sources }
    }

    /// The playbook of that name, as it is written.
    pub fn playbook(&self, name: &str) -> Option<&Loaded> {
        self.playbooks.iter().find(|playbook| playbook.name == name)
    }

    /// Names of policies that select by labels.
    pub(crate) fn selecting(&self) -> impl Iterator<Item = &str> {
        self.policies.iter().filter(|(_, spec)| !spec.matches.selector.is_empty()).map(|(name, _)| name.as_str())
    }
}

/// The conditions that only the cluster could have answered.
pub(crate) fn asked(playbook: &Loaded) -> impl Iterator<Item = &Condition> {
    playbook.spec.when.iter().filter(|condition| condition.fact != TOLD_BY_SIGNAL)
}

/// The playbook as if all that it would ask the cluster held.
fn assume(mut playbook: Loaded) -> Loaded {
    if asked(&playbook).next().is_some() {
        playbook.spec.when.retain(|condition| condition.fact == TOLD_BY_SIGNAL);
        let there = Condition {
            fact: "target.exists".to_owned(),
            op: Operator::Equals,
            value: Some(serde_json::Value::Bool(true)),
        };
        playbook.spec.when.push(there);
    }
    playbook
}

fn texts(path: &Path) -> Result<Vec<(String, String)>, RulesError> {
    let mut files = Vec::new();
    below(path, true, &mut files)?;
    files.sort();
    if files.is_empty() {
        let reason = "expected .yaml or .yml files in it, found none".to_owned();
        return Err(RulesError::Unreadable { path: path.display().to_string(), reason });
    }
    files
        .into_iter()
        .map(|file| {
            let origin = file.display().to_string();
            let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
            Ok((origin, text))
        })
        .collect()
}

fn below(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> Result<(), RulesError> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
            below(&entry.map_err(|error| unreadable(path, &error))?.path(), false, files)?;
        }
        return Ok(());
    }
    let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if is_yaml || named {
        files.push(path.to_owned());
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> RulesError {
    RulesError::Unreadable { path: path.display().to_string(), reason: format!("can't be read: {error}") }
}

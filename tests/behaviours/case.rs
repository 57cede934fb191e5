//! Stories as they are written down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// A file of stories.
#[derive(Debug, Clone)]
pub struct Group {
    /// The file's name without its ending.
    pub name: String,
    /// One after the other.
    pub behaviours: Vec<Behaviour>,
}

/// A story.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// What it holds.
    pub name: String,
    /// Objects that steps name.
    pub objects: BTreeMap<String, Value>,
    /// Whether our own CRDs are needed.
    pub crds: bool,
    /// What happens.
    pub steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    crds: bool,
    #[serde(default)]
    objects: BTreeMap<String, Value>,
    behaviours: Vec<Told>,
}

/// A story, or a table of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    name: String,
    #[serde(default)]
    steps: Vec<Step>,
    /// By row: what is set in the object of the step that says `row: true`.
    #[serde(default)]
    each: BTreeMap<String, BTreeMap<String, Value>>,
}

/// One thing done or waited for, and what of the answer counts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// Creates an object: itself, or the name of one.
    pub create: Option<Value>,
    /// Sends a request as it stands: `GET pods?limit=2`, with `with` as its body.
    pub send: Option<String>,
    /// Reads an object, changes it by `set` and `unset`, and writes it whole.
    pub put: Option<String>,
    /// A merge patch of `with`.
    pub merge: Option<String>,
    /// A JSON patch of `with`.
    pub json: Option<String>,
    /// Evicts a pod, with `with` as delete options.
    pub evict: Option<String>,
    /// Waits until `holds` holds of what GET answers.
    pub until: Option<String>,
    /// Waits until GET answers 404.
    pub gone: Option<String>,
    /// Waits for events about an object of this name, with these `reasons`.
    pub events: Option<String>,
    /// Watches from a resourceVersion for `count` events.
    pub watch: Option<String>,
    /// Lets seconds pass.
    pub wait: Option<f64>,
    /// Asks again until `holds` holds of the answer to `send`, where a controller has to see something first.
    pub again: bool,

    /// A request's body.
    pub with: Option<Value>,
    /// By JSON pointer, what is set in the object first.
    pub set: BTreeMap<String, Value>,
    /// JSON pointers that are taken out of the object first.
    pub unset: Vec<String>,
    /// Takes a table's row as its `set`.
    pub row: bool,
    /// Query parameters.
    pub query: Option<String>,
    /// By JSON pointer, what must be found.
    pub holds: BTreeMap<String, Value>,
    /// Reasons of events.
    pub reasons: Vec<String>,
    /// How many watch events.
    pub count: usize,
    /// JSON pointers that go into the transcript; an empty one is the whole answer. `/items/*/x` is each item's x.
    pub see: Vec<String>,
    /// By variable, the JSON pointer of its value, for `$variable` in later steps.
    pub save: BTreeMap<String, String>,
    /// Keeps it out of the transcript, but it must succeed.
    pub quiet: bool,
}

/// Where cases and recordings are.
pub(super) fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("behaviours")
}

impl Group {
    /// All groups, by name.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn all() -> Result<Vec<Self>> {
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(home().join("cases"))? {
            files.push(entry?.path());
        }
        files.sort();
        files.iter().map(|file| Self::load(file).with_context(|| file.display().to_string())).collect()
    }

    fn load(path: &Path) -> Result<Self> {
        let name = path.file_stem().context("a file has a name")?.to_string_lossy().into_owned();
        let file: File = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
        let mut behaviours = Vec::new();
        let mut add = |name: String, steps: Vec<Step>| {
            behaviours.push(Behaviour { name, steps, objects: file.objects.clone(), crds: file.crds });
        };
        for told in file.behaviours {
            if told.each.is_empty() {
                add(told.name, told.steps);
                continue;
            }
            for (row, set) in &told.each {
                let mut steps = told.steps.clone();
                for step in steps.iter_mut().filter(|step| step.row) {
                    step.set.extend(set.clone());
                }
                add(format!("{}: {row}", told.name), steps);
            }
        }
        let mut names: Vec<&String> = behaviours.iter().map(|behaviour| &behaviour.name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("two behaviours are named {:?}", twice[0]);
        }
        Ok(Self { name, behaviours })
    }
}

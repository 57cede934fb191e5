//! YAML to typed documents `{apiVersion, kind, metadata, spec}` with positions; knows no kind of
//! document. Limits on size, depth, aliases and number of documents; a document that is broken
//! leaves the others.

mod all;
mod explain;
mod source;
mod split;
mod tree;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_saphyr::{Options, Spanned};

pub use source::Source;

use crate::Problem;
use crate::suggest::{nearest, one_of};
use explain::place_of;
use split::Chunk;
use tree::Node;

/// The API group and version of our kinds.
pub const API_VERSION: &str = "evenkeel.dev/v1alpha1";
/// Longer texts are refused. An object in etcd is at most 1.5 MiB.
pub const MAX_BYTES: usize = 1024 * 1024;
/// A text with more documents is refused.
pub const MAX_DOCUMENTS: usize = 512;
/// The kinds that are written as files.
pub const KINDS: [&str; 3] = ["Playbook", "ActionPolicy", "Simulation"];

/// One document, typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<T> {
    /// `metadata.name`.
    pub name: String,
    /// `spec`.
    pub spec: T,
    /// Where it stands.
    pub source: Source,
}

/// One document of one of our kinds, not typed yet.
#[derive(Debug, Clone)]
pub struct Untyped<'a> {
    /// `kind`: one of [`KINDS`].
    pub kind: String,
    /// `metadata.name`, where there is one.
    pub name: Option<String>,
    /// Where it stands.
    pub source: Source,
    text: &'a str,
    lines_before: u64,
}

/// Reads the documents of `kind` from a YAML text; those of our other kinds are left alone.
/// `origin` is the file's name in problems.
pub fn documents<T: DeserializeOwned>(text: &str, origin: &str, kind: &str) -> (Vec<Document<T>>, Vec<Problem>) {
    let (untyped, mut problems) = read(text, origin);
    let mut documents = Vec::new();
    for document in untyped.iter().filter(|document| document.kind == kind) {
        match document.typed() {
            Ok(document) => documents.push(document),
            Err(found) => problems.extend(found),
        }
    }
    problems.sort();
    (documents, problems)
}

/// Reads the documents of our kinds from a YAML text. Documents of other API groups are left alone;
/// what says that it is ours, or does not say what it is, and is none of our kinds is a problem.
pub fn read<'a>(text: &'a str, origin: &str) -> (Vec<Untyped<'a>>, Vec<Problem>) {
    let whole = Source::without_positions(origin);
    if text.len() > MAX_BYTES {
        let message = format!("expected at most {MAX_BYTES} bytes, found {}; split the file", text.len());
        return (Vec::new(), vec![whole.problem("", message)]);
    }
    let chunks = split::split(text);
    if chunks.len() > MAX_DOCUMENTS {
        let message = format!("expected at most {MAX_DOCUMENTS} documents, found {}; split the file", chunks.len());
        return (Vec::new(), vec![whole.problem("", message)]);
    }
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for chunk in chunks {
        match untyped(&chunk, &whole) {
            Ok(document) => documents.extend(document),
            Err(problem) => problems.push(problem),
        }
    }
    (documents, problems)
}

fn untyped<'a>(chunk: &Chunk<'a>, whole: &Source) -> Result<Option<Untyped<'a>>, Problem> {
    let lines_before = chunk.lines_before;
    let tree: Spanned<Node> = serde_saphyr::from_str_with_options(chunk.text, options())
        .map_err(|error| explain::explain(&error, whole, place_of(&error, lines_before)))?;
    let source = Source::new(whole.file(), Node::places(&tree, lines_before));
    let text = |path: &[&str]| path.iter().try_fold(&tree.value, |node, key| node.get(key)).and_then(Node::text);
    let Some(kind) = text(&["kind"]) else {
        return Err(source.problem("", format!("expected a document with kind: {}, found none", one_of(&KINDS))));
    };
    let version = text(&["apiVersion"]);
    if !KINDS.contains(&kind) {
        let meant = nearest(kind, &KINDS);
        let is_foreign = version.is_some_and(|version| !version.starts_with("evenkeel"));
        if is_foreign && meant.is_none() {
            return Ok(None);
        }
        let meant = meant.map(|kind| format!("; did you mean {kind:?}?")).unwrap_or_default();
        return Err(source.problem("kind", format!("expected {}, found {kind:?}{meant}", one_of(&KINDS))));
    }
    if version != Some(API_VERSION) {
        let found = version.map_or_else(|| "none".to_owned(), |version| format!("{version:?}"));
        return Err(source.problem("apiVersion", format!("expected {API_VERSION:?}, found {found}")));
    }
    let (kind, name) = (kind.to_owned(), text(&["metadata", "name"]).map(str::to_owned));
    Ok(Some(Untyped { kind, name, source, text: chunk.text, lines_before }))
}

impl Untyped<'_> {
    /// The document with its spec as a type.
    ///
    /// # Errors
    /// What does not fit the type, in words and placed.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<Document<T>, Vec<Problem>> {
        let envelope: Envelope<T> =
            serde_saphyr::from_str_with_options(self.text, options()).map_err(|error| self.misfits::<T>(&error))?;
        let name = envelope.metadata.name;
        if !is_object_name(&name) {
            let expected = "a name of at most 253 lower-case letters, digits, '-' and '.', as Kubernetes asks for";
            return Err(vec![self.source.problem("metadata.name", format!("expected {expected}, found {name:?}"))]);
        }
        Ok(Document { name, spec: envelope.spec, source: self.source.clone() })
    }

    fn misfits<T: DeserializeOwned>(&self, first: &serde_saphyr::Error) -> Vec<Problem> {
        let first = explain::explain(first, &self.source, place_of(first, self.lines_before));
        let tree = serde_saphyr::from_str_with_options::<Spanned<Node>>(self.text, options());
        let mut problems = tree.map(|tree| all::misfits::<T>(&tree, &self.source)).unwrap_or_default();
        problems.retain(|problem| problem.message != first.message);
        problems.push(first);
        problems
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope<T> {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: Metadata,
    spec: T,
}

/// What an author writes, and what `kubectl get -o yaml` adds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Metadata {
    name: String,
    #[serde(rename = "labels", default)]
    _labels: BTreeMap<String, String>,
    #[serde(rename = "annotations", default)]
    _annotations: BTreeMap<String, String>,
    #[serde(rename = "creationTimestamp", default)]
    _creation_timestamp: IgnoredAny,
    #[serde(rename = "generation", default)]
    _generation: IgnoredAny,
    #[serde(rename = "managedFields", default)]
    _managed_fields: IgnoredAny,
    #[serde(rename = "resourceVersion", default)]
    _resource_version: IgnoredAny,
    #[serde(rename = "uid", default)]
    _uid: IgnoredAny,
}

fn is_object_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name
            .split('.')
            .all(|label| label.starts_with(fits) && label.ends_with(fits) && label.chars().all(|c| fits(c) || c == '-'))
}

/// Hand-written documents are small and flat; whatever needs more is an attack or a mistake.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            flow_nesting_limit: 32,
            max_nodes: 50_000,
            max_events: 200_000,
            max_aliases: 200,
            max_anchors: 100,
            max_merge_keys: 100,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000, max_replay_stack_depth: 8 },
        emit_comments: false,
        strict_booleans: true,
        with_snippet: false,
    }
}

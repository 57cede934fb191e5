//! All that does not fit a type, where serde stops at the first: what was found is taken out of the
//! document, and the rest is read again.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_saphyr::{Error, Spanned};

use super::explain::{explain, innermost};
use super::source::{Position, Source};
use super::tree::Node;
use super::{Envelope, options};
use crate::Problem;
use crate::suggest::nearest;

/// So many things wrong with one document are enough.
const MAX_ROUNDS: usize = 32;

/// What is wrong with a well-formed document.
pub(super) fn misfits<T: DeserializeOwned>(document: &Spanned<Node>, source: &Source) -> Vec<Problem> {
    let mut rest = Rest::of(&document.value);
    let mut problems = Vec::new();
    // Fields that are missing because of something else: the mapping's path, and the field.
    let mut explained: BTreeSet<(String, String)> = BTreeSet::new();
    for _ in 0..MAX_ROUNDS {
        // JSON is YAML, so that the same parser says the same of it.
        let text = rest.value().to_string();
        let Ok(tree) = serde_saphyr::from_str_with_options::<Spanned<Node>>(&text, options()) else { break };
        let Err(error) = serde_saphyr::from_str_with_options::<Envelope<T>>(&text, options()) else { break };
        let Some(found) = rest.find(&error, &tree) else { break };
        let is_explained = match innermost(&error) {
            Error::SerdeMissingField { field, .. } => explained.contains(&(path(found.around()), (*field).to_owned())),
            _ => false,
        };
        if !is_explained {
            problems.push(explain(&error, source, source.position(&path(&found.steps), found.is_key)));
        }
        let (out, instead) = match innermost(&error) {
            Error::SerdeUnknownField { field, expected, .. } => (found.steps.as_slice(), nearest(field, expected)),
            _ => (found.around(), None),
        };
        // Without its spec there is nothing left to look at.
        let Some((last, before)) = out.split_last().filter(|(_, before)| !before.is_empty()) else { break };
        if let Some(field) = instead.or(last.key()) {
            explained.insert((path(before), field.to_owned()));
        }
        rest.take_out(before, last);
    }
    problems
}

/// A document, without what was taken out. Items of lists keep the number they have in the text.
enum Rest {
    Leaf(Value),
    List(Vec<(usize, Rest)>),
    Map(Vec<(String, Rest)>),
}

/// One step on the way from the root to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Item(usize),
}

impl Step {
    fn key(&self) -> Option<&str> {
        if let Self::Key(key) = self { Some(key) } else { None }
    }
}

/// The node, or its key, at which an error stands.
struct Found {
    steps: Vec<Step>,
    is_key: bool,
}

impl Found {
    /// What does not fit as a whole: where the key is the trouble, the mapping it stands in.
    fn around(&self) -> &[Step] {
        match self.steps.split_last() {
            Some((_, before)) if self.is_key => before,
            _ => &self.steps,
        }
    }
}

impl Rest {
    fn of(node: &Node) -> Self {
        match node {
            Node::Text(text) => Self::Leaf(Value::from(text.as_str())),
            Node::Scalar(value) => Self::Leaf(value.clone()),
            Node::List(items) => Self::List(items.iter().map(|item| Self::of(&item.value)).enumerate().collect()),
            Node::Map(entries) => {
                Self::Map(entries.iter().map(|(key, child)| (key.value.clone(), Self::of(&child.value))).collect())
            }
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Leaf(value) => value.clone(),
            Self::List(items) => Value::Array(items.iter().map(|(_, item)| item.value()).collect()),
            Self::Map(entries) => {
                Value::Object(entries.iter().map(|(key, child)| (key.clone(), child.value())).collect::<Map<_, _>>())
            }
        }
    }

    /// Where an error stands in `tree`, which was read of what is left.
    fn find(&self, error: &Error, tree: &Spanned<Node>) -> Option<Found> {
        let at = Position::of(innermost(error).location()?, 0);
        let mut found = None;
        self.search(tree, at, &mut Vec::new(), &mut found);
        found
    }

    /// The innermost node that stands at a position.
    fn search(&self, node: &Spanned<Node>, at: Position, steps: &mut Vec<Step>, found: &mut Option<Found>) {
        if Position::of(node.referenced, 0) == at {
            *found = Some(Found { steps: steps.clone(), is_key: false });
        }
        match (self, &node.value) {
            (Self::List(items), Node::List(nodes)) => {
                for ((number, item), node) in items.iter().zip(nodes) {
                    steps.push(Step::Item(*number));
                    item.search(node, at, steps, found);
                    steps.pop();
                }
            }
            (Self::Map(entries), Node::Map(nodes)) => {
                for (key, node) in nodes {
                    let Some((name, child)) = entries.iter().find(|(name, _)| *name == key.value) else { continue };
                    steps.push(Step::Key(name.clone()));
                    if Position::of(key.referenced, 0) == at {
                        *found = Some(Found { steps: steps.clone(), is_key: true });
                    }
                    child.search(node, at, steps, found);
                    steps.pop();
                }
            }
            _ => {}
        }
    }

    /// Takes out what `last` leads to from the node at `before`.
    fn take_out(&mut self, before: &[Step], last: &Step) {
        let mut node = self;
        for step in before {
            let next = match (node, step) {
                (Self::List(items), Step::Item(n)) => {
                    items.iter_mut().find(|(number, _)| number == n).map(|it| &mut it.1)
                }
                (Self::Map(entries), Step::Key(k)) => entries.iter_mut().find(|(key, _)| key == k).map(|it| &mut it.1),
                _ => None,
            };
            let Some(next) = next else { return };
            node = next;
        }
        match (node, last) {
            (Self::List(items), Step::Item(n)) => items.retain(|(number, _)| number != n),
            (Self::Map(entries), Step::Key(k)) => entries.retain(|(key, _)| key != k),
            _ => {}
        }
    }
}

/// `spec.steps[0].do`, as a [`Source`] names places.
fn path(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Key(key) if path.is_empty() => key.clone(),
        Step::Key(key) => format!("{path}.{key}"),
        Step::Item(number) => format!("{path}[{number}]"),
    })
}

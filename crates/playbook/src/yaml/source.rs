use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::Problem;

/// Line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Position {
    pub(super) fn of(location: serde_saphyr::Location, lines_before: u64) -> Self {
        if location.line() == 0 {
            return Self { line: 0, column: 0 };
        }
        Self { line: location.line() + lines_before, column: location.column() }
    }
}

/// Where a node stands, and its key when it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) key: Option<Position>,
    pub(super) value: Position,
}

/// Where a document came from: turns the path of a field into a place in the file. One made with
/// [`Source::without_positions`] names the origin only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    file: String,
    places: Arc<BTreeMap<String, Place>>,
}

impl Source {
    pub(super) fn new(file: &str, places: BTreeMap<String, Place>) -> Self {
        Self { file: file.to_owned(), places: Arc::new(places) }
    }

    /// A source that is no text: an object of the cluster.
    pub fn without_positions(origin: impl Into<String>) -> Self {
        Self { file: origin.into(), places: Arc::default() }
    }

    /// The file's name, or whatever else the document came from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// A problem with the field at `path` (`spec.steps[0].do`), placed there, or at the nearest
    /// field around it that stands in the text.
    pub fn problem(&self, path: &str, message: impl fmt::Display) -> Problem {
        let at = self.find(path).map(|place| place.value);
        let message = if path.is_empty() { message.to_string() } else { format!("{path}: {message}") };
        self.place(at, message)
    }

    /// As [`Source::problem`], placed at the field's key.
    pub fn problem_at_key(&self, path: &str, message: impl fmt::Display) -> Problem {
        let at = self.find(path).map(|place| place.key.unwrap_or(place.value));
        self.place(at, format!("{path}: {message}"))
    }

    pub(super) fn place(&self, at: Option<Position>, message: String) -> Problem {
        let at = at.unwrap_or(Position { line: 0, column: 0 });
        Problem { file: self.file.clone(), line: at.line, column: at.column, message }
    }

    /// The path of the innermost key, else node, that stands at a position, and whether it is a key.
    pub(super) fn path_at(&self, at: Position) -> Option<(&str, bool)> {
        let deepest = |is_there: &dyn Fn(&Place) -> bool| {
            let there = self.places.iter().filter(|(_, place)| is_there(place)).map(|(path, _)| path.as_str());
            there.max_by_key(|path| path.len())
        };
        deepest(&|place| place.key == Some(at))
            .map(|path| (path, true))
            .or_else(|| deepest(&|place| place.value == at).map(|path| (path, false)))
    }

    /// Where the field at `path`, or its key, stands.
    pub(super) fn position(&self, path: &str, is_key: bool) -> Option<Position> {
        self.find(path).map(|place| place.key.filter(|_| is_key).unwrap_or(place.value))
    }

    fn find(&self, path: &str) -> Option<&Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(place);
            }
            if path.is_empty() {
                return None;
            }
            path = parent(path);
        }
    }
}

/// The path of what a field stands in.
pub(super) fn parent(path: &str) -> &str {
    path.rfind(['.', '[']).and_then(|at| path.get(..at)).unwrap_or("")
}

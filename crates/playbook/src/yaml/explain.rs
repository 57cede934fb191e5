use serde_saphyr::{Error, MessageFormatter as _, UserMessageFormatter};

use super::source::{Position, Source, parent};
use crate::Problem;
use crate::suggest::{nearest, one_of, or_meant};

/// A parser's error in words an author can act on, placed and with the field's path.
pub(super) fn explain(error: &Error, source: &Source, at: Option<Position>) -> Problem {
    let error = innermost(error);
    let found = at.and_then(|at| source.path_at(at));
    let path = found.map(|(path, _)| path);
    // Where the position is a key's, the trouble is with the mapping it stands in.
    let around = found.map(|(path, is_key)| if is_key { parent(path) } else { path });
    let (path, message) = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            (around, format!("there is no field {field:?} here{}", or_meant(field, expected)))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            let message = match nearest(variant, expected) {
                Some(word) => format!("there is no {variant:?} here; did you mean {word:?}?"),
                None => format!("expected {}, found {variant:?}", one_of(expected)),
            };
            (around, message)
        }
        Error::SerdeMissingField { field, .. } => (around, format!("the field {field:?} is missing")),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            (path, format!("expected {expected}, found {unexpected}"))
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => (around, format!("{key:?} is given twice")),
        Error::Unexpected { expected, .. } => (path, format!("expected {}", plainly(expected))),
        Error::InvalidScalar { ty, .. } => (path, format!("expected {}", plainly(ty))),
        other => (path, UserMessageFormatter.format_message(other).into_owned()),
    };
    let message = match path {
        Some(path) if !path.is_empty() => format!("{path}: {message}"),
        _ => message,
    };
    source.place(at, printable(&message))
}

/// The parser's words for what it wanted, in an author's words.
fn plainly(expected: &str) -> &str {
    match expected {
        "sequence start" => "a list",
        "mapping start" => "a map of fields",
        "string scalar" => "a text",
        "bool" => "true or false",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "u8" | "u16" | "u32" | "u64" => "a whole number from 0",
        "f32" | "f64" => "a number",
        other => other,
    }
}

/// Where an error stands in the file, given the number of lines before its document.
pub(super) fn place_of(error: &Error, lines_before: u64) -> Option<Position> {
    innermost(error).location().map(|location| Position::of(location, lines_before))
}

pub(super) fn innermost(error: &Error) -> &Error {
    match error {
        Error::WithSnippet { error, .. } | Error::AliasError { error, .. } => innermost(error),
        other => other,
    }
}

/// Messages quote the text; it must not reach a terminal with control characters in it.
fn printable(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

//! What the API server does with an object before it is stored: defaults, pruning, validation, admission.

use serde_json::{Value, json};

use crate::api::Part;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::state::State;
use crate::value::{at, integer, set};

/// The schemas of custom resources, by resource.
#[derive(Debug, Default)]
pub(crate) struct Schemas {}

/// Makes an object what the API server would store, or refuses it. Comes last before the write: the object has
/// its name, uid and creationTimestamp, and of the other part what is stored. Sets `metadata.generation`.
///
/// # Errors
/// 422 with the causes, 403 or 404, worded as the real API server words them.
pub(crate) fn admit(
    _state: &mut State,
    _kind: &Kind,
    part: Part,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Failure> {
    let generation = old.map_or(1, |old| {
        let changed = part == Part::Main && at(old, "/spec") != at(object, "/spec");
        integer(old, "/metadata/generation").unwrap_or(1) + i64::from(changed)
    });
    set(object, "/metadata/generation", json!(generation));
    Ok(())
}

/// Follows a write: a CustomResourceDefinition is served from now on, or no longer (`after` is none).
///
/// # Errors
/// None yet.
pub(crate) fn stored(_state: &mut State, _kind: &Kind, _after: Option<&Value>) -> Result<(), Failure> {
    Ok(())
}

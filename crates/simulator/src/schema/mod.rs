//! What the API server does with an object before it is stored: defaults, pruning, validation.

use serde_json::Value;

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::state::State;

/// The schemas of custom resources, by resource.
#[derive(Debug, Default)]
pub(crate) struct Schemas {}

/// Fills in defaults, prunes what a custom resource's schema does not know, and refuses what is invalid.
///
/// # Errors
/// 422 with the causes, worded as the real API server words them.
pub(crate) fn admit(_state: &State, _kind: &Kind, _object: &mut Value, _old: Option<&Value>) -> Result<(), Failure> {
    Ok(())
}

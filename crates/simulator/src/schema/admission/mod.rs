//! Admission plugins: what they add to new objects, and what they refuse.

mod limits;
mod namespace;
mod pods;
pub(crate) mod policies;
mod quota;

use serde_json::Value;

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::state::State;

/// What comes before validation: defaults of a namespace, a pod's account, priority and tolerations.
///
/// # Errors
/// 403 and 404.
pub(crate) fn mutate(state: &mut State, kind: &Kind, object: &mut Value) -> Result<(), Failure> {
    namespace::exists(state, kind, object)?;
    if kind.kind == "Pod" && kind.group.is_empty() {
        limits::fill_in(state, object);
        pods::account(state, kind, object)?;
        pods::tolerations(object);
        pods::priority(state, kind, object)?;
    }
    Ok(())
}

/// What comes after it: limits and quotas.
///
/// # Errors
/// 403.
pub(crate) fn validate(state: &State, kind: &Kind, object: &Value) -> Result<(), Failure> {
    if kind.namespaced {
        limits::validate(state, kind, object)?;
        quota::validate(state, kind, object)?;
    }
    Ok(())
}

//! What the API server does with an object before it is stored: defaults, pruning, validation, admission.

mod admission;
mod builtin;
mod custom;
mod generation;
mod metadata;
mod names;
mod problem;
mod quantity;
#[cfg(test)]
mod replay;
mod tidy;

use serde_json::Value;

use crate::api::Part;
use crate::failure::Failure;
use crate::kinds::Kind;
pub(crate) use crate::schema::custom::Schemas;
use crate::state::State;
use crate::store::Key;

/// The group of CustomResourceDefinitions.
const API_EXTENSIONS: &str = "apiextensions.k8s.io";

/// Makes an object what the API server would store, or refuses it. Comes last before the write: the object has
/// its name, uid and creationTimestamp, and of the other part what is stored. Sets `metadata.generation`.
///
/// # Errors
/// 422 with the causes, 403 or 404, worded as the real API server words them.
pub(crate) fn admit(
    state: &mut State,
    kind: &Kind,
    part: Part,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Failure> {
    if let Some(schema) = state.schemas.get(&kind.resource()) {
        tidy::metadata(object);
        if old.is_none() {
            admission::mutate(state, kind, object)?;
        }
        custom::admit(&schema, kind, part, object, old)?;
        if old.is_none() {
            admission::validate(state, kind, object)?;
        }
    } else if kind.group == API_EXTENSIONS {
        tidy::metadata(object);
        custom::admit_definition(kind, object, old)?;
    } else if part == Part::Main {
        admit_built_in(state, kind, object, old)?;
    }
    generation::set_generation(kind, part, object, old);
    Ok(())
}

fn admit_built_in(state: &mut State, kind: &Kind, object: &mut Value, old: Option<&Value>) -> Result<(), Failure> {
    tidy::tidy(kind, object);
    builtin::default(kind, object)?;
    crate::controllers::refuse_unmodelled(kind, object)?;
    admission::policies::admit(kind, object)?;
    if old.is_none() {
        admission::mutate(state, kind, object)?;
    }
    builtin::prepare(kind, object, old);
    builtin::validate(kind, object, old)?;
    if old.is_none() {
        if kind.kind == "Service" && kind.group.is_empty() {
            let problems = builtin::allocate(state, object);
            problem::refuse(kind, crate::value::name(object), &problems)?;
        }
        admission::validate(state, kind, object)?;
    }
    Ok(())
}

/// What admission policies say of a new object that is otherwise as it has to be.
///
/// # Errors
/// 403.
pub(crate) fn admit_by_policies(state: &State, user: &str, kind: &Kind, object: &Value) -> Result<(), Failure> {
    admission::policies::validate(state, user, kind, object)
}

/// Follows a write: a CustomResourceDefinition is served from now on, and established.
///
/// # Errors
/// None that `admit` has not found before.
pub(crate) fn stored(state: &mut State, kind: &Kind, after: &Value) -> Result<(), Failure> {
    if kind.group == API_EXTENSIONS {
        let (served, schema) = custom::served(after)?;
        state.schemas.add(served.resource(), schema);
        state.kinds.add(served);
        if let Some(established) = custom::establish(after, state.now()) {
            let key = Key::new(kind.resource(), "", crate::value::name(after));
            state.store.put(&key, established);
        }
    }
    Ok(())
}

/// Follows the end of an object: what a CustomResourceDefinition served is gone, with its objects.
pub(crate) fn removed(state: &mut State, kind: &Kind, before: &Value) {
    if kind.group == API_EXTENSIONS {
        let resource = custom::resource(before);
        let keys: Vec<Key> = state.store.of(&resource).map(|(key, _)| key.clone()).collect();
        for key in keys {
            state.store.remove(&key);
        }
        state.schemas.remove(&resource);
        state.kinds.remove(&resource);
    }
}

//! NamespaceLifecycle: nothing is created where there is no namespace, or one that ends.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::schema::problem::forbid;
use crate::state::State;
use crate::store::Key;
use crate::value::{is_terminating, name, namespace};

/// Refuses an object in a namespace that is not there or ends.
pub(super) fn exists(state: &State, kind: &Kind, object: &Value) -> Result<(), Failure> {
    if !kind.namespaced {
        return Ok(());
    }
    let home = namespace(object);
    let key = Key::new("namespaces", "", home);
    let found = state.store.get(&key).ok_or_else(|| Failure::not_found(&key))?;
    if is_terminating(found) {
        let why = format!("unable to create new content in namespace {home} because it is being terminated");
        let mut failure = forbid(kind, name(object), &why);
        let cause = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {home} is being terminated"),
            "field": "metadata.namespace",
        }]);
        crate::value::set(&mut failure.status, "/details/causes", cause);
        return Err(failure);
    }
    Ok(())
}

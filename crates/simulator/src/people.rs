//! What whoever sets a simulation up does to the cluster: at once, as a user, without a client.

use std::sync::Arc;

use serde_json::Value;

use crate::api::{By, Deletion, Part, Patch, Written};
use crate::failure::Failure;
use crate::log::{Entry, Log};
use crate::simulator::Simulator;
use crate::state::State;
use crate::store::Key;
use crate::value::{name, namespace, text};

impl Simulator {
    /// Creates an object, or merges it into the one that is there, as `kubectl apply` does.
    ///
    /// # Errors
    /// As the API server refuses it.
    pub fn apply(&self, user: &str, object: Value) -> Written {
        let mut state = self.state();
        let kind = state.kinds.of_object(text(&object, "/apiVersion"), text(&object, "/kind")).cloned();
        let kind = kind.ok_or_else(|| {
            let (kind, version) = (text(&object, "/kind"), text(&object, "/apiVersion"));
            Failure::bad_request(format!("no matches for kind \"{kind}\" in version \"{version}\""))
        })?;
        let namespace = match namespace(&object) {
            "" if kind.namespaced => "default".to_owned(),
            found => found.to_owned(),
        };
        let key = Key::new(kind.resource(), &namespace, name(&object));
        let exists = state.store.get(&key).is_some();
        let body = Arc::new(object);
        let verb = if exists { "patch" } else { "create" };
        let written = write(&mut state, user, verb, key, &body, |state, by, key| {
            if exists {
                state.patch(by, key, Part::Main, &Patch::Merge((*body).clone()))
            } else {
                state.create(by, &key.resource, &key.namespace, (*body).clone())
            }
        });
        drop(state);
        self.wake();
        written
    }

    /// An object, where it is there.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.state().store.get(&Key::new(resource, namespace, name)).cloned()
    }

    /// All objects of a resource, `pods` or `deployments.apps`, by namespace and name.
    pub fn list(&self, resource: &str) -> Vec<Arc<Value>> {
        self.state().store.of(&resource.into()).map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Changes an object as it is now.
    ///
    /// # Errors
    /// As the API server refuses it.
    pub fn edit(&self, user: &str, key: &Key, change: impl FnOnce(&mut Value)) -> Written {
        self.edit_part(user, key, Part::Main, change)
    }

    /// Changes an object's status, as a controller would.
    ///
    /// # Errors
    /// As the API server refuses it.
    pub fn edit_status(&self, user: &str, key: &Key, change: impl FnOnce(&mut Value)) -> Written {
        self.edit_part(user, key, Part::Status, change)
    }

    fn edit_part(&self, user: &str, key: &Key, part: Part, change: impl FnOnce(&mut Value)) -> Written {
        let mut state = self.state();
        let mut object = (**state.store.get(key).ok_or_else(|| Failure::not_found(key))?).clone();
        change(&mut object);
        let body = Arc::new(object);
        let written = write(&mut state, user, "update", key.clone(), &body, |state, by, key| {
            state.replace(by, key, part, (*body).clone())
        });
        drop(state);
        self.wake();
        written
    }

    /// Deletes an object, its dependants in the background.
    ///
    /// # Errors
    /// As the API server refuses it.
    pub fn delete(&self, user: &str, key: &Key) -> Written {
        let mut state = self.state();
        let how = Deletion { propagation: Some("Background".to_owned()), ..Deletion::default() };
        let body = Arc::new(Value::Null);
        let written =
            write(&mut state, user, "delete", key.clone(), &body, |state, by, key| state.delete(by, key, &how));
        drop(state);
        self.wake();
        written
    }

    /// The mutating requests so far.
    pub fn log(&self) -> Log {
        self.state().log.clone()
    }

    /// The mutating requests so far, and forgets them: whoever counts over days has not the memory for all at once.
    pub fn take_log(&self) -> Log {
        std::mem::take(&mut self.state().log)
    }

    /// The mutating requests after the first so many.
    pub fn log_since(&self, seen: usize) -> Log {
        self.state().log.iter().skip(seen).cloned().collect()
    }
}

fn write(
    state: &mut State,
    user: &str,
    verb: &'static str,
    key: Key,
    body: &Arc<Value>,
    carry_out: impl FnOnce(&mut State, By<'_>, &Key) -> Written,
) -> Written {
    let by = By { user, manager: user, dry_run: false };
    let before = state.store.get(&key).cloned();
    let written = carry_out(state, by, &key);
    let code = match &written {
        Ok(_) if verb == "create" => 201,
        Ok(_) => 200,
        Err(failure) => failure.code,
    };
    let entry = Entry {
        at: state.now(),
        user: user.to_owned(),
        verb,
        subresource: String::new(),
        dry_run: false,
        code,
        body: Arc::clone(body),
        before,
        after: state.store.get(&key).cloned(),
        key,
    };
    state.log.push(entry);
    written
}

impl State {
    /// The namespaces that every cluster has, each with its service account.
    pub(crate) fn begin(&mut self) {
        let by = By { user: "system:apiserver", manager: "kube-apiserver", dry_run: false };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let namespace = serde_json::json!({"metadata": {"name": name}});
            let account = serde_json::json!({"metadata": {"name": "default"}});
            let made = self.create(by, &"namespaces".into(), "", namespace);
            let made = made.and_then(|_| self.create(by, &"serviceaccounts".into(), name, account));
            if let Err(failure) = made {
                tracing::error!(%failure, name, "a namespace that every cluster has could not be made");
            }
        }
    }
}

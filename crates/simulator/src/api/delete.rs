//! Deletion: preconditions, grace, finalizers, propagation.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{By, Deletion, Written};
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::state::State;
use crate::store::Key;
use crate::value::{at, integer, is_terminating, items, rfc3339, set, text};

/// Holds an object back until the garbage collector has deleted what blocks its deletion.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Holds an object back until the garbage collector has taken its dependants from it.
pub(crate) const ORPHAN: &str = "orphan";

/// Seconds a pod is given that says nothing of it.
const GRACE: i64 = 30;

/// What a deletion did.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object went; as it was.
    Gone(Arc<Value>),
    /// It waits for its grace period, or for its finalizers.
    Waits(Arc<Value>),
}

impl State {
    /// Deletes an object, or marks it as terminating where it has finalizers or, a pod, grace.
    pub(crate) fn delete(&mut self, by: By<'_>, key: &Key, how: &Deletion) -> Written {
        match self.delete_at_last(by, key, how)? {
            Deleted::Gone(object) | Deleted::Waits(object) => Ok(object),
        }
    }

    /// [`State::delete`], and whether the object went.
    pub(crate) fn delete_at_last(&mut self, by: By<'_>, key: &Key, how: &Deletion) -> Result<Deleted, Failure> {
        let kind = self.kind_of(&key.resource)?;
        let old = Arc::clone(self.store.get(key).ok_or_else(|| Failure::not_found(key))?);
        preconditions(&kind, key, &old, how)?;
        let finalizers = finalizers(&old, how);
        let grace = if key.resource.as_str() == "pods" { pod_grace(&old, how.grace) } else { 0 };
        let held = !finalizers.is_empty()
            || (key.resource.as_str() == "namespaces" && !items(&old, "/spec/finalizers").is_empty());
        if grace == 0 && !held {
            if !by.dry_run {
                self.remove(&kind, key);
            }
            // A pod's last words say that it was given no time.
            if key.resource.as_str() == "pods" {
                let mut last = (*old).clone();
                self.mark(&mut last, &old, 0, Some(0));
                return Ok(Deleted::Gone(Arc::new(last)));
            }
            return Ok(Deleted::Gone(old));
        }
        let mut object = (*old).clone();
        if finalizers.is_empty() {
            crate::value::unset(&mut object, "/metadata/finalizers");
        } else {
            set(&mut object, "/metadata/finalizers", json!(finalizers));
        }
        self.mark(&mut object, &old, grace, how.grace);
        if object == *old {
            return Ok(Deleted::Waits(old));
        }
        if key.resource.as_str() == "namespaces" {
            crate::value::unset(&mut object, "/metadata/deletionGracePeriodSeconds");
            set(&mut object, "/status/phase", json!("Terminating"));
        }
        if by.dry_run {
            return Ok(Deleted::Waits(Arc::new(object)));
        }
        let written = self.store.put(key, object);
        crate::schema::stored(self, &kind, &written)?;
        Ok(Deleted::Waits(written))
    }

    /// Gives an object its deletionTimestamp, or an earlier one: a grace period can only be made shorter.
    fn mark(&self, object: &mut Value, old: &Value, grace: i64, asked: Option<i64>) {
        if is_terminating(old) {
            let before = integer(old, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
            if asked.is_none() || grace >= before {
                return;
            }
        }
        if let Some(generation) = integer(old, "/metadata/generation").filter(|_| !is_terminating(old)) {
            set(object, "/metadata/generation", json!(generation + 1));
        }
        // A shorter period counts from when the deletion was first asked for.
        let asked_at = match (crate::value::time(old, "/metadata/deletionTimestamp"), asked) {
            (Some(ends), Some(_)) => {
                let before = integer(old, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
                ends - chrono::Duration::seconds(before)
            }
            _ => self.now(),
        };
        set(object, "/metadata/deletionTimestamp", rfc3339(asked_at + chrono::Duration::seconds(grace)));
        set(object, "/metadata/deletionGracePeriodSeconds", json!(grace));
    }

    /// Deletes all objects of a resource in a namespace (empty: in all) that are chosen, one by one. Gives
    /// those it deleted or marked.
    pub(crate) fn delete_all(
        &mut self,
        by: By<'_>,
        chosen: &[Key],
        how: &Deletion,
    ) -> Result<Vec<Arc<Value>>, Failure> {
        let mut deleted = Vec::new();
        for key in chosen {
            match self.delete(by, key, how) {
                Ok(object) => deleted.push(object),
                Err(failure) if failure.code == 404 => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(deleted)
    }
}

pub(super) fn preconditions(kind: &Kind, key: &Key, old: &Value, how: &Deletion) -> Result<(), Failure> {
    let refused = |why: String| {
        // The registry names the kind here, where everybody else names the resource.
        let qualified = if kind.group.is_empty() { kind.kind.clone() } else { format!("{}.{}", kind.kind, kind.group) };
        let message = format!("Operation cannot be fulfilled on {qualified} \"{}\": {why}", key.name);
        let mut details = json!({"name": key.name, "kind": kind.kind});
        if !kind.group.is_empty() {
            set(&mut details, "/group", json!(kind.group));
        }
        Err(Failure::new(409, "Conflict", message, details))
    };
    let found = text(old, "/metadata/uid");
    if let Some(uid) = how.uid.as_deref().filter(|uid| *uid != found) {
        return refused(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({found}). \
             The object might have been deleted and then recreated"
        ));
    }
    let found = text(old, "/metadata/resourceVersion");
    if let Some(version) = how.resource_version.as_deref().filter(|version| *version != found) {
        return refused(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record \
             ({found}). The object might have been modified"
        ));
    }
    Ok(())
}

/// The finalizers an object has with this propagation.
fn finalizers(old: &Value, how: &Deletion) -> Vec<String> {
    let had = items(old, "/metadata/finalizers").iter().filter_map(Value::as_str);
    let had: Vec<String> = had.map(str::to_owned).collect();
    let Some(propagation) = how.propagation.as_deref() else { return had };
    let wanted = match propagation {
        "Foreground" => Some(FOREGROUND),
        "Orphan" => Some(ORPHAN),
        _ => None,
    };
    let mut left: Vec<String> = had
        .into_iter()
        .filter(|name| (name != FOREGROUND && name != ORPHAN) || Some(name.as_str()) == wanted)
        .collect();
    if let Some(wanted) = wanted.filter(|wanted| !left.iter().any(|name| name == wanted)) {
        left.push(wanted.to_owned());
    }
    left
}

/// The seconds a pod is given: none where no kubelet has it, or where its containers have ended.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let ended = matches!(text(pod, "/status/phase"), "Failed" | "Succeeded");
    if text(pod, "/spec/nodeName").is_empty() || ended {
        return 0;
    }
    if asked.is_none() && is_terminating(pod) {
        return integer(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
    }
    let own = at(pod, "/spec/terminationGracePeriodSeconds").as_i64();
    match asked.or(own).unwrap_or(GRACE) {
        // What is below zero means at once, but through the kubelet.
        seconds if seconds < 0 => 1,
        seconds => seconds,
    }
}

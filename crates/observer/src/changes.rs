//! What the observer saw being changed: what the API no longer tells once it has happened (a
//! scale, a cordon), kept for a while.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use evenkeel_model::{ChangeKind, ObjectRef, ObservedChange};

/// So many are kept; a change is at most a few hundred bytes.
const MOST: usize = 2000;

/// The latest changes, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<VecDeque<ObservedChange>>);

impl Changes {
    pub(crate) fn note(
        &self,
        object: ObjectRef,
        what: ChangeKind,
        by: Option<String>,
        summary: String,
        at: DateTime<Utc>,
    ) {
        let summary = crate::alert::bounded(&evenkeel_runtime::redact::text(&summary), 512).into_owned();
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() >= MOST {
            changes.pop_front();
        }
        changes.push_back(ObservedChange { object, what, at, by, summary });
    }

    /// Changes of these objects since then, newest first.
    pub(crate) fn of(&self, objects: &[ObjectRef], since: DateTime<Utc>) -> Vec<ObservedChange> {
        let changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |change: &&ObservedChange| {
            change.at >= since && objects.iter().any(|object| object.is_same(&change.object))
        };
        changes.iter().rev().filter(fits).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Kind;

    use super::*;

    #[test]
    fn changes_are_found_by_object_and_time_and_the_oldest_are_forgotten() {
        let changes = Changes::default();
        let at = |minute: i64| DateTime::UNIX_EPOCH + chrono::Duration::minutes(minute);
        let (cart, till) = (
            ObjectRef::namespaced(Kind::Deployment, "shop", "cart").with_uid("1"),
            ObjectRef::namespaced(Kind::Deployment, "shop", "till").with_uid("2"),
        );
        let again = ObjectRef::namespaced(Kind::Deployment, "shop", "cart").with_uid("3");
        changes.note(cart.clone(), ChangeKind::Scale, None, "replicas 1 → 2".to_owned(), at(1));
        changes.note(till.clone(), ChangeKind::Scale, None, "replicas 2 → 3".to_owned(), at(2));
        changes.note(cart.clone(), ChangeKind::Scale, None, "replicas 2 → 9".to_owned(), at(3));
        let told = |object: &ObjectRef, since| {
            let found = changes.of(std::slice::from_ref(object), at(since));
            found.into_iter().map(|change| change.summary).collect::<Vec<_>>()
        };
        assert_eq!(told(&cart, 0), ["replicas 2 → 9", "replicas 1 → 2"]);
        assert_eq!(told(&cart, 2), ["replicas 2 → 9"]);
        assert!(told(&again, 0).is_empty(), "another object of that name");
        for minute in 4..=4 + MOST as i64 {
            changes.note(till.clone(), ChangeKind::Spec, None, String::new(), at(minute));
        }
        assert!(told(&cart, 0).is_empty());
    }
}

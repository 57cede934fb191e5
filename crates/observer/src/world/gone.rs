//! Objects that are there no more. An alert about a pod often ends because the pod is gone; its end belongs where its
//! beginning went, to the owner that the pod had.

use std::collections::{BTreeMap, VecDeque};

use evenkeel_model::{Kind, ObjectRef};

use super::Meta;

/// So many are remembered; beyond that, the first gone are forgotten first.
const MOST: usize = 10_000;

type Name = (Kind, Box<str>, Box<str>);

/// Pods and ReplicaSets that were deleted lately: the links of chains of owners that come and go.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    known: BTreeMap<Name, Meta>,
    order: VecDeque<Name>,
}

impl Gone {
    /// An object was deleted.
    pub(crate) fn add(&mut self, kind: Kind, namespace: &str, name: &str, meta: &Meta) {
        if !matches!(kind, Kind::Pod | Kind::ReplicaSet) || meta.owner.is_none() {
            return;
        }
        let name: Name = (kind, namespace.into(), name.into());
        if self.known.insert(name.clone(), meta.clone()).is_none() {
            self.order.push_back(name);
        }
        while self.order.len() > MOST {
            if let Some(first) = self.order.pop_front() {
                self.known.remove(&first);
            }
        }
    }

    /// Metadata of the object, if it was there lately; of the one with its uid, where it has one.
    pub(crate) fn meta(&self, object: &ObjectRef) -> Option<&Meta> {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let meta = self.known.get(&(object.kind, namespace.into(), object.name.as_str().into()))?;
        object.uid.as_deref().is_none_or(|uid| uid == &*meta.uid).then_some(meta)
    }
}

#[cfg(test)]
mod tests {
    use super::super::slim::Owner;
    use super::*;

    fn meta(uid: &str) -> Meta {
        let owner = Owner { kind: Kind::ReplicaSet, name: "cart-1".into(), uid: "set".into() };
        Meta {
            uid: uid.into(),
            created_at: Default::default(),
            deleted_at: None,
            generation: 1,
            owner: Some(owner),
            off: false,
        }
    }

    #[test]
    fn the_last_ones_are_remembered_and_no_more() {
        let mut gone = Gone::default();
        for number in 0..=MOST {
            gone.add(Kind::Pod, "shop", &format!("cart-1-{number}"), &meta("a"));
        }
        let pod = |name: &str| ObjectRef::namespaced(Kind::Pod, "shop", name);
        assert_eq!((gone.known.len(), gone.order.len()), (MOST, MOST));
        assert!(gone.meta(&pod("cart-1-0")).is_none() && gone.meta(&pod("cart-1-1")).is_some());
        gone.add(Kind::Pod, "shop", "cart-1-1", &meta("b"));
        assert_eq!((gone.known.len(), gone.order.len()), (MOST, MOST));
        assert!(gone.meta(&pod("cart-1-1").with_uid("a")).is_none(), "another of that name");
        gone.add(Kind::Node, "", "node-1", &meta("c"));
        assert_eq!(gone.known.len(), MOST);
    }
}

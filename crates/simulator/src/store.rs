//! Objects, revisions and the history that watches read: etcd's part, and the watch cache's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use serde_json::Value;
use tokio::sync::Notify;

use crate::kinds::Resource;
use crate::value::set;

/// Changes that are kept of each resource where nothing else is said; who asks for older ones gets 410 Gone.
const HISTORY: usize = 10_000;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its resource.
    pub resource: Resource,
    /// Its namespace; empty for a cluster-scoped object.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The key of an object of a resource.
    pub fn new(resource: impl Into<Resource>, namespace: &str, name: &str) -> Self {
        Self { resource: resource.into(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.resource, self.name)
        } else {
            write!(f, "{}/{}/{}", self.resource, self.namespace, self.name)
        }
    }
}

/// One write, as it became visible.
#[derive(Debug, Clone)]
pub struct Change {
    /// The store's revision with it.
    pub revision: u64,
    /// Whose.
    pub key: Key,
    /// Before; none for a new object.
    pub before: Option<Arc<Value>>,
    /// After; none when the object went.
    pub after: Option<Arc<Value>>,
}

/// History no longer reaches back to a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOld;

/// The history of one resource.
#[derive(Debug, Default)]
struct Past {
    changes: VecDeque<Change>,
    /// The revision of the last change; 0 where there was none.
    head: u64,
    /// The revision before which nothing is known.
    compacted: u64,
    /// In order: who began to listen first is told first, in every run.
    listeners: Vec<Weak<Notify>>,
}

/// All objects. Writes give each object the store's next revision as its `resourceVersion`.
#[derive(Debug)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    revision: u64,
    past: BTreeMap<Resource, Past>,
    history: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), revision: 0, past: BTreeMap::new(), history: HISTORY }
    }
}

impl Store {
    /// How many changes of each resource are kept, from each one's next change on.
    pub(crate) fn keep(&mut self, changes: usize) {
        self.history = changes;
    }

    /// The revision of the last write.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision of the last write to an object of a resource; 0 where there was none.
    pub(crate) fn head(&self, resource: &Resource) -> u64 {
        self.past.get(resource).map_or(0, |past| past.head)
    }

    /// An object.
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// All objects of a resource, by namespace and name.
    pub(crate) fn of<'a>(&'a self, resource: &Resource) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> + use<'a> {
        let resource = resource.clone();
        let from = Key { resource: resource.clone(), namespace: String::new(), name: String::new() };
        self.objects.range(from..).take_while(move |(key, _)| key.resource == resource)
    }

    /// The objects of a resource in a namespace, by name.
    pub(crate) fn within<'a>(
        &'a self,
        resource: &Resource,
        namespace: &str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> + use<'a> {
        let from = Key { resource: resource.clone(), namespace: namespace.to_owned(), name: String::new() };
        let (resource, namespace) = (resource.clone(), namespace.to_owned());
        let inside = move |key: &Key| key.resource == resource && key.namespace == namespace;
        self.objects.range(from..).take_while(move |(key, _)| inside(key))
    }

    /// All objects, by resource, namespace and name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Writes an object as it is given, but for its `resourceVersion`.
    pub(crate) fn put(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        set(&mut object, "/metadata/resourceVersion", Value::String(self.revision.to_string()));
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        self.remember(Change { revision: self.revision, key: key.clone(), before, after: Some(Arc::clone(&object)) });
        object
    }

    /// Takes an object away.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.revision += 1;
        self.remember(Change {
            revision: self.revision,
            key: key.clone(),
            before: Some(Arc::clone(&before)),
            after: None,
        });
        Some(before)
    }

    fn remember(&mut self, change: Change) {
        let past = self.past.entry(change.key.resource.clone()).or_default();
        past.head = change.revision;
        past.changes.push_back(change);
        while past.changes.len() > self.history
            && let Some(gone) = past.changes.pop_front()
        {
            past.compacted = gone.revision;
        }
        tell(&mut past.listeners);
    }

    /// Forgets all history: watches that begin before now, and lists that go on from then, get 410 Gone.
    pub(crate) fn compact(&mut self) {
        // The changes stay: a watch that is connected may not have read the last ones yet.
        for past in self.past.values_mut() {
            past.compacted = self.revision;
        }
    }

    /// The changes of a resource after a revision, oldest first.
    ///
    /// # Errors
    /// [`TooOld`] when some of them are forgotten.
    pub(crate) fn since<'a>(
        &'a self,
        resource: &Resource,
        revision: u64,
    ) -> Result<impl Iterator<Item = &'a Change> + use<'a>, TooOld> {
        if self.past.get(resource).is_some_and(|past| revision < past.compacted) {
            return Err(TooOld);
        }
        Ok(self.unread(resource, revision))
    }

    /// The changes of a resource after a revision, oldest first, for who has read all before it.
    pub(crate) fn unread<'a>(
        &'a self,
        resource: &Resource,
        revision: u64,
    ) -> impl Iterator<Item = &'a Change> + use<'a> {
        let past = self.past.get(resource);
        let from = past.map_or(0, |past| past.changes.partition_point(|change| change.revision <= revision));
        past.into_iter().flat_map(move |past| past.changes.range(from..))
    }

    /// The objects of a resource as they were at a revision, by namespace and name.
    ///
    /// # Errors
    /// [`TooOld`] when that is forgotten.
    pub(crate) fn at(&self, resource: &Resource, revision: u64) -> Result<BTreeMap<Key, Arc<Value>>, TooOld> {
        let later: Vec<&Change> = self.since(resource, revision)?.collect();
        let mut objects: BTreeMap<Key, Arc<Value>> =
            self.of(resource).map(|(key, object)| (key.clone(), Arc::clone(object))).collect();
        for change in later.into_iter().rev() {
            match &change.before {
                Some(before) => drop(objects.insert(change.key.clone(), Arc::clone(before))),
                None => drop(objects.remove(&change.key)),
            }
        }
        Ok(objects)
    }

    /// Is told of writes to objects of a resource, for as long as it is kept.
    pub(crate) fn listen(&mut self, resource: &Resource) -> Arc<Notify> {
        let listener = Arc::new(Notify::new());
        self.past.entry(resource.clone()).or_default().listeners.push(Arc::downgrade(&listener));
        listener
    }

    /// Wakes whoever listens, though nothing was written.
    pub(crate) fn wake(&mut self) {
        for past in self.past.values_mut() {
            tell(&mut past.listeners);
        }
    }
}

/// Tells those that still listen.
fn tell(listeners: &mut Vec<Weak<Notify>>) {
    listeners.retain(|listener| {
        listener.upgrade().is_some_and(|listener| {
            listener.notify_one();
            true
        })
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("configmaps", "shop", name)
    }

    fn named(name: &str) -> Value {
        json!({"metadata": {"name": name}})
    }

    #[test]
    fn the_past_can_be_seen_until_it_is_compacted() {
        let mut store = Store::default();
        store.put(&key("a"), named("a"));
        store.put(&key("b"), named("b"));
        store.put(&Key::new("pods", "shop", "p"), named("p"));
        store.remove(&key("a"));
        let names = |revision| {
            let at = store.at(&"configmaps".into(), revision).unwrap();
            at.keys().map(|key| key.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(1), ["a"]);
        assert_eq!(names(3), ["a", "b"]);
        assert_eq!(names(4), ["b"]);
        assert_eq!(store.since(&"configmaps".into(), 1).unwrap().count(), 2);
        assert_eq!(store.head(&"pods".into()), 3);
        store.compact();
        assert!(store.since(&"configmaps".into(), 1).is_err());
        assert!(store.since(&"configmaps".into(), 4).is_ok());
    }

    #[test]
    fn a_namespace_is_not_the_one_whose_name_begins_like_it() {
        let mut store = Store::default();
        for namespace in ["shop", "shop-2", "a"] {
            store.put(&Key::new("pods", namespace, "p"), named("p"));
        }
        let found = store.within(&"pods".into(), "shop");
        assert_eq!(found.map(|(key, _)| key.namespace.as_str()).collect::<Vec<_>>(), ["shop"]);
    }
}

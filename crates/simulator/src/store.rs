//! Objects, revisions and the history that watches read: etcd's part.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use crate::kinds::Resource;
use crate::value::set;

/// Changes that are kept for watches; who asks for older ones gets 410 Gone.
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
pub struct TooOld;

/// All objects. Writes give each object the store's next revision as its `resourceVersion`.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    revision: u64,
    history: VecDeque<Change>,
    compacted: u64,
}

impl Store {
    /// The revision of the last write.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// An object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// All objects of a resource, by namespace and name.
    pub fn of(&self, resource: &Resource) -> impl Iterator<Item = (&Key, &Arc<Value>)> + use<'_> {
        let resource = resource.clone();
        let from = Key { resource: resource.clone(), namespace: String::new(), name: String::new() };
        self.objects.range(from..).take_while(move |(key, _)| key.resource == resource)
    }

    /// All objects, by resource, namespace and name.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Writes an object as it is given, but for its `resourceVersion`.
    pub fn put(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        set(&mut object, "/metadata/resourceVersion", Value::String(self.revision.to_string()));
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        self.remember(Change { revision: self.revision, key: key.clone(), before, after: Some(Arc::clone(&object)) });
        object
    }

    /// Takes an object away.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
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
        self.history.push_back(change);
        if self.history.len() > HISTORY
            && let Some(gone) = self.history.pop_front()
        {
            self.compacted = gone.revision;
        }
    }

    /// Forgets all history: watches from before begin anew with 410 Gone.
    pub fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.revision;
    }

    /// The changes after a revision, oldest first.
    ///
    /// # Errors
    /// [`TooOld`] when some of them are forgotten.
    pub fn since(&self, revision: u64) -> Result<impl Iterator<Item = &Change>, TooOld> {
        if revision < self.compacted {
            return Err(TooOld);
        }
        let from = self.history.partition_point(|change| change.revision <= revision);
        Ok(self.history.range(from..))
    }
}

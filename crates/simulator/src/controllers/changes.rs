//! What changed since a controller looked last.

use std::collections::BTreeSet;

use super::Cluster;
use crate::store::Key;

/// A controller's place in the history of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    revision: u64,
}

impl Seen {
    /// Objects of these resources that were written or went since the last time; all of them at first, and after
    /// more changes than are remembered.
    pub(crate) fn keys(&mut self, cluster: &Cluster<'_>, resources: &[&str]) -> BTreeSet<Key> {
        let store = &cluster.state.store;
        let from = std::mem::replace(&mut self.revision, store.revision());
        if from == store.revision() {
            return BTreeSet::new();
        }
        let mut keys = BTreeSet::new();
        for resource in resources {
            let resource = (*resource).into();
            match store.since(&resource, from) {
                Ok(changes) if from > 0 => keys.extend(changes.map(|change| change.key.clone())),
                _ => keys.extend(store.of(&resource).map(|(key, _)| key.clone())),
            }
        }
        keys
    }

    /// Whether there is any such object.
    pub(crate) fn any(&mut self, cluster: &Cluster<'_>, resources: &[&str]) -> bool {
        !self.keys(cluster, resources).is_empty()
    }
}

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
        match store.since(from) {
            Ok(changes) if from > 0 => {
                let ours = changes.filter(|change| resources.contains(&change.key.resource.as_str()));
                ours.map(|change| change.key.clone()).collect()
            }
            _ => resources.iter().flat_map(|of| store.of(&(*of).into()).map(|(key, _)| key.clone()).collect::<Vec<_>>()).collect(),
        }
    }

    /// Whether there is any such object.
    pub(crate) fn any(&mut self, cluster: &Cluster<'_>, resources: &[&str]) -> bool {
        !self.keys(cluster, resources).is_empty()
    }
}

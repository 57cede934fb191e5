//! Rolling updates: old pods go first, or new ones come first, node by node.

use std::sync::Arc;

use serde_json::Value;

use super::placement::{Verdict, verdict};
use super::{Nodes, pod};
use crate::controllers::deployment::rounded_up;
use crate::controllers::replica_set::{create_all, delete_pod};
use crate::controllers::{Cluster, pods, revisions};
use crate::failure::Failure;
use crate::value::{at, integer, is_terminating, name};

/// A number of the rolling update's, of so many nodes.
fn most(daemon: &Value, field: &str, nodes: usize, otherwise: usize) -> usize {
    match at(daemon, &format!("/spec/updateStrategy/rollingUpdate/{field}")) {
        Value::Null => otherwise,
        value => usize::try_from(rounded_up(value, i64::try_from(nodes).unwrap_or(i64::MAX))).unwrap_or(0),
    }
}

/// Whether new pods come before the old ones go.
pub(super) fn surges(daemon: &Value) -> bool {
    most(daemon, "maxSurge", 100, 0) > 0
}

/// Goes a step on with the update.
pub(super) fn roll(cluster: &mut Cluster<'_>, daemon: &Value, nodes: &Nodes, hash: &str) -> Result<(), Failure> {
    let wanted: Vec<_> = nodes.iter().filter(|(node, _)| verdict(daemon, node) == Verdict::Run).collect();
    if surges(daemon) { surge(cluster, daemon, &wanted, hash) } else { replace(cluster, daemon, &wanted, hash) }
}

type Wanted<'n> = [&'n (Arc<Value>, Vec<Arc<Value>>)];

/// The pods of a node that are not on their way out: new ones and old ones.
fn split<'n>(pods: &'n [Arc<Value>], hash: &str) -> (Vec<&'n Arc<Value>>, Vec<&'n Arc<Value>>) {
    pods.iter().filter(|pod| !is_terminating(pod)).partition(|pod| revisions::of_pod(pod) == hash)
}

/// Deletes old pods, as many as may be away, besides those that are not available anyway.
fn replace(cluster: &mut Cluster<'_>, daemon: &Value, nodes: &Wanted<'_>, hash: &str) -> Result<(), Failure> {
    let min_ready = integer(daemon, "/spec/minReadySeconds").unwrap_or(0);
    let now = cluster.now();
    let (mut away, mut down, mut candidates) = (0, Vec::new(), Vec::new());
    for (_, all) in nodes {
        let (new, old) = split(all, hash);
        match (new.as_slice(), old.as_slice()) {
            ([new], []) => away += usize::from(!pods::is_available(new, min_ready, now)),
            ([], [old]) if !pods::is_available(old, min_ready, now) => {
                away += 1;
                down.push(Arc::clone(old));
            }
            ([], [old]) => candidates.push(Arc::clone(old)),
            _ => away += 1,
        }
    }
    let spare = most(daemon, "maxUnavailable", nodes.len(), 1).max(1).saturating_sub(away);
    down.iter().chain(candidates.iter().take(spare)).try_for_each(|pod| delete_pod(cluster, daemon, pod))
}

/// Makes new pods beside the old, as many as may be too many, and deletes the old where the new is available.
fn surge(cluster: &mut Cluster<'_>, daemon: &Value, nodes: &Wanted<'_>, hash: &str) -> Result<(), Failure> {
    let min_ready = integer(daemon, "/spec/minReadySeconds").unwrap_or(0);
    let now = cluster.now();
    let (mut surged, mut down, mut candidates, mut done) = (0, Vec::new(), Vec::new(), Vec::new());
    for (node, all) in nodes {
        let (new, old) = split(all, hash);
        match (new.as_slice(), old.as_slice()) {
            (_, []) => {}
            ([], [old]) if !pods::is_available(old, min_ready, now) => down.push(name(node)),
            ([], [_]) => candidates.push(name(node)),
            ([new], [old]) if pods::is_available(new, min_ready, now) => done.push(Arc::clone(old)),
            _ => surged += 1,
        }
    }
    done.iter().try_for_each(|pod| delete_pod(cluster, daemon, pod))?;
    let spare = most(daemon, "maxSurge", nodes.len(), 0).saturating_sub(surged);
    let chosen = down.into_iter().chain(candidates.into_iter().take(spare));
    create_all(cluster, daemon, chosen.map(|node| pod(daemon, node, hash)).collect::<Vec<_>>())
}

//! ControllerRevisions: the history of StatefulSets and DaemonSets.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Cluster, hash, pods};
use crate::failure::Failure;
use crate::value::{at, integer, is_controlled_by, name, namespace, set, text, uid, unset};

pub(super) const RESOURCE: &str = "controllerrevisions.apps";
/// The label by which pods know their revision, and a DaemonSet's revisions their hash.
pub(super) const HASH_LABEL: &str = "controller-revision-hash";

/// The revisions a workload owns, oldest first.
pub(super) fn owned(cluster: &Cluster<'_>, owner: &Value) -> Vec<Value> {
    let all = cluster.list_in(RESOURCE, namespace(owner));
    let mut owned: Vec<Value> =
        all.iter().filter(|found| is_controlled_by(found, uid(owner))).map(|found| (**found).clone()).collect();
    owned.sort_by_key(|revision| (number(revision), text(revision, "/metadata/creationTimestamp").to_owned()));
    owned
}

fn number(revision: &Value) -> i64 {
    integer(revision, "/revision").unwrap_or(0)
}

/// What a revision keeps: a patch that puts the template back.
fn data(owner: &Value) -> Value {
    let mut template = at(owner, "/spec/template").clone();
    unset(&mut template, "/metadata/creationTimestamp");
    set(&mut template, "/$patch", json!("replace"));
    json!({"spec": {"template": template}})
}

/// The pod template that a revision keeps.
pub(super) fn template(revision: &Value) -> Value {
    let mut template = at(revision, "/data/spec/template").clone();
    unset(&mut template, "/$patch");
    template
}

/// The revision of the workload's template as it is: the last one, an earlier one that becomes the last, or
/// a new one, whose hash stands under `label`.
pub(super) fn current(
    cluster: &mut Cluster<'_>,
    owner: &Value,
    owned: &mut Vec<Value>,
    label: &str,
) -> Result<Value, Failure> {
    let data = data(owner);
    let last = owned.iter().map(number).max().unwrap_or(0);
    if let Some(index) = owned.iter().rposition(|revision| *at(revision, "/data") == data) {
        let mut found = owned.remove(index);
        if number(&found) != last {
            set(&mut found, "/revision", json!(last + 1));
            found = (*cluster.update(RESOURCE, found)?).clone();
        }
        owned.push(found.clone());
        return Ok(found);
    }
    let hash = hash::of(&data);
    let mut labels = at(owner, "/spec/template/metadata/labels").clone();
    set(&mut labels, &format!("/{}", label.replace('/', "~1")), json!(hash));
    let mut revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{}-{hash}", name(owner)), "namespace": namespace(owner), "labels": labels,
            "ownerReferences": [pods::controller_ref(owner)],
        },
        "data": data, "revision": last + 1,
    });
    if let Some(annotations) = at(owner, "/metadata/annotations").as_object().filter(|found| !found.is_empty()) {
        set(&mut revision, "/metadata/annotations", json!(annotations));
    }
    let made = (*cluster.create(RESOURCE, revision)?).clone();
    owned.push(made.clone());
    Ok(made)
}

/// Deletes the oldest revisions that nothing lives by and history has no room for.
pub(super) fn truncate(
    cluster: &mut Cluster<'_>,
    owner: &Value,
    owned: &[Value],
    is_live: impl Fn(&Value) -> bool,
) -> Result<(), Failure> {
    let limit = integer(owner, "/spec/revisionHistoryLimit").and_then(|limit| usize::try_from(limit).ok());
    let dead: Vec<_> = owned.iter().filter(|revision| !is_live(revision)).collect();
    let over = dead.len().saturating_sub(limit.unwrap_or(10));
    dead.into_iter().take(over).try_for_each(|revision| match cluster.delete(RESOURCE, revision, None) {
        Err(failure) if failure.code != 404 => Err(failure),
        _ => Ok(()),
    })
}

/// What the pods say their revision is.
pub(super) fn of_pods<'a>(pods: impl IntoIterator<Item = &'a Value>) -> BTreeSet<&'a str> {
    pods.into_iter().map(of_pod).collect()
}

/// What a pod says its revision is.
pub(super) fn of_pod(pod: &Value) -> &str {
    text(pod, "/metadata/labels/controller-revision-hash")
}

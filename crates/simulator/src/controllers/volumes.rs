//! PersistentVolumes and their claims: binding, provisioning, release.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use super::changes::Seen;
use super::scheduler::node_term;
use super::{Cluster, Controller, Note};
use crate::api::LabelSelector;
use crate::quantity;
use crate::value::{at, is_terminating, items, name, namespace, rfc3339, set, text, uid};

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const CLASSES: &str = "storageclasses.storage.k8s.io";
const SELECTED: &str = "/metadata/annotations/volume.kubernetes.io~1selected-node";
const PROTECTION: &str = "kubernetes.io/pvc-protection";
/// What only says that volumes are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
const PROVISIONING: Duration = Duration::seconds(2);
const NOTE: Note<'static> = Note { component: "persistentvolume-controller", host: "", field_path: "" };

/// The persistent volume controller, with the protection of claims in use and all provisioners.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    seen: Seen,
    /// When the volume of a claim will have been made, by the claim's uid.
    making: BTreeMap<String, DateTime<Utc>>,
    /// What was last told of a claim, by its uid.
    told: BTreeMap<String, String>,
}

impl Controller for Volumes {
    fn name(&self) -> &'static str {
        "persistentvolume-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        &[CLAIMS, VOLUMES, CLASSES, "pods"]
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let now = cluster.now();
        let ripe = self.making.values().any(|due| *due <= now);
        if self.seen.any(cluster, &[CLAIMS, VOLUMES, CLASSES]) || ripe {
            for volume in cluster.list(VOLUMES) {
                look_after_volume(cluster, &volume);
            }
            let claims = cluster.list(CLAIMS);
            let there: BTreeSet<&str> = claims.iter().map(|claim| uid(claim)).collect();
            self.making.retain(|uid, _| there.contains(uid.as_str()));
            self.told.retain(|uid, _| there.contains(uid.as_str()));
            for claim in &claims {
                if is_terminating(claim) {
                    unprotect(cluster, claim);
                } else if text(claim, "/status/phase") != "Bound" {
                    self.bind(cluster, claim);
                }
            }
        } else {
            // A pod that went may have been the last to use a claim that is to go.
            for claim in cluster.list(CLAIMS).iter().filter(|claim| is_terminating(claim)) {
                unprotect(cluster, claim);
            }
        }
        self.making.values().min().copied()
    }
}

impl Volumes {
    fn tell(&mut self, cluster: &mut Cluster<'_>, claim: &Value, kind: &str, reason: &str, message: &str) {
        if self.told.get(uid(claim)).is_none_or(|told| told != message) {
            self.told.insert(uid(claim).to_owned(), message.to_owned());
            cluster.tell(claim, NOTE, kind, reason, message);
        }
    }

    fn bind(&mut self, cluster: &mut Cluster<'_>, claim: &Arc<Value>) {
        if text(claim, "/status/phase").is_empty() {
            let mut object = (**claim).clone();
            set(&mut object, "/status/phase", json!("Pending"));
            drop(cluster.update_status(CLAIMS, object));
        }
        let Some(claim) = cluster.get(CLAIMS, namespace(claim), name(claim)) else { return };
        let wanted = text(&claim, "/spec/volumeName");
        if !wanted.is_empty() {
            if let Some(volume) = cluster.get(VOLUMES, "", wanted) {
                connect(cluster, &claim, &volume);
            }
            return;
        }
        if at(&claim, "/spec/storageClassName").is_null()
            && let Some(class) = default_class(cluster)
        {
            let mut object = (*claim).clone();
            set(&mut object, "/spec/storageClassName", json!(class));
            drop(cluster.update(CLAIMS, object));
            return;
        }
        let waits = waits_for_consumer(cluster, &claim);
        let node = cluster.get("nodes", "", text(&claim, SELECTED));
        if waits && node.is_none() {
            let message = "waiting for first consumer to be created before binding";
            return self.tell(cluster, &claim, "Normal", "WaitForFirstConsumer", message);
        }
        if let Some(volume) = best(cluster, &claim, node.as_deref().filter(|_| waits)) {
            return connect(cluster, &claim, &volume);
        }
        self.provision(cluster, &claim);
    }

    fn provision(&mut self, cluster: &mut Cluster<'_>, claim: &Value) {
        let class = text(claim, "/spec/storageClassName");
        if class.is_empty() {
            let message = "no persistent volumes available for this claim and no storage class is set";
            return self.tell(cluster, claim, "Normal", "FailedBinding", message);
        }
        let Some(found) = cluster.get(CLASSES, "", class) else {
            let message = format!("storageclass.storage.k8s.io \"{class}\" not found");
            return self.tell(cluster, claim, "Warning", "ProvisioningFailed", &message);
        };
        let provisioner = text(&found, "/provisioner").to_owned();
        if provisioner == NO_PROVISIONER {
            let message = "no volume plugin matched name: kubernetes.io/no-provisioner";
            return self.tell(cluster, claim, "Warning", "ProvisioningFailed", message);
        }
        let now = cluster.now();
        let due = *self.making.entry(uid(claim).to_owned()).or_insert(now + PROVISIONING);
        if now < due {
            let message = format!(
                "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by \
                 the system administrator. If volume creation is delayed, please verify that the provisioner is running \
                 and correctly registered."
            );
            return self.tell(cluster, claim, "Normal", "ExternalProvisioning", &message);
        }
        self.making.remove(uid(claim));
        let volume_name = format!("pvc-{}", uid(claim));
        let policy = text(&found, "/reclaimPolicy");
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": volume_name, "annotations": {"pv.kubernetes.io/provisioned-by": provisioner}},
            "spec": {
                "accessModes": at(claim, "/spec/accessModes"), "storageClassName": class, "volumeMode": "Filesystem",
                "capacity": {"storage": at(claim, "/spec/resources/requests/storage")},
                "persistentVolumeReclaimPolicy": if policy.is_empty() { "Delete" } else { policy },
                "csi": {"driver": provisioner, "volumeHandle": volume_name},
                "claimRef": claim_ref(claim),
            },
        });
        if cluster.create(VOLUMES, volume).is_ok() {
            let note = Note { component: &provisioner, ..NOTE };
            let message = format!("Successfully provisioned volume {volume_name}");
            cluster.tell(claim, note, "Normal", "ProvisioningSucceeded", &message);
        }
    }
}

fn claim_ref(claim: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace(claim), "name": name(claim),
        "uid": uid(claim), "resourceVersion": text(claim, "/metadata/resourceVersion"),
    })
}

fn default_class(cluster: &Cluster<'_>) -> Option<String> {
    let pointer = "/metadata/annotations/storageclass.kubernetes.io~1is-default-class";
    cluster.list(CLASSES).iter().find(|class| text(class, pointer) == "true").map(|class| name(class).to_owned())
}

/// Whether the claim is bound only when a pod that uses it has a node.
pub(crate) fn waits_for_consumer(cluster: &Cluster<'_>, claim: &Value) -> bool {
    let class = cluster.get(CLASSES, "", text(claim, "/spec/storageClassName"));
    class.is_some_and(|class| text(&class, "/volumeBindingMode") == "WaitForFirstConsumer")
}

/// Why a node will not do for the pod's volumes.
pub(crate) fn conflict(cluster: &Cluster<'_>, pod: &Value, node: &Value) -> Option<&'static str> {
    for volume in items(pod, "/spec/volumes") {
        let claim = text(volume, "/persistentVolumeClaim/claimName");
        let Some(claim) = cluster.get(CLAIMS, namespace(pod), claim).filter(|_| !claim.is_empty()) else { continue };
        let bound = text(&claim, "/spec/volumeName");
        if let Some(bound) = cluster.get(VOLUMES, "", bound).filter(|_| !bound.is_empty()) {
            if !is_reachable(&bound, node) {
                return Some("node(s) didn't match PersistentVolume's node affinity");
            }
            continue;
        }
        let class = cluster.get(CLASSES, "", text(&claim, "/spec/storageClassName"));
        let by_hand = class.is_some_and(|class| text(&class, "/provisioner") == NO_PROVISIONER);
        if by_hand && best(cluster, &claim, Some(node)).is_none() {
            return Some("node(s) didn't find available persistent volumes to bind");
        }
    }
    None
}

fn is_reachable(volume: &Value, node: &Value) -> bool {
    let terms = at(volume, "/spec/nodeAffinity/required/nodeSelectorTerms");
    terms.as_array().is_none_or(|terms| terms.iter().any(|term| node_term(term, node)))
}

/// The smallest volume that will do for a claim.
fn best(cluster: &Cluster<'_>, claim: &Value, node: Option<&Value>) -> Option<Arc<Value>> {
    let size = |object: &Value, pointer: &str| quantity::milli(text(object, pointer)).unwrap_or_default();
    let wanted = size(claim, "/spec/resources/requests/storage");
    let selector = LabelSelector::of(at(claim, "/spec/selector"));
    let fits = |volume: &Arc<Value>| {
        let claimed = at(volume, "/spec/claimRef");
        let free = claimed.is_null()
            || (text(claimed, "/namespace") == namespace(claim)
                && text(claimed, "/name") == name(claim)
                && (text(claimed, "/uid").is_empty() || text(claimed, "/uid") == uid(claim)));
        let modes = items(volume, "/spec/accessModes");
        free && !is_terminating(volume)
            && matches!(text(volume, "/status/phase"), "" | "Pending" | "Available" | "Bound")
            && text(volume, "/spec/storageClassName") == text(claim, "/spec/storageClassName")
            && items(claim, "/spec/accessModes").iter().all(|mode| modes.contains(mode))
            && size(volume, "/spec/capacity/storage") >= wanted
            && selector.selects(at(volume, "/metadata/labels"))
            && node.is_none_or(|node| is_reachable(volume, node))
    };
    let volumes = cluster.list(VOLUMES).into_iter().filter(fits);
    volumes.min_by_key(|volume| (size(volume, "/spec/capacity/storage"), name(volume).to_owned()))
}

/// Binds a claim and a volume to each other.
fn connect(cluster: &mut Cluster<'_>, claim: &Value, volume: &Value) {
    let now = cluster.now();
    let owner = text(volume, "/spec/claimRef/uid");
    if !owner.is_empty() && owner != uid(claim) {
        return;
    }
    let mut object = volume.clone();
    if owner.is_empty() {
        set(&mut object, "/spec/claimRef", claim_ref(claim));
        set(&mut object, "/metadata/annotations/pv.kubernetes.io~1bound-by-controller", json!("yes"));
    }
    let Ok(written) = cluster.update(VOLUMES, object) else { return };
    if text(&written, "/status/phase") != "Bound" {
        let mut object = (*written).clone();
        set(&mut object, "/status", json!({"phase": "Bound", "lastPhaseTransitionTime": rfc3339(now)}));
        drop(cluster.update_status(VOLUMES, object));
    }
    let mut object = claim.clone();
    if text(claim, "/spec/volumeName").is_empty() {
        set(&mut object, "/metadata/annotations/pv.kubernetes.io~1bound-by-controller", json!("yes"));
    }
    set(&mut object, "/spec/volumeName", json!(name(volume)));
    set(&mut object, "/metadata/annotations/pv.kubernetes.io~1bind-completed", json!("yes"));
    let Ok(written) = cluster.update(CLAIMS, object) else { return };
    let mut object = (*written).clone();
    let status = json!({
        "phase": "Bound", "accessModes": at(volume, "/spec/accessModes"), "capacity": at(volume, "/spec/capacity"),
    });
    set(&mut object, "/status", status);
    drop(cluster.update_status(CLAIMS, object));
}

/// A volume's phase, and what becomes of it when its claim is gone.
fn look_after_volume(cluster: &mut Cluster<'_>, volume: &Value) {
    let claimed = at(volume, "/spec/claimRef");
    let owner = text(claimed, "/uid");
    let phase = if owner.is_empty() {
        "Available"
    } else {
        let claim = cluster.get(CLAIMS, text(claimed, "/namespace"), text(claimed, "/name"));
        if claim.is_some_and(|claim| uid(&claim) == owner) {
            return;
        }
        if text(volume, "/spec/persistentVolumeReclaimPolicy") == "Delete" {
            if !is_terminating(volume) {
                drop(cluster.delete(VOLUMES, volume, None));
            }
            return;
        }
        "Released"
    };
    if text(volume, "/status/phase") != phase {
        let mut object = volume.clone();
        set(&mut object, "/status", json!({"phase": phase, "lastPhaseTransitionTime": rfc3339(cluster.now())}));
        drop(cluster.update_status(VOLUMES, object));
    }
}

/// Lets a claim go that no pod uses any more.
fn unprotect(cluster: &mut Cluster<'_>, claim: &Value) {
    let finalizers = items(claim, "/metadata/finalizers");
    if !finalizers.iter().any(|finalizer| finalizer.as_str() == Some(PROTECTION)) {
        return;
    }
    let used = cluster.list_in("pods", namespace(claim)).iter().any(|pod| {
        let uses = |volume: &Value| text(volume, "/persistentVolumeClaim/claimName") == name(claim);
        items(pod, "/spec/volumes").iter().any(uses) && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
    });
    if !used {
        let mut object = claim.clone();
        let rest = finalizers.iter().filter(|finalizer| finalizer.as_str() != Some(PROTECTION)).cloned().collect();
        set(&mut object, "/metadata/finalizers", Value::Array(rest));
        drop(cluster.update(CLAIMS, object));
    }
}

#[cfg(test)]
mod tests;

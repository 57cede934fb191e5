use evenkeel_model::{Pod, Revision};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// Label that a Deployment's controller adds to the template of each ReplicaSet.
const POD_TEMPLATE_HASH: &str = "pod-template-hash";

/// Hash over a pod template, the same for a Deployment's and its ReplicaSet's: everything but the
/// `pod-template-hash` label. `kubectl rollout restart`'s annotation is part of the template.
pub fn template_hash(template: &PodTemplateSpec) -> String {
    let mut template = template.clone();
    if let Some(meta) = template.metadata.as_mut() {
        if let Some(labels) = meta.labels.as_mut() {
            labels.remove(POD_TEMPLATE_HASH);
        }
        // Older API servers send `creationTimestamp: null`; it never means anything in a template.
        meta.creation_timestamp = None;
        meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
        meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
    }
    // A template is plain data and can always be written as JSON; were it not, an empty hash equals no other.
    evenkeel_model::digest(&template).unwrap_or_default()
}

/// The pod template in the data of a ControllerRevision, as the StatefulSet and DaemonSet
/// controllers write it: `{"spec":{"template":{"$patch":"replace",…}}}`.
pub fn template_of_revision(revision: &ControllerRevision) -> Option<Value> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    Some(template)
}

/// Whether a pod was made from a revision: ReplicaSets and DaemonSets' revisions end in the hash, a
/// StatefulSet's label holds the whole name.
pub fn belongs_to(pod: &Pod, revision: &Revision) -> bool {
    pod.revision_hash.as_ref().is_some_and(|hash| {
        revision.name == *hash || revision.name.strip_suffix(hash.as_str()).is_some_and(|it| it.ends_with('-'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(json: serde_json::Value) -> String {
        template_hash(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn a_replica_sets_template_equals_its_deployments() {
        let spec = serde_json::json!({"containers": [{"name": "web", "image": "web:1"}]});
        let deployment = serde_json::json!({"metadata": {"labels": {"app": "cart"}}, "spec": spec});
        let replica_set = serde_json::json!({
            "metadata": {"creationTimestamp": null, "labels": {"app": "cart", "pod-template-hash": "5548"}}, "spec": spec});
        assert_eq!(hash(deployment), hash(replica_set));
    }

    #[test]
    fn a_restart_is_another_template() {
        let of = |annotations: serde_json::Value| hash(serde_json::json!({"metadata": {"annotations": annotations}}));
        assert_ne!(of(serde_json::json!({})), of(serde_json::json!({"kubectl.kubernetes.io/restartedAt": "1"})));
    }

    #[test]
    fn pods_are_told_apart_by_revision() {
        let pod = |hash: &str| {
            let json = serde_json::json!({"metadata": {"labels": {"controller-revision-hash": hash}}});
            super::super::pod(&serde_json::from_value(json).unwrap(), chrono::DateTime::default())
        };
        let revision = |name: &str| Revision {
            number: 1,
            name: name.to_owned(),
            uid: String::new(),
            template_hash: String::new(),
            created_at: chrono::DateTime::default(),
            available: 0,
            was_available: false,
            images: Vec::new(),
        };
        assert!(belongs_to(&pod("849d46f585"), &revision("agent-849d46f585")));
        assert!(belongs_to(&pod("db-849d46f585"), &revision("db-849d46f585")));
        assert!(!belongs_to(&pod("6f585"), &revision("agent-849d46f585")));
        assert!(!belongs_to(&pod("647bf86577"), &revision("agent-849d46f585")));
    }
}

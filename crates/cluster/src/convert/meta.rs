use chrono::{DateTime, Utc};
use evenkeel_model::{Kind, MODE_ANNOTATION, Meta, ObjectRef, STAMP_ANNOTATION, Writer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference};
use serde_json::Value;

use super::time::to_chrono;
use crate::ReadError;

/// Field managers of GitOps tools, and the tools' names.
const GIT_OPS_MANAGERS: [(&str, &str); 4] = [
    ("argocd-controller", "Argo CD"),
    ("argocd-application-controller", "Argo CD"),
    ("kustomize-controller", "Flux"),
    ("helm-controller", "Flux"),
];

/// What all objects have. `namespace` is the metadata of the namespace it lies in.
///
/// # Errors
/// [`ReadError::Malformed`] when something is missing that the API server sets on every object.
pub fn meta(object: &ObjectRef, meta: &ObjectMeta, namespace: Option<&ObjectMeta>) -> Result<Meta, ReadError> {
    let needed = |field: &str, found: Option<&String>| {
        found.cloned().ok_or_else(|| ReadError::Malformed {
            object: object.to_string(),
            field: format!("metadata.{field}"),
            expected: "what the API server sets on every object",
            found: "nothing".to_owned(),
        })
    };
    let writers = writers(meta.managed_fields.as_deref().unwrap_or_default());
    Ok(Meta {
        uid: needed("uid", meta.uid.as_ref())?,
        resource_version: needed("resourceVersion", meta.resource_version.as_ref())?,
        created_at: meta.creation_timestamp.as_ref().map(to_chrono).unwrap_or_default(),
        deleted_at: deletion_asked_at(meta),
        mode: narrower(annotation(meta, MODE_ANNOTATION), namespace.and_then(|it| annotation(it, MODE_ANNOTATION))),
        stamp: annotation(meta, STAMP_ANNOTATION).map(str::to_owned),
        git_ops: git_ops_of(meta, &writers),
        controller: controller_of(meta, object.namespace.as_deref()),
        writers,
    })
}

pub(super) fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

/// When deletion was asked for. The API's deletionTimestamp is the end of the grace period.
pub(super) fn deletion_asked_at(meta: &ObjectMeta) -> Option<DateTime<Utc>> {
    let ends = to_chrono(meta.deletion_timestamp.as_ref()?);
    let grace = chrono::Duration::try_seconds(meta.deletion_grace_period_seconds.unwrap_or(0)).unwrap_or_default();
    Some(ends.checked_sub_signed(grace).unwrap_or(ends))
}

/// The narrower of two modes. A word we don't know was meant to narrow something: `off`.
pub fn narrower(one: Option<&str>, other: Option<&str>) -> Option<String> {
    let modes = [one, other];
    let mut words = modes.iter().flatten().map(|word| word.trim());
    let mut narrowest = None;
    if let Some(first) = words.next() {
        let all_audit = first == "audit" && words.all(|word| word == "audit");
        narrowest = Some(if all_audit { "audit" } else { "off" }.to_owned());
    }
    narrowest
}

/// The kind an owner reference names, when it is one of ours, group included.
pub fn owner_kind(reference: &OwnerReference) -> Option<Kind> {
    let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
    Kind::ALL.iter().find(|kind| kind.as_str() == reference.kind && kind.group() == group).copied()
}

/// Who controls an object, when it is of a kind of ours. A node "controls" its mirror pods; that is no
/// controller that would make a new one.
pub fn controller_of(meta: &ObjectMeta, namespace: Option<&str>) -> Option<ObjectRef> {
    let reference = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    let kind = owner_kind(reference).filter(|kind| *kind != Kind::Node)?;
    Some(ObjectRef {
        kind,
        namespace: namespace.filter(|_| kind.is_namespaced()).map(str::to_owned),
        name: reference.name.clone(),
        uid: Some(reference.uid.clone()),
    })
}

/// Who writes the spec, newest first.
fn writers(entries: &[ManagedFieldsEntry]) -> Vec<Writer> {
    let mut writers: Vec<Writer> = entries.iter().filter_map(writer).collect();
    writers.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.manager.cmp(&b.manager)));
    writers
}

fn writer(entry: &ManagedFieldsEntry) -> Option<Writer> {
    let spec = entry.fields_v1.as_ref()?.0.get("f:spec")?;
    Some(Writer {
        manager: entry.manager.clone().unwrap_or_default(),
        at: entry.time.as_ref().map(to_chrono),
        pod_template: spec.get("f:template").is_some_and(touches_something),
        replicas: spec.get("f:replicas").is_some(),
    })
}

/// `{}` under a map means the map as such.
fn touches_something(fields: &Value) -> bool {
    fields.as_object().is_some()
}

/// Which GitOps tool tracks an object: by its own marks or as an owner of fields of the spec.
/// `app.kubernetes.io/instance` proves nothing: Helm and people set it too.
pub fn git_ops_of(meta: &ObjectMeta, writers: &[Writer]) -> Option<String> {
    if let Some(id) = annotation(meta, "argocd.argoproj.io/tracking-id") {
        let application = id.split(':').next().unwrap_or(id);
        return Some(format!("Argo CD application {application}"));
    }
    let label = |name: &str| meta.labels.as_ref().and_then(|labels| labels.get(name));
    for (what, prefix) in
        [("Kustomization", "kustomize.toolkit.fluxcd.io/"), ("HelmRelease", "helm.toolkit.fluxcd.io/")]
    {
        if let Some(name) = label(&format!("{prefix}name")) {
            let namespace = label(&format!("{prefix}namespace")).map_or(String::new(), |it| format!("{it}/"));
            return Some(format!("Flux {what} {namespace}{name}"));
        }
    }
    writers.iter().find_map(|writer| {
        let tool = git_ops_tool(&writer.manager)?;
        Some(format!("{tool} (field manager {})", writer.manager))
    })
}

/// The GitOps tool that writes under a field manager's name.
pub fn git_ops_tool(manager: &str) -> Option<&'static str> {
    GIT_OPS_MANAGERS.iter().find(|(name, _)| *name == manager).map(|(_, tool)| *tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: serde_json::Value) -> ObjectMeta {
        serde_json::from_value(json).unwrap()
    }

    fn cart() -> ObjectRef {
        ObjectRef::namespaced(Kind::Deployment, "shop", "cart")
    }

    fn read(json: serde_json::Value) -> Meta {
        let mut all = serde_json::json!({"uid": "u", "resourceVersion": "1"});
        all.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        meta(&cart(), &parse(all), None).unwrap()
    }

    #[test]
    fn the_narrower_mode_of_object_and_namespace_counts() {
        for (object, namespace, expected) in [
            (None, None, None),
            (Some("audit"), None, Some("audit")),
            (None, Some("audit"), Some("audit")),
            (Some("audit"), Some("off"), Some("off")),
            (Some("off"), Some("audit"), Some("off")),
            (Some("enforce"), None, Some("off")),
        ] {
            assert_eq!(narrower(object, namespace).as_deref(), expected, "{object:?} {namespace:?}");
        }
    }

    #[test]
    fn an_instance_label_is_no_git_ops() {
        let labels = serde_json::json!({"app.kubernetes.io/instance": "cart", "app.kubernetes.io/managed-by": "Helm"});
        assert_eq!(read(serde_json::json!({"labels": labels})).git_ops, None);
    }

    #[test]
    fn git_ops_tools_are_known_by_their_own_marks_and_by_what_they_write() {
        let argo = read(serde_json::json!({"annotations": {
            "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/cart"}}));
        assert_eq!(argo.git_ops.as_deref(), Some("Argo CD application shop"));
        let flux = read(serde_json::json!({"labels": {
            "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}}));
        assert_eq!(flux.git_ops.as_deref(), Some("Flux Kustomization flux-system/apps"));
        let managed = read(serde_json::json!({"managedFields": [
            {"manager": "argocd-controller", "operation": "Apply", "time": "2026-01-01T00:00:00Z",
             "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}}]}));
        assert_eq!(managed.git_ops.as_deref(), Some("Argo CD (field manager argocd-controller)"));
    }

    #[test]
    fn writers_are_those_of_the_spec_newest_first() {
        let writers = read(serde_json::json!({"managedFields": [
            {"manager": "kubectl-client-side-apply", "time": "2026-01-01T00:00:00Z",
             "fieldsV1": {"f:metadata": {}, "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {}}}}},
            {"manager": "kubectl-set", "time": "2026-01-02T00:00:00Z",
             "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}},
            {"manager": "kube-controller-manager", "subresource": "status", "time": "2026-01-03T00:00:00Z",
             "fieldsV1": {"f:status": {}}}]}))
        .writers;
        let told: Vec<(&str, bool, bool)> =
            writers.iter().map(|it| (it.manager.as_str(), it.pod_template, it.replicas)).collect();
        assert_eq!(told, [("kubectl-set", true, false), ("kubectl-client-side-apply", true, true)]);
    }

    #[test]
    fn a_controller_is_of_a_kind_and_group_of_ours() {
        let owned_by = |version: &str, kind: &str| {
            let meta = parse(serde_json::json!({"ownerReferences": [
                {"apiVersion": version, "kind": kind, "name": "x", "uid": "u", "controller": true}]}));
            controller_of(&meta, Some("shop")).map(|it| it.to_string())
        };
        assert_eq!(owned_by("apps/v1", "ReplicaSet").as_deref(), Some("replicaset/shop/x"));
        assert_eq!(owned_by("argoproj.io/v1alpha1", "Rollout"), None);
        assert_eq!(owned_by("example.com/v1", "Deployment"), None);
        assert_eq!(owned_by("v1", "Node"), None);
    }

    #[test]
    fn deletion_was_asked_for_before_the_grace_period() {
        let meta =
            parse(serde_json::json!({"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}));
        assert_eq!(deletion_asked_at(&meta).unwrap().to_rfc3339(), "2026-01-01T00:00:00+00:00");
    }

    #[test]
    fn an_object_without_a_uid_is_refused_by_name() {
        let error = meta(&cart(), &ObjectMeta::default(), None).unwrap_err();
        assert!(error.to_string().contains("deployment/shop/cart: expected"), "{error}");
        assert!(error.to_string().contains("metadata.uid"), "{error}");
    }
}

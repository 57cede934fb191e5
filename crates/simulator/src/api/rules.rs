//! What differs between resources in how they are written.

use serde_json::{Value, json};

use crate::kinds::{Kind, Resource};
use crate::value::{items, set};

/// Whether a replacement need not say which version it replaces.
pub(super) fn allows_unconditional_update(kind: &Kind) -> bool {
    let resource = kind.resource();
    !kind.is_custom()
        && !matches!(
            resource.as_str(),
            "leases.coordination.k8s.io"
                | "poddisruptionbudgets.policy"
                | "customresourcedefinitions.apiextensions.k8s.io"
        )
}

/// Whether a replacement of what does not exist creates it.
pub(super) fn creates_on_update(resource: &Resource) -> bool {
    matches!(resource.as_str(), "leases.coordination.k8s.io" | "events" | "endpoints" | "limitranges" | "services")
}

/// Gives a new object what holds it together from the beginning.
pub(super) fn prepare(kind: &Kind, object: &mut Value) {
    if kind.resource().as_str() == "namespaces" {
        if items(object, "/spec/finalizers").is_empty() {
            set(object, "/spec/finalizers", json!(["kubernetes"]));
        }
        set(object, "/status", json!({"phase": "Active"}));
        let name = json!(crate::value::name(object));
        set(object, "/metadata/labels/kubernetes.io~1metadata.name", name);
    }
}

/// Whether what a client says of the status is taken when the object is created.
pub(super) fn keeps_status_on_create(kind: &Kind) -> bool {
    kind.resource().as_str() == "nodes" || !serves(kind, "status")
}

/// Whether a resource has a subresource.
pub(super) fn serves(kind: &Kind, subresource: &str) -> bool {
    kind.subresources.iter().any(|name| name == subresource)
}

/// Whether deleting it answers with the object rather than with a `Status`.
pub(super) fn returns_deleted(resource: &Resource) -> bool {
    matches!(
        resource.as_str(),
        "pods" | "services" | "serviceaccounts" | "resourcequotas" | "persistentvolumes" | "persistentvolumeclaims"
    )
}

//! Which resources the API server serves: the built-in ones, and those that CRDs add.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One resource of one version of one API group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: String,
    /// `v1`, `v2`, `v1alpha1` …
    pub version: String,
    /// `Deployment`
    pub kind: String,
    /// `deployments`
    pub plural: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Subresources that are served: `status`, `scale`, `eviction`, `log` …
    pub subresources: Vec<String>,
    /// Fields of custom resources that selectors may name, as its definition lists them: `spec.color`.
    pub selectable: Vec<String>,
}

impl Kind {
    /// `apps/v1`, or `v1` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether a CRD defines it.
    pub fn is_custom(&self) -> bool {
        BUILT_IN.iter().all(|(group, ..)| *group != self.group)
    }

    /// Its resource: what keys and RBAC name.
    pub fn resource(&self) -> Resource {
        Resource::new(&self.group, &self.plural)
    }
}

/// A resource whatever its version: `deployments.apps`, or `pods` in the core group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(Arc<str>);

impl Resource {
    /// The resource `plural` of `group`.
    pub fn new(group: &str, plural: &str) -> Self {
        Self(if group.is_empty() { plural.into() } else { format!("{plural}.{group}").into() })
    }

    /// `deployments.apps`, or `pods` in the core group.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Resource {
    /// From `deployments.apps` or `pods`.
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

const NAMESPACED: bool = true;
const CLUSTER: bool = false;

/// Group, version, kind, plural, scope, subresources.
type Row = (&'static str, &'static str, &'static str, &'static str, bool, &'static [&'static str]);

const BUILT_IN: &[Row] = &[
    ("", "v1", "Namespace", "namespaces", CLUSTER, &["status"]),
    ("", "v1", "Node", "nodes", CLUSTER, &["status"]),
    ("", "v1", "PersistentVolume", "persistentvolumes", CLUSTER, &["status"]),
    ("", "v1", "Pod", "pods", NAMESPACED, &["status", "eviction", "log", "binding"]),
    ("", "v1", "Service", "services", NAMESPACED, &["status"]),
    ("", "v1", "Endpoints", "endpoints", NAMESPACED, &[]),
    ("", "v1", "ConfigMap", "configmaps", NAMESPACED, &[]),
    ("", "v1", "Secret", "secrets", NAMESPACED, &[]),
    ("", "v1", "ServiceAccount", "serviceaccounts", NAMESPACED, &[]),
    ("", "v1", "Event", "events", NAMESPACED, &[]),
    ("events.k8s.io", "v1", "Event", "events", NAMESPACED, &[]),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", NAMESPACED, &["status"]),
    ("", "v1", "ResourceQuota", "resourcequotas", NAMESPACED, &["status"]),
    ("", "v1", "LimitRange", "limitranges", NAMESPACED, &[]),
    ("apps", "v1", "Deployment", "deployments", NAMESPACED, &["status", "scale"]),
    ("apps", "v1", "ReplicaSet", "replicasets", NAMESPACED, &["status", "scale"]),
    ("apps", "v1", "StatefulSet", "statefulsets", NAMESPACED, &["status", "scale"]),
    ("apps", "v1", "DaemonSet", "daemonsets", NAMESPACED, &["status"]),
    ("apps", "v1", "ControllerRevision", "controllerrevisions", NAMESPACED, &[]),
    ("batch", "v1", "Job", "jobs", NAMESPACED, &["status"]),
    ("batch", "v1", "CronJob", "cronjobs", NAMESPACED, &["status"]),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", NAMESPACED, &["status"]),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", NAMESPACED, &["status"]),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", NAMESPACED, &[]),
    ("coordination.k8s.io", "v1", "Lease", "leases", NAMESPACED, &[]),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", CLUSTER, &[]),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", CLUSTER, &[]),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", NAMESPACED, &[]),
    ("networking.k8s.io", "v1", "Ingress", "ingresses", NAMESPACED, &["status"]),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        CLUSTER,
        &["status"],
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        CLUSTER,
        &[],
    ),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", CLUSTER, &["status"]),
];

/// The resources that are served, by resource.
#[derive(Debug, Clone)]
pub struct Kinds(BTreeMap<Resource, Arc<Kind>>);

impl Default for Kinds {
    fn default() -> Self {
        let kinds = BUILT_IN.iter().map(|(group, version, kind, plural, namespaced, subresources)| {
            let kind = Kind {
                group: (*group).to_owned(),
                version: (*version).to_owned(),
                kind: (*kind).to_owned(),
                plural: (*plural).to_owned(),
                namespaced: *namespaced,
                subresources: subresources.iter().map(|name| (*name).to_owned()).collect(),
                selectable: Vec::new(),
            };
            (kind.resource(), Arc::new(kind))
        });
        Self(kinds.collect())
    }
}

impl Kinds {
    /// The kind of a resource.
    pub fn get(&self, resource: &Resource) -> Option<&Arc<Kind>> {
        self.0.get(resource)
    }

    /// The resource that a request's group, version and plural name.
    pub fn served(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.get(&Resource::new(group, plural)).filter(|kind| kind.version == version)
    }

    /// The resource of objects with this `apiVersion` and `kind`.
    pub fn of_object(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.0.values().find(|found| found.kind == kind && found.api_version() == api_version)
    }

    /// All of them, by resource.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.values()
    }

    /// Serves a resource that a CRD defines, or serves it anew.
    pub fn add(&mut self, kind: Kind) {
        self.0.insert(kind.resource(), Arc::new(kind));
    }

    /// No longer serves a resource.
    pub fn remove(&mut self, resource: &Resource) {
        self.0.remove(resource);
    }
}

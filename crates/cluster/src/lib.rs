//! What both observer and gateway ask of a cluster: owner chains, snapshots, JSON patches, eviction.
//!
//! Reading: [`snapshot`] reads one object and its surroundings into an
//! [`evenkeel_model::Snapshot`] (what it concludes from API objects is in [`convert`], pure);
//! [`owners`] and [`root_of`] climb from an object to what a person would act on; [`budgets`] tells
//! what PodDisruptionBudgets leave; [`live`] and
//! [`revision_template`] read content as the API server sends it. Writing: [`Patch`] builds a
//! stamped JSON Patch with its inverse; [`patch`], [`delete`] and [`evict`] send one request each,
//! with the uid as precondition, and answer with a [`WriteError`] that says whether anything can
//! have been written.
//!
//! The writing functions need a client that does not retry (`Config::default_retry = false`, kube 5
//! re-sends every method otherwise) and that has finite timeouts.

mod budgets;
pub mod convert;
mod diff;
mod error;
mod owners;
mod patch;
pub mod promql;
mod read;
mod revision;
mod snapshot;
mod stamp;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod write;

pub use budgets::{Budgets, budgets};
pub use diff::changed_lines;
pub use error::{ReadError, WriteError, WriteOutcome, classify};
pub use owners::{owners, root_of};
pub use patch::{Built, Patch, PatchError};
pub use read::{live, meta};
pub use revision::revision_template;
pub use snapshot::{AvailabilityLookup, NoRecords, snapshot};
pub use stamp::{BadStamp, Stamp};
pub use write::{delete, evict, patch};

/// What is read to fill snapshots and owner chains: API group, resource, verbs. RBAC of observer and
/// gateway is made of it. Secrets and ConfigMaps are not in it: whoever wants snapshots of them has
/// to be granted `get` by the operator.
pub const READS: &[(&str, &str, &[&str])] = &[
    ("", "namespaces", &["get"]),
    ("", "nodes", &["get"]),
    ("", "pods", &["get", "list"]),
    ("", "services", &["get"]),
    ("", "persistentvolumeclaims", &["get"]),
    ("", "persistentvolumes", &["get"]),
    ("", "resourcequotas", &["get"]),
    ("apps", "deployments", &["get"]),
    ("apps", "statefulsets", &["get"]),
    ("apps", "daemonsets", &["get"]),
    ("apps", "replicasets", &["get", "list"]),
    ("apps", "controllerrevisions", &["get", "list"]),
    ("batch", "jobs", &["get", "list"]),
    ("batch", "cronjobs", &["get"]),
    ("autoscaling", "horizontalpodautoscalers", &["get", "list"]),
    ("policy", "poddisruptionbudgets", &["get"]),
    ("apiregistration.k8s.io", "apiservices", &["get"]),
];

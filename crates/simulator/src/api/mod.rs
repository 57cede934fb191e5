//! The API server: requests of the client, and the synchronous operations the controllers use.

mod delete;
mod discovery;
mod evict;
mod fields;
mod intercept;
mod json_patch;
mod list;
mod managed_fields;
mod merge;
mod reviews;
mod rules;
mod selector;
mod serve;
mod service;
mod subresources;
#[cfg(test)]
mod tests;
mod uri;
mod watch;
mod write;

use std::sync::Arc;

use serde_json::Value;

pub use intercept::{Call, Decision, Fuse, Intercept};
pub(crate) use json_patch::Patch;
pub(crate) use reviews::EVERYBODY;
#[allow(unused_imports, reason = "controllers select with it")]
pub(crate) use selector::LabelSelector;
pub(crate) use service::client;

use crate::failure::Failure;

/// Who writes, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By<'a> {
    /// The user: `system:serviceaccount:kube-system:deployment-controller`.
    pub(crate) user: &'a str,
    /// The field manager: `kube-controller-manager`.
    pub(crate) manager: &'a str,
    /// Everything is checked, nothing is kept.
    pub(crate) dry_run: bool,
}

/// Which part of an object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but the status.
    Main,
    /// The status, and of the metadata what a client may change.
    Status,
}

impl Part {
    /// The subresource it is written through.
    pub(crate) fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
        }
    }
}

/// What a write made of the object.
pub(crate) type Written = Result<Arc<Value>, Failure>;

/// Preconditions and manner of a deletion.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deletion {
    /// Only the object with this uid.
    pub(crate) uid: Option<String>,
    /// Only at this resourceVersion.
    pub(crate) resource_version: Option<String>,
    /// Seconds a pod is given; its own where it is not said.
    pub(crate) grace: Option<i64>,
    /// `Background` (the default), `Foreground` or `Orphan`.
    pub(crate) propagation: Option<String>,
}

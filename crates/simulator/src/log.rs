//! Every request that came, as the API server's audit log has it: the oracle of scenarios.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::store::Key;

/// One request that was answered, or whose answer was lost after it was carried out.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When it came.
    pub at: DateTime<Utc>,
    /// Who sent it.
    pub user: String,
    /// `create`, `update`, `patch`, `delete`, `deletecollection`; reads are not kept.
    pub verb: &'static str,
    /// What it was about.
    pub key: Key,
    /// Empty, or `status`, `scale`, `eviction`, `binding` …
    pub subresource: String,
    /// A dry-run changed nothing.
    pub dry_run: bool,
    /// The HTTP status it was answered with.
    pub code: u16,
    /// Its body.
    pub body: Arc<Value>,
    /// The object before.
    pub before: Option<Arc<Value>>,
    /// The object after; none where it went, or nothing was done.
    pub after: Option<Arc<Value>>,
}

/// All mutating requests of users. What the cluster's own controllers write is not among them.
pub type Log = Vec<Entry>;

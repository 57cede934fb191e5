//! What a simulation may do to a client's requests: look at each, lose it, hold it, answer in the API
//! server's place, or cut a client off altogether.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::store::Key;

/// A request of a client that is about to be carried out.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whose.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'static str,
    /// What it is about; the name is empty for collections and where the server makes it.
    pub key: Key,
    /// Empty, or `status`, `scale`, `eviction`, `log` …
    pub subresource: String,
    /// Whether it is to change nothing.
    pub dry_run: bool,
    /// Its body; null where it has none.
    pub body: Arc<Value>,
}

impl Call {
    /// Whether it may change something.
    pub fn is_mutating(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is carried out and answered.
    Pass,
    /// It never arrives, and the client hears nothing.
    NeverSend,
    /// It never arrives, and the client's connection breaks.
    BreakBefore,
    /// It is carried out; then the client's connection breaks.
    LoseReply,
    /// It is carried out, and the client hears nothing.
    HoldReply,
    /// It is carried out so much later, whether or not the client still waits, and the client hears nothing.
    Late(Duration),
    /// It is not carried out; this is the answer.
    Answer {
        /// The HTTP status.
        code: u16,
        /// The body.
        body: Value,
    },
    /// It arrives so much later.
    Delay(Duration),
}

/// Decides on each request of a client before it is carried out. Called at the moment when the request
/// reaches the API server.
pub trait Intercept: Send + Sync + std::fmt::Debug {
    /// What becomes of it.
    fn decide(&self, call: &Call) -> Decision;
}

/// Cuts the requests of one client off, as if its process had died: what was not carried out vanishes,
/// and nothing is answered any more. Clones are the same fuse.
#[derive(Debug, Clone, Default)]
pub struct Fuse(Arc<AtomicBool>);

impl Fuse {
    /// A whole one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts off, for good.
    pub fn blow(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is cut off.
    pub fn is_blown(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

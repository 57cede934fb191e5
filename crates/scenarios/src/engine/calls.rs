//! The gateways' calls to the API server and to the bus, numbered, and the one at which the caller dies.
//!
//! A run is the same until the first thing that differs: a call of one run has the same number in the next one with the
//! same seed, so that a gateway can be made to die at each of them in turn.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::process::Id;
use crate::file::Plane;

/// Calls that are remembered; a run of an hour makes some thousands.
const MOST: usize = 100_000;

/// Where in a call its caller dies, or what it misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Nothing was sent.
    BeforeSend,
    /// It was carried out; the answer has not come.
    AfterCommit,
    /// It was carried out and the answer never comes; the caller lives on.
    ReplyLost,
}

impl Moment {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::BeforeSend, Self::AfterCommit, Self::ReplyLost];
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BeforeSend => "before-send",
            Self::AfterCommit => "after-commit",
            Self::ReplyLost => "reply-lost",
        })
    }
}

/// The call at which a gateway dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    /// The call's number, from 0.
    pub call: usize,
    /// Where in it.
    pub at: Moment,
}

/// A call that a gateway made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: String,
    /// What: `PATCH /apis/apps/v1/namespaces/shop/deployments/cart`, `publish outcome`.
    pub what: String,
    /// Whether it may change something: everything but reads.
    pub writes: bool,
}

/// All calls of all gateways, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    crash: Option<Crash>,
    made: Mutex<Vec<Call>>,
}

impl Calls {
    pub(crate) fn new(crash: Option<Crash>) -> Self {
        Self { crash, made: Mutex::default() }
    }

    /// Notes a call; gives where in it the caller dies, if it does.
    pub(crate) fn note(&self, at: DateTime<Utc>, by: Id, what: impl FnOnce() -> (String, bool)) -> Option<Moment> {
        if by.plane != Plane::Gateway {
            return None;
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= MOST {
            return None;
        }
        let number = made.len();
        let (what, writes) = what();
        made.push(Call { at, by: by.to_string(), what, writes });
        self.crash.filter(|crash| crash.call == number).map(|crash| crash.at)
    }

    /// All of them so far.
    pub(crate) fn made(&self) -> Vec<Call> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

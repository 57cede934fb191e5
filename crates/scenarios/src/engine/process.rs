//! One process of the engine, seen from outside: what it dies of, and where.

use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_simulator::VirtualClock;
use tokio::sync::mpsc;

use super::calls::{Calls, Moment};
use super::fuse::Fuse;
use crate::file::{On, Plane};

/// Which process: the plane and its number among its kind, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) plane: Plane,
    pub(crate) number: u32,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.plane, self.number)
    }
}

/// Deaths that wait for their moment. Shared by all processes: the first that comes to it dies.
#[derive(Debug, Default)]
pub(crate) struct Deaths(Mutex<Vec<(Plane, Option<u32>, On)>>);

impl Deaths {
    pub(crate) fn add(&self, plane: Plane, number: Option<u32>, on: On) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((plane, number, on));
    }

    /// Takes the death that waits for this moment of this process.
    fn take(&self, id: Id, moment: On) -> bool {
        let mut deaths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let meant = |(plane, number, on): &(Plane, Option<u32>, On)| {
            *plane == id.plane && *on == moment && number.is_none_or(|number| number == id.number)
        };
        let Some(at) = deaths.iter().position(meant) else { return false };
        deaths.remove(at);
        true
    }
}

/// One life of a process: from a start to its end.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) id: Id,
    pub(crate) fuse: Fuse,
    deaths: Arc<Deaths>,
    died: mpsc::UnboundedSender<(Id, On)>,
    clock: VirtualClock,
    calls: Arc<Calls>,
}

impl Life {
    pub(crate) fn new(
        id: Id,
        deaths: Arc<Deaths>,
        died: mpsc::UnboundedSender<(Id, On)>,
        (clock, calls): (VirtualClock, Arc<Calls>),
    ) -> Self {
        Self { id, fuse: Fuse::default(), deaths, died, clock, calls }
    }

    /// Makes a call through the fuse. `lost` is what a caller sees whose answer never comes. Does not return where the
    /// caller dies.
    pub(crate) async fn call<T>(
        &self,
        what: impl FnOnce() -> (String, bool),
        call: impl Future<Output = T>,
        lost: impl FnOnce() -> T,
    ) -> T {
        let moment = self.calls.note(self.clock.now(), self.id, what);
        if moment == Some(Moment::BeforeSend) {
            self.die(On::BeforeSend).await;
        }
        let answer = self.fuse.guard(call).await;
        match moment {
            Some(Moment::AfterCommit) => {
                self.die(On::AfterAct).await;
                answer
            }
            Some(Moment::ReplyLost) => lost(),
            Some(Moment::BeforeSend) | None => answer,
        }
    }

    /// Dies here if that is what waits for it: does not return then.
    pub(crate) async fn pass(&self, moment: On) {
        if self.deaths.take(self.id, moment) {
            self.die(moment).await;
        }
    }

    async fn die(&self, moment: On) {
        self.fuse.blow();
        // Nobody listens once the simulation is over.
        let _ = self.died.send((self.id, moment));
        std::future::pending::<()>().await;
    }

    /// Whether the answer to what was just done is to be lost.
    pub(crate) fn loses_reply(&self) -> bool {
        self.deaths.take(self.id, On::LoseReply)
    }
}

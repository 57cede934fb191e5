//! The cluster in time: who turns the wheel, and how a client gets in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::clock::VirtualClock;
use crate::controllers::{self, Cluster, Controller};
use crate::images::Images;
use crate::kinds::Kinds;
use crate::schema::Schemas;
use crate::state::State;
use crate::store::Store;

/// What a simulation is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// When it begins.
    pub start: DateTime<Utc>,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// What the kubelet does with each image.
    pub images: Images,
}

/// A simulated cluster; clones are the same one.
#[derive(Debug, Clone)]
pub struct Simulator {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    controllers: Mutex<Vec<Box<dyn Controller>>>,
    changed: Notify,
}

impl Simulator {
    /// A cluster with nothing in it but the namespaces that every cluster has.
    pub fn new(options: Options) -> Self {
        let state = State {
            clock: VirtualClock::begin(options.start),
            random: fastrand::Rng::with_seed(options.seed),
            store: Store::default(),
            kinds: Kinds::default(),
            schemas: Schemas::default(),
            images: Arc::new(options.images),
            log: Vec::new(),
            machines: crate::nodes::Machines::default(),
            recorded: crate::controllers::Recorded::default(),
        };
        let inner =
            Inner { state: Mutex::new(state), controllers: Mutex::new(controllers::all()), changed: Notify::new() };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the controllers look, although no object changed.
    pub(crate) fn nudge(&self) {
        self.inner.changed.notify_one();
    }

    /// The cluster's clock.
    pub fn clock(&self) -> VirtualClock {
        self.state().clock
    }

    /// Turns the wheel until it is dropped: controllers run when something changed or became due.
    pub async fn run(&self) {
        loop {
            let due = self.turn();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.inner.changed.notified() => {}
                () = wait => {}
            }
        }
    }

    /// Lets every controller take its turns until none changes anything; gives when one wants to look again.
    fn turn(&self) -> Option<tokio::time::Instant> {
        let mut controllers = self.inner.controllers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        loop {
            let before = state.store.revision();
            let mut due: Option<DateTime<Utc>> = None;
            for controller in controllers.iter_mut() {
                let next = controller.reconcile(&mut Cluster::new(&mut state, controller.name()));
                due = due.into_iter().chain(next).min();
            }
            if state.store.revision() == before {
                return due.map(|due| state.clock.instant(due));
            }
        }
    }
}

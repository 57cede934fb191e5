//! The cluster in time: who turns the wheel, and how a client gets in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::api::{Fuse, Intercept};
use crate::clock::VirtualClock;
use crate::controllers;
use crate::guard::Guard;
use crate::images::Images;
use crate::kinds::Kinds;
use crate::schema::Schemas;
use crate::state::State;
use crate::store::Store;
use crate::wheel::Wheel;

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
    wheel: Mutex<Wheel>,
    guard: Mutex<Guard>,
    interceptor: Mutex<Option<Arc<dyn Intercept>>>,
    changed: Notify,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulator {
    /// A cluster with nothing in it but the namespaces that every cluster has.
    pub fn new(options: Options) -> Self {
        let mut state = State {
            clock: VirtualClock::begin(options.start),
            random: fastrand::Rng::with_seed(options.seed),
            store: Store::default(),
            kinds: Kinds::default(),
            schemas: Schemas::default(),
            images: Arc::new(options.images),
            log: Vec::new(),
            epoch: 0,
            machines: crate::nodes::Machines::default(),
            traffic: crate::traffic::Requests::default(),
            monitoring: None,
            recorded: crate::controllers::Recorded::default(),
        };
        state.begin();
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                wheel: Mutex::new(Wheel::new(controllers::all())),
                guard: Mutex::default(),
                interceptor: Mutex::default(),
                changed: Notify::new(),
            }),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }

    /// Makes the controllers look, although no object changed.
    pub(crate) fn nudge(&self) {
        lock(&self.inner.wheel).nudge();
        self.inner.changed.notify_one();
    }

    /// Something was written.
    pub(crate) fn wake(&self) {
        self.inner.changed.notify_one();
    }

    /// How long a request is on its way.
    pub(crate) fn latency(&self) -> Duration {
        Duration::from_millis(self.state().random.u64(1..=5))
    }

    /// Counts a request; false when there were too many.
    pub(crate) fn count(&self, what: impl FnOnce() -> String) -> bool {
        let now = self.clock().now();
        lock(&self.inner.guard).count(now, what)
    }

    pub(crate) fn interceptor(&self) -> Option<Arc<dyn Intercept>> {
        lock(&self.inner.interceptor).clone()
    }

    /// Grows with every write to an object.
    pub fn revision(&self) -> u64 {
        self.state().store.revision()
    }

    /// A client of a user. Must be called within a tokio runtime.
    pub fn client(&self, user: &str) -> kube::Client {
        self.client_with(user, Fuse::new())
    }

    /// A client of a user that can be cut off.
    pub fn client_with(&self, user: &str, fuse: Fuse) -> kube::Client {
        crate::api::client(self, user, fuse)
    }

    /// From now on decides on each request of each client.
    pub fn intercept(&self, interceptor: Option<Arc<dyn Intercept>>) {
        *lock(&self.inner.interceptor) = interceptor;
    }

    /// The cluster's clock.
    pub fn clock(&self) -> VirtualClock {
        self.state().clock
    }

    /// Why the simulation is no longer one: more requests and turns of controllers than can be meant.
    pub fn failure(&self) -> Option<String> {
        lock(&self.inner.guard).failure()
    }

    /// How many requests and turns of controllers there may be within one virtual second. Default 10,000.
    pub fn limit(&self, most: u64) {
        lock(&self.inner.guard).limit(most);
    }

    /// How many changes of each resource are kept for watches; who asks for older ones gets 410 Gone. Default 10,000.
    pub fn keep(&self, changes: usize) {
        self.state().store.keep(changes);
    }

    /// Forgets history, as etcd's compaction does: who goes on from before gets 410 Gone.
    pub fn compact(&self) {
        self.state().store.compact();
    }

    /// Ends all watches, as an API server does that is restarted.
    pub fn interrupt_watches(&self) {
        let mut state = self.state();
        state.epoch += 1;
        state.store.wake();
    }

    /// Turns the wheel until it is dropped, or the simulation failed: controllers run a little after
    /// something that they watch changed, and when they are due.
    pub async fn run(&self) {
        loop {
            let due = self.turn();
            if self.failure().is_some() {
                return;
            }
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

    /// Lets every controller that is due take its turn; gives when the next is.
    fn turn(&self) -> Option<tokio::time::Instant> {
        let mut wheel = lock(&self.inner.wheel);
        let mut state = self.state();
        let next = wheel.turn(&mut state, &mut lock(&self.inner.guard));
        next.map(|next| state.clock.instant(next))
    }
}

//! When which controller takes its turn.

use chrono::{DateTime, Duration, Utc};

use crate::controllers::{Cluster, Controller};
use crate::guard::Guard;
use crate::kinds::Resource;
use crate::state::State;

/// The controllers, each with what it has seen.
#[derive(Debug)]
pub(crate) struct Wheel(Vec<Spoke>);

#[derive(Debug)]
struct Spoke {
    controller: Box<dyn Controller>,
    watches: Vec<Resource>,
    /// The store's revision at its last turn.
    seen: u64,
    /// When it hears of what changed since.
    hears: Option<DateTime<Utc>>,
    /// When it wanted to look again.
    due: Option<DateTime<Utc>>,
    nudged: bool,
}

impl Wheel {
    pub(crate) fn new(controllers: Vec<Box<dyn Controller>>) -> Self {
        let spoke = |controller: Box<dyn Controller>| Spoke {
            watches: controller.watches().iter().map(|&resource| resource.into()).collect(),
            controller,
            seen: 0,
            hears: None,
            due: None,
            nudged: true,
        };
        Self(controllers.into_iter().map(spoke).collect())
    }

    /// Everybody looks at the next turn.
    pub(crate) fn nudge(&mut self) {
        for spoke in &mut self.0 {
            spoke.nudged = true;
        }
    }

    /// Runs who is due, in order; gives when the next one is. A controller hears of a change some
    /// milliseconds after it: that is why statuses lag behind.
    pub(crate) fn turn(&mut self, state: &mut State, guard: &mut Guard) -> Option<DateTime<Utc>> {
        let now = state.now();
        for spoke in &mut self.0 {
            let is_due = spoke.nudged || [spoke.hears, spoke.due].into_iter().flatten().any(|at| at <= now);
            if !is_due {
                continue;
            }
            let name = spoke.controller.name();
            if !guard.count(now, || format!("turns of {name}")) {
                return None;
            }
            spoke.seen = state.store.revision();
            (spoke.nudged, spoke.hears) = (false, None);
            let due = spoke.controller.reconcile(&mut Cluster::new(state, name));
            // Whoever wants to look again at once does so after time has passed.
            spoke.due = due.map(|due| due.max(now + Duration::milliseconds(1)));
        }
        for spoke in &mut self.0 {
            let seen = spoke.seen;
            if spoke.hears.is_none() && spoke.watches.iter().any(|resource| state.store.head(resource) > seen) {
                spoke.hears = Some(now + Duration::milliseconds(state.random.i64(2..=20)));
            }
        }
        self.0.iter().flat_map(|spoke| [spoke.hears, spoke.due]).flatten().min()
    }
}

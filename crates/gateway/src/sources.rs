//! Readiness: whether what decisions need can be read at all.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_runtime::{BoxError, Shutdown};

use crate::plane::Plane;

/// How often sources are asked without need: as often as a readiness probe would notice.
const EVERY: Duration = Duration::from_secs(30);
/// How often while one of them can't be asked.
const AGAIN: Duration = Duration::from_secs(2);

impl Plane {
    /// Asks for ledger, policies and playbooks until shutdown, each of which says so to health.
    pub(crate) async fn check_sources(self: Arc<Self>, shutdown: Shutdown) -> Result<(), BoxError> {
        // A ledger that does not exist is made of what the Remediations say: they come first.
        let mut listed = self.listed.subscribe();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            listed = listed.wait_for(|listed| *listed) => drop(listed?),
        }
        loop {
            let now = self.now();
            let ledger = self.change_ledger(|spec| evenkeel_policy::ledger::prune(spec, now)).await.is_ok();
            let policies = self.policies.check().await.is_ok();
            let playbooks = self.playbooks.check().await.is_ok();
            let pause = if ledger && policies && playbooks { EVERY } else { AGAIN };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

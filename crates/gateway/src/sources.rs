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
    /// Asks for ledger, policies, playbooks and freezes until shutdown, each of which says so to health.
    pub(crate) async fn check_sources(self: Arc<Self>, shutdown: Shutdown) -> Result<(), BoxError> {
        // A ledger that does not exist is made of what the Remediations say: they come first.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = self.listed.wait() => {}
        }
        loop {
            let now = self.now();
            // Before the first request comes: what is older than that it holds is not believed.
            if let Err(error) = self.people_guard.check().await {
                tracing::debug!(%error, "the admission policy for people's requests could not be tried");
            }
            self.breakers();
            let ledger = self.change_ledger(|spec| evenkeel_policy::ledger::prune(spec, now)).await.is_ok();
            let policies = self.policies.check().await.is_ok();
            let playbooks = self.playbooks.check().await.is_ok();
            let freezes = matches!(self.freezes.read().await, evenkeel_policy::Freezes::Read(_));
            let pause = if ledger && policies && playbooks && freezes { EVERY } else { AGAIN };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

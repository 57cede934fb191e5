//! Deletes finished Jobs whose time to live has passed.

use chrono::{DateTime, TimeDelta, Utc};

use super::{RESOURCE, finished};
use crate::api::{By, Deletion};
use crate::controllers::queue::Queue;
use crate::controllers::{Cluster, Controller};
use crate::store::Key;
use crate::value::{integer, is_terminating, name, namespace, time, uid};

const WATCHED: &[&str] = &[RESOURCE];

/// The TTL-after-finished controller.
#[derive(Debug, Default)]
pub(crate) struct TimeToLive {
    queue: Queue,
}

impl Controller for TimeToLive {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        WATCHED
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        self.queue.run(
            cluster,
            WATCHED,
            |_, _, _| {},
            |cluster, job| {
                let ttl = integer(job, "/spec/ttlSecondsAfterFinished").filter(|_| !is_terminating(job));
                let Some(ended) = finished(job).and_then(|found| time(found, "/lastTransitionTime")) else {
                    return Ok(None);
                };
                let Some(until) = ttl.map(|ttl| ended + TimeDelta::seconds(ttl)) else { return Ok(None) };
                if until > cluster.now() {
                    return Ok(Some(until));
                }
                let user = cluster.user();
                let by = By { user: &user, manager: "kube-controller-manager", dry_run: false };
                let how = Deletion {
                    uid: Some(uid(job).to_owned()),
                    propagation: Some("Foreground".to_owned()),
                    ..Deletion::default()
                };
                let key = Key::new(RESOURCE, namespace(job), name(job));
                match cluster.state.delete(by, &key, &how) {
                    Err(failure) if failure.code != 404 => Err(failure),
                    _ => Ok(None),
                }
            },
        )
    }
}

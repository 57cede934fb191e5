//! Notes which revisions once had all their pods available: nothing in the API remembers it once a
//! revision is scaled to zero, and going back to one that never worked would help nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use evenkeel_bus::{Bucket, BucketName, Bus, BusError, Key};
use evenkeel_cluster::AvailabilityLookup;
use evenkeel_model::{AvailabilityRecord, Clock, Kind};
use evenkeel_runtime::{Backoff, BoxError, Shutdown};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::metrics::{Metrics, count};
use crate::sight::Sight;
use crate::world::{self, World};

const SWEEP: Duration = Duration::from_secs(2);
/// Every so many sweeps, records of what is gone are removed.
const PRUNE_EVERY: u32 = 300;

/// Revisions known to have been available: what the bucket holds, in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records(Arc<RwLock<BTreeMap<String, AvailabilityRecord>>>);

impl Records {
    fn knows(&self, revision_uid: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(revision_uid)
    }

    fn insert(&self, record: AvailabilityRecord) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(record.revision_uid.clone(), record);
    }

    fn remove(&self, revision_uid: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(revision_uid);
    }

    fn all(&self) -> Vec<AvailabilityRecord> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[async_trait]
impl AvailabilityLookup for Records {
    async fn was_available(&self, revision_uid: &str) -> bool {
        self.knows(revision_uid)
    }
}

/// What may be recorded once it has lasted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Settled {
    /// A ReplicaSet that holds all of its Deployment's replicas.
    ReplicaSet { uid: String, owner: String },
    /// A StatefulSet or DaemonSet with all pods of its newest revision, as of a generation.
    Workload { kind: Kind, namespace: String, name: String, uid: String, generation: i64 },
}

/// All that is settled now.
pub(crate) fn settled(world: &World) -> BTreeSet<Settled> {
    let mut all = BTreeSet::new();
    for (namespace, _, replica_set) in world.replica_sets.iter() {
        let Some(owner) = replica_set.meta.owner.as_ref().filter(|owner| owner.kind == Kind::Deployment) else {
            continue;
        };
        let Some(deployment) = world.deployments.get(namespace, &owner.name) else { continue };
        // In the middle of a rollout a revision has some of the replicas, and they may all be well.
        if replica_set.is_available() && replica_set.desired >= deployment.desired && deployment.meta.uid == owner.uid {
            all.insert(Settled::ReplicaSet { uid: replica_set.meta.uid.to_string(), owner: owner.uid.to_string() });
        }
    }
    for kind in [Kind::StatefulSet, Kind::DaemonSet] {
        for (namespace, name, workload) in world.workloads(kind).into_iter().flat_map(|table| table.iter()) {
            if workload.is_complete() {
                all.insert(Settled::Workload {
                    kind,
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    uid: workload.meta.uid.to_string(),
                    generation: workload.meta.generation,
                });
            }
        }
    }
    all
}

/// The task that keeps the records.
pub(crate) struct Keeper {
    pub(crate) records: Records,
    pub(crate) sight: Arc<Sight>,
    pub(crate) client: Client,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hold: chrono::Duration,
    pub(crate) metrics: Metrics,
}

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("reading ControllerRevisions of {namespace}: {source}")]
    Read {
        namespace: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("an availability record can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Keeper {
    /// Runs until shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) -> Result<(), BoxError> {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30), 3);
        let mut bucket = None;
        let mut since: BTreeMap<Settled, DateTime<Utc>> = BTreeMap::new();
        let mut done: BTreeSet<Settled> = BTreeSet::new();
        let mut sweeps = 0_u32;
        let mut failing = false;
        loop {
            let swept = async {
                let bucket = match &bucket {
                    Some(bucket) => bucket,
                    None => bucket.insert(self.load().await?),
                };
                sweeps = sweeps.wrapping_add(1);
                if sweeps.is_multiple_of(PRUNE_EVERY) {
                    self.prune(bucket).await?;
                }
                self.sweep(bucket, &mut since, &mut done).await
            }
            .await;
            let wait = match swept {
                Ok(()) => {
                    failing = false;
                    backoff.reset();
                    SWEEP
                }
                Err(error) => {
                    self.metrics.error("availability");
                    if !failing {
                        tracing::warn!(%error, "availability can't be recorded; trying again");
                    }
                    failing = true;
                    backoff.next().max(SWEEP)
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn load(&self) -> Result<Arc<dyn Bucket>, KeepError> {
        let bucket = self.bus.bucket(BucketName::Baselines).await?;
        for name in bucket.keys().await?.into_iter().filter(|key| key.starts_with("available.")) {
            let Some(entry) = bucket.get(&Key::new(name)?).await? else { continue };
            match serde_json::from_slice::<AvailabilityRecord>(&entry.value) {
                Ok(record) => self.records.insert(record),
                Err(error) => {
                    self.metrics.error("availability");
                    tracing::warn!(%error, "an availability record can't be read and is left out");
                }
            }
        }
        Ok(bucket)
    }

    async fn sweep(
        &self,
        bucket: &Arc<dyn Bucket>,
        since: &mut BTreeMap<Settled, DateTime<Utc>>,
        done: &mut BTreeSet<Settled>,
    ) -> Result<(), KeepError> {
        // What watches last said may no longer be so while one of them is broken.
        if !self.sight.is_live() {
            return Ok(());
        }
        let now = self.clock.now();
        let settled = settled(&world::read(&self.sight.world));
        since.retain(|one, _| settled.contains(one));
        done.retain(|one| settled.contains(one));
        for one in settled.into_iter().filter(|one| !done.contains(one)).collect::<Vec<_>>() {
            let begun = *since.entry(one.clone()).or_insert(now);
            if now - begun >= self.hold {
                self.record(bucket, &one, begun).await?;
                done.insert(one);
            }
        }
        self.metrics.availability_records.set(count(self.records.all().len()));
        Ok(())
    }

    async fn record(&self, bucket: &Arc<dyn Bucket>, one: &Settled, since: DateTime<Utc>) -> Result<(), KeepError> {
        let (revision, owner) = match one {
            Settled::ReplicaSet { uid, owner } => (Some(uid.clone()), owner),
            Settled::Workload { namespace, uid, .. } => (self.newest_revision(namespace, uid).await?, uid),
        };
        let Some(revision_uid) = revision.filter(|uid| !self.records.knows(uid)) else { return Ok(()) };
        let record = AvailabilityRecord { revision_uid, owner_uid: owner.clone(), since };
        let value = Bytes::from(serde_json::to_vec(&record)?);
        match bucket.create(&Key::new(AvailabilityRecord::key(&record.revision_uid))?, value).await {
            // Another observer, or this one before its reply was lost.
            Ok(_) | Err(BusError::Conflict { .. }) => self.records.insert(record),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Uid of the newest ControllerRevision of a workload.
    async fn newest_revision(&self, namespace: &str, owner: &str) -> Result<Option<String>, KeepError> {
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), namespace);
        let list = api.list(&ListParams::default().limit(500)).await;
        let list =
            list.map_err(|source| KeepError::Read { namespace: namespace.to_owned(), source: Box::new(source) })?;
        let owned = list.items.into_iter().filter(|it| it.owner_references().iter().any(|by| by.uid == owner));
        Ok(owned.max_by_key(|it| it.revision).and_then(|it| it.metadata.uid))
    }

    /// Removes records of revisions and workloads that are gone.
    async fn prune(&self, bucket: &Arc<dyn Bucket>) -> Result<(), KeepError> {
        if !self.sight.is_live() {
            return Ok(());
        }
        let gone: Vec<AvailabilityRecord> = {
            let world = world::read(&self.sight.world);
            let uids =
                |kind| world.workloads(kind).into_iter().flat_map(|table| table.iter()).map(|(_, _, it)| &*it.meta.uid);
            let deployments: BTreeSet<&str> = uids(Kind::Deployment).collect();
            let others: BTreeSet<&str> = uids(Kind::StatefulSet).chain(uids(Kind::DaemonSet)).collect();
            let replica_sets: BTreeSet<&str> = world.replica_sets.iter().map(|(_, _, it)| &*it.meta.uid).collect();
            let is_there = |record: &AvailabilityRecord| {
                let owner = record.owner_uid.as_str();
                others.contains(owner)
                    || (deployments.contains(owner) && replica_sets.contains(record.revision_uid.as_str()))
            };
            self.records.all().into_iter().filter(|record| !is_there(record)).collect()
        };
        for record in gone {
            bucket.remove(&Key::new(AvailabilityRecord::key(&record.revision_uid))?).await?;
            self.records.remove(&record.revision_uid);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

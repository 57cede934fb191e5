use std::sync::Arc;

use bytes::Bytes;
use evenkeel_bus::{Bucket, BusError, Key};
use evenkeel_model::Incident;

/// Compare-and-set is tried so often before the message is left to come again.
const MAX_CONFLICTS: u32 = 64;

/// An incident that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The value is not an incident this version understands: hands off.
    #[error("bucket incidents, key {key}: expected an incident, found something else: {source}")]
    Malformed {
        /// Its key.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl ReadError {
    /// Whether it says nothing against the message that was being handled.
    pub(crate) fn is_trouble_of_the_bus(&self) -> bool {
        matches!(
            self,
            Self::Bus(
                BusError::Unavailable(_) | BusError::Full { .. } | BusError::Conflict { .. } | BusError::Timeout { .. }
            )
        )
    }
}

/// The incidents bucket with typed values.
#[derive(Clone)]
pub(crate) struct Incidents {
    bucket: Arc<dyn Bucket>,
}

/// An incident with the revision to name when it is replaced.
#[derive(Debug, Clone)]
pub(crate) struct Versioned {
    pub(crate) incident: Incident,
    pub(crate) revision: u64,
}

impl Incidents {
    pub(crate) fn new(bucket: Arc<dyn Bucket>) -> Self {
        Self { bucket }
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Versioned>, ReadError> {
        let Some(entry) = self.bucket.get(key).await? else { return Ok(None) };
        let incident = serde_json::from_slice(&entry.value)
            .map_err(|source| ReadError::Malformed { key: key.to_string(), source })?;
        Ok(Some(Versioned { incident, revision: entry.revision }))
    }

    async fn put(&self, key: &Key, incident: &Incident, revision: Option<u64>) -> Result<u64, ReadError> {
        let value = serde_json::to_vec(incident)
            .map(Bytes::from)
            .map_err(|source| ReadError::Malformed { key: key.to_string(), source })?;
        Ok(match revision {
            Some(revision) => self.bucket.update(key, value, revision).await?,
            None => self.bucket.create(key, value).await?,
        })
    }

    /// Reads, changes and writes until nobody came in between. `change` returns what is to be
    /// written, or `None` to leave it. Returns what lies there afterwards, if it was written.
    /// `on_conflict` is called for each lost write.
    pub(crate) async fn change(
        &self,
        key: &Key,
        on_conflict: impl Fn(),
        mut change: impl FnMut(Option<&Incident>) -> Option<Incident>,
    ) -> Result<Option<Versioned>, ReadError> {
        for _ in 0..MAX_CONFLICTS {
            let found = self.get(key).await?;
            let (current, revision) = match &found {
                Some(found) => (Some(&found.incident), Some(found.revision)),
                None => (None, None),
            };
            let Some(next) = change(current) else { return Ok(None) };
            match self.put(key, &next, revision).await {
                Ok(revision) => return Ok(Some(Versioned { incident: next, revision })),
                Err(ReadError::Bus(BusError::Conflict { .. })) => {
                    on_conflict();
                    tokio::task::yield_now().await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(BusError::Conflict { key: key.to_string() }.into())
    }

    pub(crate) async fn keys(&self) -> Result<Vec<Key>, ReadError> {
        let keys = self.bucket.keys().await?;
        Ok(keys.into_iter().filter_map(|key| Key::new(key).ok()).collect())
    }

    /// Removes what was read; one that was written since stays.
    pub(crate) async fn remove(&self, key: &Key, read: &Versioned) -> Result<(), ReadError> {
        match self.bucket.remove_at(key, read.revision).await {
            Ok(()) | Err(BusError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// All incidents of the bucket, oldest first, for people: values this version does not understand
/// are left out and counted in the second part.
///
/// # Errors
/// When the bus fails.
pub async fn read_incidents(bucket: Arc<dyn Bucket>) -> Result<(Vec<Incident>, usize), BusError> {
    let incidents = Incidents::new(bucket);
    let mut all = Vec::new();
    let mut unreadable = 0;
    for key in incidents.keys().await.map_err(bus_only)? {
        match incidents.get(&key).await {
            Ok(Some(found)) => all.push(found.incident),
            Ok(None) => {}
            Err(ReadError::Bus(error)) => return Err(error),
            Err(ReadError::Malformed { .. }) => unreadable += 1,
        }
    }
    all.sort_by(|a, b| (a.opened_at, &a.id).cmp(&(b.opened_at, &b.id)));
    Ok((all, unreadable))
}

fn bus_only(error: ReadError) -> BusError {
    match error {
        ReadError::Bus(error) => error,
        ReadError::Malformed { key, source } => BusError::Unavailable(format!("{key}: {source}")),
    }
}

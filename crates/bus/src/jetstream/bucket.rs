use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::StreamMessage;
use async_nats::{HeaderMap, header};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::link::StoreError;
use super::watch::Watcher;
use super::{Link, direct};
use crate::{Bucket, BucketName, BusError, Change, Cluster, Entry, Key, names};

/// As the NATS clients' key-value buckets mark a removal (ADR-8).
const OPERATION: &str = "KV-Operation";
const REMOVED: &str = "DEL";

/// How long a removal is remembered: longer than a watcher may be cut off.
const REMOVAL_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A bucket on its stream, laid out as the NATS clients' key-value buckets are, but without the
/// rollups and purges by which one message can empty a bucket.
pub(super) struct JetStreamBucket {
    link: Link,
    place: Place,
}

/// Where a bucket lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) stream: String,
    pub(super) prefix: String,
    pub(super) changes: String,
}

impl JetStreamBucket {
    pub(super) fn new(link: Link, cluster: &Cluster, name: BucketName) -> Self {
        let place = Place {
            stream: names::bucket_stream(cluster, name),
            prefix: names::bucket_prefix(cluster, name),
            changes: names::bucket_changes(cluster, name),
        };
        Self { link, place }
    }

    pub(super) async fn check(&self) -> Result<(), BusError> {
        direct::stream_info(&self.link, &self.place.stream).await.map(|_| ())
    }

    async fn last(&self, key: &Key) -> Result<Option<StreamMessage>, BusError> {
        direct::last(&self.link, &self.place.stream, &self.place.subject(key)).await
    }

    /// Writes when the key is at `revision`; 0: was never written, or its removal is forgotten.
    async fn write(&self, key: &Key, value: Bytes, revision: u64, removal: bool) -> Result<u64, BusError> {
        self.link.check_size(&value)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string().as_str());
        if removal {
            headers.insert(OPERATION, REMOVED);
            headers.insert(header::NATS_MESSAGE_TTL, REMOVAL_KEPT.as_secs().to_string().as_str());
        }
        match self.link.store(self.place.subject(key), headers, value).await {
            Ok(ack) => Ok(ack.sequence),
            Err(StoreError::Refused(error)) if error.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE => {
                Err(BusError::Conflict { key: key.as_str().to_owned() })
            }
            Err(error) => Err(error.into_bus(&self.place.stream)),
        }
    }
}

impl Place {
    fn subject(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The whole bucket.
    pub(super) fn filter(&self) -> String {
        format!("{}>", self.prefix)
    }

    /// What a message of the stream means.
    pub(super) fn change(&self, message: StreamMessage) -> Change {
        let subject = message.subject.as_str();
        let key = subject.strip_prefix(&self.prefix).unwrap_or(subject).to_owned();
        if is_absent(&message) {
            Change::Removed { key }
        } else {
            Change::Put { key, entry: Entry { value: message.payload, revision: message.sequence } }
        }
    }
}

/// Whether there is nothing in its place: it was removed, or what is there no plane has written. Such a thing gives way
/// to the next value that is created.
fn is_absent(message: &StreamMessage) -> bool {
    message.headers.get(OPERATION).is_some() || !is_written(&message.headers)
}

/// Whether it was written as [`JetStreamBucket::write`] does. What the server answers to a request that named this place
/// for its answer (see [`crate::permissions`]) was not: it has no expectation of its own, says itself which stream it was
/// read from, or that a schedule made it. Reading by direct get adds the stream's name once, rightly.
fn is_written(headers: &HeaderMap) -> bool {
    let count = |name: &str| headers.get_all(name).count();
    count(header::NATS_STREAM.as_ref()) == 1
        && count(header::NATS_SCHEDULER.as_ref()) == 0
        && count(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE.as_ref()) == 1
}

#[async_trait]
impl Bucket for JetStreamBucket {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, BusError> {
        let message = self.last(key).await?.filter(|message| !is_absent(message));
        Ok(message.map(|message| Entry { value: message.payload, revision: message.sequence }))
    }

    async fn create(&self, key: &Key, value: Bytes) -> Result<u64, BusError> {
        match self.write(key, value.clone(), 0, false).await {
            Err(BusError::Conflict { key: name }) => match self.last(key).await? {
                Some(removal) if is_absent(&removal) => self.write(key, value, removal.sequence, false).await,
                _ => Err(BusError::Conflict { key: name }),
            },
            other => other,
        }
    }

    async fn update(&self, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        self.write(key, value, revision, false).await
    }

    async fn remove(&self, key: &Key) -> Result<(), BusError> {
        // Somebody may write in between: what they wrote is removed too.
        while let Some(message) = self.last(key).await?.filter(|message| !is_absent(message)) {
            match self.write(key, Bytes::new(), message.sequence, true).await {
                Err(BusError::Conflict { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
                other => return other.map(|_| ()),
            }
        }
        Ok(())
    }

    async fn remove_at(&self, key: &Key, revision: u64) -> Result<(), BusError> {
        self.write(key, Bytes::new(), revision, true).await.map(|_| ())
    }

    async fn keys(&self) -> Result<Vec<String>, BusError> {
        let last = direct::stream_info(&self.link, &self.place.stream).await?.state.last_sequence;
        let (stream, filter) = (self.place.stream.clone(), self.place.filter());
        let messages = direct::read(self.link.clone(), stream, filter, direct::Start::Sequence(1), last);
        let mut keys: Vec<String> = messages
            .try_filter_map(|message| {
                std::future::ready(Ok(match self.place.change(message) {
                    Change::Put { key, .. } => Some(key),
                    Change::Removed { .. } | Change::Current => None,
                }))
            })
            .try_collect()
            .await?;
        keys.sort_unstable();
        // A key replaced while we read is met again at its new place.
        keys.dedup();
        Ok(keys)
    }

    async fn watch(&self) -> Result<BoxStream<'static, Result<Change, BusError>>, BusError> {
        Ok(Watcher::start(self.link.clone(), self.place.clone()).await?.into_stream().boxed())
    }
}

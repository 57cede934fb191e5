//! The durable bus: one trait, in memory and on NATS JetStream.
//!
//! Planes talk through six [streams](Stream) (signals, proposals, outcomes, audit records, wake-ups
//! and the dead), four [buckets](BucketName) and one request/reply service (evidence). Every stream
//! delivers at least once, in any order, possibly after an acknowledgement: consumers are
//! idempotent by [`Delivery::id`].
//!
//! A message that could not be handled is never lost from sight: [`Delivery::dead`] moves it to
//! the `dead` stream with its reason before it is acknowledged.

pub mod admin;
mod bucket;
mod error;
pub mod jetstream;
pub mod memory;
mod message;
mod names;
pub mod permissions;
mod subject;

pub use bucket::{Bucket, BucketName, Change, Entry, Key, MAX_VALUE_BYTES};
pub use error::BusError;
pub use jetstream::{Authentication, JetStreamBus, JetStreamOptions, Tls};
pub use memory::{MemoryBus, MemoryOptions, Trouble};
pub use message::{Acknowledge, Delivery, Publish, Published, Request, TraceContext, WakeUp};
pub use subject::{Cluster, Consumer as ConsumerName, EvidenceSubject, Stream, Subject};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

/// What every plane needs of a message bus. The memory bus and the JetStream bus
/// pass the same conformance suite.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Stores a message durably. Returns once the bus answers for it.
    ///
    /// A message whose id was stored before within the duplicate window is not stored again
    /// ([`Published::duplicate`]).
    ///
    /// # Errors
    /// [`BusError::Full`] when the stream is at its limits, [`BusError::Unavailable`] when the
    /// server can't be reached: nothing may be assumed about the message then.
    async fn publish(&self, message: Publish) -> Result<Published, BusError>;

    /// Opens a durable consumer; any number of processes share one by its name.
    ///
    /// # Errors
    /// [`BusError::Missing`] when `evenkeel bus init` has not created it.
    async fn consume(&self, consumer: ConsumerName) -> Result<Box<dyn Consume>, BusError>;

    /// Opens a bucket.
    ///
    /// # Errors
    /// [`BusError::Missing`] when `evenkeel bus init` has not created it.
    async fn bucket(&self, name: BucketName) -> Result<Arc<dyn Bucket>, BusError>;

    /// Asks whoever serves `subject` and waits for one reply.
    ///
    /// # Errors
    /// [`BusError::Timeout`] when no reply came in time, [`BusError::NoResponders`] when nobody
    /// serves the subject.
    async fn request(
        &self,
        subject: EvidenceSubject,
        payload: Bytes,
        trace: TraceContext,
        timeout: Duration,
    ) -> Result<Bytes, BusError>;

    /// Serves requests on `subject`, sharing them with every other process that serves it.
    async fn serve(&self, subject: EvidenceSubject) -> Result<BoxStream<'static, Request>, BusError>;

    /// Has `wake_up` delivered on [`Stream::WakeUps`] at its time, also when this process is gone.
    /// One wake-up is held per key: a later call replaces the earlier.
    async fn wake_at(&self, wake_up: WakeUp) -> Result<(), BusError>;

    /// Reads stored messages of a stream from `since` on, oldest first, without consuming them.
    /// Ends at the last message stored when the call was made.
    async fn replay(
        &self,
        stream: Stream,
        since: Option<DateTime<Utc>>,
    ) -> Result<BoxStream<'static, Result<Stored, BusError>>, BusError>;

    /// Says whether the bus can be used now, and what it holds.
    async fn status(&self) -> Result<Status, BusError>;
}

/// A durable consumer.
#[async_trait]
pub trait Consume: Send {
    /// Waits up to `wait` for at least one message and returns at most `max`. An empty answer means
    /// that none came.
    async fn fetch(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError>;
}

/// A message as it lies in a stream.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Position in the stream, from 1.
    pub sequence: u64,
    /// When the bus stored it.
    pub at: DateTime<Utc>,
    /// The subject it was published to.
    pub subject: String,
    /// The publisher's id.
    pub id: String,
    /// The body.
    pub payload: Bytes,
    /// Why it is in the dead stream; `None` in any other.
    pub reason: Option<String>,
}

/// What the bus holds, as `evenkeel bus status` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Status {
    /// Server version, or `memory`.
    pub server: String,
    /// One entry per stream, in the order of [`Stream::ALL`].
    pub streams: Vec<StreamStatus>,
    /// One entry per consumer.
    pub consumers: Vec<ConsumerStatus>,
}

impl Status {
    /// What is known of a stream.
    pub fn stream(&self, stream: Stream) -> Option<&StreamStatus> {
        self.streams.iter().zip(Stream::ALL).find_map(|(status, it)| (it == stream).then_some(status))
    }

    /// What is known of a consumer.
    pub fn consumer(&self, consumer: ConsumerName) -> Option<&ConsumerStatus> {
        self.consumers.iter().find(|status| status.name == consumer.name())
    }
}

/// One stream's state.
#[derive(Debug, Clone, serde::Serialize)]
pub struct StreamStatus {
    /// Name on the server.
    pub name: String,
    /// Messages held.
    pub messages: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Position of the last message ever stored; 0 before the first.
    pub last: u64,
}

/// One consumer's state.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ConsumerStatus {
    /// Name on the server.
    pub name: String,
    /// Messages not delivered yet.
    pub pending: u64,
    /// Messages delivered and not acknowledged yet.
    pub unacknowledged: u64,
    /// Position in the stream up to which everything was acknowledged.
    pub settled: u64,
}

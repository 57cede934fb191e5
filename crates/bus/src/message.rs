use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{BusError, Key, Subject};
use std::time::Duration;

/// W3C trace context (`traceparent`), carried in message headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The `traceparent` header; `None` where nothing is traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A message to be stored.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Where to.
    pub subject: Subject,
    /// Identity for deduplication, here and in every consumer. At most 256 bytes.
    pub id: String,
    /// The body.
    pub payload: Bytes,
    /// The publisher's trace.
    pub trace: TraceContext,
}

/// The bus' answer for a stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Position in the stream.
    pub sequence: u64,
    /// True when a message of this id was there already.
    pub duplicate: bool,
}

/// A wake-up to be delivered later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeUp {
    /// What is to be woken; one wake-up is held per key.
    pub key: Key,
    /// When; in the past means at once.
    pub at: DateTime<Utc>,
    /// The body the consumer gets.
    pub payload: Bytes,
}

/// A message handed to a consumer. It comes again unless it is acknowledged, moved to the dead or
/// kept in progress within the acknowledgement time.
pub struct Delivery {
    /// The subject it was published to.
    pub subject: String,
    /// The publisher's id.
    pub id: String,
    /// Position in the stream.
    pub sequence: u64,
    /// How often it has been handed out, this time included. From 1.
    pub delivered: u64,
    /// When the bus stored it.
    pub stored_at: DateTime<Utc>,
    /// The body.
    pub payload: Bytes,
    /// The publisher's trace.
    pub trace: TraceContext,
    pub(crate) acknowledge: Box<dyn Acknowledge>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("subject", &self.subject)
            .field("id", &self.id)
            .field("sequence", &self.sequence)
            .field("delivered", &self.delivered)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

impl Delivery {
    /// Done: it need not come again (though it may).
    ///
    /// # Errors
    /// [`BusError::Unavailable`]: it will come again.
    pub async fn ack(&self) -> Result<(), BusError> {
        self.acknowledge.ack().await
    }

    /// Not now: it comes again after `delay`.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]: it will come again after the acknowledgement time.
    pub async fn nak(&self, delay: Duration) -> Result<(), BusError> {
        self.acknowledge.nak(delay).await
    }

    /// Still at it: restarts the acknowledgement time.
    ///
    /// # Errors
    /// [`BusError::Unavailable`].
    pub async fn in_progress(&self) -> Result<(), BusError> {
        self.acknowledge.in_progress().await
    }

    /// Never again: copies the message to the dead stream with `reason`, then ends it.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] or [`BusError::Full`]: it is not ended and will come again.
    pub async fn dead(&self, reason: &str) -> Result<(), BusError> {
        self.acknowledge.dead(reason).await
    }
}

/// How one implementation acknowledges.
#[async_trait]
pub trait Acknowledge: Send + Sync {
    /// See [`Delivery::ack`].
    async fn ack(&self) -> Result<(), BusError>;
    /// See [`Delivery::nak`].
    async fn nak(&self, delay: Duration) -> Result<(), BusError>;
    /// See [`Delivery::in_progress`].
    async fn in_progress(&self) -> Result<(), BusError>;
    /// See [`Delivery::dead`].
    async fn dead(&self, reason: &str) -> Result<(), BusError>;
}

/// A request to be answered.
pub struct Request {
    /// The body.
    pub payload: Bytes,
    /// The asker's trace.
    pub trace: TraceContext,
    pub(crate) reply: Box<dyn FnOnce(Bytes) -> futures::future::BoxFuture<'static, Result<(), BusError>> + Send>,
}

impl Request {
    /// Answers it.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] or [`BusError::TooLarge`].
    pub async fn reply(self, payload: Bytes) -> Result<(), BusError> {
        (self.reply)(payload).await
    }
}

//! The bus on NATS JetStream.

mod bucket;
mod consumer;
mod direct;
mod link;
mod options;
mod watch;

pub(crate) use link::Link;
pub use options::{Authentication, JetStreamOptions, Tls};

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{consumer as nats_consumer, stream as nats_stream};
use async_nats::{HeaderMap, Request as NatsRequest, RequestErrorKind, header};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::{
    Bucket, BucketName, Bus, BusError, Cluster, Consume, ConsumerName, ConsumerStatus, EvidenceSubject, Publish,
    Published, Request, Status, Stored, Stream, StreamStatus, TraceContext, WakeUp, names,
};

/// Kept free for headers below the server's `max_payload`.
pub(crate) const HEADER_ROOM: usize = 4 * 1024;

/// The queue group of those who serve evidence.
const EVIDENCE_GROUP: &str = "evenkeel-evidence";

/// The bus on NATS JetStream. Clones share one connection, which returns by itself; while it is
/// away, every call is answered with [`BusError::Unavailable`].
#[derive(Clone)]
pub struct JetStreamBus {
    link: Link,
    cluster: Cluster,
}

impl JetStreamBus {
    /// Connects.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when no server answers, [`BusError::Unsuitable`] when it is older
    /// than 2.12.6, refuses the user, or a secret's file cannot be read.
    pub async fn connect(options: JetStreamOptions) -> Result<Self, BusError> {
        let link = Link::connect(&options).await?;
        Ok(Self { link, cluster: options.cluster })
    }

    async fn stream_status(&self, stream: Stream) -> Result<StreamStatus, BusError> {
        let info = direct::stream_info(&self.link, &names::stream(&self.cluster, stream)).await?;
        let (name, state) = (info.config.name, info.state);
        Ok(StreamStatus { name, messages: state.messages, bytes: state.bytes, last: state.last_sequence })
    }

    async fn consumer_status(&self, consumer: ConsumerName) -> Result<ConsumerStatus, BusError> {
        let info = consumer_info(&self.link, &self.cluster, consumer).await?;
        Ok(ConsumerStatus {
            name: consumer.name().to_owned(),
            pending: info.num_pending,
            unacknowledged: info.num_ack_pending as u64,
            settled: info.ack_floor.stream_sequence,
        })
    }
}

/// Reads what the server knows of a consumer.
async fn consumer_info(
    link: &Link,
    cluster: &Cluster,
    consumer: ConsumerName,
) -> Result<nats_consumer::Info, BusError> {
    let (stream, name) = (names::stream(cluster, consumer.stream()), consumer.name());
    link.api(&format!("CONSUMER.INFO.{stream}.{name}"), &format!("consumer {name} of stream {stream}")).await
}

/// Headers of a message that is to be stored.
fn headers(trace: &TraceContext) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(traceparent) = trace.traceparent.as_deref().filter(|text| text.bytes().all(|b| b.is_ascii_graphic())) {
        headers.insert(names::HEADER_TRACE, traceparent);
    }
    headers
}

/// One header's value.
fn header_value(headers: Option<&HeaderMap>, name: &str) -> Option<String> {
    headers?.get(name).map(|value| value.as_str().to_owned())
}

/// The trace a message came with.
fn trace(headers: Option<&HeaderMap>) -> TraceContext {
    TraceContext { traceparent: header_value(headers, names::HEADER_TRACE) }
}

/// The publisher's id, also where the message was moved or scheduled since.
fn id(headers: Option<&HeaderMap>) -> String {
    header_value(headers, names::HEADER_ID)
        .or_else(|| header_value(headers, header::NATS_MESSAGE_ID.as_ref()))
        .unwrap_or_default()
}

/// Whether a stored message was published as this bus publishes. The server answers a request on
/// whatever subject it names, past the asker's permissions (seen on 2.15.2); such an answer carries
/// no id, or says which stream it was read from, or that a schedule made it.
fn genuine(stream: Stream, headers: Option<&HeaderMap>, read: bool) -> bool {
    let Some(headers) = headers else { return false };
    let count = |name: &str| headers.get_all(name).count();
    // Reading by direct get adds the name once, rightly.
    let not_an_answer = count(header::NATS_STREAM.as_ref()) == usize::from(read);
    let scheduled = count(header::NATS_SCHEDULER.as_ref()) > 0;
    not_an_answer && scheduled == (stream == Stream::WakeUps) && !id(Some(headers)).is_empty()
}

#[async_trait]
impl Bus for JetStreamBus {
    async fn publish(&self, message: Publish) -> Result<Published, BusError> {
        names::check_id(&message.id)?;
        self.link.check_size(&message.payload)?;
        let mut headers = headers(&message.trace);
        headers.insert(header::NATS_MESSAGE_ID, message.id.as_str());
        let stored = self.link.store(message.subject.render(&self.cluster), headers, message.payload).await;
        let ack = stored.map_err(|error| error.into_bus(&names::stream(&self.cluster, message.subject.stream())))?;
        Ok(Published { sequence: ack.sequence, duplicate: ack.duplicate })
    }

    async fn consume(&self, consumer: ConsumerName) -> Result<Box<dyn Consume>, BusError> {
        let info = consumer_info(&self.link, &self.cluster, consumer).await?;
        Ok(Box::new(consumer::JetStreamConsumer::new(self.link.clone(), self.cluster.clone(), consumer, info)?))
    }

    async fn bucket(&self, name: BucketName) -> Result<Arc<dyn Bucket>, BusError> {
        let bucket = bucket::JetStreamBucket::new(self.link.clone(), &self.cluster, name);
        bucket.check().await?;
        Ok(Arc::new(bucket))
    }

    async fn request(
        &self,
        subject: EvidenceSubject,
        payload: Bytes,
        trace: TraceContext,
        timeout: Duration,
    ) -> Result<Bytes, BusError> {
        self.link.check_up()?;
        self.link.check_size(&payload)?;
        let subject = subject.render(&self.cluster);
        let request = NatsRequest::new().headers(headers(&trace)).payload(payload).timeout(Some(timeout));
        match self.link.client.send_request(subject.clone(), request).await {
            Ok(message) => Ok(message.payload),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::TimedOut => BusError::Timeout { subject },
                RequestErrorKind::NoResponders => BusError::NoResponders { subject },
                RequestErrorKind::MaxPayloadExceeded => self.link.too_large(0),
                RequestErrorKind::InvalidSubject | RequestErrorKind::Other => {
                    BusError::Unavailable(format!("{subject}: {error}"))
                }
            }),
        }
    }

    async fn serve(&self, subject: EvidenceSubject) -> Result<BoxStream<'static, Request>, BusError> {
        self.link.check_up()?;
        let subject = subject.render(&self.cluster);
        let requests = self
            .link
            .client
            .queue_subscribe(subject.clone(), EVIDENCE_GROUP.to_owned())
            .await
            .map_err(|error| BusError::Unavailable(format!("subscribing to {subject}: {error}")))?;
        // Without this, a request asked at once by another process could come before the subscription.
        self.link
            .client
            .flush()
            .await
            .map_err(|error| BusError::Unavailable(format!("subscribing to {subject}: {error}")))?;
        let link = self.link.clone();
        let requests = requests.filter_map(move |message| {
            let link = link.clone();
            std::future::ready(message.reply.clone().map(|inbox| Request {
                trace: trace(message.headers.as_ref()),
                payload: message.payload,
                reply: Box::new(move |payload| {
                    Box::pin(async move {
                        link.check_up()?;
                        link.check_size(&payload)?;
                        let sent = link.client.publish(inbox, payload).await;
                        sent.map_err(|error| BusError::Unavailable(format!("replying: {error}")))
                    })
                }),
            }))
        });
        Ok(requests.boxed())
    }

    async fn wake_at(&self, wake_up: WakeUp) -> Result<(), BusError> {
        self.link.check_size(&wake_up.payload)?;
        let mut headers = HeaderMap::new();
        // No Nats-Msg-Id: to change one's mind and back within the duplicate window must count.
        headers.insert(names::HEADER_ID, names::wake_id(&wake_up.key, wake_up.at).as_str());
        let at = wake_up.at.to_rfc3339_opts(SecondsFormat::Millis, true);
        headers.insert(header::NATS_SCHEDULE, format!("@at {at}").as_str());
        headers.insert(header::NATS_SCHEDULE_TARGET, names::wake_due(&self.cluster).as_str());
        let subject = names::wake_at(&self.cluster, &wake_up.key);
        let stored = self.link.store(subject, headers, wake_up.payload).await;
        stored.map(|_| ()).map_err(|error| error.into_bus(&names::stream(&self.cluster, Stream::WakeUps)))
    }

    async fn replay(
        &self,
        stream: Stream,
        since: Option<DateTime<Utc>>,
    ) -> Result<BoxStream<'static, Result<Stored, BusError>>, BusError> {
        let name = names::stream(&self.cluster, stream);
        let last = direct::stream_info(&self.link, &name).await?.state.last_sequence;
        let filter = match stream {
            // Held wake-ups are no messages yet.
            Stream::WakeUps => names::wake_due(&self.cluster),
            _ => names::stream_subjects(&self.cluster, stream).concat(),
        };
        let start = since.map_or(direct::Start::Sequence(1), direct::Start::Time);
        let messages = direct::read(self.link.clone(), name, filter, start, last);
        let messages = messages.try_filter(move |message| {
            std::future::ready(stream == Stream::Dead || genuine(stream, Some(&message.headers), true))
        });
        let stored = messages.map_ok(|message| Stored {
            sequence: message.sequence,
            at: message.time,
            subject: message.subject.to_string(),
            id: id(Some(&message.headers)),
            payload: message.payload,
            reason: header_value(Some(&message.headers), names::HEADER_REASON),
        });
        Ok(stored.boxed())
    }

    async fn status(&self) -> Result<Status, BusError> {
        let streams = Stream::ALL.map(|stream| self.stream_status(stream));
        let consumers = ConsumerName::ALL.map(|consumer| self.consumer_status(consumer));
        let (streams, consumers) =
            futures::try_join!(futures::future::try_join_all(streams), futures::future::try_join_all(consumers))?;
        Ok(Status { server: self.link.client.server_info().version, streams, consumers })
    }
}

/// What the server says about a stream.
type StreamInfo = nats_stream::Info;

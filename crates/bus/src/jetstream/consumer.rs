use std::time::Duration;

use async_nats::jetstream::consumer::{FromConsumer as _, Info, PullConsumer, pull};
use async_nats::jetstream::{self, AckKind};
use async_nats::{HeaderMap, header};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;

use super::{Link, genuine, headers, id, trace};
use crate::{Acknowledge, BusError, Cluster, Consume, ConsumerName, Delivery, Stream, names};

pub(super) struct JetStreamConsumer {
    link: Link,
    cluster: Cluster,
    consumer: ConsumerName,
    pull: PullConsumer,
}

impl JetStreamConsumer {
    pub(super) fn new(link: Link, cluster: Cluster, consumer: ConsumerName, info: Info) -> Result<Self, BusError> {
        let config = pull::Config::try_from_consumer_config(info.config.clone()).map_err(|error| {
            BusError::Unsuitable(format!("consumer {} is not a pull consumer: {error}", consumer.name()))
        })?;
        let pull = PullConsumer::new(config, info, link.context.clone());
        Ok(Self { link, cluster, consumer, pull })
    }

    fn delivery(&self, message: jetstream::Message) -> Result<Delivery, BusError> {
        let unreadable = |error: &dyn std::fmt::Display| {
            BusError::Unavailable(format!("a delivery of {} cannot be read: {error}", self.consumer.name()))
        };
        let info = message.info().map_err(|error| unreadable(&error))?;
        let (sequence, stored_at) = (info.stream_sequence, info.published);
        let delivered = u64::try_from(info.delivered).map_err(|error| unreadable(&error))?;
        let message = message.message;
        let headers = message.headers.as_ref();
        Ok(Delivery {
            subject: message.subject.to_string(),
            id: id(headers),
            sequence,
            delivered,
            stored_at,
            trace: trace(headers),
            payload: message.payload.clone(),
            acknowledge: Box::new(Handle {
                link: self.link.clone(),
                cluster: self.cluster.clone(),
                consumer: self.consumer,
                sequence,
                message,
            }),
        })
    }
}

#[async_trait]
impl Consume for JetStreamConsumer {
    async fn fetch(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError> {
        self.link.check_up()?;
        let unavailable =
            |error: &dyn std::fmt::Display| BusError::Unavailable(format!("{}: {error}", self.consumer.name()));
        // No-wait with an expiry: the server answers at once with what it has, or waits for the first message.
        let request = self.pull.fetch().max_messages(max.max(1)).expires(wait.max(Duration::from_millis(1)));
        let mut messages = request.messages().await.map_err(|error| unavailable(&error))?;
        let deadline = tokio::time::sleep(wait + self.link.timeout);
        tokio::pin!(deadline);
        let mut batch = Vec::new();
        loop {
            let next = tokio::select! {
                biased;
                next = messages.next() => next,
                error = self.link.lost() => Some(Err(error.into())),
                () = &mut deadline => None,
            };
            match next {
                Some(Ok(message)) => {
                    let genuine = genuine(self.consumer.stream(), message.headers.as_ref(), false);
                    let delivery = self.delivery(message)?;
                    if genuine {
                        batch.push(delivery);
                    } else {
                        bury(&delivery).await;
                    }
                }
                None => return Ok(batch),
                // What came before is handed out; the trouble will be met again by the next fetch.
                Some(Err(_)) if !batch.is_empty() => return Ok(batch),
                Some(Err(error)) => return Err(unavailable(&error)),
            }
        }
    }
}

/// Keeps away from the workers what no plane published.
async fn bury(delivery: &Delivery) {
    tracing::warn!(subject = delivery.subject, sequence = delivery.sequence, "a message was not published by a plane");
    if let Err(error) = delivery.dead("not published by a plane: an answer sent to this subject").await {
        tracing::warn!(%error, "it could not be moved to the dead and will come again");
    }
}

struct Handle {
    link: Link,
    cluster: Cluster,
    consumer: ConsumerName,
    sequence: u64,
    message: async_nats::Message,
}

impl Handle {
    fn inbox(&self) -> String {
        self.message.reply.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// Waits for the server's word, so that a lost acknowledgement is known to be lost.
    async fn confirmed(&self, kind: AckKind) -> Result<(), BusError> {
        self.link.ask(self.inbox(), None, kind.into()).await.map(|_| ())
    }

    /// Does not wait: if it is lost, the message comes again after the acknowledgement time.
    async fn sent(&self, kind: AckKind) -> Result<(), BusError> {
        self.link.check_up()?;
        let sent = self.link.client.publish(self.inbox(), Bytes::from(kind)).await;
        sent.map_err(|error| BusError::Unavailable(format!("acknowledging: {error}")))
    }

    fn dead_headers(&self, reason: &str) -> HeaderMap {
        let before = self.message.headers.as_ref();
        let mut headers = headers(&trace(before));
        headers.insert(header::NATS_MESSAGE_ID, names::dead_id(self.consumer, self.sequence).as_str());
        headers.insert(names::HEADER_ID, id(before).as_str());
        headers.insert(names::HEADER_SUBJECT, self.message.subject.as_str());
        headers.insert(names::HEADER_REASON, names::reason(reason).as_str());
        headers
    }
}

#[async_trait]
impl Acknowledge for Handle {
    async fn ack(&self) -> Result<(), BusError> {
        self.confirmed(AckKind::Ack).await
    }

    async fn nak(&self, delay: Duration) -> Result<(), BusError> {
        self.sent(AckKind::Nak(Some(delay))).await
    }

    async fn in_progress(&self) -> Result<(), BusError> {
        self.sent(AckKind::Progress).await
    }

    async fn dead(&self, reason: &str) -> Result<(), BusError> {
        let subject = names::dead(&self.cluster, self.consumer.stream());
        let stored = self.link.store(subject, self.dead_headers(reason), self.message.payload.clone()).await;
        stored.map_err(|error| error.into_bus(&names::stream(&self.cluster, Stream::Dead)))?;
        self.confirmed(AckKind::Term).await
    }
}

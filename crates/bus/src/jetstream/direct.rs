//! Reading stored messages by direct get, in batches (ADR-31).
//!
//! Consumers would be the usual way. But whoever may create a consumer may have the server deliver
//! a stream to any subject in the account, past every permission, and may change the durable
//! consumers: no plane gets that right.

use std::collections::VecDeque;

use async_nats::StatusCode;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use futures::StreamExt as _;
use futures::stream::{self, Stream};

use super::{Link, StreamInfo};
use crate::BusError;

/// Messages per request; the answer is held in memory.
const BATCH: usize = 256;
/// Bytes after which the server ends a batch.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Where reading begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    Sequence(u64),
    Time(DateTime<Utc>),
}

/// What the server says about a stream.
pub(super) async fn stream_info(link: &Link, stream: &str) -> Result<StreamInfo, BusError> {
    link.api(&format!("STREAM.INFO.{stream}"), &format!("stream {stream}")).await
}

/// The last message of a subject.
pub(super) async fn last(link: &Link, stream: &str, subject: &str) -> Result<Option<StreamMessage>, BusError> {
    let answer = link.ask(format!("$JS.API.DIRECT.GET.{stream}.{subject}"), None, Bytes::new()).await?;
    match answer.status {
        Some(StatusCode::NOT_FOUND) => Ok(None),
        Some(status) if status != StatusCode::OK => {
            Err(BusError::Unavailable(format!("reading {subject} from {stream}: {status}")))
        }
        _ => parse(answer, stream).map(Some),
    }
}

/// One batch from `start` on; empty when there is nothing more.
pub(super) async fn batch(
    link: &Link,
    stream: &str,
    filter: &str,
    start: Start,
) -> Result<Vec<StreamMessage>, BusError> {
    link.check_up()?;
    let from = match start {
        Start::Sequence(sequence) => format!(r#""seq":{sequence}"#),
        Start::Time(at) => format!(r#""start_time":"{}""#, at.to_rfc3339_opts(SecondsFormat::Nanos, true)),
    };
    let request = format!(r#"{{{from},"next_by_subj":"{filter}","batch":{BATCH},"max_bytes":{BATCH_BYTES}}}"#);
    let subject = format!("$JS.API.DIRECT.GET.{stream}");
    let lost = |error: &dyn std::fmt::Display| BusError::Unavailable(format!("reading {stream}: {error}"));
    let inbox = link.client.new_inbox();
    let mut answers = link.client.subscribe(inbox.clone()).await.map_err(|error| lost(&error))?;
    let asked = link.client.publish_with_reply(subject.clone(), inbox, request.into()).await;
    asked.map_err(|error| lost(&error))?;
    let mut messages = Vec::new();
    loop {
        let answer = tokio::select! {
            answer = tokio::time::timeout(link.timeout, answers.next()) => answer,
            error = link.lost() => return Err(error),
        };
        let answer = answer.map_err(|_| link.silence(&subject))?.ok_or_else(|| lost(&"the client ended"))?;
        match answer.status.map(|status| status.as_u16()) {
            None | Some(200) => messages.push(parse(answer, stream)?),
            Some(204 | 404) => return Ok(messages),
            Some(503) => return Err(BusError::Missing { what: format!("stream {stream}") }),
            Some(code) => return Err(lost(&format!("status {code} {}", answer.description.unwrap_or_default()))),
        }
    }
}

fn parse(message: async_nats::Message, stream: &str) -> Result<StreamMessage, BusError> {
    StreamMessage::try_from(message)
        .map_err(|error| BusError::Unavailable(format!("a message of {stream} cannot be read: {error}")))
}

/// All messages whose subject fits `filter`, from `start` to sequence `last`.
pub(super) fn read(
    link: Link,
    stream: String,
    filter: String,
    start: Start,
    last: u64,
) -> impl Stream<Item = Result<StreamMessage, BusError>> + Send + 'static {
    let state = Reader { link, stream, filter, next: Some(start), last, read: VecDeque::new() };
    stream::try_unfold(state, |mut reader| async move {
        let message = reader.next().await?;
        Ok(message.map(|message| (message, reader)))
    })
}

struct Reader {
    link: Link,
    stream: String,
    filter: String,
    next: Option<Start>,
    last: u64,
    read: VecDeque<StreamMessage>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<StreamMessage>, BusError> {
        if self.read.is_empty()
            && let Some(start) = self.next.take()
            && !matches!(start, Start::Sequence(sequence) if sequence > self.last)
        {
            self.read = batch(&self.link, &self.stream, &self.filter, start).await?.into();
            self.next = self.read.back().map(|message| Start::Sequence(message.sequence + 1));
        }
        Ok(self.read.pop_front().filter(|message| message.sequence <= self.last))
    }
}

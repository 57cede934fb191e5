use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{Subscriber, header};
use futures::StreamExt as _;
use futures::stream::{self, Stream};
use tokio::sync::watch::Receiver;

use super::bucket::Place;
use super::direct::{self, Start};
use super::link::Turns;
use super::{Link, header_value};
use crate::{BusError, Change};

/// The bucket is read this often without being told to, in case what told us was lost.
const SWEEP: Duration = Duration::from_secs(30);
/// A replica that has not yet got what was announced is asked again after this time, then after
/// twice that, and so on.
const CATCH_UP: Duration = Duration::from_millis(20);
/// How often it is asked before the sweep is left to find it.
const CATCH_UPS: u32 = 8;

/// Follows a bucket: announcements of changes say when to read on from the last revision seen.
/// What they carry is not used, so a lost or forged one does no harm.
pub(super) struct Watcher {
    link: Link,
    place: Place,
    announced: Subscriber,
    turns: Receiver<Turns>,
    seen: u64,
    /// The revision up to which a reader should get.
    wanted: u64,
    /// How often it did not.
    short: u32,
    /// The bucket's last revision when the watch began, until [`Change::Current`] is sent.
    present: Option<u64>,
    read: VecDeque<(u64, Change)>,
}

impl Watcher {
    pub(super) async fn start(link: Link, place: Place) -> Result<Self, BusError> {
        link.check_up()?;
        let subject = place.changes.clone();
        let failed =
            |error: &dyn std::fmt::Display| BusError::Unavailable(format!("subscribing to {subject}: {error}"));
        let announced = link.client.subscribe(subject.clone()).await.map_err(|error| failed(&error))?;
        let present = direct::stream_info(&link, &place.stream).await?.state.last_sequence;
        let turns = link.turns();
        let read = VecDeque::new();
        Ok(Self { link, place, announced, turns, seen: 0, wanted: present, short: 0, present: Some(present), read })
    }

    /// Ends after the first error: the caller watches anew, and so meets every present value again.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Change, BusError>> + Send + 'static {
        stream::unfold(Some(self), |watcher| async move {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(change) => Some((Ok(change), Some(watcher))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Change, BusError> {
        loop {
            while let Some((revision, change)) = self.read.pop_front() {
                if let Some(present) = self.present
                    && revision > present
                {
                    self.read.push_front((revision, change));
                    self.present = None;
                    return Ok(Change::Current);
                }
                self.seen = revision;
                // What was removed before the watch began is not there to be told.
                if self.present.is_none() || !matches!(change, Change::Removed { .. }) {
                    return Ok(change);
                }
            }
            match direct::batch(&self.link, &self.place.stream, &self.place.filter(), Start::Sequence(self.seen + 1))
                .await
            {
                Ok(messages) if messages.is_empty() => {
                    if self.present.take().is_some() {
                        return Ok(Change::Current);
                    }
                    self.wait().await?;
                }
                Ok(messages) => {
                    self.read = messages.into_iter().map(|m| (m.sequence, self.place.change(m))).collect();
                }
                // The connection comes back by itself, and nothing seen so far is lost by waiting for it.
                Err(BusError::Unavailable(_)) if self.present.is_none() => self.wait().await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Until there may be something new to read.
    async fn wait(&mut self) -> Result<(), BusError> {
        let behind = self.wanted > self.seen && self.short < CATCH_UPS && self.link.check_up().is_ok();
        let pause = if behind { CATCH_UP.saturating_mul(2_u32.saturating_pow(self.short)) } else { SWEEP };
        tokio::select! {
            message = self.announced.next() => {
                let message = message.ok_or_else(|| BusError::Unavailable("the client ended".to_owned()))?;
                let revision = header_value(message.headers.as_ref(), header::NATS_SEQUENCE.as_ref());
                self.wanted = revision.and_then(|text| text.parse().ok()).unwrap_or(self.seen).max(self.wanted);
                self.short = 0;
            }
            () = tokio::time::sleep(pause) => self.short = if behind { self.short + 1 } else { 0 },
            changed = self.turns.changed() => {
                changed.map_err(|_| BusError::Unavailable("the client ended".to_owned()))?;
            }
        }
        Ok(())
    }
}

//! A process' connection to the bus: goes through its fuse, and past the moments at which it may die.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use evenkeel_bus::{
    Bucket, BucketName, Bus, BusError, Change, Consume, ConsumerName, Delivery, Entry, EvidenceSubject, Key, MemoryBus,
    Publish, Published, Request, Status, Stored, Stream, TraceContext, WakeUp,
};
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::process::Life;
use crate::file::On;

/// A process' bus.
pub(crate) struct Wire {
    pub(crate) bus: MemoryBus,
    pub(crate) life: Life,
}

#[async_trait]
impl Bus for Wire {
    async fn publish(&self, message: Publish) -> Result<Published, BusError> {
        self.life.pass(On::BeforePublish).await;
        let what = format!("publish {:?}", message.subject);
        let lost = || Err(BusError::Unavailable("the answer is lost".to_owned()));
        let published = self.life.call(|| (what, true), self.bus.publish(message), lost).await;
        self.life.pass(On::AfterPublish).await;
        published
    }

    async fn consume(&self, consumer: ConsumerName) -> Result<Box<dyn Consume>, BusError> {
        let inner = self.life.fuse.guard(self.bus.consume(consumer)).await?;
        Ok(Box::new(WiredConsumer { inner, life: self.life.clone() }))
    }

    async fn bucket(&self, name: BucketName) -> Result<Arc<dyn Bucket>, BusError> {
        let inner = self.life.fuse.guard(self.bus.bucket(name)).await?;
        Ok(Arc::new(WiredBucket { inner, life: self.life.clone() }))
    }

    async fn request(
        &self,
        subject: EvidenceSubject,
        payload: Bytes,
        trace: TraceContext,
        timeout: Duration,
    ) -> Result<Bytes, BusError> {
        self.life.fuse.guard(self.bus.request(subject, payload, trace, timeout)).await
    }

    async fn serve(&self, subject: EvidenceSubject) -> Result<BoxStream<'static, Request>, BusError> {
        self.life.fuse.guard(self.bus.serve(subject)).await
    }

    async fn wake_at(&self, wake_up: WakeUp) -> Result<(), BusError> {
        self.life.fuse.guard(self.bus.wake_at(wake_up)).await
    }

    async fn replay(
        &self,
        stream: Stream,
        since: Option<DateTime<Utc>>,
    ) -> Result<BoxStream<'static, Result<Stored, BusError>>, BusError> {
        self.life.fuse.guard(self.bus.replay(stream, since)).await
    }

    async fn status(&self) -> Result<Status, BusError> {
        self.life.fuse.guard(self.bus.status()).await
    }
}

struct WiredConsumer {
    inner: Box<dyn Consume>,
    life: Life,
}

#[async_trait]
impl Consume for WiredConsumer {
    async fn fetch(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError> {
        self.life.fuse.guard(self.inner.fetch(max, wait)).await
    }
}

struct WiredBucket {
    inner: Arc<dyn Bucket>,
    life: Life,
}

#[async_trait]
impl Bucket for WiredBucket {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, BusError> {
        self.life.fuse.guard(self.inner.get(key)).await
    }

    async fn create(&self, key: &Key, value: Bytes) -> Result<u64, BusError> {
        let created = self.life.fuse.guard(self.inner.create(key, value)).await;
        self.life.pass(On::AfterRecord).await;
        created
    }

    async fn update(&self, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        let updated = self.life.fuse.guard(self.inner.update(key, value, revision)).await;
        self.life.pass(On::AfterRecord).await;
        updated
    }

    async fn remove(&self, key: &Key) -> Result<(), BusError> {
        self.life.fuse.guard(self.inner.remove(key)).await
    }

    async fn remove_at(&self, key: &Key, revision: u64) -> Result<(), BusError> {
        self.life.fuse.guard(self.inner.remove_at(key, revision)).await
    }

    async fn keys(&self) -> Result<Vec<String>, BusError> {
        self.life.fuse.guard(self.inner.keys()).await
    }

    async fn watch(&self) -> Result<BoxStream<'static, Result<Change, BusError>>, BusError> {
        let changes = self.life.fuse.guard(self.inner.watch()).await?;
        Ok(changes.boxed())
    }
}

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::log::{Draft, Message};
use crate::{Acknowledge, BusError, Consume, ConsumerName, Delivery, Stream, names};

pub(super) struct MemoryConsumer {
    shared: Arc<Shared>,
    consumer: ConsumerName,
}

impl MemoryConsumer {
    pub(super) fn new(shared: Arc<Shared>, consumer: ConsumerName) -> Self {
        Self { shared, consumer }
    }

    fn delivery(&self, message: Arc<Message>, delivered: u64) -> Delivery {
        Delivery {
            subject: message.subject.clone(),
            id: message.id.clone(),
            sequence: message.sequence,
            delivered,
            stored_at: message.at,
            payload: message.payload.clone(),
            trace: message.trace.clone(),
            acknowledge: Box::new(Handle { shared: Arc::clone(&self.shared), consumer: self.consumer, message }),
        }
    }
}

#[async_trait]
impl Consume for MemoryConsumer {
    async fn fetch(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError> {
        let end = Instant::now() + wait;
        loop {
            // Listening begins before looking, so that nothing stored in between is missed.
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (batch, due) = {
                let mut state = self.shared.lock();
                state.ready()?;
                (state.take(self.consumer, max.max(1)), state.next_due(self.consumer))
            };
            if !batch.is_empty() || Instant::now() >= end {
                return Ok(batch.into_iter().map(|(message, count)| self.delivery(message, count)).collect());
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep_until(due.map_or(end, |due| due.min(end))) => {}
            }
        }
    }
}

struct Handle {
    shared: Arc<Shared>,
    consumer: ConsumerName,
    message: Arc<Message>,
}

#[async_trait]
impl Acknowledge for Handle {
    async fn ack(&self) -> Result<(), BusError> {
        let mut state = self.shared.lock();
        state.ready()?;
        state.ack(self.consumer, self.message.sequence);
        Ok(())
    }

    async fn nak(&self, delay: Duration) -> Result<(), BusError> {
        {
            let mut state = self.shared.lock();
            state.ready()?;
            if let Some(worklist) = state.worklist(self.consumer) {
                worklist.nak(self.message.sequence, delay, Instant::now());
            }
        }
        self.shared.changed.notify_waiters();
        Ok(())
    }

    async fn in_progress(&self) -> Result<(), BusError> {
        let mut state = self.shared.lock();
        state.ready()?;
        if let Some(worklist) = state.worklist(self.consumer) {
            worklist.in_progress(self.message.sequence, Instant::now());
        }
        Ok(())
    }

    async fn dead(&self, reason: &str) -> Result<(), BusError> {
        let mut state = self.shared.lock();
        state.ready()?;
        let draft = Draft {
            subject: names::dead(&state.options().cluster, self.consumer.stream()),
            id: self.message.id.clone(),
            deduplicate: Some(names::dead_id(self.consumer, self.message.sequence)),
            payload: self.message.payload.clone(),
            trace: self.message.trace.clone(),
            reason: Some(names::reason(reason)),
        };
        state.append(Stream::Dead, draft)?;
        if let Some(worklist) = state.worklist(self.consumer) {
            worklist.end(self.message.sequence);
        }
        Ok(())
    }
}

//! A bus in this process's memory. It promises nothing after a crash, and can be told to behave
//! as badly as a real one may.

mod bucket;
mod consumer;
mod log;
mod state;
mod table;
mod trouble;
mod worklist;

pub use trouble::Trouble;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use evenkeel_model::Clock;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    Bucket, BucketName, Bus, BusError, Cluster, Consume, ConsumerName, EvidenceSubject, Publish, Published, Request,
    Status, Stored, Stream, TraceContext, WakeUp, names,
};
use bucket::MemoryBucket;
use consumer::MemoryConsumer;
use log::Draft;
use state::State;
use trouble::Dice;

/// How many requests one server may be behind.
const REQUESTS_WAITING: usize = 64;

/// What a memory bus is to be. Waiting goes by tokio's time, what is written down by `clock`.
#[derive(Clone)]
pub struct MemoryOptions {
    /// The cluster, for subjects and names.
    pub cluster: Cluster,
    /// The time messages are stored at; wake-ups come when it says so.
    pub clock: Arc<dyn Clock>,
    /// A message not acknowledged in this time comes again.
    pub ack_wait: Duration,
    /// How long ids are remembered.
    pub duplicate_window: Duration,
    /// How many messages of a consumer may be unacknowledged at once.
    pub max_ack_pending: usize,
    /// How many messages a stream holds before it is full.
    pub max_messages: usize,
    /// How long a stream holds a message.
    pub max_age: Duration,
    /// What it does on purpose.
    pub trouble: Trouble,
}

impl MemoryOptions {
    /// The server's defaults, and no trouble.
    #[must_use]
    pub fn new(cluster: Cluster, clock: Arc<dyn Clock>) -> Self {
        Self {
            cluster,
            clock,
            ack_wait: Duration::from_secs(30),
            duplicate_window: Duration::from_secs(120),
            max_ack_pending: 1000,
            max_messages: 1_000_000,
            max_age: Duration::from_secs(24 * 3600),
            trouble: Trouble::none(),
        }
    }
}

/// The bus in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryBus {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something was stored, or is due earlier than it was.
    changed: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryBus {
    /// An empty bus.
    #[must_use]
    pub fn new(options: MemoryOptions) -> Self {
        let state = Mutex::new(State::new(options));
        Self { shared: Arc::new(Shared { state, changed: Notify::new() }) }
    }

    /// Changes what it does on purpose from now on.
    pub fn set_trouble(&self, trouble: Trouble) {
        let mut state = self.shared.lock();
        state.dice = Dice::new(trouble.seed);
        state.trouble = trouble;
    }

    /// While away, every call is answered with [`BusError::Unavailable`], as with a server that is
    /// stopped; what it holds is kept.
    pub fn set_away(&self, away: bool) {
        self.shared.lock().away = away;
        self.shared.changed.notify_waiters();
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, message: Publish) -> Result<Published, BusError> {
        names::check_id(&message.id)?;
        State::check_size(&message.payload)?;
        let published = {
            let mut state = self.shared.lock();
            state.ready()?;
            let draft = Draft {
                subject: message.subject.render(&state.options().cluster),
                deduplicate: Some(message.id.clone()),
                id: message.id,
                payload: message.payload,
                trace: message.trace,
                reason: None,
            };
            let published = state.append(message.subject.stream(), draft)?;
            let lost = state.trouble.lose_answer;
            if state.dice.chance(lost) {
                Err(BusError::Unavailable("the answer was lost on purpose".to_owned()))
            } else {
                Ok(published)
            }
        };
        self.shared.changed.notify_waiters();
        published
    }

    async fn consume(&self, consumer: ConsumerName) -> Result<Box<dyn Consume>, BusError> {
        self.shared.lock().ready()?;
        Ok(Box::new(MemoryConsumer::new(Arc::clone(&self.shared), consumer)))
    }

    async fn bucket(&self, name: BucketName) -> Result<Arc<dyn Bucket>, BusError> {
        self.shared.lock().ready()?;
        Ok(Arc::new(MemoryBucket::new(Arc::clone(&self.shared), name)))
    }

    async fn request(
        &self,
        subject: EvidenceSubject,
        payload: Bytes,
        trace: TraceContext,
        timeout: Duration,
    ) -> Result<Bytes, BusError> {
        State::check_size(&payload)?;
        let (server, rendered) = {
            let mut state = self.shared.lock();
            state.ready()?;
            (state.servers(subject), subject.render(&state.options().cluster))
        };
        let nobody = || BusError::NoResponders { subject: rendered.clone() };
        let server = server.ok_or_else(nobody)?;
        let (answer, answered) = oneshot::channel();
        let request = Request {
            payload,
            trace,
            reply: Box::new(move |payload| {
                Box::pin(async move {
                    State::check_size(&payload)?;
                    // The asker may have given up: that is no failure of the server.
                    let _ = answer.send(payload);
                    Ok(())
                })
            }),
        };
        let asked = async {
            server.send(request).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(Some(payload)) => Ok(payload),
            // A server that drops a request answers nothing; on the network that is silence.
            Ok(None) | Err(_) => Err(BusError::Timeout { subject: rendered }),
        }
    }

    async fn serve(&self, subject: EvidenceSubject) -> Result<BoxStream<'static, Request>, BusError> {
        let (server, requests) = mpsc::channel(REQUESTS_WAITING);
        let mut state = self.shared.lock();
        state.ready()?;
        state.serve(subject, server);
        let next = |mut requests: mpsc::Receiver<Request>| async move { Some((requests.recv().await?, requests)) };
        Ok(futures::stream::unfold(requests, next).boxed())
    }

    async fn wake_at(&self, wake_up: WakeUp) -> Result<(), BusError> {
        State::check_size(&wake_up.payload)?;
        {
            let mut state = self.shared.lock();
            state.ready()?;
            state.schedule(wake_up);
        }
        self.shared.changed.notify_waiters();
        Ok(())
    }

    async fn replay(
        &self,
        stream: Stream,
        since: Option<DateTime<Utc>>,
    ) -> Result<BoxStream<'static, Result<Stored, BusError>>, BusError> {
        let messages = {
            let mut state = self.shared.lock();
            state.ready()?;
            state.read(stream, since)
        };
        let stored = messages.into_iter().map(|message| {
            Ok(Stored {
                sequence: message.sequence,
                at: message.at,
                subject: message.subject.clone(),
                id: message.id.clone(),
                payload: message.payload.clone(),
                reason: message.reason.clone(),
            })
        });
        Ok(futures::stream::iter(stored).boxed())
    }

    async fn status(&self) -> Result<Status, BusError> {
        let mut state = self.shared.lock();
        state.ready()?;
        Ok(state.status())
    }
}

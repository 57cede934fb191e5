use std::sync::Arc;
use std::time::Duration;

use evenkeel_bus::{BucketName, Bus, BusError, Consume, ConsumerName, Delivery};
use evenkeel_model::Clock;
use evenkeel_playbook::Playbooks;
use evenkeel_runtime::{Backoff, Health, HealthPart, Shutdown, Supervisor, TaskEnded};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::core::Core;
use crate::incidents::{Incidents, ReadError};
use crate::metrics::ConsumerLabels;
use crate::{Config, Metrics, outcomes, playbooks, signals, sweep, wake_ups};

/// How long a fetch waits for a first message.
const FETCH_WAIT: Duration = Duration::from_secs(5);

/// What the reasoner is made of.
pub struct Parts {
    /// Its configuration.
    pub config: Config,
    /// The cluster's name.
    pub cluster: String,
    /// The engine's own namespace.
    pub namespace: String,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where it says whether it is ready.
    pub health: Health,
    /// Its metrics, registered.
    pub metrics: Metrics,
}

/// Why the reasoner ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bucket it works on can't be opened.
    #[error("the reasoner can't start: {0}")]
    Bus(#[from] BusError),
    /// One of its tasks ended before it was asked to.
    #[error(transparent)]
    Task(#[from] TaskEnded),
}

/// Runs the reasoner until `shutdown`; then finishes what it has in hand.
///
/// # Errors
/// [`Error`] when it can't start or one of its tasks ends by itself.
pub async fn run(parts: Parts, shutdown: Shutdown) -> Result<(), Error> {
    let Parts { config, cluster, namespace, bus, clock, health, metrics } = parts;
    let incidents = Incidents::new(bus.bucket(BucketName::Incidents).await?);
    let (empty, _) = Playbooks::new(vec![]);
    let (playbooks_sender, playbooks) = watch::channel(Arc::new(empty));
    let loaded = health.part("playbooks");
    let planning = Arc::new(Semaphore::new(config.concurrency.max(1)));
    let plans = TaskTracker::new();
    let core = Arc::new(Core {
        config,
        cluster,
        namespace,
        bus: Arc::clone(&bus),
        incidents,
        clock,
        metrics: metrics.clone(),
        playbooks: playbooks.clone(),
        planning,
        plans: plans.clone(),
    });

    let mut tasks = Supervisor::new(shutdown.clone());
    tasks.spawn("playbooks", playbooks::follow(bus, playbooks_sender, loaded, metrics, shutdown.clone()));
    // Deciding before the playbooks are known would escalate everything.
    if !first_playbooks(playbooks, &shutdown).await {
        return Ok(tasks.join().await?);
    }
    tasks.spawn("signals", signals::follow(Arc::clone(&core), health.part("signals"), shutdown.clone()));
    tasks.spawn("outcomes", outcomes::follow(Arc::clone(&core), health.part("outcomes"), shutdown.clone()));
    tasks.spawn("wake-ups", wake_ups::follow(Arc::clone(&core), health.part("wake-ups"), shutdown.clone()));
    tasks.spawn("sweep", sweep::follow(core, shutdown));
    let ended = tasks.join().await;
    plans.close();
    plans.wait().await;
    Ok(ended?)
}

/// Waits for the bucket's playbooks. False when shutdown came first.
async fn first_playbooks(mut playbooks: watch::Receiver<Arc<Playbooks>>, shutdown: &Shutdown) -> bool {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => false,
        changed = playbooks.changed() => changed.is_ok(),
    }
}

/// Fetches from one consumer for as long as the process lives, through restarts of the server.
pub(crate) struct Fetcher {
    name: ConsumerName,
    consumer: Option<Box<dyn Consume>>,
    health: HealthPart,
    backoff: Backoff,
    shutdown: Shutdown,
}

impl Fetcher {
    pub(crate) fn new(name: ConsumerName, health: HealthPart, shutdown: Shutdown) -> Self {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5), name as u64);
        Self { name, consumer: None, health, backoff, shutdown }
    }

    /// The next messages; `None` once shutdown was asked for.
    pub(crate) async fn next(&mut self, core: &Core, max: usize) -> Option<Vec<Delivery>> {
        let shutdown = self.shutdown.clone();
        loop {
            let fetched = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                fetched = self.fetch(core, max) => fetched,
            };
            match fetched {
                Ok(batch) => {
                    self.health.ready();
                    self.backoff.reset();
                    if !batch.is_empty() {
                        return Some(batch);
                    }
                }
                Err(error) => {
                    self.health.not_ready(error.to_string());
                    core.metrics.errors.get_or_create(&ConsumerLabels { consumer: self.name.name() }).inc();
                    self.consumer = None;
                    let pause = self.backoff.next();
                    tracing::warn!(%error, consumer = self.name.name(), "nothing could be fetched; trying again");
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => return None,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    async fn fetch(&mut self, core: &Core, max: usize) -> Result<Vec<Delivery>, BusError> {
        let consumer = match &mut self.consumer {
            Some(consumer) => consumer,
            None => {
                let opened = core.bus.consume(self.name).await?;
                self.health.ready();
                self.consumer.insert(opened)
            }
        };
        consumer.fetch(max, FETCH_WAIT).await
    }
}

/// Moves a message that was handed out too often to the dead stream, before anything is made of
/// it. True when it was.
pub(crate) async fn poison(core: &Core, consumer: ConsumerName, delivery: &Delivery) -> bool {
    if delivery.delivered <= core.config.max_deliveries {
        return false;
    }
    core.metrics.dead.get_or_create(&ConsumerLabels { consumer: consumer.name() }).inc();
    let reason = format!("handed out {} times to {} without success", delivery.delivered, consumer.name());
    if let Err(error) = delivery.dead(&reason).await {
        tracing::warn!(%error, id = delivery.id, "a message could not be moved to the dead stream");
    }
    true
}

/// Takes out of a batch what was handed out so often that it may be what ends its reader. It is handled
/// alone and last, so that it takes nothing along; which of several comes first changes each time.
pub(crate) fn suspects(core: &Core, batch: &mut Vec<Delivery>) -> Vec<Delivery> {
    let (mut suspects, rest): (Vec<Delivery>, Vec<Delivery>) =
        std::mem::take(batch).into_iter().partition(|delivery| delivery.delivered > core.config.max_deliveries / 2);
    *batch = rest;
    let turn = suspects.iter().map(|delivery| delivery.delivered).max().unwrap_or(0);
    let by = usize::try_from(turn).unwrap_or(0).checked_rem(suspects.len()).unwrap_or(0);
    suspects.rotate_left(by);
    suspects
}

/// Waits out trouble of the bus with messages in hand: handed back, they would be counted and look like
/// poison in the end.
pub(crate) struct Patience {
    consumer: ConsumerName,
    backoff: Backoff,
}

impl Patience {
    pub(crate) fn new(consumer: ConsumerName) -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5), consumer as u64);
        Self { consumer, backoff }
    }

    /// Whether what came of the messages was trouble of the bus. Then they are kept, and some time has
    /// passed; false once shutdown is asked for.
    pub(crate) async fn try_again<T>(
        &mut self,
        core: &Core,
        came: &Result<T, ReadError>,
        deliveries: &[Delivery],
        shutdown: &Shutdown,
    ) -> bool {
        let Some(error) = came.as_ref().err().filter(|error| error.is_trouble_of_the_bus()) else { return false };
        core.metrics.errors.get_or_create(&ConsumerLabels { consumer: self.consumer.name() }).inc();
        tracing::debug!(%error, consumer = self.consumer.name(), "messages are kept until the bus can be used");
        for delivery in deliveries {
            if let Err(error) = delivery.in_progress().await {
                tracing::debug!(%error, id = delivery.id, "can't be kept; it comes again by itself");
            }
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => false,
            () = tokio::time::sleep(self.backoff.next()) => true,
        }
    }
}

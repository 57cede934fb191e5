use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::MemoryOptions;
use super::log::{AtLimit, Draft, Log, LogLimits, Message};
use super::table::Table;
use super::trouble::{Dice, Trouble};
use super::worklist::Worklist;
use crate::{
    BucketName, BusError, ConsumerName, ConsumerStatus, EvidenceSubject, Key, Published, Request, Status, Stream,
    StreamStatus, TraceContext, WakeUp, names,
};

/// Everything the bus holds: plain data, changed under one lock that no one waits in.
pub(super) struct State {
    options: MemoryOptions,
    pub(super) trouble: Trouble,
    pub(super) dice: Dice,
    pub(super) away: bool,
    logs: BTreeMap<Stream, Log>,
    worklists: BTreeMap<ConsumerName, Worklist>,
    tables: BTreeMap<BucketName, Table>,
    wake_ups: BTreeMap<Key, WakeUp>,
    servers: BTreeMap<EvidenceSubject, Vec<mpsc::Sender<Request>>>,
    turn: usize,
}

impl State {
    pub(super) fn new(options: MemoryOptions) -> Self {
        let limits = LogLimits {
            max_messages: options.max_messages,
            max_age: options.max_age,
            duplicate_window: options.duplicate_window,
        };
        let worklist = || Worklist::new(options.ack_wait, options.max_ack_pending);
        Self {
            trouble: options.trouble.clone(),
            dice: Dice::new(options.trouble.seed),
            away: false,
            logs: Stream::ALL.into_iter().map(|stream| (stream, Log::new(limits))).collect(),
            worklists: ConsumerName::ALL.into_iter().map(|consumer| (consumer, worklist())).collect(),
            tables: BucketName::ALL.into_iter().map(|name| (name, Table::default())).collect(),
            wake_ups: BTreeMap::new(),
            servers: BTreeMap::new(),
            turn: 0,
            options,
        }
    }

    /// Refuses while the bus is away; brings wake-ups up to date otherwise.
    pub(super) fn ready(&mut self) -> Result<(), BusError> {
        if self.away {
            return Err(BusError::Unavailable("the memory bus was told to be away".to_owned()));
        }
        let now = self.options.clock.now();
        let due: Vec<Key> = self.wake_ups.values().filter(|w| w.at <= now).map(|w| w.key.clone()).collect();
        for key in due {
            if let Some(wake_up) = self.wake_ups.remove(&key) {
                let draft = Draft {
                    subject: names::wake_due(&self.options.cluster),
                    id: names::wake_id(&wake_up.key, wake_up.at),
                    deduplicate: None,
                    payload: wake_up.payload.clone(),
                    trace: TraceContext::default(),
                    reason: None,
                };
                if self.append(Stream::WakeUps, draft).is_err() {
                    // A full stream: held until there is room.
                    self.wake_ups.insert(key, wake_up);
                }
            }
        }
        Ok(())
    }

    pub(super) fn append(&mut self, stream: Stream, draft: Draft) -> Result<Published, BusError> {
        let at = self.options.clock.now();
        let missing = || BusError::Missing { what: format!("stream {stream:?}") };
        let log = self.logs.get_mut(&stream).ok_or_else(missing)?;
        log.append(draft, at, Instant::now()).map_err(|AtLimit| BusError::Full {
            stream: names::stream(&self.options.cluster, stream),
            reason: format!("{} messages are the most it holds", self.options.max_messages),
        })
    }

    pub(super) fn take(&mut self, consumer: ConsumerName, max: usize) -> Vec<(Arc<Message>, u64)> {
        match (self.logs.get(&consumer.stream()), self.worklists.get_mut(&consumer)) {
            (Some(log), Some(worklist)) => worklist.take(log, max, Instant::now(), &self.trouble, &mut self.dice),
            _ => Vec::new(),
        }
    }

    pub(super) fn ack(&mut self, consumer: ConsumerName, sequence: u64) {
        if let Some(worklist) = self.worklists.get_mut(&consumer) {
            worklist.ack(sequence, Instant::now(), &self.trouble, &mut self.dice);
        }
    }

    pub(super) fn worklist(&mut self, consumer: ConsumerName) -> Option<&mut Worklist> {
        self.worklists.get_mut(&consumer)
    }

    /// When a consumer that found nothing should look again by itself.
    pub(super) fn next_due(&self, consumer: ConsumerName) -> Option<Instant> {
        let again = self.worklists.get(&consumer).and_then(Worklist::next_due);
        let woken = self.wake_ups.values().map(|w| w.at).min().filter(|_| consumer.stream() == Stream::WakeUps);
        let now = self.options.clock.now();
        let woken = woken.map(|at| {
            // Rounded up: a clock that counts finer than the timer would be asked too early.
            let wait = (at - now).to_std().unwrap_or_default();
            Instant::now() + wait.max(std::time::Duration::from_millis(1))
        });
        again.into_iter().chain(woken).min()
    }

    pub(super) fn schedule(&mut self, wake_up: WakeUp) {
        self.wake_ups.insert(wake_up.key.clone(), wake_up);
    }

    pub(super) fn table(&mut self, name: BucketName) -> &mut Table {
        self.tables.entry(name).or_default()
    }

    pub(super) fn serve(&mut self, subject: EvidenceSubject, server: mpsc::Sender<Request>) {
        self.servers.entry(subject).or_default().push(server);
    }

    /// The servers of a subject that still listen, the one whose turn it is first.
    pub(super) fn servers(&mut self, subject: EvidenceSubject) -> Option<mpsc::Sender<Request>> {
        let servers = self.servers.get_mut(&subject)?;
        servers.retain(|server| !server.is_closed());
        self.turn = self.turn.wrapping_add(1);
        servers.get(self.turn.checked_rem(servers.len())?).cloned()
    }

    pub(super) fn read(&self, stream: Stream, since: Option<DateTime<Utc>>) -> Vec<Arc<Message>> {
        let since = since.unwrap_or(DateTime::<Utc>::MIN_UTC);
        let log = self.logs.get(&stream);
        log.into_iter().flat_map(Log::iter).filter(|message| message.at >= since).cloned().collect()
    }

    pub(super) fn status(&self) -> Status {
        let streams = self.logs.iter().map(|(stream, log)| StreamStatus {
            name: names::stream(&self.options.cluster, *stream),
            messages: log.len(),
            bytes: log.bytes(),
            last: log.last(),
        });
        let consumers = self.worklists.iter().map(|(consumer, worklist)| ConsumerStatus {
            name: consumer.name().to_owned(),
            pending: self.logs.get(&consumer.stream()).map_or(0, |log| worklist.pending(log)),
            unacknowledged: worklist.unacknowledged(),
            settled: worklist.settled(),
        });
        Status { server: "memory".to_owned(), streams: streams.collect(), consumers: consumers.collect() }
    }

    pub(super) fn options(&self) -> &MemoryOptions {
        &self.options
    }

    /// Checks the size of a bucket's value.
    pub(super) fn check_size(payload: &Bytes) -> Result<(), BusError> {
        let limit = crate::MAX_VALUE_BYTES;
        if payload.len() > limit { Err(BusError::TooLarge { found: payload.len(), limit }) } else { Ok(()) }
    }
}

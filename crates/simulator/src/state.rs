//! The whole cluster at one instant. Everything is synchronous here; `simulator` gives it time.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::clock::VirtualClock;
use crate::images::Images;
use crate::kinds::Kinds;
use crate::log::Log;
use crate::schema::Schemas;
use crate::store::Store;

/// The cluster.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) clock: VirtualClock,
    /// The only source of randomness: uids, generated names, latencies.
    pub(crate) random: fastrand::Rng,
    pub(crate) store: Store,
    pub(crate) kinds: Kinds,
    pub(crate) schemas: Schemas,
    pub(crate) images: Arc<Images>,
    pub(crate) log: Log,
    /// How often all watches were interrupted.
    pub(crate) epoch: u64,
    pub(crate) machines: crate::nodes::Machines,
    pub(crate) traffic: crate::traffic::Requests,
    pub(crate) monitoring: Option<Box<crate::prometheus::Monitoring>>,
    pub(crate) recorded: crate::controllers::Recorded,
}

impl State {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A uid, from the seed.
    pub(crate) fn uid(&mut self) -> String {
        let bits = self.random.u128(..);
        let hex = format!("{bits:032x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
        format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
    }

    /// The five characters the API server appends to a `generateName`.
    pub(crate) fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..5).filter_map(|_| LETTERS.get(self.random.usize(..LETTERS.len()))).map(|&byte| char::from(byte)).collect()
    }
}

//! The audit log of a run: in memory, sealed by the gateways, verified at the end as an auditor does.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use evenkeel_audit::{Kind, MemoryStore, MessageKey, NoteError, Record, SealerParts, SigningKey};
use evenkeel_bus::Bus;
use evenkeel_model::Phase;
use evenkeel_runtime::HealthPart;
use evenkeel_runtime::metrics::Registry;
use futures::TryStreamExt as _;
use serde::Serialize;

/// The log's name, and what its key is made of: nothing depends on that it is secret here.
const NAME: &str = "audit.simulated";
const SEED: [u8; 32] = [7; 32];
/// With more records than this not sealed yet, no new action begins.
const UNSEALED_AT_MOST: u64 = 5000;

/// What outlives the gateways: the store, and the key that each of them has.
#[derive(Debug)]
pub(crate) struct AuditLog {
    store: Arc<MemoryStore>,
    key: Arc<SigningKey>,
}

/// The audit log at the end of a run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditSeen {
    /// Records in it.
    pub records: u64,
    /// What it is signed for.
    pub root: String,
    /// What is wrong with it.
    pub faults: Vec<String>,
    /// Remediations of which it says what was about to be asked of the API server.
    pub intended: BTreeSet<String>,
    /// What is found in a copy in which one letter of the last such record was changed.
    pub tampered: Vec<String>,
}

impl AuditLog {
    pub(crate) fn new() -> Result<Self, NoteError> {
        Ok(Self { store: Arc::default(), key: Arc::new(SigningKey::new(NAME, SEED)?) })
    }

    /// What a gateway needs to record.
    pub(crate) fn audit(&self) -> evenkeel_gateway::Audit {
        evenkeel_gateway::Audit { key: MessageKey::of(&self.key), unsealed_at_most: UNSEALED_AT_MOST }
    }

    /// What a gateway's sealer is made of.
    pub(crate) fn sealer(
        &self,
        bus: Arc<dyn Bus>,
        holder: &str,
        health: HealthPart,
        registry: &mut Registry,
    ) -> SealerParts {
        SealerParts {
            bus,
            store: self.store.clone(),
            key: Arc::clone(&self.key),
            accepted: Vec::new(),
            holder: holder.to_owned(),
            config: evenkeel_audit::Config::default(),
            health,
            metrics: evenkeel_audit::Metrics::register(registry),
        }
    }

    /// Reads and verifies it.
    pub(crate) async fn seen(&self) -> AuditSeen {
        let (checkpoint, faults) = self.verify(&self.store).await;
        let Some(checkpoint) = checkpoint else {
            return AuditSeen {
                records: 0,
                root: String::new(),
                faults,
                intended: BTreeSet::new(),
                tampered: Vec::new(),
            };
        };
        // Read or not: what could not be is among the faults.
        let stored: Vec<(u64, Bytes)> =
            evenkeel_audit::records(&*self.store, checkpoint.size).try_collect().await.unwrap_or_default();
        let intents: Vec<(Bytes, String)> = stored
            .into_iter()
            .filter_map(|(_, bytes)| {
                let record = Record::decode(&bytes).ok()?;
                let is_intent = record.kind == Kind::Phase && record.phase == Some(Phase::Executing);
                Some((bytes, record.remediation.filter(|_| is_intent)?))
            })
            .collect();
        let tampered = match intents.last() {
            Some((record, _)) => self.verify(&self.tampered(record)).await.1,
            None => Vec::new(),
        };
        AuditSeen {
            records: checkpoint.size,
            root: checkpoint.root.to_string(),
            faults,
            intended: intents.into_iter().map(|(_, remediation)| remediation).collect(),
            tampered,
        }
    }

    async fn verify(&self, store: &MemoryStore) -> (Option<evenkeel_audit::Checkpoint>, Vec<String>) {
        match evenkeel_audit::verify(store, self.key.public(), &[]).await {
            Ok(findings) => (findings.checkpoint, findings.faults.iter().map(ToString::to_string).collect()),
            Err(error) => (None, vec![error.to_string()]),
        }
    }

    /// A copy in which one letter of a record is another.
    fn tampered(&self, record: &Bytes) -> MemoryStore {
        let copy = MemoryStore::default();
        for (path, object) in self.store.objects().iter() {
            let place = object.windows(record.len()).position(|part| part == record);
            let mut object = object.to_vec();
            if let Some(letter) = place.and_then(|place| object.get_mut(place + record.len() / 2)) {
                *letter ^= 1;
            }
            copy.objects().insert(path.clone(), object.into());
        }
        copy
    }
}

//! The record of what was asked, decided and done.
//!
//! Gateways publish [`Record`]s on the bus. One of them at a time [`seal`]s: it appends them to a
//! [`Log`], an RFC 6962 Merkle tree in the layout of C2SP tlog-tiles, and signs a checkpoint of it
//! (C2SP tlog-checkpoint, ed25519). The log lies outside the process, in a [`Store`]. Whoever has
//! the public key can [`verify`] a copy of it without us.

mod config;
mod layout;
mod lease;
mod log;
mod message;
mod metrics;
mod note;
mod object;
mod read;
mod record;
mod sealer;
mod store;
#[cfg(test)]
mod testing;
mod tree;
mod verify;

pub use config::{BadConfig, Config};
pub use layout::MAX_RECORD_BYTES;
pub use log::{Log, LogError, Parts as LogParts, REMEMBERED};
pub use message::MessageKey;
pub use metrics::Metrics;
pub use note::{Checkpoint, NoteError, SigningKey, VerifyingKey};
pub use object::{BadAddress, ObjectsAt};
pub use record::{EncodeError, Kind, LeftOut, RECORD_VERSION, Record};
pub use sealer::{SealerParts, seal};
pub use store::{MemoryStore, Store, StoreError};
pub use verify::{Fault, Findings, export, records, verify};

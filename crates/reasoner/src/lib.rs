//! Folds signals into incidents and publishes proposals. Holds no cluster credential.
//!
//! Any worker takes any message: all state is in the bus' buckets and is replaced by
//! compare-and-set. What is to happen later is scheduled on the bus before the message that
//! caused it is acknowledged, so a worker may be killed at any time.

mod config;
mod core;
mod evidence;
mod incidents;
mod members;
mod metrics;
mod outcomes;
mod playbooks;
mod process;
mod run;
mod signals;
mod sweep;
mod wake_ups;

pub use config::Config;
pub use incidents::{ReadError, read_incidents};
pub use metrics::Metrics;
pub use run::{Error, Parts, run};

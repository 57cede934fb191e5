//! What a cluster does, told as short stories, and asked of the simulated cluster and of a real one.
//!
//! `cases/*.yaml` hold the stories, `golden/*.json` what a real API server with its real controllers, scheduler and
//! kubelet answered. `cargo test -p evenkeel-tests --lib behaviours` asks the simulator; the end-to-end suite asks a
//! real cluster again, so that no recording grows old.

mod case;
mod golden;
mod normal;
mod run;
mod stage;

pub use case::{Behaviour, Group};
pub use golden::{Golden, differences};
pub use run::transcript;
pub use stage::{real, simulated};

#[cfg(test)]
mod tests;

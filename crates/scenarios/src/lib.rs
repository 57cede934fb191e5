//! What the engine would do, before it does it: scenario files and their runner, backtests, reports.
//!
//! - [`run`]: scenarios, with the real engine in virtual time;
//! - [`backtest`]: recorded signals through playbooks and policies, and through changed ones;
//! - [`road`]: what playbooks would have done, from a cluster's Remediations and signals;
//! - [`html`]: pages that stand by themselves.

mod audit_log;
pub mod backtest;
pub mod deaths;
pub mod demo;
mod engine;
mod file;
pub mod html;
mod invariants;
#[cfg(feature = "mutation")]
mod mutation;
pub mod road;
mod runner;

#[cfg(feature = "mutation")]
pub use mutation::Mutation;

pub use audit_log::AuditSeen;
pub use engine::{Call, Crash, Moment};
pub use file::{Disk, Files, Instead, Scenario, SimulationSpec, Uses, load, load_with, schema};
pub use runner::{
    ApprovalSeen, EventSeen, FreezeSeen, HealthPoint, HealthSeries, PhaseSeen, Proposed, RemediationSeen, RunError,
    RunOptions, RunReport, SignalSeen, Violation, WriteSeen, run,
};

//! What the engine would do, before it does it: scenario files and their runner, backtests, reports.

mod engine;
mod file;
mod invariants;
mod runner;

pub use file::{Disk, Files, Scenario, SimulationSpec, load, schema};
pub use runner::{
    EventSeen, HealthPoint, HealthSeries, PhaseSeen, Proposed, RemediationSeen, RunError, RunOptions, RunReport,
    SignalSeen, Violation, WriteSeen, run,
};

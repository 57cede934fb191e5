//! From an incident, its evidence and the time to one decision. Pure: the same input gives the
//! same decision, and nothing is asked or written here.
//!
//! - [`fold`]: signals into an incident, once each, in any order;
//! - [`wave`]: many roots with one cause;
//! - [`record`]: outcomes into the incident they are for;
//! - [`plan`]: what to do next;
//! - [`apply`]: the decision into the incident.

mod apply;
mod decision;
mod escalation;
mod fold;
mod ladder;
mod outcome;
mod plan;
pub mod wave;

pub use apply::{apply, note_published, said_before};
pub use decision::{Decision, PlanLimits};
pub use fold::{Arrival, close_if_over, fold, fold_into, incident_key};
pub use outcome::record;
pub use plan::{Situation, plan, vars};

#[cfg(test)]
mod testing;

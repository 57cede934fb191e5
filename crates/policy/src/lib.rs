//! From ActionPolicies to a verdict, and the ledger's arithmetic. Pure: no clock, no randomness, no I/O.
//!
//! [`evaluate`] answers whether an action may be done, with every rule that spoke; [`judge`] writes
//! that out; [`ledger`] answers whether there is room for it now.

pub mod breakers;
mod check;
mod explain;
mod freeze;
pub mod generate;
mod judge;
mod judgement;
pub mod ledger;
mod protected;
mod ruling;
mod windows;

pub use check::{Finding, check};
pub use explain::{Explained, Explanation, Otherwise, explain};
pub use freeze::{FreezeSource, Freezes, Frozen, freeze};
pub use judge::{Context, Disruption, GitOps, Question, evaluate, judge, needs_labels};
pub use judgement::{ConcurrentLimit, EffectiveRates, Evaluation, Heard, Judgement, PolicySource};
pub use protected::Protected;
pub use ruling::{Ruling, Weight};

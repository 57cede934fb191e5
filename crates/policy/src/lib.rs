//! From ActionPolicies to a verdict, and the ledger's arithmetic. Pure: no clock, no randomness, no I/O.
//!
//! [`judge`] answers whether an action may be done; [`ledger`] whether there is room for it now.

mod check;
mod judge;
pub mod ledger;
mod protected;

pub use check::{Finding, check};
pub use judge::{ConcurrentLimit, Context, EffectiveRates, Judgement, PolicySource, Question, judge, needs_labels};
pub use protected::Protected;

//! The evaluator from outside: against a plain reference, with fields taken away, and the shipped policies.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may end where it stands, and says which seed it ran"
)]

mod absence;
mod generated;
mod plain;
mod reference;
mod shipped;

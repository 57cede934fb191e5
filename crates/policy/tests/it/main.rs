//! The evaluator from outside: against a plain reference, with fields taken away, and the shipped policies.

mod absence;
mod generated;
mod plain;
mod reference;
mod shipped;

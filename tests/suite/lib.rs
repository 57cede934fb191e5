//! Shared parts of the end-to-end suites: a world with a real cluster, ours or somebody's, and the engine's planes as
//! processes under their own identities.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a failed test needs to show")]
#![allow(clippy::indexing_slicing, reason = "JSON documents are built by index, which does not panic on objects")]

pub mod access;
pub mod alerts;
pub mod audit;
pub mod audit_log;
#[path = "../behaviours/mod.rs"]
pub mod behaviours;
pub mod engine;
mod findings;
pub mod foreign;
pub mod manifests;
mod options;
pub mod people;
pub mod proposals;
pub mod proxy;
pub mod requests;
mod settings;
pub mod slack;
pub mod traces;
mod users;
pub mod wait;
mod workloads;
pub mod world;

pub use engine::{Engine, Plane};
pub use options::Options;
pub use wait::eventually;
pub use world::World;

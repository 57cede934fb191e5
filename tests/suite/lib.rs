//! Shared parts of the end-to-end suites: a world with a real cluster and the engine's planes as
//! processes under their own identities.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a failed test needs to show")]
#![allow(clippy::indexing_slicing, reason = "JSON documents are built by index, which does not panic on objects")]

pub mod alerts;
pub mod audit;
pub mod engine;
pub mod manifests;
pub mod proxy;
pub mod traces;
pub mod wait;
pub mod world;

pub use engine::{Engine, Plane};
pub use wait::eventually;
pub use world::{Options, World};

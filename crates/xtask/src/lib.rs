//! Test tools, clusters, generated files and benches.

pub mod cli;
pub mod cluster;
pub mod engine;
mod env;
mod http;
pub mod nats;
pub mod ports;
mod proc;
#[cfg(test)]
mod threats;
pub mod tools;
pub mod ui;
mod wait;
#[cfg(test)]
mod walls;

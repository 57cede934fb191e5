//! A Kubernetes cluster in virtual time, deterministic by its seed: an API server behind the real
//! `kube::Client`, the controllers, the kubelets, and a Prometheus with its Alertmanager.
//!
//! It knows nothing of the engine. Objects are JSON values; time is tokio's, which a test or a
//! simulation pauses. What is not modelled is answered with 501 and named, never with something plausible.

mod api;
mod clock;
mod controllers;
mod failure;
mod guard;
mod images;
mod kinds;
mod log;
mod nodes;
mod patterns;
mod people;
mod prometheus;
mod quantity;
mod schema;
mod simulator;
mod state;
mod store;
#[cfg(test)]
mod testing;
mod traffic;
mod value;
mod wheel;

pub use api::{Call, Decision, Fuse, Intercept};
pub use clock::VirtualClock;
pub use failure::Failure;
pub use images::{Answers, Crash, ImageLife, Images, Ready, Refused};
pub use kinds::{Kind, Kinds, Resource};
pub use log::{Entry, Log};
pub use nodes::{NodeOptions, NodeTaint};
pub use prometheus::{AlertmanagerOptions, MonitoringOptions, Notification, QueryError, RuleError, SHIPPED_RULES};
pub use simulator::{Options, Simulator};
pub use store::{Change, Key};
pub use traffic::Traffic;

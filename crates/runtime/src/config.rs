//! Configuration: one YAML file, every key of which an environment variable can override.
//!
//! The keys come from the types' JSON schema, and so do the variables and the documentation:
//! `observer.prometheus.url` is `EVENKEEL_OBSERVER_PROMETHEUS_URL`.

mod document;
mod keys;
mod load;
mod secret;

pub use document::markdown;
pub use keys::{KeyDoc, keys};
pub use load::{ConfigError, Loaded, load, load_environment, parse};
pub use secret::{Secret, SecretError};

/// What every variable begins with.
pub const PREFIX: &str = "EVENKEEL";

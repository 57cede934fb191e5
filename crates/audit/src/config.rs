use std::path::PathBuf;

use evenkeel_model::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The audit log. Off unless `store` and `keyFile` are given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Where the log is kept: a directory, `file:///DIR`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or
    /// `az://CONTAINER/PREFIX`. The clouds' credentials are found as their own tools find them.
    pub store: Option<String>,
    /// File with the log's signing key, as `evenkeel audit key` makes it. The same for every gateway.
    pub key_file: Option<PathBuf>,
    /// Files with signing keys of other gateways whose records are sealed too, while the key is being changed.
    pub accept_key_files: Vec<PathBuf>,
    /// For how long records are gathered before they are sealed together.
    pub seal_every: Span,
    /// How long another gateway waits before it seals in the place of one that stopped.
    pub lease: Span,
    /// With more records than this not sealed yet, no new action begins. What is under way is verified and undone.
    pub unsealed_at_most: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: None,
            key_file: None,
            accept_key_files: Vec::new(),
            seal_every: Span::seconds(1),
            lease: Span::seconds(30),
            unsealed_at_most: 5000,
        }
    }
}

/// A setting that can't be worked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit.{field}: expected {expected}, found {found}")]
pub struct BadConfig {
    field: &'static str,
    expected: &'static str,
    found: String,
}

impl Config {
    /// Checks what the types can't.
    ///
    /// # Errors
    /// [`BadConfig`] for the first setting that can't be worked with.
    pub fn check(&self) -> Result<(), BadConfig> {
        let bad = |field, expected, found: String| Err(BadConfig { field, expected, found });
        if self.store.is_some() != self.key_file.is_some() {
            return bad("store", "it and keyFile together, or neither", "one of them".to_owned());
        }
        // Messages come again when they are not acknowledged for 30 seconds.
        if self.seal_every > Span::seconds(10) {
            return bad("sealEvery", "at most 10s", self.seal_every.to_string());
        }
        if self.lease < Span::seconds(3) {
            return bad("lease", "at least 3s", self.lease.to_string());
        }
        if self.unsealed_at_most == 0 {
            return bad("unsealedAtMost", "at least 1", self.unsealed_at_most.to_string());
        }
        Ok(())
    }

    /// Whether there is to be a log.
    pub fn is_on(&self) -> bool {
        self.store.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_worked_with_and_are_off() {
        Config::default().check().unwrap();
        assert!(!Config::default().is_on());
    }

    #[test]
    fn half_of_it_is_refused() {
        let config = Config { store: Some("/audit".to_owned()), ..Config::default() };
        assert!(config.check().unwrap_err().to_string().starts_with("audit.store: expected it and keyFile"));
    }
}

use std::collections::BTreeMap;

use evenkeel_model::{Mode, Span};
use evenkeel_policy::breakers::BreakerLimits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The installation's mode: Audit says what would be done, Enforce lets policies decide. No policy goes above it.
    /// Set from the top-level key `mode`, so that there is one place to look at.
    #[serde(skip)]
    pub mode: Mode,
    /// Namespaces in which nothing is done whatever policies say, with the reason; besides the engine's own.
    pub protected_namespaces: BTreeMap<String, String>,
    /// Nodes to which nothing is done whatever policies say, with the reason; besides control-plane nodes.
    pub protected_nodes: BTreeMap<String, String>,
    /// Base URL of the Prometheus that verification asks. Absent: PromQL conditions are unknown.
    pub prometheus_url: Option<String>,
    /// The longest one question to Prometheus may take.
    pub prometheus_timeout: Span,
    /// The longest one request of ours to the API server may take. Nothing is sent with less than this left on a claim.
    pub request_timeout: Span,
    /// The API server's own `--request-timeout`: how long it may go on with a request whose reply we lost.
    pub server_request_timeout: Span,
    /// For how long a root is claimed at a time; extended while a remediation is under way.
    pub claim: Span,
    /// The furthest apart our clock and the API server's may be for a new action.
    pub clock_tolerance: Span,
    /// For how long a target must seem not to need an action before it ends Obsolete: what crashes again and again is
    /// well in between.
    pub indication_patience: Span,
    /// Beyond a verification's deadline, how long sources that can't be asked are waited for.
    pub verification_grace: Span,
    /// The shortest time between two looks at a target that is being verified.
    pub poll_first: Span,
    /// The longest time between two looks at a target that is being verified.
    pub poll_most: Span,
    /// When to ask again where the ledger or a policy says not yet without a time.
    pub retry: Span,
    /// How often RBAC and admission in the cluster are held against the policies, which their condition Enforceable
    /// tells; also when policies change. 0s: never.
    pub policy_check: Span,
    /// How many remediations are worked on at the same time.
    pub workers: usize,
    /// A message handed out more often than this is moved to the dead stream unread.
    pub max_deliveries: u64,
    /// Open Remediations that may change something there may be for targets of one namespace.
    pub open_per_namespace: usize,
    /// Open Remediations that may change something there may be in the cluster; as many again that only tell people.
    pub open_per_cluster: usize,
    /// For how long Remediations that ended are kept.
    pub keep_for: Span,
    /// How many Remediations that ended are kept, at most.
    pub keep_at_most: usize,
    /// When what does not help is not done automatically any more.
    pub breakers: BreakerConfig,
}

/// When what does not help is not done automatically any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// How far back is counted; a breaker closes by itself when so long has passed. At most 168h.
    pub window: Span,
    /// A playbook is suspended when it did not help with so many distinct causes, and with more than half of those it
    /// acted on.
    pub causes: usize,
    /// Automatic action stops when so many roots are broken after it.
    pub roots: usize,
    /// Automatic action also stops when more than so many per cent of the roots it acted on are broken after it, three
    /// at least; what suspended playbooks did is not counted.
    pub percent: usize,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { window: Span::hours(24), causes: 3, roots: 5, percent: 20 }
    }
}

impl BreakerConfig {
    /// As they are reckoned with.
    pub fn limits(self) -> BreakerLimits {
        let Self { window, causes, roots, percent } = self;
        BreakerLimits { window, causes, roots, percent }
    }
}

impl Default for Config {
    fn default() -> Self {
        let system = "part of the cluster itself";
        let protected = ["kube-system", "kube-public", "kube-node-lease"];
        Self {
            mode: Mode::Audit,
            protected_namespaces: protected.map(|namespace| (namespace.to_owned(), system.to_owned())).into(),
            protected_nodes: BTreeMap::new(),
            prometheus_url: None,
            prometheus_timeout: Span::seconds(5),
            request_timeout: Span::seconds(10),
            server_request_timeout: Span::seconds(60),
            claim: Span::seconds(30),
            clock_tolerance: Span::seconds(5),
            indication_patience: Span::seconds(30),
            verification_grace: Span::minutes(2),
            poll_first: Span::seconds(1),
            poll_most: Span::seconds(10),
            retry: Span::seconds(30),
            policy_check: Span::seconds(60),
            workers: 16,
            max_deliveries: 5,
            open_per_namespace: 20,
            open_per_cluster: 200,
            keep_for: Span::hours(30 * 24),
            keep_at_most: 1000,
            breakers: BreakerConfig::default(),
        }
    }
}

/// A setting that can't be worked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gateway.{field}: expected {expected}, found {found}")]
pub struct BadConfig {
    /// The field.
    pub field: &'static str,
    /// What it has to be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl Config {
    /// Checks what the types can't.
    ///
    /// # Errors
    /// [`BadConfig`] for the first setting that can't be worked with.
    pub fn check(&self) -> Result<(), BadConfig> {
        let bad = |field, expected: &str, found: String| Err(BadConfig { field, expected: expected.to_owned(), found });
        if self.request_timeout.get().is_zero() {
            return bad("requestTimeout", "more than 0s", self.request_timeout.to_string());
        }
        if self.claim.get() < self.request_timeout.get() * 2 {
            // Or nothing could ever be sent under it.
            return bad("claim", "at least twice requestTimeout", self.claim.to_string());
        }
        if self.poll_first.get().is_zero() || self.poll_first > self.poll_most {
            return bad("pollFirst", "more than 0s and at most pollMost", self.poll_first.to_string());
        }
        if self.workers == 0 {
            return bad("workers", "at least 1", self.workers.to_string());
        }
        let breakers = self.breakers;
        if breakers.window > Span::hours(7 * 24) || breakers.window.get().is_zero() {
            // What acted is kept for as long.
            return bad("breakers.window", "more than 0s and at most 168h", breakers.window.to_string());
        }
        if breakers.causes == 0 || breakers.roots == 0 {
            return bad(
                "breakers",
                "causes and roots of at least 1",
                format!("{} and {}", breakers.causes, breakers.roots),
            );
        }
        if self.keep_for < Span::hours(2) {
            // A proposal lives an hour: its object has to outlive every delivery of it.
            return bad("keepFor", "at least 2h", self.keep_for.to_string());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_worked_with() {
        Config::default().check().unwrap();
    }

    #[test]
    fn a_claim_too_short_to_act_under_is_refused() {
        let config = Config { claim: Span::seconds(15), ..Config::default() };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "gateway.claim: expected at least twice requestTimeout, found 15s"
        );
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        assert!(serde_json::from_str::<Config>(r#"{"mood": "Enforce"}"#).is_err());
    }
}

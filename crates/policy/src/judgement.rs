use std::collections::BTreeSet;

use evenkeel_model::{ActionPolicySpec, Decision, Kind, Mode, Rate, Spoken, Tier, Verdict};
use serde_json::Value;

use crate::judge::BUILT_IN;
use crate::ruling::Ruling;
use crate::{breakers, freeze};

/// A policy as it was read.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicySource {
    /// It could be read.
    Loaded {
        /// Its name.
        name: String,
        /// It.
        spec: ActionPolicySpec,
    },
    /// It could not be read. It denies what it might match.
    Broken {
        /// Its name.
        name: String,
        /// Why it could not be read.
        reason: String,
        /// The namespaces it names, where those could be read.
        namespaces: Option<Vec<String>>,
        /// The kinds it names, where those could be read.
        kinds: Option<Vec<Kind>>,
    },
}

impl PolicySource {
    /// Reads an ActionPolicy's `spec`, as the API server or a file has it. What can't be understood still says what
    /// it might match, as far as that can be.
    pub fn read(name: impl Into<String>, spec: &Value) -> Self {
        let name = name.into();
        match serde_json::from_value::<ActionPolicySpec>(spec.clone()) {
            Ok(spec) => Self::Loaded { name, spec },
            Err(error) => {
                let part = |field: &str| spec.get("match").and_then(|it| it.get(field)).cloned().unwrap_or(Value::Null);
                Self::Broken {
                    name,
                    reason: error.to_string(),
                    namespaces: serde_json::from_value(part("namespaces")).ok(),
                    kinds: serde_json::from_value(part("kinds")).ok(),
                }
            }
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Loaded { name, .. } | Self::Broken { name, .. } => name,
        }
    }
}

/// One rule that spoke.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard<'a> {
    /// Name of the ActionPolicy, or `built-in`.
    pub policy: &'a str,
    /// What it said.
    pub ruling: Ruling<'a>,
}

/// What the policies came to, with every rule that spoke. It borrows from question and policies, so
/// that nothing is written out that nobody reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation<'a> {
    /// The decision.
    pub decision: Decision,
    /// The strictest mode.
    pub mode: Mode,
    /// The tier it came to, raised by context; Forbidden when it is denied.
    pub tier: Tier,
    /// How many persons have to approve; 0 when none has to.
    pub approvers: u32,
    /// Every rule that spoke: built-in ones, policies by name, built-in ones that conclude.
    pub trace: Vec<Heard<'a>>,
    /// The policies that match, by name, and their concurrency.
    pub(crate) matched: Vec<(&'a str, u32)>,
}

impl Evaluation<'_> {
    /// All rates that apply; each must hold.
    pub fn rates(&self) -> EffectiveRates {
        let mut rates = EffectiveRates::default();
        for heard in &self.trace {
            if let Ruling::Allowed { rule, .. } = heard.ruling {
                rates.target.insert(rule.rate.target);
                rates.namespace.insert(rule.rate.namespace);
                rates.playbook.insert(rule.rate.playbook.unwrap_or(rule.rate.namespace));
                rates.cluster.insert(rule.rate.cluster);
            }
        }
        rates
    }

    /// Written out, as it is kept.
    pub fn judgement(&self) -> Judgement {
        let spoken = |heard: &Heard<'_>| Spoken { policy: heard.policy.to_owned(), said: heard.ruling.to_string() };
        let limit = |(policy, limit): &(&str, u32)| ConcurrentLimit { policy: (*policy).to_owned(), limit: *limit };
        Judgement {
            verdict: Verdict { decision: self.decision.clone(), rules: self.trace.iter().map(spoken).collect() },
            mode: self.mode,
            tier: self.tier,
            approvers: self.approvers,
            rates: self.rates(),
            concurrent: self.matched.iter().map(limit).collect(),
        }
    }
}

/// The verdict and what the ledger is to enforce with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The decision and every rule that spoke.
    pub verdict: Verdict,
    /// The strictest mode.
    pub mode: Mode,
    /// The tier it came to, raised by context.
    pub tier: Tier,
    /// How many persons have to approve; 0 when none has to.
    pub approvers: u32,
    /// All rates that apply; each must hold.
    pub rates: EffectiveRates,
    /// Concurrency of each matching policy, by name.
    pub concurrent: Vec<ConcurrentLimit>,
}

impl Judgement {
    /// What policies themselves say. Built-in rules, breakers and freezes are left out: they hold numbers and times of
    /// the moment, which change while no rule does; what follows from them is in the decision, tier and approvers.
    pub fn said_by_policies(&self) -> Vec<&Spoken> {
        let is_ours = |name: &str| {
            [BUILT_IN, breakers::SPEAKER].contains(&name) || name.split(' ').next() == Some(freeze::SPEAKER)
        };
        self.verdict.rules.iter().filter(|rule| !is_ours(&rule.policy)).collect()
    }
}

/// Rates of all matching policies; each must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EffectiveRates {
    /// For one target.
    pub target: BTreeSet<Rate>,
    /// In one namespace.
    pub namespace: BTreeSet<Rate>,
    /// By one playbook.
    pub playbook: BTreeSet<Rate>,
    /// In the cluster.
    pub cluster: BTreeSet<Rate>,
}

/// One policy's limit of remediations under way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConcurrentLimit {
    /// The policy.
    pub policy: String,
    /// Its limit.
    pub limit: u32,
}

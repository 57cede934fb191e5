use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{
    Action, ActionName, ActionPolicySpec, ActionRule, Decision, Kind, Maxima, Mode, ObjectRef, Origin, PolicyMatch,
    Rate, Spoken, Tier, Verdict,
};

use crate::Protected;

/// The name under which rules speak that are in no policy.
const BUILT_IN: &str = "built-in";
/// What matches any namespace, and objects that are in none.
pub(crate) const ANY_NAMESPACE: &str = "*";

/// What the policies are asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What is to be done.
    pub action: &'a Action,
    /// To which object.
    pub target: &'a ObjectRef,
    /// The object's labels, as read from the API server.
    pub labels: &'a BTreeMap<String, String>,
    /// Who asks.
    pub origin: Origin,
    /// The installation's mode: no policy goes above it.
    pub ceiling: Mode,
    /// `evenkeel.dev/mode` on the object or its namespace, as read. Anything but `audit` means off.
    pub narrowed: Option<&'a str>,
    /// What was read of the object.
    pub context: Context,
    /// Where nothing may be done whatever policies say.
    pub protected: &'a Protected,
}

/// What of the target raises the tier or bounds the parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Context {
    /// It keeps data in volume claims.
    pub stateful: bool,
    /// Replicas (or the one pod) that are available now.
    pub available: u32,
    /// The action can take away capacity that is available now.
    pub takes_capacity: bool,
    /// Replicas asked for now, for scaleWorkload.
    pub replicas: Option<u32>,
}

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
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Loaded { name, .. } | Self::Broken { name, .. } => name,
        }
    }
}

/// Whether a judgement depends on the target's labels: where policies select by them, and for
/// nodes, whose labels tell that they carry the control plane.
pub fn needs_labels(target: &ObjectRef, policies: &[PolicySource]) -> bool {
    let selects = |policy: &PolicySource| matches!(policy, PolicySource::Loaded { spec, .. } if !spec.matches.selector.is_empty());
    target.kind == Kind::Node || policies.iter().any(selects)
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
    /// All rates that apply; each must hold.
    pub rates: EffectiveRates,
    /// Concurrency of each matching policy, by name.
    pub concurrent: Vec<ConcurrentLimit>,
}

/// Rates of all matching policies; each must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EffectiveRates {
    /// For one target.
    pub target: BTreeSet<Rate>,
    /// In one namespace.
    pub namespace: BTreeSet<Rate>,
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

/// What the policies say to an action. Default deny: what none allows is denied. Matching policies
/// intersect: one that does not list the action denies it, and the strictest mode, tier, rate and
/// maximum count. Notify and escalate write nothing and need no policy.
pub fn judge(question: &Question<'_>, policies: &[PolicySource]) -> Judgement {
    let action = question.action.name();
    let mut bench = Bench::new(question);
    if !action.is_mutating() {
        bench.say(BUILT_IN, format!("{action} writes nothing to {}: needs no policy", question.target));
        // Telling people is not withheld in Audit mode.
        (bench.mode, bench.tier) = (Mode::Enforce, Tier::Low);
        return bench.judgement(Decision::Allow { mode: Mode::Enforce });
    }
    bench.hear_built_in();
    let mut in_order: Vec<&PolicySource> = policies.iter().collect();
    in_order.sort_by_key(|policy| policy.name());
    for policy in in_order {
        bench.hear(policy);
    }
    bench.conclude()
}

/// Collects what the rules say.
struct Bench<'a> {
    question: &'a Question<'a>,
    rules: Vec<Spoken>,
    denied: bool,
    allowed: bool,
    mode: Mode,
    tier: Tier,
    rates: EffectiveRates,
    concurrent: Vec<ConcurrentLimit>,
}

impl<'a> Bench<'a> {
    fn new(question: &'a Question<'a>) -> Self {
        Self {
            question,
            rules: Vec::new(),
            denied: false,
            allowed: false,
            mode: question.ceiling,
            tier: Tier::Low,
            rates: EffectiveRates::default(),
            concurrent: Vec::new(),
        }
    }

    fn say(&mut self, policy: &str, said: impl Into<String>) {
        self.rules.push(Spoken { policy: policy.to_owned(), said: said.into() });
    }

    fn deny(&mut self, policy: &str, said: impl Into<String>) {
        self.denied = true;
        self.say(policy, said);
    }

    fn hear_built_in(&mut self) {
        let question = self.question;
        let (action, target) = (question.action.name(), question.target);
        if !action.kinds().contains(&target.kind) {
            self.deny(BUILT_IN, format!("{action} can't be done to a {}", target.kind));
        }
        if let Some(reason) = question.protected.reason(target, question.labels) {
            self.deny(BUILT_IN, format!("{reason}; no policy can allow it"));
        }
        match question.narrowed {
            None => {}
            Some("audit") => {
                self.mode = Mode::Audit;
                self.say(BUILT_IN, "annotated evenkeel.dev/mode: audit");
            }
            Some("off") => self.deny(BUILT_IN, "annotated evenkeel.dev/mode: off"),
            Some(other) => {
                let expected = "expected off or audit, so it counts as off";
                self.deny(BUILT_IN, format!("annotated evenkeel.dev/mode: {other:?}; {expected}"));
            }
        }
        if question.ceiling == Mode::Audit {
            self.say(BUILT_IN, "the installation is in Audit mode");
        }
    }

    fn hear(&mut self, policy: &PolicySource) {
        match policy {
            PolicySource::Broken { name, reason, namespaces, kinds } => {
                let namespaces = namespaces.as_deref().is_none_or(|names| covers(names, self.question.target));
                let kinds = kinds.as_deref().is_none_or(|kinds| kinds.contains(&self.question.target.kind));
                if namespaces && kinds {
                    self.deny(name, format!("can't be read, and denies what it might match: {reason}"));
                }
            }
            PolicySource::Loaded { name, spec } => {
                if matches(&spec.matches, self.question.target, self.question.labels) {
                    self.hear_matching(name, spec);
                }
            }
        }
    }

    fn hear_matching(&mut self, name: &str, spec: &ActionPolicySpec) {
        let action = self.question.action.name();
        if spec.mode == Mode::Audit {
            self.mode = Mode::Audit;
        }
        self.concurrent.push(ConcurrentLimit { policy: name.to_owned(), limit: spec.limits.concurrent });
        let mut rules = spec.actions.iter().filter(|rule| rule.action == action).peekable();
        if rules.peek().is_none() {
            self.deny(name, format!("{action} is not among its actions"));
        }
        for rule in rules {
            self.hear_rule(name, spec, rule);
        }
    }

    fn hear_rule(&mut self, name: &str, spec: &ActionPolicySpec, rule: &ActionRule) {
        let action = rule.action;
        if !rule.origins.contains(&self.question.origin) {
            let whose = match self.question.origin {
                Origin::Playbook => "a playbook",
                Origin::Person => "a person",
            };
            return self.deny(name, format!("{action} may not be asked for by {whose}"));
        }
        if rule.tier == Tier::Forbidden {
            return self.deny(name, format!("{action} is forbidden (tier Forbidden)"));
        }
        if let Err(said) = self.within(rule.max) {
            return self.deny(name, said);
        }
        self.allowed = true;
        self.tier = self.tier.max(rule.tier);
        self.rates.target.insert(rule.rate.target);
        self.rates.namespace.insert(rule.rate.namespace);
        self.rates.cluster.insert(rule.rate.cluster);
        let how = match rule.tier {
            Tier::Low => "allowed automatically",
            Tier::Medium | Tier::High | Tier::Forbidden => "allowed when people approve",
        };
        let audit = if spec.mode == Mode::Audit { "; in Audit mode: not carried out" } else { "" };
        self.say(
            name,
            format!(
                "{action} {how} (tier {:?}), at most {} per target, {} per namespace, {} in the cluster, {} at once{audit}",
                rule.tier, rule.rate.target, rule.rate.namespace, rule.rate.cluster, spec.limits.concurrent
            ),
        );
    }

    /// Whether the action's parameters stay within a rule's maxima.
    fn within(&self, max: Option<Maxima>) -> Result<(), String> {
        let Action::ScaleWorkload(scale) = self.question.action else { return Ok(()) };
        let Some(max) = max else { return Err("scaleWorkload has no max, which it needs".to_owned()) };
        let Some(now) = self.question.context.replicas else {
            return Err("it is not known how many replicas there are, so none may be set".to_owned());
        };
        let (to, change) = (scale.replicas, scale.replicas.abs_diff(now));
        if to > max.replicas {
            return Err(format!("{to} replicas are more than the {} it allows", max.replicas));
        }
        if change > max.change {
            return Err(format!(
                "a change by {change} replicas ({now} → {to}) is more than the {} it allows",
                max.change
            ));
        }
        Ok(())
    }

    fn conclude(mut self) -> Judgement {
        if self.denied || !self.allowed {
            if !self.denied {
                let (action, target) = (self.question.action.name(), self.question.target);
                self.say(BUILT_IN, format!("no ActionPolicy allows {action} of {target}"));
            }
            return self.judgement(Decision::Deny {});
        }
        self.raise_tier();
        match (self.tier, self.mode) {
            // In Audit mode nobody is bothered: it is noted what would have been asked.
            (_, Mode::Audit) => self.judgement(Decision::Allow { mode: Mode::Audit }),
            (Tier::Low, Mode::Enforce) => self.judgement(Decision::Allow { mode: Mode::Enforce }),
            (tier, Mode::Enforce) => self.judgement(Decision::NeedsApproval { tier }),
        }
    }

    /// The tier rises with context and never falls.
    fn raise_tier(&mut self) {
        let context = self.question.context;
        if context.stateful {
            self.raise("the target keeps data");
        }
        if context.takes_capacity && context.available > 0 {
            self.raise(&format!("it can take away capacity that is available now ({})", context.available));
        }
    }

    fn raise(&mut self, why: &str) {
        let raised = match self.tier {
            Tier::Low => Tier::Medium,
            Tier::Medium | Tier::High => Tier::High,
            Tier::Forbidden => Tier::Forbidden,
        };
        if raised != self.tier {
            self.say(BUILT_IN, format!("raised from tier {:?} to {raised:?}: {why}", self.tier));
            self.tier = raised;
        }
    }

    fn judgement(self, decision: Decision) -> Judgement {
        let tier = if decision == (Decision::Deny {}) { Tier::Forbidden } else { self.tier };
        Judgement {
            verdict: Verdict { decision, rules: self.rules },
            mode: self.mode,
            tier,
            rates: self.rates,
            concurrent: self.concurrent,
        }
    }
}

fn matches(matches: &PolicyMatch, target: &ObjectRef, labels: &BTreeMap<String, String>) -> bool {
    covers(&matches.namespaces, target)
        && matches.kinds.contains(&target.kind)
        && matches.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn covers(namespaces: &[String], target: &ObjectRef) -> bool {
    namespaces.iter().any(|name| name == ANY_NAMESPACE || Some(name) == target.namespace.as_ref())
}

/// Whether the action could be done to any of the kinds.
pub(crate) fn fits_any(action: ActionName, kinds: &[Kind]) -> bool {
    kinds.iter().any(|kind| action.kinds().contains(kind))
}

#[cfg(test)]
mod tests;

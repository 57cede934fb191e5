use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{
    Action, ActionName, ActionPolicySpec, ActionRule, Decision, GitOpsRule, Kind, Maxima, Mode, ObjectRef, Origin,
    PolicyMatch, Tier,
};

use crate::Protected;
use crate::check::fault_of;
use crate::judgement::{Evaluation, Heard, Judgement, PolicySource};
use crate::ruling::Ruling;
use crate::windows::{Closed, closed};

/// The name under which rules speak that are in no policy.
pub(crate) const BUILT_IN: &str = "built-in";
/// What matches any namespace, and objects that are in none.
pub(crate) const ANY_NAMESPACE: &str = "*";
/// When to look again at what may change at any time.
const RECONSIDER: Duration = Duration::seconds(30);

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
    /// The time now.
    pub now: DateTime<Utc>,
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
    /// Whether a GitOps tool tracks it.
    pub git_ops: GitOps,
    /// What the action does to the workload whose pods it takes; needed where it takes available ones.
    pub disruption: Option<Disruption>,
    /// PodDisruptionBudgets over the pods it takes. The API server evicts no pod that has two.
    pub budgets: u32,
}

/// Whether a GitOps tool tracks an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GitOps {
    /// None does.
    #[default]
    Untracked,
    /// One does, and sets no field that the action writes.
    FieldsFree,
    /// One does, and sets a field that the action writes.
    FieldsOwned,
}

/// A workload's pods, and the action's share of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disruption {
    /// Replicas asked for.
    pub desired: u32,
    /// Of these, so many are not available now, whoever took them away.
    pub unavailable: u32,
    /// Available pods that the action takes away, at least, at the same time.
    pub takes: u32,
    /// The fewest disruptions that any PodDisruptionBudget over the pods allows now; `None` when there is none.
    pub budget: Option<u32>,
}

/// Whether a judgement depends on the target's labels: where policies select by them, and for
/// nodes, whose labels tell that they carry the control plane.
pub fn needs_labels(target: &ObjectRef, policies: &[PolicySource]) -> bool {
    let selects = |policy: &PolicySource| matches!(policy, PolicySource::Loaded { spec, .. } if !spec.matches.selector.is_empty());
    target.kind == Kind::Node || policies.iter().any(selects)
}

/// What the policies say to an action, written out. See [`evaluate`].
pub fn judge(question: &Question<'_>, policies: &[PolicySource]) -> Judgement {
    evaluate(question, policies).judgement()
}

/// What the policies say to an action. Default deny: what none allows is denied. Matching policies
/// intersect: one that does not list the action denies it, and the strictest mode, tier, rate,
/// maximum and window count. Notify and escalate write nothing and need no policy.
pub fn evaluate<'a>(question: &'a Question<'a>, policies: &'a [PolicySource]) -> Evaluation<'a> {
    let action = question.action.name();
    let mut bench = Bench::new(question);
    if !action.is_mutating() {
        bench.say(BUILT_IN, Ruling::NeedsNoPolicy(action, question.target));
        // Telling people is not withheld in Audit mode.
        (bench.mode, bench.tier) = (Mode::Enforce, Tier::Low);
        return bench.conclude_with(Decision::Allow { mode: Mode::Enforce });
    }
    bench.hear_built_in();
    let policies_from = bench.rules.len();
    for policy in policies {
        bench.hear(policy);
    }
    // Few match: they are put in order when they have spoken. Stable, so that each policy's stay as it said them.
    if let Some(spoken) = bench.rules.get_mut(policies_from..) {
        spoken.sort_by_key(|heard| heard.policy);
    }
    bench.matched.sort_unstable();
    bench.conclude()
}

/// Collects what the rules say.
struct Bench<'a> {
    question: &'a Question<'a>,
    rules: Vec<Heard<'a>>,
    denied: bool,
    allowed: bool,
    defer: Option<DateTime<Utc>>,
    mode: Mode,
    tier: Tier,
    approvers: u32,
    matched: Vec<(&'a str, u32)>,
}

impl<'a> Bench<'a> {
    fn new(question: &'a Question<'a>) -> Self {
        Self {
            question,
            rules: Vec::with_capacity(4),
            denied: false,
            allowed: false,
            defer: None,
            mode: question.ceiling,
            tier: Tier::Low,
            approvers: 0,
            matched: Vec::with_capacity(4),
        }
    }

    fn say(&mut self, policy: &'a str, said: impl Into<Ruling<'a>>) {
        self.rules.push(Heard { policy, ruling: said.into() });
    }

    fn deny(&mut self, policy: &'a str, said: Ruling<'a>) {
        self.denied = true;
        self.say(policy, said);
    }

    /// Lets it wait; for ever is no.
    fn defer(&mut self, policy: &'a str, until: Option<DateTime<Utc>>, said: Ruling<'a>) {
        match until {
            Some(until) => self.defer = Some(self.defer.map_or(until, |known| known.max(until))),
            None => self.denied = true,
        }
        self.say(policy, said);
    }

    fn hear_built_in(&mut self) {
        let question = self.question;
        let (action, target) = (question.action.name(), question.target);
        if !action.kinds().contains(&target.kind) {
            self.deny(BUILT_IN, Ruling::WrongKind(action, target.kind));
        }
        if let Some(reason) = question.protected.reason(target, question.labels) {
            self.deny(BUILT_IN, Ruling::Protected(reason));
        }
        match question.narrowed {
            None => {}
            Some("audit") => {
                self.mode = Mode::Audit;
                self.say(BUILT_IN, Ruling::Annotated("audit"));
            }
            Some(other) => self.deny(BUILT_IN, Ruling::Annotated(other)),
        }
        if question.ceiling == Mode::Audit {
            self.say(BUILT_IN, Ruling::InstallationAudits);
        }
        if action == ActionName::EvictPod && question.context.budgets > 1 {
            self.deny(BUILT_IN, Ruling::SeveralBudgets(question.context.budgets));
        }
        if let Some(Disruption { takes, budget: Some(left), .. }) = self.taken()
            && takes > left
        {
            self.defer(BUILT_IN, Some(question.now + RECONSIDER), Ruling::BudgetSpent { left, takes });
        }
    }

    fn hear(&mut self, policy: &'a PolicySource) {
        match policy {
            PolicySource::Broken { name, reason, namespaces, kinds } => {
                let namespaces = namespaces.as_deref().is_none_or(|names| covers(names, self.question.target));
                let kinds = kinds.as_deref().is_none_or(|kinds| kinds.contains(&self.question.target.kind));
                if namespaces && kinds {
                    self.deny(name, Ruling::Broken(reason));
                }
            }
            PolicySource::Loaded { name, spec } => {
                if matches(&spec.matches, self.question.target, self.question.labels) {
                    self.hear_matching(name, spec);
                }
            }
        }
    }

    fn hear_matching(&mut self, name: &'a str, spec: &'a ActionPolicySpec) {
        let action = self.question.action.name();
        if spec.mode == Mode::Audit {
            self.mode = Mode::Audit;
        }
        self.matched.push((name, spec.limits.concurrent));
        let mut rules = spec.actions.iter().filter(|rule| rule.action == action).peekable();
        if rules.peek().is_none() {
            return self.deny(name, Ruling::NotListed(action));
        }
        let before = self.rules.len();
        let denied = std::mem::replace(&mut self.denied, false);
        self.hear_windows(name, spec);
        self.hear_git_ops(name, spec.git_ops);
        self.hear_unavailable(name, spec);
        let denied_by_policy = std::mem::replace(&mut self.denied, denied);
        self.denied |= denied_by_policy;
        for rule in rules {
            self.hear_rule(name, spec, rule, denied_by_policy);
        }
        // The rule that allows comes first, then what lets it wait.
        if let Some(spoken) = self.rules.get_mut(before..) {
            spoken.sort_by_key(|heard| !matches!(heard.ruling, Ruling::Allowed { .. }));
        }
    }

    fn hear_rule(&mut self, name: &'a str, spec: &'a ActionPolicySpec, rule: &'a ActionRule, denied: bool) {
        let (action, before) = (rule.action, self.rules.len());
        if !rule.origins.contains(&self.question.origin) {
            self.say(name, Ruling::Origin(action, self.question.origin));
        }
        if rule.tier == Tier::Forbidden {
            self.say(name, Ruling::Forbidden(action));
        }
        if let Some((fault, remedy)) = fault_of(rule) {
            self.say(name, Ruling::Unsound { fault, remedy });
        } else {
            self.hear_maxima(name, rule.max);
        }
        if self.rules.len() > before {
            self.denied = true;
        }
        if denied || self.rules.len() > before {
            return;
        }
        self.allowed = true;
        self.tier = self.tier.max(rule.tier);
        self.approvers = self.approvers.max(rule.approvers.unwrap_or(0));
        self.say(name, Ruling::Allowed { rule, limits: &spec.limits, mode: spec.mode });
    }

    /// Whether the action's parameters stay within a rule's maxima.
    fn hear_maxima(&mut self, name: &'a str, max: Option<Maxima>) {
        let (Action::ScaleWorkload(scale), Some(max)) = (self.question.action, max) else { return };
        let Some(from) = self.question.context.replicas else { return self.say(name, Ruling::ReplicasUnknown) };
        let to = scale.replicas;
        if to > max.replicas {
            self.say(name, Ruling::TooMany { to, max: max.replicas });
        }
        if to.abs_diff(from) > max.change {
            self.say(name, Ruling::TooLarge { from, to, max: max.change });
        }
    }

    fn hear_windows(&mut self, name: &'a str, spec: &'a ActionPolicySpec) {
        let zone = spec.windows.time_zone;
        match closed(&spec.windows, self.question.now) {
            None => {}
            Some(Closed::Frozen { days, until }) => self.defer(name, until, Ruling::Frozen { days, zone, until }),
            Some(Closed::Hours { until }) => self.defer(name, until, Ruling::Outside { zone, until }),
            Some(Closed::Faulty(fault)) => {
                let remedy = "mend windows.freeze: its days go from the first to the last";
                self.deny(name, Ruling::Unsound { fault: fault.to_owned(), remedy });
            }
        }
    }

    fn hear_git_ops(&mut self, name: &'a str, rule: GitOpsRule) {
        match (rule, self.question.context.git_ops) {
            (_, GitOps::Untracked) | (GitOpsRule::UnownedFields, GitOps::FieldsFree) => {}
            (GitOpsRule::Never, _) => self.deny(name, Ruling::Tracked),
            (GitOpsRule::UnownedFields, GitOps::FieldsOwned) => self.deny(name, Ruling::Owned),
        }
    }

    /// Everybody's disruptions count, and what takes no available pod is not held up by them.
    fn hear_unavailable(&mut self, name: &'a str, spec: &'a ActionPolicySpec) {
        let context = self.question.context;
        if !context.takes_capacity || context.available == 0 {
            return;
        }
        let Some(Disruption { desired, unavailable: now, takes, .. }) = context.disruption else {
            return self.deny(name, Ruling::UnavailableUnknown);
        };
        let max = spec.limits.unavailable.of(desired);
        if takes > 0 && now.saturating_add(takes) > max {
            let until = (takes <= max).then(|| self.question.now + RECONSIDER);
            self.defer(name, until, Ruling::Unavailable { now, takes, max, desired });
        }
    }

    /// What it takes away of capacity that is available.
    fn taken(&self) -> Option<Disruption> {
        let context = self.question.context;
        context.disruption.filter(|_| context.takes_capacity && context.available > 0)
    }

    fn conclude(mut self) -> Evaluation<'a> {
        if self.denied || !self.allowed {
            if !self.denied {
                let (action, target) = (self.question.action.name(), self.question.target);
                self.say(BUILT_IN, Ruling::NothingAllows(action, target));
            }
            return self.conclude_with(Decision::Deny {});
        }
        self.raise_tier();
        match (self.defer, self.tier, self.mode) {
            (Some(until), _, _) => self.conclude_with(Decision::Defer { until }),
            // In Audit mode nobody is bothered: it is noted what would have been asked.
            (None, _, Mode::Audit) => self.conclude_with(Decision::Allow { mode: Mode::Audit }),
            (None, Tier::Low, Mode::Enforce) => self.conclude_with(Decision::Allow { mode: Mode::Enforce }),
            (None, tier, Mode::Enforce) => self.conclude_with(Decision::NeedsApproval { tier }),
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

    fn conclude_with(self, decision: Decision) -> Evaluation<'a> {
        let tier = if decision == (Decision::Deny {}) { Tier::Forbidden } else { self.tier };
        let approvers = match tier {
            Tier::Low | Tier::Forbidden => 0,
            Tier::Medium => self.approvers.max(1),
            Tier::High => self.approvers.max(2),
        };
        Evaluation { decision, mode: self.mode, tier, approvers, trace: self.rules, matched: self.matched }
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

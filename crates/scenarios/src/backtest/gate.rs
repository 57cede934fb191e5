//! What the gateway would have said: the policies' verdict and the ledger's arithmetic, on recorded
//! time. What the cluster would have shown is assumed, and [`super::assumptions`] says so.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{Action, Decision, Kind, LedgerSpec, Mode, Proposal, Span};
use evenkeel_policy::ledger::{self, ClaimAsk, ClaimRefused, Scope};
use evenkeel_policy::{Context, Judgement, Question, judge};

use super::Settings;
use super::course::Said;
use super::rules::Rules;

/// As the gateway: what others hold may be free earlier than it says.
const RETRY: Duration = Duration::seconds(30);

/// The ledger of one side.
pub(super) struct Gate<'a> {
    rules: &'a Rules,
    settings: &'a Settings,
    ledger: LedgerSpec,
    /// Rates that are known to be used up, until then: nothing is given back in a recording.
    used_up: BTreeMap<(evenkeel_model::ActionName, Scope, String), (evenkeel_model::Rate, DateTime<Utc>)>,
}

/// What comes of a claim.
pub(super) enum Claimed {
    /// The step is carried out.
    Yes,
    /// Not before; why, in words that are the same for all that wait for the same.
    NotBefore(DateTime<Utc>, String),
}

impl<'a> Gate<'a> {
    pub(super) fn new(rules: &'a Rules, settings: &'a Settings) -> Self {
        Self { rules, settings, ledger: LedgerSpec::default(), used_up: BTreeMap::new() }
    }

    pub(super) fn judge(&self, proposal: &Proposal, now: DateTime<Utc>) -> Judgement {
        let question = Question {
            action: &proposal.action,
            target: &proposal.target,
            labels: &BTreeMap::new(),
            origin: proposal.origin,
            now,
            ceiling: Mode::Enforce,
            narrowed: None,
            context: context(proposal),
            protected: &self.settings.protected,
        };
        judge(&question, &self.rules.sources)
    }

    /// Asks the ledger for the root, to be held for as long as the step may be verified.
    pub(super) fn claim(
        &mut self,
        proposal: &Proposal,
        judgement: &Judgement,
        hold_for: Span,
        now: DateTime<Utc>,
    ) -> Claimed {
        if let Some(known) = self.known_to_be_used_up(proposal, judgement, now) {
            return known;
        }
        let name = proposal.name();
        let ask = ClaimAsk {
            remediation: &name,
            root: &proposal.root,
            target: &proposal.target,
            action: proposal.action.name(),
            playbook: &proposal.playbook.name,
            rates: &judgement.rates,
            concurrent: &judgement.concurrent,
            holder: "backtest",
            hold_for,
            grace: Span::seconds(0),
            cluster: &proposal.cluster,
        };
        match ledger::claim(&self.ledger, &ask, now) {
            Ok((ledger, _)) => {
                self.ledger = ledger::acted(&ledger, &name, now);
                Claimed::Yes
            }
            Err(ClaimRefused::RateExceeded { action, scope, rate, until }) => {
                self.used_up.insert((action, scope, scope_key(proposal, scope)), (rate, until));
                Claimed::NotBefore(until, used_up(scope, rate))
            }
            Err(ClaimRefused::Concurrent { policy, limit, until }) => Claimed::NotBefore(
                until.min(now + RETRY),
                format!("limits.concurrent of {policy}: {limit} are under way already"),
            ),
            Err(ClaimRefused::HeldByOther { until, .. }) => {
                Claimed::NotBefore(until.min(now + RETRY), "another remediation holds the root".to_owned())
            }
            // Nothing ends Unknown here, so nobody holds a root for a person.
            Err(ClaimRefused::HeldForPerson { .. }) => Claimed::NotBefore(now + RETRY, "held for a person".to_owned()),
            Err(ClaimRefused::Full { until }) => Claimed::NotBefore(until, "the ledger is full".to_owned()),
        }
    }

    fn known_to_be_used_up(&self, proposal: &Proposal, judgement: &Judgement, now: DateTime<Utc>) -> Option<Claimed> {
        let rates = &judgement.rates;
        let scopes = [
            (Scope::Cluster, &rates.cluster),
            (Scope::Playbook, &rates.playbook),
            (Scope::Namespace, &rates.namespace),
            (Scope::Target, &rates.target),
        ];
        scopes.into_iter().find_map(|(scope, rates)| {
            let key = (proposal.action.name(), scope, scope_key(proposal, scope));
            let (rate, until) = self.used_up.get(&key)?;
            (now < *until && rates.contains(rate)).then(|| Claimed::NotBefore(*until, used_up(scope, *rate)))
        })
    }

    /// The step has ended: its root is free again. What was counted stays counted.
    pub(super) fn release(&mut self, proposal: &Proposal, now: DateTime<Utc>) {
        self.ledger = ledger::release(&self.ledger, &proposal.name(), false);
        if self.used_up.len() > 1_000 {
            self.used_up.retain(|_, (_, until)| now < *until);
        }
    }
}

fn scope_key(proposal: &Proposal, scope: Scope) -> String {
    match scope {
        Scope::Target => proposal.target.key(&proposal.cluster),
        Scope::Namespace => proposal.target.namespace.clone().unwrap_or_default(),
        Scope::Playbook => proposal.playbook.name.clone(),
        Scope::Cluster => String::new(),
    }
}

fn used_up(scope: Scope, rate: evenkeel_model::Rate) -> String {
    let name = match scope {
        Scope::Target => "target",
        Scope::Namespace => "namespace",
        Scope::Playbook => "playbook",
        Scope::Cluster => "cluster",
    };
    format!("rate.{name} {rate} is used up")
}

/// What the gateway reads of the target. No recording has it: the object is ill, so that no available
/// capacity is taken away, and StatefulSets keep data.
fn context(proposal: &Proposal) -> Context {
    let stateful = [proposal.target.kind, proposal.root.kind].contains(&Kind::StatefulSet);
    let replicas = match &proposal.action {
        Action::ScaleWorkload(scale) => Some(scale.replicas),
        _ => None,
    };
    Context { stateful, replicas, ..Context::default() }
}

/// What was decided.
pub(super) fn said(judgement: &Judgement) -> Said {
    match judgement.verdict.decision {
        Decision::Allow { mode: Mode::Enforce } => Said::Allow,
        Decision::Allow { mode: Mode::Audit } => Said::Audit,
        Decision::NeedsApproval { tier } => Said::NeedsApproval(tier),
        Decision::Defer { .. } => Said::Defer,
        Decision::Deny {} => Said::Deny,
    }
}

//! Recorded signals through playbooks and policies, and through changed ones beside them: which
//! incidents, proposals and verdicts differ, and why. Nothing is asked of a cluster; the only time
//! is the recording's.
//!
//! What a recording can't tell is assumed, and [`assumptions`] says what.

mod changes;
mod compare;
mod course;
mod engine;
mod gate;
mod recording;
mod render;
mod rules;
mod run;
mod totals;

use std::collections::BTreeMap;

use evenkeel_model::{Kind, ObjectRef, Span};
use evenkeel_planner::PlanLimits;
use evenkeel_policy::Protected;
use serde::Serialize;

pub use changes::{Change, changes};
pub use compare::{Came, Comparison, Differing};
pub use course::{Class, Course, Said, StepTaken};
pub use recording::{Account, BadLine, Format, Recorded, Recording, RecordingError};
pub use render::{markdown, text};
pub use rules::{Rules, RulesError};
pub use run::{BacktestError, Side, Verdicts, backtest};
pub use totals::{ActionTotals, Totals};

/// What is taken for the facts that playbooks ask of the cluster: they are not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assume {
    /// All conditions hold.
    #[default]
    FactsHold,
    /// Nothing is known: it is told what would be asked.
    Unknown,
}

/// How a recording is put through rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What is taken for facts.
    pub assume: Assume,
    /// How patient the planner is.
    pub limits: PlanLimits,
    /// Where nothing may be done whatever policies say.
    pub protected: Protected,
    /// The object to speak of where a signal names none.
    pub fallback: ObjectRef,
    /// For how long closed incidents are remembered.
    pub keep_closed: Span,
}

impl Settings {
    /// As the planes do without other configuration, in this namespace.
    pub fn new(namespace: &str, gateway: &evenkeel_gateway::Config, reasoner: &evenkeel_reasoner::Config) -> Self {
        let mut namespaces = gateway.protected_namespaces.clone();
        namespaces.insert(namespace.to_owned(), "the engine's own".to_owned());
        Self {
            assume: Assume::default(),
            limits: reasoner.limits(),
            protected: Protected { namespaces, nodes: gateway.protected_nodes.clone() },
            fallback: ObjectRef::cluster_scoped(Kind::Namespace, namespace),
            keep_closed: reasoner.keep_closed,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new("evenkeel", &evenkeel_gateway::Config::default(), &evenkeel_reasoner::Config::default())
    }
}

/// What was assumed, for people.
pub fn assumptions(settings: &Settings, account: &Account, sides: &[&Rules]) -> Vec<String> {
    let mut told = vec![match settings.assume {
        Assume::FactsHold => "Facts are not recorded: whatever a playbook asks of the cluster is taken to hold, so the \
             highest priority that matches acts, and objects are taken not to be paused, rolling out or owned by GitOps."
            .to_owned(),
        Assume::Unknown => {
            "Facts are not recorded and none is assumed: an incident ends at the question its playbook would ask."
                .to_owned()
        }
    }];
    told.push(
        "A step is taken to have helped if its incident's signals ended within its verify.within in the recording, \
         whatever ended them then."
            .to_owned(),
    );
    told.push("Nobody approves: what needs approval waits until it expires, or its signals end.".to_owned());
    told.push("The installation's mode is Enforce; a policy's own mode counts.".to_owned());
    told.push(
        "StatefulSets are taken to keep data; no action is taken to cost capacity that is still available.".to_owned(),
    );
    let selecting: BTreeMap<&str, ()> = sides.iter().flat_map(|rules| rules.selecting()).map(|it| (it, ())).collect();
    if !selecting.is_empty() {
        let names: Vec<&str> = selecting.into_keys().collect();
        told.push(format!(
            "Labels of objects are not recorded: the selectors of {} are taken to match.",
            names.join(", ")
        ));
    }
    if account.roots_guessed > 0 {
        told.push(format!(
            "Owners are not recorded: for {} signals about pods the workload was told from the pod's name.",
            account.roots_guessed
        ));
    }
    if account.format == Some(Format::Alerts) {
        told.push("An alert listed as firing is taken to have ended at the endsAt it was last listed with.".to_owned());
    }
    told
}

#[cfg(test)]
mod tests;

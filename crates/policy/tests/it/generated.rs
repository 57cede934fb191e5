//! Policies and plans made up from a seed.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{
    Action, ActionName, ActionPolicySpec, ActionRule, Day, Empty, Escalate, EscalationSeverity, FrozenDays, GitOpsRule,
    Hours, Kind, Limits, Maxima, Mode, Notify, ObjectRef, Origin, PolicyMatch, Rates, RollbackTo, RollbackWorkload,
    ScaleWorkload, Tier, Unavailable, Windows,
};
use evenkeel_policy::{Context, Disruption, GitOps, PolicySource, Protected, Question};

/// splitmix64: the same numbers everywhere for one seed.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u32) -> u32 {
        (self.next() % u64::from(n)) as u32
    }

    /// True in so many of a hundred cases.
    fn percent(&mut self, n: u32) -> bool {
        self.below(100) < n
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize].clone()
    }

    /// Each with an even chance.
    fn some<T: Clone>(&mut self, of: &[T]) -> Vec<T> {
        of.iter().filter(|_| self.percent(50)).cloned().collect()
    }
}

const NAMESPACES: [&str; 3] = ["shop", "bank", "kube-system"];
const KINDS: [Kind; 6] = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Pod, Kind::Node, Kind::Job];
const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Australia/Lord_Howe", "America/Santiago"];
const TIMES: [&str; 9] = ["00:00", "00:30", "02:00", "02:30", "09:00", "12:15", "17:00", "23:00", "24:00"];
/// Around changes of clocks in the zones above, a weekend, and the turn of a year.
const MOMENTS: [&str; 7] = [
    "2026-03-08T07:00:00Z",
    "2026-03-29T01:00:00Z",
    "2026-04-04T16:00:00Z",
    "2026-09-06T04:00:00Z",
    "2026-10-03T15:30:00Z",
    "2026-10-25T01:00:00Z",
    "2026-12-31T23:00:00Z",
];

/// What is asked, owned.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) action: Action,
    pub(crate) target: ObjectRef,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) origin: Origin,
    pub(crate) now: DateTime<Utc>,
    pub(crate) ceiling: Mode,
    pub(crate) narrowed: Option<&'static str>,
    pub(crate) context: Context,
}

impl Plan {
    pub(crate) fn question<'a>(&'a self, protected: &'a Protected) -> Question<'a> {
        Question {
            action: &self.action,
            target: &self.target,
            labels: &self.labels,
            origin: self.origin,
            now: self.now,
            ceiling: self.ceiling,
            narrowed: self.narrowed,
            context: self.context,
            protected,
        }
    }
}

pub(crate) fn protected() -> Protected {
    Protected {
        namespaces: BTreeMap::from([("kube-system".to_owned(), "part of the cluster itself".to_owned())]),
        nodes: BTreeMap::from([("n0".to_owned(), "NATS runs there".to_owned())]),
    }
}

fn action(name: ActionName, chance: &mut Chance) -> Action {
    match name {
        ActionName::RollbackWorkload => Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable }),
        ActionName::RestartWorkload => Action::RestartWorkload(Empty {}),
        ActionName::ScaleWorkload => Action::ScaleWorkload(ScaleWorkload { replicas: chance.below(12) }),
        ActionName::DeletePod => Action::DeletePod(Empty {}),
        ActionName::EvictPod => Action::EvictPod(Empty {}),
        ActionName::CordonNode => Action::CordonNode(Empty {}),
        ActionName::UncordonNode => Action::UncordonNode(Empty {}),
        ActionName::DeleteJob => Action::DeleteJob(Empty {}),
        ActionName::Notify => Action::Notify(Notify { message: "look".to_owned() }),
        ActionName::Escalate => Action::Escalate(Escalate { severity: EscalationSeverity::Page }),
    }
}

fn labels(chance: &mut Chance, percent: u32) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for key in ["tier", "team"] {
        if chance.percent(percent) {
            labels.insert(key.to_owned(), chance.one(&["web", "db"]).to_owned());
        }
    }
    labels
}

pub(crate) fn plan(chance: &mut Chance) -> Plan {
    let name = if chance.percent(4) { chance.one(&ActionName::ALL) } else { chance.one(&ActionName::ALL[..8]) };
    let kind = if chance.percent(93) { chance.one(name.kinds()) } else { chance.one(&KINDS) };
    let target = if kind.is_namespaced() {
        let namespace = if chance.percent(5) { "kube-system" } else { chance.one(&["shop", "bank"]) };
        ObjectRef::namespaced(kind, namespace, "a")
    } else {
        ObjectRef::cluster_scoped(kind, if chance.percent(10) { "n0" } else { "n1" })
    };
    let mut labels = labels(chance, 60);
    if chance.percent(4) {
        labels.insert("node-role.kubernetes.io/control-plane".to_owned(), String::new());
    }
    let disruption = Disruption {
        desired: chance.below(12),
        unavailable: chance.below(5),
        takes: chance.below(4),
        budget: chance.percent(20).then(|| chance.below(3)),
    };
    let context = Context {
        stateful: chance.percent(25),
        available: chance.below(3),
        takes_capacity: chance.percent(40),
        replicas: chance.percent(90).then(|| chance.below(12)),
        git_ops: if chance.percent(80) {
            GitOps::Untracked
        } else {
            chance.one(&[GitOps::FieldsFree, GitOps::FieldsOwned])
        },
        disruption: chance.percent(90).then_some(disruption),
        budgets: if chance.percent(80) { u32::from(disruption.budget.is_some()) } else { chance.below(4) },
    };
    let moment: DateTime<Utc> = chance.one(&MOMENTS).parse().unwrap();
    Plan {
        action: action(name, chance),
        target,
        labels,
        origin: chance.one(&[Origin::Playbook, Origin::Person]),
        now: moment
            + Duration::minutes(i64::from(chance.below(2 * 48 * 60)) - 48 * 60)
            + Duration::seconds(i64::from(chance.below(60))),
        ceiling: if chance.percent(10) { Mode::Audit } else { Mode::Enforce },
        narrowed: if chance.percent(92) { None } else { Some(chance.one(&["audit", "off", "of", ""])) },
        context,
    }
}

fn windows(chance: &mut Chance) -> Windows {
    let mut windows = Windows::always();
    windows.time_zone = chance.one(&ZONES).parse().unwrap();
    if chance.percent(60) {
        let days = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
        windows.allow = (0..chance.below(4))
            .map(|_| Hours {
                days: if chance.percent(40) { vec![Day::All] } else { chance.some(&days) },
                from: chance.one(&TIMES).parse().unwrap(),
                to: chance.one(&TIMES).parse().unwrap(),
            })
            .collect();
    }
    if chance.percent(25) {
        let first: DateTime<Utc> = chance.one(&MOMENTS).parse().unwrap();
        let from = first.date_naive() + Duration::days(i64::from(chance.below(5)) - 3);
        let to = from + Duration::days(i64::from(chance.below(5)) - i64::from(chance.percent(5)));
        windows.freeze.push(FrozenDays { from, to, reason: "because".to_owned() });
    }
    windows
}

fn rule(action: ActionName, chance: &mut Chance) -> ActionRule {
    let some = [Tier::Low, Tier::Low, Tier::Medium, Tier::High];
    let tier = if chance.percent(5) { Tier::Forbidden } else { chance.one(&some) };
    let needs = matches!(tier, Tier::Medium | Tier::High);
    let rate = |chance: &mut Chance| chance.one(&["1/1h", "3/1h", "10/1h", "5/24h"]).parse().unwrap();
    let playbook = |chance: &mut Chance| chance.one(&["1/1h", "10/1h", "30/1h", "240/24h"]).parse().unwrap();
    ActionRule {
        action,
        tier,
        approvers: (needs != chance.percent(3)).then(|| chance.below(20) % 7),
        origins: if chance.percent(85) {
            vec![Origin::Person, Origin::Playbook]
        } else {
            chance.some(&[Origin::Playbook, Origin::Person])
        },
        rate: Rates {
            target: rate(chance),
            namespace: rate(chance),
            playbook: chance.percent(30).then(|| playbook(chance)),
            cluster: rate(chance),
        },
        max: (action == ActionName::ScaleWorkload && chance.percent(93))
            .then(|| Maxima { replicas: 5 + chance.below(10), change: chance.below(12) }),
    }
}

pub(crate) fn spec(chance: &mut Chance) -> ActionPolicySpec {
    let namespaces = if chance.percent(65) { vec!["*"] } else { chance.some(&NAMESPACES) };
    let mut listed: Vec<ActionName> = ActionName::ALL.into_iter().filter(|_| chance.percent(85)).collect();
    if chance.percent(10) {
        listed.push(chance.one(&ActionName::ALL));
    }
    ActionPolicySpec {
        mode: if chance.percent(12) { Mode::Audit } else { Mode::Enforce },
        matches: PolicyMatch {
            namespaces: namespaces.into_iter().map(str::to_owned).collect(),
            kinds: if chance.percent(85) { KINDS.to_vec() } else { chance.some(&KINDS) },
            selector: labels(chance, 15),
        },
        actions: listed.into_iter().map(|action| rule(action, chance)).collect(),
        windows: windows(chance),
        limits: Limits {
            concurrent: 1 + chance.below(3),
            unavailable: Unavailable { count: chance.below(9), percent: chance.one(&[10, 50, 100, 100]) },
        },
        git_ops: chance.one(&[GitOpsRule::Never, GitOpsRule::UnownedFields, GitOpsRule::UnownedFields]),
    }
}

pub(crate) fn policies(chance: &mut Chance) -> Vec<PolicySource> {
    let many = chance.one(&[0, 1, 1, 1, 1, 2, 2, 3]);
    (0..many)
        .map(|_| {
            let name = chance.one(&["a", "b", "c", "d"]).to_owned();
            if chance.percent(3) {
                return PolicySource::Broken {
                    name,
                    reason: "no such field".to_owned(),
                    namespaces: chance.percent(50).then(|| vec![chance.one(&NAMESPACES).to_owned()]),
                    kinds: chance.percent(50).then(|| chance.some(&KINDS)),
                };
            }
            PolicySource::Loaded { name, spec: spec(chance) }
        })
        .collect()
}

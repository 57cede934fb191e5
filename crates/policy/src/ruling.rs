use std::fmt;

use chrono::{DateTime, Utc};
use evenkeel_model::{ActionName, ActionRule, FrozenDays, Kind, Limits, Mode, ObjectRef, Origin, Tier, TimeZone};

/// What one rule said. It becomes text only when somebody reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling<'a> {
    /// It writes nothing.
    NeedsNoPolicy(ActionName, &'a ObjectRef),
    /// The action can't be done to that kind.
    WrongKind(ActionName, Kind),
    /// The object is out of bounds.
    Protected(String),
    /// `evenkeel.dev/mode` on the object or its namespace.
    Annotated(&'a str),
    /// The installation is in Audit mode.
    InstallationAudits,
    /// No policy allows it.
    NothingAllows(ActionName, &'a ObjectRef),
    /// PodDisruptionBudgets let fewer pods go now than the action takes.
    BudgetSpent {
        /// Pods that budgets let go.
        left: u32,
        /// Pods that the action takes.
        takes: u32,
    },
    /// The pod has so many PodDisruptionBudgets, and is to be evicted.
    SeveralBudgets(u32),
    /// Text of a built-in rule.
    Said(String),
    /// The policy can't be read.
    Broken(&'a str),
    /// The policy does not list the action.
    NotListed(ActionName),
    /// Whoever asks may not.
    Origin(ActionName, Origin),
    /// Tier Forbidden.
    Forbidden(ActionName),
    /// The rule has a fault: what, and what to do about it.
    Unsound {
        /// What is wrong.
        fault: String,
        /// What to change.
        remedy: &'static str,
    },
    /// It is not known how many replicas there are.
    ReplicasUnknown,
    /// More replicas than `max.replicas`.
    TooMany {
        /// Asked for.
        to: u32,
        /// Allowed.
        max: u32,
    },
    /// A larger change than `max.change`.
    TooLarge {
        /// Replicas now.
        from: u32,
        /// Asked for.
        to: u32,
        /// Allowed change.
        max: u32,
    },
    /// A GitOps tool tracks the object, and `gitOps` is Never.
    Tracked,
    /// A GitOps tool sets a field that the action writes.
    Owned,
    /// It is not known how many pods are unavailable.
    UnavailableUnknown,
    /// Too many pods would be unavailable.
    Unavailable {
        /// Unavailable now.
        now: u32,
        /// The action's share.
        takes: u32,
        /// Allowed.
        max: u32,
        /// Replicas asked for.
        desired: u32,
    },
    /// A freeze holds.
    Frozen {
        /// Which.
        days: &'a FrozenDays,
        /// By which clocks.
        zone: TimeZone,
        /// Until when; `None` when nothing opens for years.
        until: Option<DateTime<Utc>>,
    },
    /// It is outside the hours.
    Outside {
        /// By which clocks.
        zone: TimeZone,
        /// Until when; `None` when nothing opens for years.
        until: Option<DateTime<Utc>>,
    },
    /// The policy allows it.
    Allowed {
        /// By which rule.
        rule: &'a ActionRule,
        /// At most so much at once.
        limits: &'a Limits,
        /// In this mode.
        mode: Mode,
    },
}

impl From<String> for Ruling<'_> {
    fn from(said: String) -> Self {
        Self::Said(said)
    }
}

/// What a rule does to the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It lets the action pass.
    Passes,
    /// It keeps it in Audit mode.
    Audits,
    /// It asks for people.
    AsksPeople,
    /// It lets it wait.
    Defers,
    /// It denies it.
    Denies,
}

impl Ruling<'_> {
    /// What it does to the verdict.
    pub fn weight(&self) -> Weight {
        match self {
            Self::NeedsNoPolicy(..) => Weight::Passes,
            Self::Annotated("audit") | Self::InstallationAudits => Weight::Audits,
            Self::Allowed { mode: Mode::Audit, .. } => Weight::Audits,
            Self::Allowed { rule, .. } if rule.tier == Tier::Low => Weight::Passes,
            Self::Allowed { .. } | Self::Said(_) => Weight::AsksPeople,
            Self::BudgetSpent { .. } | Self::Frozen { until: Some(_), .. } | Self::Outside { until: Some(_), .. } => {
                Weight::Defers
            }
            Self::Unavailable { takes, max, .. } if takes <= max => Weight::Defers,
            Self::WrongKind(..)
            | Self::Protected(_)
            | Self::Annotated(_)
            | Self::NothingAllows(..)
            | Self::SeveralBudgets(_)
            | Self::Broken(_)
            | Self::NotListed(_)
            | Self::Origin(..)
            | Self::Forbidden(_)
            | Self::Unsound { .. }
            | Self::ReplicasUnknown
            | Self::TooMany { .. }
            | Self::TooLarge { .. }
            | Self::Tracked
            | Self::Owned
            | Self::UnavailableUnknown
            | Self::Unavailable { .. }
            | Self::Frozen { .. }
            | Self::Outside { .. } => Weight::Denies,
        }
    }

    /// What would have to change for it to say something else; `None` where nothing can.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NeedsNoPolicy(..) | Self::WrongKind(..) | Self::Protected(_) | Self::Said(_) => return None,
            Self::Annotated(_) => "take the annotation evenkeel.dev/mode off the object and its namespace".to_owned(),
            Self::InstallationAudits => "set mode: Enforce in the configuration".to_owned(),
            Self::NothingAllows(action, target) => {
                format!("write an ActionPolicy that matches {target} and lists {action}")
            }
            Self::BudgetSpent { .. } => "wait until the budget's pods are available again".to_owned(),
            Self::SeveralBudgets(_) => "leave the pod one PodDisruptionBudget".to_owned(),
            Self::Broken(_) => "mend the policy (evenkeel check tells where), or delete it".to_owned(),
            Self::NotListed(action) => format!("add {action} to spec.actions, or narrow spec.match"),
            Self::Origin(action, origin) => format!("add {origin:?} to origins of {action}"),
            Self::Forbidden(action) => format!("give {action} another tier"),
            Self::Unsound { remedy, .. } => (*remedy).to_owned(),
            Self::ReplicasUnknown => "nothing in a policy: the object could not be read".to_owned(),
            Self::TooMany { to, .. } => format!("raise max.replicas to {to}, or ask for fewer"),
            Self::TooLarge { from, to, .. } => {
                format!("raise max.change to {}, or go in smaller steps", to.abs_diff(*from))
            }
            Self::Tracked => "set gitOps: UnownedFields, or make the change where the tool reads it".to_owned(),
            Self::Owned => "make the change where the tool reads it".to_owned(),
            Self::UnavailableUnknown => "nothing in a policy: the workload could not be read".to_owned(),
            Self::Unavailable { now, takes, .. } => {
                format!(
                    "wait for pods to be available, or let limits.unavailable come to {}",
                    now.saturating_add(*takes)
                )
            }
            Self::Frozen { until: Some(until), .. } => {
                format!("wait until {until}, or end the freeze in windows.freeze")
            }
            Self::Frozen { .. } => "end the freeze in windows.freeze, and write hours into windows.allow".to_owned(),
            Self::Outside { until: Some(until), .. } => format!("wait until {until}, or widen windows.allow"),
            Self::Outside { .. } => "write hours into windows.allow".to_owned(),
            Self::Allowed { mode: Mode::Audit, .. } => "set spec.mode: Enforce".to_owned(),
            Self::Allowed { rule, .. } if rule.tier != Tier::Low => format!("set tier: Low for {}", rule.action),
            Self::Allowed { .. } => return None,
        })
    }
}

impl fmt::Display for Ruling<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsNoPolicy(action, target) => write!(f, "{action} writes nothing to {target}: needs no policy"),
            Self::WrongKind(action, kind) => write!(f, "{action} can't be done to a {kind}"),
            Self::Protected(reason) => write!(f, "{reason}; no policy can allow it"),
            Self::Annotated(mode @ ("audit" | "off")) => write!(f, "annotated evenkeel.dev/mode: {mode}"),
            Self::Annotated(other) => {
                write!(f, "annotated evenkeel.dev/mode: {other:?}; expected off or audit, so it counts as off")
            }
            Self::InstallationAudits => f.write_str("the installation is in Audit mode"),
            Self::NothingAllows(action, target) => write!(f, "no ActionPolicy allows {action} of {target}"),
            Self::BudgetSpent { left, takes } => {
                write!(f, "its PodDisruptionBudgets let {left} pods go now, and it takes {takes}")
            }
            Self::SeveralBudgets(count) => {
                write!(f, "{count} PodDisruptionBudgets are about the pod: the API server evicts none that has two")
            }
            Self::Said(said) => f.write_str(said),
            Self::Broken(reason) => write!(f, "can't be read, and denies what it might match: {reason}"),
            Self::NotListed(action) => write!(f, "{action} is not among its actions"),
            Self::Origin(action, Origin::Playbook) => write!(f, "{action} may not be asked for by a playbook"),
            Self::Origin(action, Origin::Person) => write!(f, "{action} may not be asked for by a person"),
            Self::Forbidden(action) => write!(f, "{action} is forbidden (tier Forbidden)"),
            Self::Unsound { fault, .. } => f.write_str(fault),
            Self::ReplicasUnknown => f.write_str("it is not known how many replicas there are, so none may be set"),
            Self::TooMany { to, max } => write!(f, "{to} replicas are more than the {max} it allows"),
            Self::TooLarge { from, to, max } => {
                write!(
                    f,
                    "a change by {} replicas ({from} → {to}) is more than the {max} it allows",
                    to.abs_diff(*from)
                )
            }
            Self::Tracked => f.write_str("a GitOps tool tracks the object (gitOps: Never)"),
            Self::Owned => f.write_str("a GitOps tool sets a field that it would write"),
            Self::UnavailableUnknown => {
                f.write_str("it takes capacity, and it is not known how many pods are unavailable")
            }
            Self::Unavailable { now, takes, max, desired } => {
                write!(f, "{now} of {desired} pods are unavailable and it takes {takes}: more than the {max} it allows")
            }
            Self::Frozen { days, zone, until } => {
                write!(f, "frozen from {} to {} ({zone}): {}", days.from, days.to, days.reason)?;
                again(f, *until)
            }
            Self::Outside { zone, until } => {
                write!(f, "outside its hours ({zone})")?;
                again(f, *until)
            }
            Self::Allowed { rule, limits, mode } => allowed(f, rule, limits, *mode),
        }
    }
}

fn again(f: &mut fmt::Formatter<'_>, until: Option<DateTime<Utc>>) -> fmt::Result {
    match until {
        Some(until) => write!(f, "; again from {until}"),
        None => f.write_str("; it never opens"),
    }
}

fn allowed(f: &mut fmt::Formatter<'_>, rule: &ActionRule, limits: &Limits, mode: Mode) -> fmt::Result {
    let (action, rate) = (rule.action, &rule.rate);
    match (rule.tier, rule.approvers) {
        (Tier::Low, _) => write!(f, "{action} allowed automatically")?,
        (_, None | Some(1)) => write!(f, "{action} allowed when a person approves")?,
        (_, Some(approvers)) => write!(f, "{action} allowed when {approvers} people approve")?,
    }
    write!(f, " (tier {:?}), at most {} per target, {} per namespace, ", rule.tier, rate.target, rate.namespace)?;
    if let Some(playbook) = rate.playbook {
        write!(f, "{playbook} per playbook, ")?;
    }
    write!(f, "{} in the cluster, {} at once", rate.cluster, limits.concurrent)?;
    if mode == Mode::Audit { f.write_str("; in Audit mode: not carried out") } else { Ok(()) }
}

//! Whether the cluster lets a policy be enforced, from what was found there. Pure; the gateway does the asking.

use evenkeel_model::ConditionStatus;

use super::Need;
use crate::PolicySource;

/// Rules that are named in one message; of more it is said how many.
const NAMED: usize = 5;

/// Whether the gateway has a right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It has.
    Yes,
    /// It has not.
    No,
    /// The API server could not be asked, and why.
    Unknown(String),
}

/// How the admission policy in the cluster compares with the one that the policies make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// It is the same, and refuses.
    Same,
    /// It, or its binding, is not there: which of them.
    Missing(String),
    /// It, or its binding, is another: which, and where.
    Differs(String),
    /// It could not be read, and why.
    Unknown(String),
}

/// What is to be said of a policy, as a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it can be enforced.
    pub status: ConditionStatus,
    /// Why, in a word.
    pub reason: &'static str,
    /// Why, for people: every rule that is missing, up to five of them.
    pub message: String,
}

/// Whether a policy can be enforced: the gateway has the rights that it needs, and the API server refuses what
/// policies do not allow.
pub fn enforceable(policy: &PolicySource, rights: &[(Need, Held)], admission: &Admitted) -> Finding {
    let say = |status, reason, message: String| Finding { status, reason, message };
    if let PolicySource::Broken { reason, .. } = policy {
        let message = format!("can't be read, and denies what it might match: {reason}");
        return say(ConditionStatus::False, "Unreadable", message);
    }
    let needed = || rights.iter().filter(|(need, _)| need.policies.contains(policy.name()));
    let missing: Vec<&Need> = needed().filter(|(_, held)| *held == Held::No).map(|(need, _)| need).collect();
    let admission_wrong = match admission {
        Admitted::Missing(what) => Some(("AdmissionMissing", format!("{what} is not installed"))),
        Admitted::Differs(what) => {
            Some(("AdmissionDiffers", format!("what is installed is not made of the policies as they are: {what}")))
        }
        Admitted::Same | Admitted::Unknown(_) => None,
    };
    let to_print = "prints what has to be";
    if !missing.is_empty() {
        let mut message = format!("RBAC lacks {}; `evenkeel policy rbac` {to_print}", listed(&missing));
        if let Some((_, wrong)) = admission_wrong {
            message = format!("{message}. Besides, {wrong}");
        }
        return say(ConditionStatus::False, "RuleMissing", message);
    }
    if let Some((reason, wrong)) = admission_wrong {
        return say(ConditionStatus::False, reason, format!("{wrong}; `evenkeel policy admission` {to_print}"));
    }
    let unknown = needed().find_map(|(need, held)| match held {
        Held::Unknown(why) => Some(format!("whether RBAC has {need}: {why}")),
        Held::Yes | Held::No => None,
    });
    let unknown = unknown.or(match admission {
        Admitted::Unknown(why) => Some(format!("what admission holds the gateway to: {why}")),
        _ => None,
    });
    if let Some(unknown) = unknown {
        return say(ConditionStatus::Unknown, "NotFoundOut", format!("it is not known {unknown}"));
    }
    let message = match needed().count() {
        0 => "it lets nothing be carried out, and admission holds the gateway to that".to_owned(),
        _ => "RBAC lets the gateway do what it allows, and admission holds the gateway to it".to_owned(),
    };
    say(ConditionStatus::True, "AsGenerated", message)
}

fn listed(needs: &[&Need]) -> String {
    let mut named: Vec<String> = needs.iter().take(NAMED).map(ToString::to_string).collect();
    if needs.len() > NAMED {
        named.push(format!("{} more", needs.len() - NAMED));
    }
    named.join(", ")
}

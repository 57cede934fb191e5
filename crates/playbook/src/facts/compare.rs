//! Conditions: whether they hold, in words, and whether they can be meant.

use evenkeel_model::{Condition, Diagnose, Evidence, Fact, Kind, Operator, Span};
use serde_json::Value;

use super::{FactEntry, FactKind, evaluate, of, question};
use crate::suggest::{one_of, or_meant};

/// Whether a condition holds, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whether it holds; absent when that can't be told, and then it does not.
    pub holds: Option<bool>,
    /// What was found, for people; the reason when it can't be told.
    pub found: String,
}

impl Held {
    /// Known to hold.
    pub fn is_yes(&self) -> bool {
        self.holds == Some(true)
    }

    /// Known not to hold.
    pub fn is_no(&self) -> bool {
        self.holds == Some(false)
    }

    /// Can't be told.
    pub fn is_unknown(&self) -> bool {
        self.holds.is_none()
    }
}

/// Whether a condition holds. What is Absent equals nothing, is no number and in no list; so
/// NotEquals and Absent hold for it. A list without elements counts as Absent.
pub fn holds(condition: &Condition, evidence: &Evidence) -> Held {
    let fact = evaluate(&condition.fact, evidence);
    let kind = entry(&condition.fact, None, Some(evidence)).map(|entry| entry.kind);
    let holds = match &fact {
        Fact::Unknown(_) => None,
        fact => compare(fact, condition),
    };
    let found = match (&fact, holds) {
        (Fact::Unknown(_), _) | (_, Some(_)) => show(&fact, kind),
        (_, None) => format!("{}, which can't be compared with {}", show(&fact, kind), shown(condition.value.as_ref())),
    };
    Held { holds, found }
}

fn compare(fact: &Fact, condition: &Condition) -> Option<bool> {
    let is_there = match fact {
        Fact::Absent => false,
        Fact::List(words) => !words.is_empty(),
        _ => true,
    };
    let value = condition.value.as_ref();
    match condition.op {
        Operator::Exists => Some(is_there),
        Operator::Absent => Some(!is_there),
        Operator::Equals => Some(is_there && equals(fact, value?)?),
        Operator::NotEquals => Some(!(is_there && equals(fact, value?)?)),
        Operator::AtLeast => Some(is_there && number(fact)? >= as_number(value?)?),
        Operator::AtMost => Some(is_there && number(fact)? <= as_number(value?)?),
        Operator::OneOf => {
            let Value::Array(values) = value? else { return None };
            values.iter().try_fold(false, |any, value| Some(any || is_there && equals(fact, value)?))
        }
        Operator::Contains => {
            let word = value?.as_str()?;
            match fact {
                Fact::List(words) => Some(words.iter().any(|found| found == word)),
                Fact::Text(text) => Some(text.contains(word)),
                Fact::Absent => Some(false),
                _ => None,
            }
        }
    }
}

fn equals(fact: &Fact, value: &Value) -> Option<bool> {
    match fact {
        Fact::Bool(found) => Some(*found == value.as_bool()?),
        Fact::Number(found) => Some((found - as_number(value)?).abs() < f64::EPSILON),
        Fact::Text(found) => Some(found == value.as_str()?),
        Fact::List(_) | Fact::Absent | Fact::Unknown(_) => None,
    }
}

fn number(fact: &Fact) -> Option<f64> {
    if let Fact::Number(n) = fact { Some(*n) } else { None }
}

/// A number, or a length of time in seconds.
fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.parse::<Span>().ok().map(|span| span.get().as_secs_f64()),
        _ => None,
    }
}

/// A condition in words: `target.unavailableReplicas is at least 1`.
pub fn describe(condition: &Condition) -> String {
    let Condition { fact, op, value } = condition;
    let value = shown(value.as_ref());
    match op {
        Operator::Equals => format!("{fact} is {value}"),
        Operator::NotEquals => format!("{fact} is not {value}"),
        Operator::AtLeast => format!("{fact} is at least {value}"),
        Operator::AtMost => format!("{fact} is at most {value}"),
        Operator::Contains => format!("{fact} contains {value}"),
        Operator::OneOf => format!("{fact} is one of {value}"),
        Operator::Exists => format!("{fact} is there"),
        Operator::Absent => format!("{fact} is not there"),
    }
}

/// A condition with what was found: `target.well is true: no, found false`.
pub fn explain(condition: &Condition, held: &Held) -> String {
    let condition = describe(condition);
    match held.holds {
        Some(true) => format!("{condition}: yes, found {}", held.found),
        Some(false) => format!("{condition}: no, found {}", held.found),
        None => format!("{condition}: can't be told, {}", held.found),
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(values)) => values.iter().map(|value| shown(Some(value))).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}

/// A fact's value for people; for Unknown the reason.
pub fn show(fact: &Fact, kind: Option<FactKind>) -> String {
    match fact {
        Fact::Bool(value) => value.to_string(),
        Fact::Number(seconds) if kind == Some(FactKind::Seconds) => span(*seconds),
        Fact::Number(value) => value.to_string(),
        Fact::Text(text) => shortened(text),
        Fact::List(words) if words.is_empty() => "none".to_owned(),
        Fact::List(words) => shortened(&words.join(", ")),
        Fact::Absent => "nothing".to_owned(),
        Fact::Unknown(reason) => shortened(reason),
    }
}

fn span(seconds: f64) -> String {
    // Facts in seconds are whole, not negative and below 2^32.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Span::seconds(seconds as u64).to_string()
}

/// Checks go into an object's status, where a log would have no place.
fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    let line = text.replace('\n', " ");
    if line.chars().count() <= MOST { line } else { line.chars().take(MOST).chain(['…']).collect() }
}

/// The table's entry for a name, as the questions asked (or answered) give it meaning.
pub(crate) fn entry(
    name: &str,
    diagnose: Option<&[Diagnose]>,
    evidence: Option<&Evidence>,
) -> Option<&'static FactEntry> {
    use evenkeel_model::Finding;
    let (source, short) = name.split_once('.')?;
    let asked = || diagnose?.iter().find(|asked| asked.name == source).and_then(question);
    let answered = || match evidence?.named.get(source)? {
        Finding::Changes(_) => Some("changes"),
        Finding::Events(_) => Some("events"),
        Finding::Value(_) => Some("promql"),
        Finding::Logs(_) => Some("logs"),
        Finding::Object(_) | Finding::Owners(_) | Finding::Unknown { .. } => None,
    };
    let source = if source == "target" { "target" } else { asked().or_else(answered)? };
    of(source).find(|entry| entry.short_name() == short)
}

/// What is wrong with a condition: which of its fields, and why.
pub(crate) fn check(
    condition: &Condition,
    diagnose: &[Diagnose],
    kinds: Option<&[Kind]>,
) -> Result<&'static FactEntry, Vec<(&'static str, String)>> {
    let Some(entry) = entry(&condition.fact, Some(diagnose), None) else {
        return Err(vec![("fact", no_such_fact(&condition.fact, diagnose))]);
    };
    let mut wrong = Vec::new();
    if let Some(kinds) = kinds
        && !entry.kinds.is_empty()
        && !kinds.iter().any(|kind| entry.kinds.contains(kind))
    {
        let about: Vec<_> = entry.kinds.iter().map(|kind| kind.as_str()).collect();
        let these: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
        let message =
            format!("{} is about {}, and this playbook is for {}", condition.fact, one_of(&about), one_of(&these));
        wrong.push(("fact", message));
    }
    let allowed = operators(entry.kind);
    if !allowed.contains(&condition.op) {
        let allowed: Vec<_> = allowed.iter().map(|op| format!("{op:?}")).collect();
        let message = format!(
            "{:?} can't compare {}, which is {}; use {}",
            condition.op,
            condition.fact,
            entry.kind.expects(),
            one_of(&allowed)
        );
        wrong.push(("op", message));
    } else if let Err(message) = value_fits(condition, entry.kind) {
        wrong.push(("value", message));
    }
    if wrong.is_empty() { Ok(entry) } else { Err(wrong) }
}

fn operators(kind: FactKind) -> &'static [Operator] {
    use Operator::{Absent, AtLeast, AtMost, Contains, Equals, Exists, NotEquals, OneOf};
    match kind {
        FactKind::Bool => &[Equals, NotEquals, Exists, Absent],
        FactKind::Number | FactKind::Seconds => &[Equals, NotEquals, AtLeast, AtMost, OneOf, Exists, Absent],
        FactKind::Text => &[Equals, NotEquals, Contains, OneOf, Exists, Absent],
        FactKind::List => &[Contains, Exists, Absent],
    }
}

fn value_fits(condition: &Condition, kind: FactKind) -> Result<(), String> {
    let one = |value: &Value| match kind {
        FactKind::Bool => value.is_boolean(),
        FactKind::Number => value.is_number(),
        FactKind::Seconds => as_number(value).is_some(),
        FactKind::Text | FactKind::List => value.is_string(),
    };
    let expects = if kind == FactKind::List { "a text" } else { kind.expects() };
    match (condition.op, &condition.value) {
        (Operator::Exists | Operator::Absent, None) => Ok(()),
        (Operator::Exists | Operator::Absent, Some(_)) => {
            Err(format!("{:?} takes no value; leave it out", condition.op))
        }
        (_, None) => Err(format!("{:?} needs a value: {expects}", condition.op)),
        (Operator::OneOf, Some(Value::Array(values))) if !values.is_empty() && values.iter().all(one) => Ok(()),
        (Operator::OneOf, Some(other)) => {
            Err(format!("expected a list, each {expects}, as {} is compared; found {other}", condition.fact))
        }
        (_, Some(value)) if one(value) => Ok(()),
        (_, Some(value)) => Err(format!("expected {expects}, as {} is compared; found {value}", condition.fact)),
    }
}

fn no_such_fact(name: &str, diagnose: &[Diagnose]) -> String {
    let targets = || of("target").map(|entry| entry.name.to_owned());
    let Some((source, short)) = name.split_once('.') else {
        let known: Vec<String> = targets().collect();
        return format!(
            "there is no fact {name:?}; facts are named SOURCE.NAME, as target.well{}",
            or_meant(name, &known)
        );
    };
    if source == "target" {
        let known: Vec<String> = targets().collect();
        return format!("there is no fact {name:?}{}", or_meant(name, &known));
    }
    match diagnose.iter().find(|asked| asked.name == source).map(question) {
        // That it asks not exactly one thing is told at the question.
        Some(None) => format!("the question {source:?} does not ask exactly one thing, so it has no facts"),
        Some(Some(kind)) => {
            let known: Vec<&str> = of(kind).map(FactEntry::short_name).collect();
            format!("a question for {kind} has no fact {short:?}{}", or_meant(short, &known))
        }
        None => {
            let known: Vec<&str> =
                std::iter::once("target").chain(diagnose.iter().map(|asked| asked.name.as_str())).collect();
            format!("{name:?} is of no question under diagnose and not of the target{}", or_meant(source, &known))
        }
    }
}

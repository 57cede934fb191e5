//! The closed table of facts: named, typed values that conditions compare. Evaluation, `check`,
//! the schema for editors and the documentation all come from [`table`].

mod answers;
mod compare;
mod target;

use std::sync::LazyLock;

use evenkeel_model::{Diagnose, Evidence, Fact, Finding, Happened, Kind, ObservedChange, Snapshot};

pub(crate) use compare::check;
pub use compare::{Held, describe, explain, holds, show};

/// What values a fact takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactKind {
    /// True or false.
    Bool,
    /// A number.
    Number,
    /// A length of time; conditions write it `5m`, or as seconds.
    Seconds,
    /// A word or a line.
    Text,
    /// Words.
    List,
}

impl FactKind {
    /// What a condition's value looks like, for messages and documentation.
    pub fn expects(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Seconds => "a length of time such as 5m, or seconds",
            Self::Text => "a text",
            Self::List => "a list of texts",
        }
    }
}

/// Where a fact is read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Read {
    Target(fn(&Snapshot) -> Fact),
    Changes(fn(&[ObservedChange]) -> Fact),
    Events(fn(&[Happened]) -> Fact),
    Promql(fn(Option<f64>) -> Fact),
    Logs(fn(&[String]) -> Fact),
}

/// One fact there is.
#[derive(Debug, Clone, Copy)]
pub struct FactEntry {
    /// Its name; facts of a question are written `<changes>.count`, and go by the question's name.
    pub name: &'static str,
    /// Its type.
    pub kind: FactKind,
    /// The kinds of target it is about; Absent for others. Empty: any.
    pub kinds: &'static [Kind],
    /// Whether it is read from the API server; only such facts can show that a target needs something.
    pub from_cluster: bool,
    /// What it says, for people.
    pub doc: &'static str,
    pub(crate) read: Read,
}

/// All facts, in the order of the documentation.
pub fn table() -> &'static [FactEntry] {
    static TABLE: LazyLock<Vec<FactEntry>> = LazyLock::new(|| [target::FACTS, answers::FACTS].concat());
    &TABLE
}

/// What a diagnose entry asks, as its facts are named; `None` unless it asks exactly one thing.
pub(crate) fn question(diagnose: &Diagnose) -> Option<&'static str> {
    let asked = [
        ("changes", diagnose.changes.is_some()),
        ("events", diagnose.events.is_some()),
        ("promql", diagnose.promql.is_some()),
        ("logs", diagnose.logs.is_some()),
    ];
    let mut asked = asked.into_iter().filter_map(|(name, is_asked)| is_asked.then_some(name));
    asked.next().filter(|_| asked.next().is_none())
}

/// The facts of one kind of question, or with `target` those of the target.
pub(crate) fn of(source: &str) -> impl Iterator<Item = &'static FactEntry> {
    table().iter().filter(move |entry| entry.source() == source)
}

impl FactEntry {
    /// `target`, or the kind of question it belongs to.
    pub fn source(&self) -> &'static str {
        match self.read {
            Read::Target(_) => "target",
            Read::Changes(_) => "changes",
            Read::Events(_) => "events",
            Read::Promql(_) => "promql",
            Read::Logs(_) => "logs",
        }
    }

    /// The name after its dot.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, short)| short)
    }
}

/// A fact's value. A name that is in no table, and a source that was not or could not be asked, is
/// [`Fact::Unknown`].
pub fn evaluate(name: &str, evidence: &Evidence) -> Fact {
    let (source, short) = name.split_once('.').unwrap_or((name, ""));
    let unknown = || Fact::Unknown(format!("there is no fact {name:?}"));
    if source == "target" {
        let Some(entry) = of("target").find(|entry| entry.short_name() == short) else { return unknown() };
        let Some(snapshot) = &evidence.target else { return Fact::Unknown("the target was not read".to_owned()) };
        return of_target(entry, snapshot);
    }
    let finding = match evidence.named.get(source) {
        None => return Fact::Unknown(format!("the question {source:?} was not asked")),
        Some(Finding::Unknown { reason }) => return Fact::Unknown(reason.clone()),
        Some(finding) => finding,
    };
    let answer = |entry: &FactEntry| match (entry.read, finding) {
        (Read::Changes(read), Finding::Changes(changes)) => Some(read(changes)),
        (Read::Events(read), Finding::Events(events)) => Some(read(events)),
        (Read::Promql(read), Finding::Value(value)) => Some(read(*value)),
        (Read::Logs(read), Finding::Logs(lines)) => Some(read(lines)),
        _ => None,
    };
    table().iter().filter(|entry| entry.short_name() == short).find_map(answer).unwrap_or_else(unknown)
}

fn of_target(entry: &FactEntry, snapshot: &Snapshot) -> Fact {
    let Read::Target(read) = entry.read else {
        return Fact::Unknown(format!("{} is not about the target", entry.name));
    };
    let tells_of_absence = ["target.exists", "target.well", "target.kind"].contains(&entry.name);
    if snapshot.meta.is_none() && !tells_of_absence {
        return Fact::Absent;
    }
    if !entry.kinds.is_empty() && !entry.kinds.contains(&snapshot.target.kind) {
        return Fact::Absent;
    }
    read(snapshot)
}

#[cfg(test)]
mod tests;

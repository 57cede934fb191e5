//! Facts of a playbook's own questions.

use std::collections::BTreeSet;

use evenkeel_model::{ChangeKind, FIELD_MANAGER, Fact, ObservedChange};

use super::{FactEntry, FactKind, Read};

const fn fact(name: &'static str, kind: FactKind, from_cluster: bool, doc: &'static str, read: Read) -> FactEntry {
    FactEntry { name, kind, kinds: &[], from_cluster, doc, read }
}

pub(super) const FACTS: &[FactEntry] = &[
    fact(
        "<changes>.podTemplateChanged",
        FactKind::Bool,
        true,
        "The pod template was changed within the time asked about.",
        Read::Changes(|changes| Fact::Bool(newest(changes, ChangeKind::PodTemplate).is_some())),
    ),
    fact(
        "<changes>.scaled",
        FactKind::Bool,
        true,
        "The replicas were changed within the time asked about.",
        Read::Changes(|changes| Fact::Bool(newest(changes, ChangeKind::Scale).is_some())),
    ),
    fact(
        "<changes>.created",
        FactKind::Bool,
        true,
        "The object, or one near it, was created within the time asked about.",
        Read::Changes(|changes| Fact::Bool(newest(changes, ChangeKind::Created).is_some())),
    ),
    fact("<changes>.count", FactKind::Number, true, "How many changes.", Read::Changes(|changes| count(changes.len()))),
    fact(
        "<changes>.by",
        FactKind::List,
        true,
        "Who made the changes: field managers, each once.",
        Read::Changes(|changes| list(changes.iter().filter_map(|change| change.by.clone()))),
    ),
    fact(
        "<changes>.byUs",
        FactKind::Bool,
        true,
        "The newest change of the pod template was evenkeel's own. Absent when there was none.",
        Read::Changes(|changes| match newest(changes, ChangeKind::PodTemplate) {
            None => Fact::Absent,
            Some(ObservedChange { by: None, .. }) => Fact::Unknown("nobody can tell who changed it".to_owned()),
            Some(ObservedChange { by: Some(by), .. }) => Fact::Bool(by == FIELD_MANAGER),
        }),
    ),
    fact(
        "<changes>.latest",
        FactKind::Text,
        true,
        "The newest change in a line: `image web:1 → web:2`. Absent when there was none.",
        Read::Changes(|changes| {
            let newest = changes.iter().max_by_key(|change| change.at);
            newest.map_or(Fact::Absent, |change| Fact::Text(change.summary.clone()))
        }),
    ),
    fact(
        "<events>.reasons",
        FactKind::List,
        true,
        "Reasons of the Events, each once.",
        Read::Events(|events| list(events.iter().map(|event| event.reason.clone()))),
    ),
    fact(
        "<events>.count",
        FactKind::Number,
        true,
        "How often Events happened, repeats counted.",
        Read::Events(|events| {
            Fact::Number(events.iter().map(|event| event.count.max(1)).fold(0.0, |sum, count| sum + f64::from(count)))
        }),
    ),
    fact(
        "<promql>.value",
        FactKind::Number,
        false,
        "The value of the query. Absent when the result was empty; write `or vector(0)` where that means 0.",
        Read::Promql(|value| match value {
            None => Fact::Absent,
            Some(value) if value.is_nan() => Fact::Unknown("the query's value is not a number".to_owned()),
            Some(value) => Fact::Number(value),
        }),
    ),
    fact(
        "<logs>.lines",
        FactKind::List,
        false,
        "The last lines of the worst pod's log, whole lines.",
        Read::Logs(|lines| Fact::List(lines.to_vec())),
    ),
    fact(
        "<logs>.text",
        FactKind::Text,
        false,
        "The same as one text, to search in with Contains. Absent when there were none.",
        Read::Logs(|lines| if lines.is_empty() { Fact::Absent } else { Fact::Text(lines.join("\n")) }),
    ),
];

fn newest(changes: &[ObservedChange], what: ChangeKind) -> Option<&ObservedChange> {
    changes.iter().filter(|change| change.what == what).max_by_key(|change| change.at)
}

pub(super) fn count(n: usize) -> Fact {
    Fact::Number(f64::from(u32::try_from(n).unwrap_or(u32::MAX)))
}

pub(super) fn list(words: impl Iterator<Item = String>) -> Fact {
    Fact::List(words.collect::<BTreeSet<_>>().into_iter().collect())
}

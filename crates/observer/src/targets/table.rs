use std::collections::BTreeMap;

use evenkeel_model::Kind;

/// The alerts of kube-prometheus' mixins: one row an alerting rule. `kind` and `labels` say what it
/// is about; the last two columns are the labels it really carries, for the tests.
const SHIPPED: &str = include_str!("../../data/alerts.tsv");

/// What an alert of the table is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// An object of this kind, named by the first of these labels that is there.
    Object { kind: Kind, labels: Vec<&'static str> },
    /// The cluster, its control plane or its monitoring: nothing one could act on.
    Nothing,
}

/// A table of targets that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("data/alerts.tsv:{line}: expected {expected}, found {found:?}")]
pub struct BadTable {
    /// The line, from 1.
    pub line: usize,
    /// What belongs there.
    pub expected: &'static str,
    /// What is there.
    pub found: String,
}

/// Alerts by name.
#[derive(Debug, Clone)]
pub(crate) struct Table(BTreeMap<&'static str, Rule>);

impl Table {
    pub(crate) fn shipped() -> Result<Self, BadTable> {
        let mut table = BTreeMap::new();
        for (number, line) in SHIPPED.lines().enumerate().skip(1) {
            let bad = |expected, found: &str| BadTable { line: number + 1, expected, found: found.to_owned() };
            let cells: Vec<&'static str> = line.split('\t').collect();
            let [alert, _, _, _, kind, labels, _, _] = cells.as_slice() else {
                return Err(bad("8 columns", line));
            };
            let rule = match *kind {
                "-" => Rule::Nothing,
                kind => Rule::Object {
                    kind: kind.parse().map_err(|_| bad("a kind", kind))?,
                    labels: labels.split(',').collect(),
                },
            };
            // One alert has a rule a severity; they are about the same.
            if table.insert(*alert, rule.clone()).is_some_and(|other| other != rule) {
                return Err(bad("the same kind and labels as in the alert's other rows", line));
            }
        }
        Ok(Self(table))
    }

    pub(crate) fn get(&self, alert: &str) -> Option<&Rule> {
        self.0.get(alert)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

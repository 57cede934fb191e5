//! Alerting and recording rules: files in Prometheus' format, and what they say from one evaluation to the next.

mod alert;
mod file;
pub(crate) mod template;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::labels::{Labels, NAME, Text};
use super::promql::{Answer, Evaluator, Query, QueryError, Sample, millis};
use super::storage::{Millis, SeriesId, Storage};
pub(crate) use alert::{Active, Phase, time};
use file::{Kind, RuleFile};
use template::Template;

/// Rules that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not a rule file.
    #[error("rule file {file}: {reason}")]
    File {
        /// Which.
        file: String,
        /// What the parser says.
        reason: String,
    },
    /// One rule is wrong, or uses what is not simulated.
    #[error("rule file {file}: {rule}: {reason}")]
    Rule {
        /// Which file.
        file: String,
        /// Which rule.
        rule: String,
        /// Why.
        reason: String,
    },
}

/// One alerting rule.
#[derive(Debug)]
struct Alerting {
    name: String,
    hold: Millis,
    keep: Millis,
    annotations: Vec<(String, Template)>,
    active: BTreeMap<Labels, Active>,
    /// The alerts with the series that show them.
    shown: BTreeMap<Labels, SeriesId>,
}

#[derive(Debug)]
enum Makes {
    Alerts(Alerting),
    /// A series of this name, and what it was the last time.
    Series(String, BTreeMap<Labels, SeriesId>),
}

#[derive(Debug)]
struct Rule {
    query: Query,
    labels: Vec<(String, Template)>,
    makes: Makes,
    /// When it was evaluated last, and what came of it.
    last: Option<(Millis, Vec<Sample>)>,
}

/// All rules, in the order in which they are evaluated.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    /// Adds the rules of a file.
    ///
    /// # Errors
    /// [`RuleError`] naming the file and the rule.
    pub(crate) fn add(&mut self, file: &str, text: &str) -> Result<(), RuleError> {
        let parsed: RuleFile = serde_saphyr::from_str(text)
            .map_err(|error| RuleError::File { file: file.to_owned(), reason: error.to_string() })?;
        for written in parsed.groups.into_iter().flat_map(|group| group.rules) {
            let (kind, name) = written.kind_and_name(file)?;
            let wrong = |reason: String| RuleError::Rule { file: file.to_owned(), rule: name.clone(), reason };
            let query = Query::parse(&written.expr).map_err(|error| wrong(error.to_string()))?;
            let templates = |texts: BTreeMap<String, String>| -> Result<Vec<(String, Template)>, RuleError> {
                let parse = |(key, text): (String, String)| Ok((key, Template::parse(&text).map_err(&wrong)?));
                texts.into_iter().map(parse).collect()
            };
            let labels = templates(written.labels)?;
            let makes = match kind {
                Kind::Record => Makes::Series(name.clone(), BTreeMap::new()),
                Kind::Alert => Makes::Alerts(Alerting {
                    name: name.clone(),
                    hold: millis(written.hold),
                    keep: millis(written.keep_firing_for),
                    annotations: templates(written.annotations)?,
                    active: BTreeMap::new(),
                    shown: BTreeMap::new(),
                }),
            };
            self.rules.push(Rule { query, labels, makes, last: None });
        }
        Ok(())
    }

    /// Names of the alerting rules.
    #[cfg(test)]
    pub(crate) fn alert_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|rule| match &rule.makes {
            Makes::Alerts(alerting) => Some(alerting.name.as_str()),
            Makes::Series(..) => None,
        })
    }

    /// Evaluates every rule at an instant, a step after the evaluation before.
    ///
    /// # Errors
    /// The first [`QueryError`]; the rules after it are evaluated none the less.
    pub(crate) fn evaluate(&mut self, storage: &mut Storage, step: Millis, at: Millis) -> Result<(), QueryError> {
        let mut result = Ok(());
        for rule in &mut self.rules {
            if let Err(error) = rule.evaluate(storage, step, at) {
                result = result.and(Err(error));
            }
        }
        result
    }

    /// Whether some alert changes with the time alone: it is pending, or kept firing.
    pub(crate) fn is_waiting(&self, storage: &Storage) -> bool {
        self.rules.iter().any(|rule| match (&rule.makes, &rule.last) {
            (_, None) => true,
            (makes, Some((at, _))) => {
                let waits = match makes {
                    Makes::Alerts(alerting) => alerting.active.values().any(Active::is_waiting),
                    Makes::Series(..) => false,
                };
                waits || !rule.query.is_still(storage, *at)
            }
        })
    }

    /// All alerts that are pending, firing, or were resolved within the last quarter of an hour.
    pub(crate) fn active(&self) -> impl Iterator<Item = (&str, &Labels, &Active)> {
        self.rules.iter().flat_map(|rule| {
            let alerting = match &rule.makes {
                Makes::Alerts(alerting) => Some(alerting),
                Makes::Series(..) => None,
            };
            let of = alerting.into_iter().flat_map(|alerting| &alerting.active);
            of.map(|(labels, active)| (rule.query.text(), labels, active))
        })
    }

    /// `/api/v1/alerts`
    pub(crate) fn json(&self) -> Value {
        let shown = self.active().filter(|(_, _, active)| active.phase != Phase::Inactive);
        let alerts: Vec<Value> = shown.map(|(_, labels, active)| active.json(labels)).collect();
        json!({"status": "success", "data": {"alerts": alerts}})
    }
}

impl Rule {
    fn evaluate(&mut self, storage: &mut Storage, step: Millis, at: Millis) -> Result<(), QueryError> {
        let reused = self.last.take().filter(|(then, _)| self.query.is_still(storage, *then));
        let is_new = reused.is_none();
        let (then, samples) = match reused {
            Some(last) => last,
            None => (at, samples(self.query.evaluate(Evaluator { storage, step }, at)?)?),
        };
        match &mut self.makes {
            Makes::Series(name, shown) if is_new => record(storage, name, &self.labels, &samples, shown, step, at)?,
            Makes::Series(..) => {}
            Makes::Alerts(alerting) => alerting.take(storage, &self.labels, is_new.then_some(&samples), step, at)?,
        }
        self.last = Some((then, samples));
        Ok(())
    }
}

fn samples(answer: Answer) -> Result<Vec<Sample>, QueryError> {
    match answer {
        Answer::Vector(samples) => Ok(samples),
        Answer::Scalar(value) => Ok(vec![Sample { labels: Labels::default(), value }]),
        Answer::Text(_) => Err(QueryError::Execution("rule result is not a vector or scalar".to_owned())),
    }
}

fn record(
    storage: &mut Storage,
    name: &str,
    labels: &[(String, Template)],
    samples: &[Sample],
    shown: &mut BTreeMap<Labels, SeriesId>,
    step: Millis,
    at: Millis,
) -> Result<(), QueryError> {
    let mut now = BTreeMap::new();
    for sample in samples {
        let mut all = sample.labels.with(NAME, name);
        for (label, template) in labels {
            all = all.with(label, &template.render(&sample.labels, sample.value));
        }
        if now.insert(all, sample.value).is_some() {
            let reason = "vector contains metrics with the same labelset after applying rule labels";
            return Err(QueryError::Execution(reason.to_owned()));
        }
    }
    show(storage, shown, &now, step, at);
    Ok(())
}

/// Writes these series on and ends those that were shown before and are not among them.
fn show(
    storage: &mut Storage,
    shown: &mut BTreeMap<Labels, SeriesId>,
    now: &BTreeMap<Labels, f64>,
    step: Millis,
    at: Millis,
) {
    shown.retain(|labels, id| {
        let stays = now.contains_key(labels);
        if !stays {
            storage.end(*id, at);
        }
        stays
    });
    for (labels, value) in now {
        let id = *shown.entry(labels.clone()).or_insert_with(|| storage.series(labels, step));
        storage.set(id, at, *value);
    }
}

/// `alertname` and what else every alert is told apart by.
fn alert_labels(name: &str, labels: &[(String, Template)], sample: &Sample) -> Labels {
    let mut pairs: Vec<(Text, Text)> = sample.labels.nameless().iter().cloned().collect();
    for (label, template) in labels {
        pairs.push((label.as_str().into(), template.render(&sample.labels.nameless(), sample.value).into()));
    }
    pairs.push(("alertname".into(), name.into()));
    Labels::of(pairs)
}

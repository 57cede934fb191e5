//! PromQL over the stored samples: a part of the language, exactly; the rest is refused by name.

mod aggregate;
mod binary;
mod check;
mod functions;
mod histogram;
mod ranges;
mod select;

use std::collections::BTreeMap;
use std::time::Duration;

use promql_parser::parser::{self, Expr};

use super::labels::{Labels, Text};
use super::storage::{Millis, Storage};

/// An expression that has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is no PromQL.
    #[error("{expression}: {reason}")]
    Parse {
        /// The expression.
        expression: String,
        /// What the parser says.
        reason: String,
    },
    /// It is PromQL, but a part of it is not simulated.
    #[error("not simulated: {what} in {expression}")]
    NotSimulated {
        /// The part.
        what: String,
        /// The expression.
        expression: String,
    },
    /// Prometheus, too, refuses to evaluate it.
    #[error("{0}")]
    Execution(String),
}

/// Why an evaluation stops.
#[derive(Debug)]
enum Stop {
    NotSimulated(String),
    Execution(String),
}

fn stop<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Execution(reason.into()))
}

fn not_simulated<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::NotSimulated(what.into()))
}

/// One element of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// What an expression gives at an instant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Scalar(f64),
    Vector(Vec<Sample>),
    Text(String),
}

/// A parsed expression.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    text: String,
    expression: Expr,
    /// The series that it reads, and how far back; none where only evaluating tells.
    reads: Option<BTreeMap<String, Millis>>,
}

/// What an evaluation needs to know besides the samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evaluator<'a> {
    pub(crate) storage: &'a Storage,
    /// The step of subqueries that name none: the evaluation interval.
    pub(crate) step: Millis,
}

impl Query {
    /// Parses an expression.
    ///
    /// # Errors
    /// [`QueryError::Parse`], or [`QueryError::NotSimulated`] for what is known not to be.
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        let text = text.trim().to_owned();
        let parsed = parser::parse(&text);
        let expression = parsed.map_err(|reason| QueryError::Parse { expression: text.clone(), reason })?;
        check::supported(&expression).map_err(|stop| stopped(stop, &text))?;
        let reads = check::reads(&expression);
        Ok(Self { text, expression, reads })
    }

    /// The expression as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The value at an instant.
    ///
    /// # Errors
    /// [`QueryError::NotSimulated`] or [`QueryError::Execution`].
    pub(crate) fn evaluate(&self, evaluator: Evaluator<'_>, at: Millis) -> Result<Answer, QueryError> {
        evaluator.evaluate(&self.expression, at).map_err(|stop| stopped(stop, &self.text))
    }

    /// Whether the value is still what it was then: nothing changed in what it reads.
    pub(crate) fn is_still(&self, storage: &Storage, then: Millis) -> bool {
        self.reads.as_ref().is_some_and(|reads| {
            // What rules write may be written after it was read at the same instant; what is scraped never is.
            let late = |name: &str| Millis::from(name.starts_with("ALERTS") || name.contains(':'));
            let is_still = |(name, back): (&String, &Millis)| {
                storage.changed(name).is_none_or(|changed| changed.saturating_add(*back) + late(name) <= then)
            };
            reads.iter().all(is_still)
        })
    }
}

fn stopped(stop: Stop, text: &str) -> QueryError {
    match stop {
        Stop::NotSimulated(what) => QueryError::NotSimulated { what, expression: text.to_owned() },
        Stop::Execution(reason) => QueryError::Execution(reason),
    }
}

/// Milliseconds of a duration.
pub(crate) fn millis(of: Duration) -> Millis {
    Millis::try_from(of.as_millis()).unwrap_or(Millis::MAX)
}

impl Evaluator<'_> {
    fn evaluate(&self, expression: &Expr, at: Millis) -> Result<Answer, Stop> {
        match expression {
            Expr::NumberLiteral(number) => Ok(Answer::Scalar(number.val)),
            Expr::StringLiteral(text) => Ok(Answer::Text(text.val.clone())),
            Expr::Paren(inner) => self.evaluate(&inner.expr, at),
            Expr::VectorSelector(selector) => Ok(Answer::Vector(self.select(selector, at)?)),
            Expr::Unary(unary) => match self.evaluate(&unary.expr, at)? {
                Answer::Scalar(value) => Ok(Answer::Scalar(-value)),
                Answer::Vector(samples) => unique(map(samples, |value| -value)).map(Answer::Vector),
                Answer::Text(_) => stop("unary expression only allowed on expressions of type scalar or vector"),
            },
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, at).map(Answer::Vector),
            Expr::Binary(binary) => self.binary(binary, at),
            Expr::Call(call) => self.call(call, at),
            Expr::MatrixSelector(_) | Expr::Subquery(_) => not_simulated("a range vector as a result"),
            Expr::Extension(_) => not_simulated("an extension"),
        }
    }

    fn vector(&self, expression: &Expr, at: Millis) -> Result<Vec<Sample>, Stop> {
        match self.evaluate(expression, at)? {
            Answer::Vector(samples) => Ok(samples),
            _ => stop("expected type instant vector"),
        }
    }

    fn scalar(&self, expression: &Expr, at: Millis) -> Result<f64, Stop> {
        match self.evaluate(expression, at)? {
            Answer::Scalar(value) => Ok(value),
            _ => stop("expected type scalar"),
        }
    }

    fn text(&self, expression: &Expr, at: Millis) -> Result<String, Stop> {
        match self.evaluate(expression, at)? {
            Answer::Text(text) => Ok(text),
            _ => stop("expected type string"),
        }
    }
}

/// Other values under the same labels, without the series' name.
fn map(samples: Vec<Sample>, mut of: impl FnMut(f64) -> f64) -> Vec<Sample> {
    samples.into_iter().map(|sample| Sample { labels: sample.labels.nameless(), value: of(sample.value) }).collect()
}

/// The vector, unless two of its elements have the same labels.
fn unique(samples: Vec<Sample>) -> Result<Vec<Sample>, Stop> {
    let mut seen: Vec<&Labels> = samples.iter().map(|sample| &sample.labels).collect();
    seen.sort_unstable();
    if seen.array_windows().any(|[a, b]| a == b) {
        return stop("vector cannot contain metrics with the same labelset");
    }
    Ok(samples)
}

/// The values of some labels, in the order in which they are named: what groups are told apart by.
fn key_on(labels: &Labels, on: &[String]) -> Vec<(Text, Text)> {
    labels.iter().filter(|(name, _)| on.iter().any(|on| **on == **name)).cloned().collect()
}

#[cfg(test)]
mod tests;

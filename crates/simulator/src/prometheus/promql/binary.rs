//! Arithmetic, comparison and set operators, and how their sides are matched.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::token::{
    T_ADD, T_ATAN2, T_DIV, T_EQLC, T_GTE, T_GTR, T_LAND, T_LOR, T_LSS, T_LTE, T_LUNLESS, T_MOD, T_MUL, T_NEQ, T_POW,
    T_SUB, TokenType,
};
use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::{Answer, Evaluator, Sample, Stop, key_on, not_simulated, stop, unique};
use crate::prometheus::labels::{Labels, NAME, Text};
use crate::prometheus::storage::Millis;

/// What two elements are matched by.
type Signature = Vec<(Text, Text)>;

impl Evaluator<'_> {
    pub(super) fn binary(&self, binary: &BinaryExpr, at: Millis) -> Result<Answer, Stop> {
        let lhs = self.evaluate(&binary.lhs, at)?;
        let rhs = self.evaluate(&binary.rhs, at)?;
        let (op, is_bool) = (binary.op, binary.return_bool());
        match (lhs, rhs) {
            (Answer::Scalar(a), Answer::Scalar(b)) => Ok(Answer::Scalar(value(op, a, b)?)),
            (Answer::Vector(samples), Answer::Scalar(b)) => {
                with_scalar(op, is_bool, samples, |a| (a, b)).map(Answer::Vector)
            }
            (Answer::Scalar(a), Answer::Vector(samples)) => {
                with_scalar(op, is_bool, samples, |b| (a, b)).map(Answer::Vector)
            }
            (Answer::Vector(lhs), Answer::Vector(rhs)) => {
                let plain = BinModifier::default();
                let how = binary.modifier.as_ref().unwrap_or(&plain);
                let result = if op.is_set_operator() { set(op, how, lhs, rhs) } else { matched(op, how, lhs, rhs) };
                result.map(Answer::Vector)
            }
            _ => stop(format!("binary operator {op} is not defined for strings")),
        }
    }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// The operator's value; a comparison's is 0 or 1.
fn value(op: TokenType, a: f64, b: f64) -> Result<f64, Stop> {
    Ok(match op.id() {
        T_ADD => a + b,
        T_SUB => a - b,
        T_MUL => a * b,
        T_DIV => a / b,
        T_MOD => a % b,
        T_POW => a.powf(b),
        T_ATAN2 => a.atan2(b),
        #[expect(clippy::float_cmp, reason = "so does Prometheus")]
        T_EQLC => flag(a == b),
        #[expect(clippy::float_cmp, reason = "so does Prometheus")]
        T_NEQ => flag(a != b),
        T_GTR => flag(a > b),
        T_LSS => flag(a < b),
        T_GTE => flag(a >= b),
        T_LTE => flag(a <= b),
        _ => return not_simulated(format!("the operator {op}")),
    })
}

fn with_scalar(
    op: TokenType,
    is_bool: bool,
    samples: Vec<Sample>,
    sides: impl Fn(f64) -> (f64, f64),
) -> Result<Vec<Sample>, Stop> {
    let is_filter = op.is_comparison_operator() && !is_bool;
    let mut result = Vec::with_capacity(samples.len());
    for sample in samples {
        let (a, b) = sides(sample.value);
        let value = value(op, a, b)?;
        if !is_filter {
            result.push(Sample { labels: sample.labels.nameless(), value });
        } else if value == 1.0 {
            result.push(sample);
        }
    }
    if is_filter { Ok(result) } else { unique(result) }
}

fn signature(labels: &Labels, matching: Option<&LabelModifier>) -> Signature {
    match matching {
        Some(LabelModifier::Include(on)) => key_on(labels, &on.labels),
        ignoring => {
            let ignored = |name: &str| {
                name == NAME || ignoring.is_some_and(|it| it.labels().labels.iter().any(|ignored| ignored == name))
            };
            labels.iter().filter(|(name, _)| !ignored(name)).cloned().collect()
        }
    }
}

fn set(op: TokenType, how: &BinModifier, lhs: Vec<Sample>, rhs: Vec<Sample>) -> Result<Vec<Sample>, Stop> {
    let of = |sample: &Sample| signature(&sample.labels, how.matching.as_ref());
    match op.id() {
        T_LAND | T_LUNLESS => {
            let other: BTreeSet<Signature> = rhs.iter().map(of).collect();
            let is_and = op.id() == T_LAND;
            Ok(lhs.into_iter().filter(|sample| other.contains(&of(sample)) == is_and).collect())
        }
        T_LOR => {
            let there: BTreeSet<Signature> = lhs.iter().map(of).collect();
            let more: Vec<Sample> = rhs.into_iter().filter(|sample| !there.contains(&of(sample))).collect();
            Ok(lhs.into_iter().chain(more).collect())
        }
        _ => not_simulated(format!("the operator {op}")),
    }
}

/// `lhs op rhs` of vectors, each element with its like on the other side.
fn matched(op: TokenType, how: &BinModifier, lhs: Vec<Sample>, rhs: Vec<Sample>) -> Result<Vec<Sample>, Stop> {
    // The side of which one element may match many of the other's is made the right one.
    let is_swapped = matches!(how.card, VectorMatchCardinality::OneToMany(_));
    let (many, one) = if is_swapped { (rhs, lhs) } else { (lhs, rhs) };
    let of = |sample: &Sample| signature(&sample.labels, how.matching.as_ref());
    let mut ones: BTreeMap<Signature, Sample> = BTreeMap::new();
    for sample in one {
        let key = of(&sample);
        if let Some(other) = ones.get(&key) {
            let side = if is_swapped { "left" } else { "right" };
            return stop(format!(
                "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];\
                 many-to-many matching not allowed: matching labels must be unique on one side",
                Labels::of(key),
                sample.labels,
                other.labels
            ));
        }
        ones.insert(key, sample);
    }
    let is_one_to_one = matches!(how.card, VectorMatchCardinality::OneToOne);
    let is_filter = op.is_comparison_operator() && !how.return_bool;
    let mut seen: BTreeSet<(Signature, Labels)> = BTreeSet::new();
    let mut result = Vec::new();
    for sample in many {
        let key = of(&sample);
        let Some(partner) = ones.get(&key) else { continue };
        let (a, b) = if is_swapped { (partner.value, sample.value) } else { (sample.value, partner.value) };
        let compared = value(op, a, b)?;
        if is_filter && compared != 1.0 {
            continue;
        }
        let labels = result_labels(&sample.labels, &partner.labels, is_filter, how);
        let mark = if is_one_to_one { Labels::default() } else { labels.clone() };
        if !seen.insert((key, mark)) {
            return stop(if is_one_to_one {
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
            } else {
                "multiple matches for labels: grouping labels must ensure unique matches"
            });
        }
        result.push(Sample { labels, value: if is_filter { a } else { compared } });
    }
    unique(result)
}

fn result_labels(many: &Labels, one: &Labels, keeps_name: bool, how: &BinModifier) -> Labels {
    let labels = if keeps_name { many.clone() } else { many.nameless() };
    match (&how.card, &how.matching) {
        (VectorMatchCardinality::OneToOne, Some(LabelModifier::Include(on))) => {
            labels.filtered(|name| on.labels.iter().any(|on| on == name))
        }
        (VectorMatchCardinality::OneToOne, Some(LabelModifier::Exclude(ignoring))) => {
            labels.filtered(|name| !ignoring.labels.iter().any(|ignored| ignored == name))
        }
        (VectorMatchCardinality::ManyToOne(taken) | VectorMatchCardinality::OneToMany(taken), _) => {
            taken.labels.iter().fold(labels, |labels, name| labels.with(name, one.get(name)))
        }
        _ => labels,
    }
}

//! Series that a selector matches, and their samples.

use std::time::UNIX_EPOCH;

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{AtModifier, Expr, Offset, SubqueryExpr, VectorSelector};

use super::{Evaluator, Sample, Stop, millis, not_simulated, stop};
use crate::prometheus::labels::{Labels, NAME};
use crate::prometheus::storage::{Millis, SeriesId};

/// The samples of one series in a range.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) labels: Labels,
    pub(super) samples: Vec<(Millis, f64)>,
}

/// Ranges, and what they are of: `after` is not in them, `up_to` is.
#[derive(Debug)]
pub(super) struct Ranges {
    pub(super) after: Millis,
    pub(super) up_to: Millis,
    pub(super) series: Vec<Range>,
}

fn moved(at: Millis, offset: Option<&Offset>, modifier: Option<&AtModifier>) -> Result<Millis, Stop> {
    let at = match modifier {
        // Of an instant query both ends are the instant itself.
        None | Some(AtModifier::Start | AtModifier::End) => at,
        Some(AtModifier::At(time)) => match time.duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(_) => return not_simulated("@ with a time before 1970"),
        },
    };
    Ok(match offset {
        None => at,
        Some(Offset::Pos(back)) => at - millis(*back),
        Some(Offset::Neg(ahead)) => at + millis(*ahead),
    })
}

impl Evaluator<'_> {
    pub(super) fn select(&self, selector: &VectorSelector, at: Millis) -> Result<Vec<Sample>, Stop> {
        let at = moved(at, selector.offset.as_ref(), selector.at.as_ref())?;
        let value = |(id, labels): (SeriesId, &Labels)| {
            let (_, value) = self.storage.instant(id, at)?;
            Some(Sample { labels: labels.clone(), value })
        };
        Ok(self.matching(selector).filter_map(value).collect())
    }

    fn matching(&self, selector: &VectorSelector) -> impl Iterator<Item = (SeriesId, &super::Labels)> {
        let matchers = &selector.matchers.matchers;
        let is_name = |matcher: &&Matcher| matcher.name == NAME && matches!(matcher.op, MatchOp::Equal);
        let named = matchers.iter().find(is_name).map(|matcher| matcher.value.as_str());
        let name = selector.name.as_deref().or(named);
        let all = self.storage.named(name);
        all.filter(move |(_, labels)| matchers.iter().all(|matcher| matcher.is_match(labels.get(&matcher.name))))
    }

    /// The range vector of a range selector or a subquery.
    pub(super) fn ranges(&self, expression: &Expr, at: Millis) -> Result<Ranges, Stop> {
        match expression {
            Expr::Paren(inner) => self.ranges(&inner.expr, at),
            Expr::MatrixSelector(matrix) => {
                let up_to = moved(at, matrix.vs.offset.as_ref(), matrix.vs.at.as_ref())?;
                let after = up_to - millis(matrix.range);
                let series = self.matching(&matrix.vs).filter_map(|(id, labels)| {
                    let samples = self.storage.range(id, after, up_to);
                    (!samples.is_empty()).then(|| Range { labels: labels.clone(), samples })
                });
                Ok(Ranges { after, up_to, series: series.collect() })
            }
            Expr::Subquery(subquery) => self.subquery(subquery, at),
            _ => stop("expected type range vector"),
        }
    }

    fn subquery(&self, subquery: &SubqueryExpr, at: Millis) -> Result<Ranges, Stop> {
        let up_to = moved(at, subquery.offset.as_ref(), subquery.at.as_ref())?;
        let after = up_to - millis(subquery.range);
        let step = subquery.step.map_or(self.step, millis).max(1);
        // Steps are multiples of the step since the epoch, whatever the query's time.
        let mut at = after.div_euclid(step) * step + step;
        let mut found: std::collections::BTreeMap<Labels, Vec<(Millis, f64)>> = std::collections::BTreeMap::new();
        while at <= up_to {
            match self.evaluate(&subquery.expr, at)? {
                super::Answer::Vector(samples) => {
                    for sample in samples {
                        found.entry(sample.labels).or_default().push((at, sample.value));
                    }
                }
                super::Answer::Scalar(value) => found.entry(Labels::default()).or_default().push((at, value)),
                super::Answer::Text(_) => return stop("subquery is only allowed on instant vector"),
            }
            at += step;
        }
        let series = found.into_iter().map(|(labels, samples)| Range { labels, samples });
        Ok(Ranges { after, up_to, series: series.collect() })
    }
}

//! `sum by (…) (…)` and its like.

use std::collections::BTreeMap;

use promql_parser::parser::token::{T_AVG, T_BOTTOMK, T_COUNT, T_GROUP, T_MAX, T_MIN, T_QUANTILE, T_SUM, T_TOPK};
use promql_parser::parser::{AggregateExpr, LabelModifier};

use super::ranges::{average, quantile, sum};
use super::{Evaluator, Sample, Stop, not_simulated};
use crate::prometheus::labels::{Labels, NAME};
use crate::prometheus::storage::Millis;

impl Evaluator<'_> {
    pub(super) fn aggregate(&self, aggregate: &AggregateExpr, at: Millis) -> Result<Vec<Sample>, Stop> {
        let parameter = match &aggregate.param {
            Some(parameter) => self.scalar(parameter, at)?,
            None => f64::NAN,
        };
        let samples = self.vector(&aggregate.expr, at)?;
        let group = |labels: &Labels| match &aggregate.modifier {
            None => Labels::default(),
            Some(LabelModifier::Include(by)) => labels.filtered(|name| by.labels.iter().any(|by| by == name)),
            Some(LabelModifier::Exclude(without)) => {
                labels.filtered(|name| name != NAME && !without.labels.iter().any(|without| without == name))
            }
        };
        let mut groups: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
        for sample in samples {
            groups.entry(group(&sample.labels)).or_default().push(sample);
        }
        let mut result = Vec::new();
        for (labels, members) in groups {
            let values: Vec<f64> = members.iter().map(|member| member.value).collect();
            let value = match aggregate.op.id() {
                T_SUM => sum(&values),
                T_AVG => average(&values),
                T_MIN => extreme(&values, |new, best| new < best),
                T_MAX => extreme(&values, |new, best| new > best),
                T_COUNT => count(values.len()),
                T_GROUP => 1.0,
                T_QUANTILE => quantile(parameter, &values),
                T_TOPK => {
                    result.extend(first(members, parameter, |new, best| new > best));
                    continue;
                }
                T_BOTTOMK => {
                    result.extend(first(members, parameter, |new, best| new < best));
                    continue;
                }
                _ => return not_simulated(format!("the aggregation {}", aggregate.op)),
            };
            result.push(Sample { labels, value });
        }
        Ok(result)
    }
}

/// A count as a value.
pub(super) fn count(of: usize) -> f64 {
    u32::try_from(of).map_or(f64::INFINITY, f64::from)
}

/// The value that none beats; NaN only where there is nothing else.
pub(super) fn extreme(values: &[f64], beats: impl Fn(f64, f64) -> bool) -> f64 {
    let best = values.iter().copied().reduce(|best, new| if beats(new, best) || best.is_nan() { new } else { best });
    best.unwrap_or(f64::NAN)
}

/// The k that none of the others beats, best first; of equals the earlier.
fn first(mut members: Vec<Sample>, k: f64, beats: impl Fn(f64, f64) -> bool) -> Vec<Sample> {
    let most = if k.is_nan() || k < 1.0 { 0 } else { members.len().min(whole(k)) };
    members.sort_by(|a, b| {
        let (a, b) = (a.value, b.value);
        if beats(a, b) || (b.is_nan() && !a.is_nan()) {
            std::cmp::Ordering::Less
        } else if beats(b, a) || (a.is_nan() && !b.is_nan()) {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Equal
        }
    });
    members.truncate(most);
    members
}

/// The whole part of a number that is at least 1.
fn whole(of: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 1, and saturates")]
    let whole = of as usize;
    whole
}

//! Functions of range vectors: `rate`, `changes`, `max_over_time` and their like.

use promql_parser::parser::Call;

use super::aggregate::{count, extreme};
use super::select::{Range, Ranges};
use super::{Evaluator, Sample, Stop, not_simulated, stop, unique};
use crate::prometheus::storage::Millis;

/// Those that are simulated.
pub(super) const KNOWN: [&str; 18] = [
    "avg_over_time",
    "changes",
    "count_over_time",
    "delta",
    "deriv",
    "idelta",
    "increase",
    "irate",
    "last_over_time",
    "max_over_time",
    "min_over_time",
    "predict_linear",
    "present_over_time",
    "quantile_over_time",
    "rate",
    "resets",
    "sum_over_time",
    "absent_over_time",
];

impl Evaluator<'_> {
    pub(super) fn over_ranges(&self, call: &Call, at: Millis) -> Result<Vec<Sample>, Stop> {
        let name = call.func.name;
        let mut arguments = call.args.args.iter();
        let parameter = match (name, arguments.next()) {
            ("quantile_over_time", Some(first)) => self.scalar(first, at)?,
            (_, Some(first)) => {
                let ahead = match arguments.next() {
                    Some(second) => self.scalar(second, at)?,
                    None => 0.0,
                };
                return self.of_ranges(name, &self.ranges(first, at)?, ahead, at);
            }
            (_, None) => return stop(format!("expected 1 argument in call to {name:?}, got 0")),
        };
        match arguments.next() {
            Some(ranges) => self.of_ranges(name, &self.ranges(ranges, at)?, parameter, at),
            None => stop(format!("expected 2 arguments in call to {name:?}, got 1")),
        }
    }

    fn of_ranges(&self, name: &str, ranges: &Ranges, parameter: f64, at: Millis) -> Result<Vec<Sample>, Stop> {
        let mut result = Vec::with_capacity(ranges.series.len());
        for range in &ranges.series {
            let values: Vec<f64> = range.samples.iter().map(|(_, value)| *value).collect();
            let value = match name {
                "avg_over_time" => Some(average(&values)),
                "sum_over_time" => Some(sum(&values)),
                "min_over_time" => Some(extreme(&values, |new, best| new < best)),
                "max_over_time" => Some(extreme(&values, |new, best| new > best)),
                "count_over_time" => Some(count(values.len())),
                "last_over_time" => values.last().copied(),
                "present_over_time" => Some(1.0),
                "quantile_over_time" => Some(quantile(parameter, &values)),
                "changes" => {
                    Some(steps(&values, |before, after| before != after && !(before.is_nan() && after.is_nan())))
                }
                "resets" => Some(steps(&values, |before, after| after < before)),
                "rate" => extrapolated(ranges, range, true, true),
                "increase" => extrapolated(ranges, range, true, false),
                "delta" => extrapolated(ranges, range, false, false),
                "irate" => last_two(range, true),
                "idelta" => last_two(range, false),
                "deriv" => line(range, at).map(|(slope, _)| slope),
                "predict_linear" => line(range, at).map(|(slope, now)| slope.mul_add(parameter, now)),
                _ => return not_simulated(format!("the function {name}")),
            };
            let Some(value) = value else { continue };
            let labels = if name == "last_over_time" { range.labels.clone() } else { range.labels.nameless() };
            result.push(Sample { labels, value });
        }
        unique(result)
    }
}

/// Kahan's sum, in Neumaier's variant, as Prometheus sums.
pub(super) fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0f64);
    for &value in values {
        let next = sum + value;
        if next.is_infinite() {
            lost = 0.0;
        } else if sum.abs() >= value.abs() {
            lost += (sum - next) + value;
        } else {
            lost += (value - next) + sum;
        }
        sum = next;
    }
    sum + lost
}

pub(super) fn average(values: &[f64]) -> f64 {
    sum(values) / count(values.len())
}

/// The φ-quantile, between neighbours in proportion.
pub(super) fn quantile(of: f64, values: &[f64]) -> f64 {
    if values.is_empty() || of.is_nan() {
        return f64::NAN;
    }
    if of < 0.0 {
        return f64::NEG_INFINITY;
    }
    if of > 1.0 {
        return f64::INFINITY;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = of * (count(sorted.len()) - 1.0);
    let place = |rank: f64| {
        let index = sorted.iter().enumerate().take_while(|(index, _)| count(*index) <= rank).last();
        index.map_or(f64::NAN, |(_, value)| *value)
    };
    let weight = rank - rank.floor();
    place(rank.floor()) * (1.0 - weight) + place((rank.floor() + 1.0).min(count(sorted.len()) - 1.0)) * weight
}

fn steps(values: &[f64], counts: impl Fn(f64, f64) -> bool) -> f64 {
    count(values.array_windows().filter(|[before, after]| counts(*before, *after)).count())
}

/// A difference of times in seconds.
fn seconds(of: Millis) -> f64 {
    // Both fit a float's 53 bits.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a range")]
    let seconds = of as f64 / 1000.0;
    seconds
}

/// Prometheus' `extrapolatedRate`: the difference of first and last, stretched to the range's ends where samples
/// come near enough to them, and a counter never to below zero.
fn extrapolated(ranges: &Ranges, range: &Range, is_counter: bool, is_rate: bool) -> Option<f64> {
    let ([(first_at, first), ..], [.., (last_at, last)]) = (range.samples.as_slice(), range.samples.as_slice()) else {
        return None;
    };
    if range.samples.len() < 2 {
        return None;
    }
    let mut result = last - first;
    if is_counter {
        for [(_, before), (_, after)] in range.samples.array_windows() {
            if after < before {
                result += before;
            }
        }
    }
    let mut to_start = seconds(first_at - ranges.after);
    let mut to_end = seconds(ranges.up_to - last_at);
    let sampled = seconds(last_at - first_at);
    let between = sampled / (count(range.samples.len()) - 1.0);
    let threshold = between * 1.1;
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if is_counter && result > 0.0 && *first >= 0.0 {
        to_start = to_start.min(sampled * (first / result));
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if is_rate {
        factor /= seconds(ranges.up_to - ranges.after);
    }
    Some(result * factor)
}

fn last_two(range: &Range, is_rate: bool) -> Option<f64> {
    let [.., (before_at, before), (last_at, last)] = range.samples.as_slice() else { return None };
    let reset = is_rate && last < before;
    let result = if reset { *last } else { last - before };
    let sampled = seconds(last_at - before_at);
    Some(if is_rate { result / sampled } else { result })
}

/// Least squares: slope a second, and the value now.
fn line(range: &Range, at: Millis) -> Option<(f64, f64)> {
    let [(_, first), _, ..] = range.samples.as_slice() else { return None };
    if range.samples.iter().all(|(_, value)| value == first) {
        return Some((0.0, *first)).filter(|(_, value)| value.is_finite());
    }
    let n = count(range.samples.len());
    let of = |each: &dyn Fn(f64, f64) -> f64| {
        let all: Vec<f64> = range.samples.iter().map(|(x, y)| each(seconds(x - at), *y)).collect();
        sum(&all)
    };
    let (x, y) = (of(&|x, _| x), of(&|_, y| y));
    let (xy, xx) = (of(&|x, y| x * y), of(&|x, _| x * x));
    let (covariance, variance) = (xy - x * y / n, xx - x * x / n);
    let slope = covariance / variance;
    Some((slope, y / n - slope * x / n))
}

//! Functions of instant vectors and scalars.

use promql_parser::label::MatchOp;
use promql_parser::parser::{Call, Expr, VectorSelector};

use super::{Answer, Evaluator, Sample, Stop, histogram, map, not_simulated, ranges, stop, unique};
use crate::patterns::compiled;
use crate::prometheus::labels::{Labels, NAME};
use crate::prometheus::storage::Millis;

/// Those that are simulated.
pub(super) const KNOWN: [&str; 24] = [
    "abs",
    "absent",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "exp",
    "floor",
    "histogram_quantile",
    "label_join",
    "label_replace",
    "ln",
    "log10",
    "log2",
    "round",
    "scalar",
    "sgn",
    "sort",
    "sort_desc",
    "sqrt",
    "time",
    "timestamp",
    "vector",
    "pi",
];

impl Evaluator<'_> {
    pub(super) fn call(&self, call: &Call, at: Millis) -> Result<Answer, Stop> {
        let name = call.func.name;
        let argument = |place: usize| call.args.args.get(place).map(AsRef::as_ref);
        let needed = |place: usize| match argument(place) {
            Some(argument) => Ok(argument),
            None => stop(format!("too few arguments in call to {name:?}")),
        };
        let vector = |place: usize| self.vector(needed(place)?, at);
        let scalar = |place: usize| self.scalar(needed(place)?, at);
        let optional = |place: usize, or: f64| argument(place).map_or(Ok(or), |given| self.scalar(given, at));
        let each = |of: &dyn Fn(f64) -> f64| unique(map(vector(0)?, of)).map(Answer::Vector);
        match name {
            "time" => Ok(Answer::Scalar(seconds(at))),
            "pi" => Ok(Answer::Scalar(std::f64::consts::PI)),
            "vector" => Ok(Answer::Vector(vec![Sample { labels: Labels::default(), value: scalar(0)? }])),
            "scalar" => match vector(0)?.as_slice() {
                [one] => Ok(Answer::Scalar(one.value)),
                _ => Ok(Answer::Scalar(f64::NAN)),
            },
            "abs" => each(&f64::abs),
            "ceil" => each(&f64::ceil),
            "floor" => each(&f64::floor),
            "sqrt" => each(&f64::sqrt),
            "exp" => each(&f64::exp),
            "ln" => each(&f64::ln),
            "log2" => each(&f64::log2),
            "log10" => each(&f64::log10),
            "sgn" => each(&|value| if value == 0.0 || value.is_nan() { value } else { value.signum() }),
            "round" => {
                // Halves go up, and the inverse is used so that 0.1 and its like stay what they are.
                let inverse = 1.0 / optional(1, 1.0)?;
                each(&|value| (value * inverse + 0.5).floor() / inverse)
            }
            "clamp" => {
                let (low, high) = (scalar(1)?, scalar(2)?);
                if low > high {
                    return Ok(Answer::Vector(Vec::new()));
                }
                each(&|value| go_max(low, go_min(high, value)))
            }
            "clamp_min" => {
                let low = scalar(1)?;
                each(&|value| go_max(low, value))
            }
            "clamp_max" => {
                let high = scalar(1)?;
                each(&|value| go_min(high, value))
            }
            "sort" | "sort_desc" => {
                let mut samples = vector(0)?;
                samples.sort_by(|a, b| a.value.total_cmp(&b.value));
                if name == "sort_desc" {
                    samples.reverse();
                }
                Ok(Answer::Vector(samples))
            }
            "timestamp" => self.timestamp(needed(0)?, at).map(Answer::Vector),
            "histogram_quantile" => {
                let of = scalar(0)?;
                Ok(Answer::Vector(histogram::quantiles(of, vector(1)?)))
            }
            "absent" => Ok(Answer::Vector(absent(needed(0)?, vector(0)?.is_empty()))),
            "absent_over_time" => {
                let is_empty = self.ranges(needed(0)?, at)?.series.is_empty();
                Ok(Answer::Vector(absent(needed(0)?, is_empty)))
            }
            "label_replace" => {
                let text = |place| self.text(needed(place)?, at);
                label_replace(vector(0)?, &text(1)?, &text(2)?, &text(3)?, &text(4)?).map(Answer::Vector)
            }
            "label_join" => {
                let texts: Result<Vec<String>, Stop> =
                    call.args.args.iter().skip(1).map(|argument| self.text(argument, at)).collect();
                label_join(vector(0)?, &texts?).map(Answer::Vector)
            }
            _ if ranges::KNOWN.contains(&name) => self.over_ranges(call, at).map(Answer::Vector),
            _ => not_simulated(format!("the function {name}")),
        }
    }

    /// Of a selector the samples' own times, of anything else the evaluation's.
    fn timestamp(&self, expression: &Expr, at: Millis) -> Result<Vec<Sample>, Stop> {
        match expression {
            Expr::Paren(inner) => self.timestamp(&inner.expr, at),
            Expr::VectorSelector(_) => not_simulated("the function timestamp of a selector"),
            other => unique(map(self.vector(other, at)?, |_| seconds(at))),
        }
    }
}

fn seconds(at: Millis) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit 53 bits")]
    let seconds = at as f64 / 1000.0;
    seconds
}

/// Go's `math.Max`: NaN wins.
fn go_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn go_min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// 1 with the labels that the selector says are equal to something, when nothing is there.
fn absent(expression: &Expr, is_empty: bool) -> Vec<Sample> {
    if !is_empty {
        return Vec::new();
    }
    let selector: Option<&VectorSelector> = match expression {
        Expr::VectorSelector(selector) => Some(selector),
        Expr::MatrixSelector(matrix) => Some(&matrix.vs),
        _ => None,
    };
    let matchers = selector.map(|selector| selector.matchers.matchers.as_slice()).unwrap_or_default();
    let named = |name: &str| matchers.iter().filter(|matcher| matcher.name == name).count();
    let told = matchers
        .iter()
        .filter(|matcher| matcher.name != NAME && matches!(matcher.op, MatchOp::Equal) && named(&matcher.name) == 1);
    let labels = Labels::of(told.map(|matcher| (matcher.name.as_str(), matcher.value.as_str())));
    vec![Sample { labels, value: 1.0 }]
}

fn label_replace(
    samples: Vec<Sample>,
    to: &str,
    replacement: &str,
    from: &str,
    pattern: &str,
) -> Result<Vec<Sample>, Stop> {
    let Ok(regex) = compiled(&format!("^(?s:{pattern})$")) else {
        return stop(format!("invalid regular expression in label_replace(): {pattern}"));
    };
    if !is_label(to) {
        return stop(format!("invalid destination label name in label_replace(): {to}"));
    }
    let replaced = samples.into_iter().map(|sample| {
        let Some(captures) = regex.captures(sample.labels.get(from)) else { return sample };
        let mut value = String::new();
        captures.expand(replacement, &mut value);
        Sample { labels: sample.labels.with(to, &value), value: sample.value }
    });
    unique(replaced.collect())
}

fn label_join(samples: Vec<Sample>, texts: &[String]) -> Result<Vec<Sample>, Stop> {
    let [to, separator, from @ ..] = texts else { return stop("too few arguments in call to \"label_join\"") };
    if !is_label(to) {
        return stop(format!("invalid destination label name in label_join(): {to}"));
    }
    let joined = samples.into_iter().map(|sample| {
        let values: Vec<&str> = from.iter().map(|name| sample.labels.get(name)).collect();
        Sample { labels: sample.labels.with(to, &values.join(separator)), value: sample.value }
    });
    unique(joined.collect())
}

fn is_label(name: &str) -> bool {
    let mut characters = name.chars();
    let begins = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    begins && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

//! Percentiles and how figures are shown.

use std::time::Duration;

use serde_json::Value;

/// The `p`th percentile (0 to 100) of durations, in milliseconds; 0 of none.
pub(crate) fn percentile(durations: &[Duration], p: usize) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort();
    let index = (sorted.len().saturating_sub(1) * p).div_ceil(100);
    sorted.get(index).map_or(0.0, |duration| round(duration.as_secs_f64() * 1e3))
}

/// The median of numbers; 0 of none.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().map_or(0.0, round)
}

/// Three digits behind the point.
pub(crate) fn round(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// One figure a line.
pub(crate) fn print(figures: &Value) {
    let Some(figures) = figures.as_object() else { return };
    let width = figures.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in figures {
        println!("{name:<width$}  {value}");
    }
}

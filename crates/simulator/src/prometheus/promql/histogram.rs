//! `histogram_quantile` of classic histograms.

use std::collections::BTreeMap;

use super::Sample;
use crate::prometheus::labels::{Labels, NAME};

/// Quantiles of the histograms whose buckets these are.
pub(super) fn quantiles(of: f64, buckets: Vec<Sample>) -> Vec<Sample> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for bucket in buckets {
        let Some(bound) = bound(bucket.labels.get("le")) else { continue };
        let labels = bucket.labels.filtered(|name| name != NAME && name != "le");
        histograms.entry(labels).or_default().push((bound, bucket.value));
    }
    let mut result = Vec::with_capacity(histograms.len());
    for (labels, buckets) in histograms {
        result.push(Sample { labels, value: quantile(of, buckets) });
    }
    result
}

fn bound(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        other => other.parse().ok(),
    }
}

fn quantile(of: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if of.is_nan() {
        return f64::NAN;
    }
    if of < 0.0 {
        return f64::NEG_INFINITY;
    }
    if of > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut merged: Vec<(f64, f64)> = Vec::with_capacity(buckets.len());
    for (bound, value) in buckets {
        match merged.last_mut() {
            Some(last) if last.0 == bound => last.1 += value,
            // Scrapes of different moments: counts never fall towards larger bounds.
            Some(last) if value < last.1 => {
                let before = last.1;
                merged.push((bound, before));
            }
            _ => merged.push((bound, value)),
        }
    }
    let [lower @ .., (highest, observations)] = merged.as_slice() else { return f64::NAN };
    if *highest != f64::INFINITY || lower.is_empty() || *observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let rank = of * observations;
    let Some(index) = lower.iter().position(|(_, value)| *value >= rank) else {
        return lower.last().map_or(f64::NAN, |(bound, _)| *bound);
    };
    let Some((end, at_end)) = lower.get(index) else { return f64::NAN };
    let before = index.checked_sub(1).and_then(|index| lower.get(index));
    if before.is_none() && *end <= 0.0 {
        return *end;
    }
    let (start, at_start) = before.copied().unwrap_or((0.0, 0.0));
    start + (end - start) * ((rank - at_start) / (at_end - at_start))
}

//! Samples, kept as runs of equal values: a gauge that stays the same costs nothing, however long.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::labels::{Labels, NAME, Text};

/// Milliseconds since the epoch, as Prometheus has them.
pub(crate) type Millis = i64;

/// How far an instant query looks back for a sample.
pub(crate) const LOOKBACK: Millis = 5 * 60 * 1000;

/// The end of a run that still goes on.
const OPEN: Millis = Millis::MAX;

/// A series' place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeriesId(usize);

/// Samples of one value, a step apart; no value is a stale marker.
#[derive(Debug, Clone, Copy)]
struct Run {
    from: Millis,
    to: Millis,
    value: Option<f64>,
}

#[derive(Debug)]
struct Series {
    labels: Labels,
    step: Millis,
    runs: VecDeque<Run>,
}

#[derive(Debug, Default)]
struct Name {
    series: Vec<SeriesId>,
    changed: Millis,
}

/// All samples of the last hours.
#[derive(Debug)]
pub(crate) struct Storage {
    series: Vec<Series>,
    ids: BTreeMap<Labels, SeriesId>,
    names: BTreeMap<Text, Name>,
    /// Runs that go on have their last sample now.
    now: Millis,
    retention: Millis,
}

impl Storage {
    pub(crate) fn new(retention: Duration) -> Self {
        Self {
            series: Vec::new(),
            ids: BTreeMap::new(),
            names: BTreeMap::new(),
            now: Millis::MIN,
            retention: Millis::try_from(retention.as_millis()).unwrap_or(Millis::MAX),
        }
    }

    /// Lets time pass: what goes on has a sample at each step up to now.
    pub(crate) fn advance(&mut self, now: Millis) {
        self.now = now;
    }

    /// The place of a series, which is made where there is none yet.
    pub(crate) fn series(&mut self, labels: &Labels, step: Millis) -> SeriesId {
        if let Some(id) = self.ids.get(labels) {
            return *id;
        }
        let id = SeriesId(self.series.len());
        self.ids.insert(labels.clone(), id);
        self.names.entry(labels.get(NAME).into()).or_default().series.push(id);
        self.series.push(Series { labels: labels.clone(), step, runs: VecDeque::new() });
        id
    }

    /// The value from now on, until it is set again or ended.
    pub(crate) fn set(&mut self, id: SeriesId, at: Millis, value: f64) {
        let old = self.now.saturating_sub(self.retention);
        let Some(series) = self.series.get_mut(id.0) else { return };
        if let Some(last) = series.runs.back_mut()
            && last.to == OPEN
        {
            if last.value.is_some_and(|last| last.to_bits() == value.to_bits()) {
                return;
            }
            last.to = at - series.step;
        }
        series.push(Run { from: at, to: OPEN, value: Some(value) }, old);
        self.touch(id, at);
    }

    /// The series is gone: a stale marker.
    pub(crate) fn end(&mut self, id: SeriesId, at: Millis) {
        let old = self.now.saturating_sub(self.retention);
        let Some(series) = self.series.get_mut(id.0) else { return };
        let Some(last) = series.runs.back_mut().filter(|run| run.to == OPEN) else { return };
        last.to = at - series.step;
        series.push(Run { from: at, to: at, value: None }, old);
        self.touch(id, at);
    }

    /// One sample; none is a stale marker.
    #[cfg(test)]
    pub(crate) fn append(&mut self, id: SeriesId, at: Millis, value: Option<f64>) {
        if let Some(series) = self.series.get_mut(id.0) {
            series.push(Run { from: at, to: at, value }, Millis::MIN);
        }
        self.touch(id, at);
    }

    fn touch(&mut self, id: SeriesId, at: Millis) {
        let Some(series) = self.series.get(id.0) else { return };
        if let Some(name) = self.names.get_mut(series.labels.get(NAME)) {
            name.changed = name.changed.max(at);
        }
    }

    /// When a series of this name last got another value, began or ended.
    pub(crate) fn changed(&self, name: &str) -> Option<Millis> {
        self.names.get(name).map(|name| name.changed)
    }

    /// The series of a name, or all.
    pub(crate) fn named(&self, name: Option<&str>) -> impl Iterator<Item = (SeriesId, &Labels)> {
        let (one, all) = match name {
            Some(name) => (self.names.get(name), false),
            None => (None, true),
        };
        let of_one = one.into_iter().flat_map(|name| name.series.iter().copied());
        let of_all = (0..if all { self.series.len() } else { 0 }).map(SeriesId);
        of_one.chain(of_all).filter_map(|id| Some((id, &self.series.get(id.0)?.labels)))
    }

    /// The last sample within the lookback, unless a stale marker follows it.
    pub(crate) fn instant(&self, id: SeriesId, at: Millis) -> Option<(Millis, f64)> {
        let series = self.series.get(id.0)?;
        let run = series.runs.iter().rev().find(|run| run.from <= at)?;
        let sample = series.last(run, at.min(self.bound(run)))?;
        (at - sample < LOOKBACK).then_some((sample, run.value?))
    }

    /// The samples after one time and up to another, without stale markers.
    pub(crate) fn range(&self, id: SeriesId, after: Millis, up_to: Millis) -> Vec<(Millis, f64)> {
        let mut samples = Vec::new();
        let Some(series) = self.series.get(id.0) else { return samples };
        for run in &series.runs {
            let Some(value) = run.value else { continue };
            let end = self.bound(run).min(up_to);
            let skipped = if run.from > after { 0 } else { (after - run.from) / series.step + 1 };
            let mut at = run.from + skipped * series.step;
            while at <= end {
                samples.push((at, value));
                at += series.step;
            }
        }
        samples
    }

    fn bound(&self, run: &Run) -> Millis {
        if run.to == OPEN { self.now.max(run.from) } else { run.to }
    }
}

impl Series {
    fn push(&mut self, run: Run, old: Millis) {
        while self.runs.front().is_some_and(|run| run.to < old) {
            self.runs.pop_front();
        }
        self.runs.push_back(run);
    }

    fn last(&self, run: &Run, end: Millis) -> Option<Millis> {
        (end >= run.from).then(|| run.from + (end - run.from) / self.step * self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage() -> (Storage, SeriesId) {
        let mut storage = Storage::new(Duration::from_secs(7200));
        let id = storage.series(&Labels::of([(NAME, "up")]), 30_000);
        (storage, id)
    }

    #[test]
    fn a_value_goes_on_until_it_changes_and_ends_with_a_stale_marker() {
        let (mut storage, id) = storage();
        storage.set(id, 0, 1.0);
        storage.set(id, 60_000, 1.0);
        storage.set(id, 90_000, 2.0);
        storage.end(id, 150_000);
        storage.advance(600_000);
        let samples = |after, up_to| storage.range(id, after, up_to);
        assert_eq!(samples(-1, 600_000), [(0, 1.0), (30_000, 1.0), (60_000, 1.0), (90_000, 2.0), (120_000, 2.0)]);
        assert_eq!(samples(30_000, 90_000), [(60_000, 1.0), (90_000, 2.0)], "the left end is not in it");
        let at = |at| storage.instant(id, at).map(|(_, value)| value);
        assert_eq!(
            (at(-1), at(89_999), at(90_000), at(149_999), at(150_000)),
            (None, Some(1.0), Some(2.0), Some(2.0), None)
        );
        assert_eq!(storage.changed("up"), Some(150_000));
    }

    #[test]
    fn what_is_not_written_on_is_forgotten_after_five_minutes() {
        let (mut storage, id) = storage();
        storage.append(id, 0, Some(1.0));
        assert_eq!(storage.instant(id, LOOKBACK - 1), Some((0, 1.0)));
        assert_eq!(storage.instant(id, LOOKBACK), None);
    }
}

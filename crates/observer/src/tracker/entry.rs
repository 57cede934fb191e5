use std::collections::VecDeque;

use chrono::{DateTime, SecondsFormat, Utc};
use evenkeel_model::{Signal, SignalState, Source, short_digest};
use serde::{Deserialize, Serialize};

use super::{Damping, Found, Group, Key};
use crate::alert::alert_id;

/// What makes one thing told another than the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    pub(crate) mark: String,
    /// Counts firings with the same mark.
    pub(crate) episode: u32,
    /// Counts changes of suppression.
    pub(crate) toggles: u32,
    pub(crate) suppressed: bool,
    /// Whether it was so for the object, not for one alert.
    #[serde(default)]
    pub(crate) holds_object: bool,
    pub(crate) state: SignalState,
}

impl Version {
    /// The signal's id. A polled alert's is that of the same alert posted by an Alertmanager.
    pub(crate) fn id(&self, key: &Key, signal: &Signal) -> String {
        if signal.source == Source::Prometheus && self.toggles == 0 {
            return alert_id(&key.subject, signal.starts_at, self.state);
        }
        let state = match self.state {
            SignalState::Firing => "firing",
            SignalState::Resolved => "resolved",
        };
        let (episode, toggles) = (self.episode.to_string(), self.toggles.to_string());
        short_digest([&key.subject, &key.name, &self.mark, &episode, &toggles, state], 40)
    }
}

/// Where a trouble stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is there, and is no news before that time.
    Pending { due: DateTime<Utc> },
    /// It is so; it ends then unless it is seen again.
    Firing { until: Option<DateTime<Utc>> },
    /// It has ended, and flaps: it goes on firing until then.
    Held { until: DateTime<Utc> },
    /// It has ended; remembered, so that the next time is told from this one.
    Ended,
    /// It has ended, and its subject is gone.
    Gone,
}

/// One trouble of one subject.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) signal: Signal,
    pub(crate) phase: Phase,
    pub(crate) starts_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    pub(crate) first_seen: DateTime<Utc>,
    /// Seen since this process runs.
    pub(crate) seen: bool,
    pub(crate) told: Option<Version>,
    /// A beginning that is about to be told, or was and no answer came: the bus may have it.
    pub(super) announced: Option<Version>,
    pub(super) timer: Option<DateTime<Utc>>,
    mark: String,
    episode: u32,
    fired: VecDeque<DateTime<Utc>>,
}

impl Entry {
    pub(super) fn new(found: &Found, now: DateTime<Utc>) -> Self {
        Self {
            signal: found.signal.clone(),
            // Nothing is said of it before it is seen, which is at once.
            phase: Phase::Ended,
            starts_at: now,
            ended_at: None,
            first_seen: now,
            seen: true,
            told: None,
            announced: None,
            timer: None,
            mark: String::new(),
            episode: 0,
            fired: VecDeque::new(),
        }
    }

    /// As it was stored by an earlier process: told, or about to be (`in_doubt`), and perhaps over by now.
    pub(super) fn restored(signal: Signal, told: Version, in_doubt: bool, now: DateTime<Utc>) -> Self {
        let firing = told.state == SignalState::Firing;
        Self {
            phase: if firing { Phase::Firing { until: None } } else { Phase::Ended },
            starts_at: signal.starts_at,
            ended_at: signal.ends_at,
            first_seen: now,
            seen: false,
            timer: None,
            mark: told.mark.clone(),
            episode: told.episode,
            fired: VecDeque::new(),
            announced: in_doubt.then(|| told.clone()),
            told: Some(told),
            signal,
        }
    }

    pub(super) fn see(&mut self, found: Found, damping: &Damping, now: DateTime<Utc>) {
        self.seen = true;
        let root = self.signal.root.take();
        self.signal = found.signal;
        // Once known, a root stays known: the object may go away before its end is told.
        self.signal.root = self.signal.root.take().or(root);
        match self.phase {
            Phase::Firing { .. } | Phase::Held { .. } => {
                if matches!(self.phase, Phase::Held { .. }) {
                    // It flaps on: what is held must not be let go because nothing was told meanwhile.
                    self.count(damping, now);
                }
                self.phase = Phase::Firing { until: found.until };
                if self.mark != found.mark {
                    self.mark = found.mark;
                    self.episode = 0;
                    if self.signal.source == Source::Prometheus {
                        // It ended and began again between two polls.
                        self.starts_at = found.since.unwrap_or(now);
                    }
                }
            }
            Phase::Pending { .. } | Phase::Ended | Phase::Gone => {
                let pending = matches!(self.phase, Phase::Pending { .. });
                // What ended and is there again began after that end, whatever stayed as it was meanwhile: a
                // beginning before an end that was told is old news to whoever folds them. An alert's is its
                // Prometheus' word.
                let is_news = |since: &DateTime<Utc>| {
                    self.signal.source == Source::Prometheus || self.ended_at.is_none_or(|ended| *since > ended)
                };
                let since = found.since.filter(is_news);
                if !pending || since.is_some() {
                    self.starts_at = since.unwrap_or(now);
                }
                if !pending {
                    let again = self.mark == found.mark && (self.told.is_some() || self.announced.is_some());
                    self.episode = if again { self.episode + 1 } else { 0 };
                }
                self.mark = found.mark;
                // Their clock may be ahead of ours.
                let due = self.starts_at.min(now) + found.after.chrono();
                if due <= now {
                    self.fire(found.until, damping, now);
                } else {
                    self.phase = Phase::Pending { due };
                }
            }
        }
    }

    fn fire(&mut self, until: Option<DateTime<Utc>>, damping: &Damping, now: DateTime<Utc>) {
        self.phase = Phase::Firing { until };
        self.ended_at = None;
        self.count(damping, now);
    }

    fn count(&mut self, damping: &Damping, now: DateTime<Utc>) {
        self.fired.push_back(now);
        while self.fired.len() > damping.fires as usize + 1 {
            self.fired.pop_front();
        }
    }

    fn flaps(&self, damping: &Damping, now: DateTime<Utc>) -> bool {
        let since = now - damping.within.chrono();
        self.fired.iter().filter(|at| **at > since).count() > damping.fires as usize
    }

    pub(super) fn end(&mut self, damping: &Damping, now: DateTime<Utc>) {
        self.seen = true;
        match self.phase {
            Phase::Firing { .. } if self.flaps(damping, now) => {
                self.phase = Phase::Held { until: now + damping.quiet.chrono() };
            }
            Phase::Firing { .. } | Phase::Pending { .. } => self.finish(now),
            Phase::Held { .. } | Phase::Ended | Phase::Gone => {}
        }
    }

    fn finish(&mut self, now: DateTime<Utc>) {
        self.phase = Phase::Ended;
        self.ended_at = Some(now);
    }

    pub(super) fn gone(&mut self, now: DateTime<Utc>) {
        self.ended_at = self.ended_at.or(Some(now));
        self.phase = Phase::Gone;
    }

    pub(super) fn due(&mut self, damping: &Damping, now: DateTime<Utc>, live: bool) {
        match self.phase {
            Phase::Pending { due } if due <= now => self.fire(None, damping, now),
            Phase::Firing { until: Some(until) } if until <= now => {
                if live {
                    self.end(damping, now);
                } else {
                    // Nobody looks: it may be so still. Asked again in a while.
                    self.phase = Phase::Firing { until: Some(now + chrono::Duration::seconds(5)) };
                }
            }
            Phase::Held { until } if until <= now => self.finish(now),
            _ => {}
        }
    }

    pub(super) fn next_due(&self) -> Option<DateTime<Utc>> {
        match self.phase {
            Phase::Pending { due } => Some(due),
            Phase::Firing { until } => until,
            Phase::Held { until } => Some(until),
            Phase::Ended | Phase::Gone => None,
        }
    }

    pub(crate) fn is_firing(&self) -> bool {
        matches!(self.phase, Phase::Firing { .. } | Phase::Held { .. })
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Gone)
    }

    /// What the bus should have been told; `None` when it need not know of it.
    pub(super) fn wanted(&self) -> Option<Version> {
        let state = if self.is_firing() { SignalState::Firing } else { SignalState::Resolved };
        match (&self.told, state) {
            // What was never told to fire need not be told to have ended; what may have been is.
            (told, SignalState::Resolved) => {
                let told = self.announced.as_ref().or(told.as_ref())?;
                Some(Version { state, ..told.clone() })
            }
            (told, SignalState::Firing) => Some(Version {
                mark: self.mark.clone(),
                episode: self.episode,
                toggles: told.as_ref().map_or(0, |told| told.toggles),
                suppressed: told.as_ref().is_some_and(|told| told.suppressed),
                holds_object: told.as_ref().is_some_and(|told| told.holds_object),
                state,
            }),
        }
    }

    /// The version with the suppression as it is now; a change of it is news.
    pub(super) fn with_suppression(&self, mut version: Version, signal: &Signal) -> Version {
        let (suppressed, holds_object) = (signal.suppressed.is_some(), signal.holds_object);
        let firing_before = self.told.as_ref().filter(|told| told.state == SignalState::Firing);
        let is_same = (version.suppressed, version.holds_object) == (suppressed, holds_object);
        if version.state == SignalState::Firing && !is_same {
            if firing_before.is_some() {
                version.toggles += 1;
            }
            version.suppressed = suppressed;
            version.holds_object = holds_object;
        }
        version
    }

    pub(super) fn is_told(&self, version: &Version) -> bool {
        // A beginning in doubt is told again, under the same id: once stored, it is a duplicate.
        let in_doubt = self.announced.is_some() && version.state == SignalState::Firing;
        self.told.as_ref() == Some(version) && !in_doubt
    }

    /// Notes that a beginning is about to be told. False where the bus knows of one, or that was noted before.
    pub(super) fn announce(&mut self, version: &Version) -> bool {
        let begins = version.state == SignalState::Firing
            && self.told.as_ref().is_none_or(|told| told.state == SignalState::Resolved);
        let is_news = begins && self.announced.as_ref() != Some(version);
        if is_news {
            self.announced = Some(version.clone());
        }
        is_news
    }

    /// Nothing is left to tell, and nothing to remember.
    pub(super) fn is_over(&self) -> bool {
        match self.phase {
            Phase::Gone => true,
            // Never told: there is nothing to tell the next time from.
            Phase::Ended => {
                (self.told.is_none() && self.announced.is_none()) || self.signal.source == Source::Prometheus
            }
            Phase::Pending { .. } | Phase::Firing { .. } | Phase::Held { .. } => false,
        }
    }
}

impl Group {
    /// Starts at, as part of an alert's mark.
    pub(crate) fn alert_mark(starts_at: DateTime<Utc>) -> String {
        starts_at.to_rfc3339_opts(SecondsFormat::Nanos, true)
    }
}

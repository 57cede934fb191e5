//! One container: what it does now, what it did before, and when something will happen to it.

use chrono::{DateTime, Duration, Utc};

use super::probe::Probe;

/// Crash back-off begins with this and doubles to [`LONGEST`].
const SHORTEST: Duration = Duration::seconds(10);
const LONGEST: Duration = Duration::seconds(300);
/// After so long without a failure, back-off begins anew.
const FORGIVEN: Duration = Duration::seconds(600);

/// How a container ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    pub(crate) started: Option<DateTime<Utc>>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) code: i64,
    pub(crate) reason: &'static str,
    pub(crate) message: Option<String>,
    pub(crate) id: String,
}

/// How a running container is going to end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct End {
    pub(crate) at: DateTime<Utc>,
    pub(crate) code: i64,
    pub(crate) reason: &'static str,
    pub(crate) log: Vec<String>,
    /// It is the program's own doing.
    pub(crate) own: bool,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Doing {
    /// It has not begun.
    Nothing,
    /// Its image is on the way.
    Pulling {
        began: DateTime<Utc>,
        until: DateTime<Utc>,
    },
    /// It can't go on; the next attempt is at `until`.
    Held {
        reason: &'static str,
        message: String,
        until: DateTime<Utc>,
        told: DateTime<Utc>,
    },
    Running {
        since: DateTime<Utc>,
        end: Option<End>,
    },
    /// It ended; what follows is decided at `next`, never where nothing follows.
    Over {
        next: Option<DateTime<Utc>>,
    },
}

/// Exponential back-off as kubelets have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BackOff {
    pub(crate) delay: Duration,
    updated: DateTime<Utc>,
}

impl BackOff {
    /// The time until which an attempt must wait that follows a failure at `failed`.
    pub(crate) fn until(of: Option<Self>, failed: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let back_off = of.filter(|it| failed - it.updated <= FORGIVEN)?;
        Some(failed + back_off.delay)
    }

    /// Back-off after an attempt at `now` that follows a failure at `failed`.
    pub(crate) fn next(of: Option<Self>, failed: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let delay = match of.filter(|it| failed - it.updated <= FORGIVEN) {
            Some(before) => (before.delay * 2).min(LONGEST),
            None => SHORTEST,
        };
        Self { delay, updated: now }
    }
}

/// A container in its pod.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) name: String,
    /// Where its spec is in `spec.initContainers` or `spec.containers`.
    pub(crate) place: usize,
    pub(crate) init: bool,
    /// An init container with `restartPolicy: Always`.
    pub(crate) sidecar: bool,
    pub(crate) doing: Doing,
    /// How often a container was made of it.
    pub(crate) attempts: i64,
    pub(crate) id: String,
    /// The image that was pulled for it.
    pub(crate) image_id: String,
    /// How the last one ended, and the one before.
    pub(crate) ended: Option<Ended>,
    pub(crate) before: Option<Ended>,
    pub(crate) crashes: Option<BackOff>,
    pub(crate) pulls: Option<BackOff>,
    pub(crate) probes: Vec<Probe>,
    /// Its startup probe has passed, or it has none.
    pub(crate) started: bool,
    pub(crate) ready: bool,
    /// Ends by its own fault so far.
    pub(crate) faults: u32,
    pub(crate) log: Vec<String>,
    pub(crate) previous_log: Vec<String>,
}

impl Container {
    pub(crate) fn new(name: &str, place: usize, init: bool, sidecar: bool) -> Self {
        Self {
            name: name.to_owned(),
            place,
            init,
            sidecar,
            doing: Doing::Nothing,
            attempts: 0,
            id: String::new(),
            image_id: String::new(),
            ended: None,
            before: None,
            crashes: None,
            pulls: None,
            probes: Vec::new(),
            started: false,
            ready: false,
            faults: 0,
            log: Vec::new(),
            previous_log: Vec::new(),
        }
    }

    pub(crate) fn restarts(&self) -> i64 {
        (self.attempts - 1).max(0)
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.doing, Doing::Running { .. })
    }

    /// Where Events say it is: `spec.containers{app}`.
    pub(crate) fn field_path(&self) -> String {
        format!("spec.{}{{{}}}", self.list(), self.name)
    }

    pub(crate) fn list(&self) -> &'static str {
        if self.init { "initContainers" } else { "containers" }
    }

    /// Whether it ended well and for good: an init container that has done its work.
    pub(crate) fn has_completed(&self) -> bool {
        matches!(self.doing, Doing::Over { .. }) && self.ended.as_ref().is_some_and(|ended| ended.code == 0)
    }

    /// When something will happen to it.
    pub(crate) fn due(&self) -> Option<DateTime<Utc>> {
        match &self.doing {
            Doing::Nothing => None,
            Doing::Pulling { until, .. } => Some(*until),
            Doing::Held { until, told, .. } => Some((*until).min(*told)),
            Doing::Running { end, .. } => {
                let end = end.as_ref().map(|end| end.at);
                self.probes.iter().filter_map(Probe::due).chain(end).min()
            }
            Doing::Over { next } => *next,
        }
    }

    /// The container ended.
    pub(crate) fn end(&mut self, ended: Ended, next: Option<DateTime<Utc>>) {
        self.ended = Some(ended);
        self.ready = false;
        self.started = false;
        self.probes.clear();
        self.doing = Doing::Over { next };
    }

    /// A new container is made: what was last is now the one before.
    pub(crate) fn make(&mut self, id: String) {
        self.attempts += 1;
        self.id = id;
        if let Some(ended) = self.ended.take() {
            self.before = Some(ended);
            self.previous_log = std::mem::take(&mut self.log);
        }
    }
}

/// Since when the container runs; none while it does not.
pub(crate) fn running_since(container: &Container) -> Option<DateTime<Utc>> {
    match container.doing {
        Doing::Running { since, .. } => Some(since),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_waits_for_nothing_and_later_ones_ever_longer() {
        let mut now: DateTime<Utc> = "2026-06-03T09:00:00Z".parse().unwrap();
        let mut back_off = None;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let until = BackOff::until(back_off, now).unwrap_or(now);
            waits.push((until - now).num_seconds());
            back_off = Some(BackOff::next(back_off, now, until));
            now = until + Duration::seconds(5);
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(BackOff::until(back_off, now + Duration::seconds(601)), None);
    }
}

//! Probes: when they are made, how they end, and what the kubelet says about it.
//!
//! A probe whose result is settled isn't made again before it can change: `due` gives that time.

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;

use crate::images::ImageLife;
use crate::value::{at, integer, items, text};

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Startup,
    Liveness,
    Readiness,
}

impl Which {
    pub(crate) const ALL: [(Self, &'static str); 3] =
        [(Self::Startup, "startupProbe"), (Self::Liveness, "livenessProbe"), (Self::Readiness, "readinessProbe")];

    /// As messages name it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// One probe of one running container.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) which: Which,
    /// When it is made next; none before the startup probe has passed.
    next: Option<DateTime<Utc>>,
    /// When something can come of it, at the earliest.
    due: Option<DateTime<Utc>>,
    delay: Duration,
    period: Duration,
    failure_threshold: i64,
    success_threshold: i64,
    target: Target,
    /// Consecutive equal results.
    run: i64,
    passed_last: Option<bool>,
    /// The result so far.
    pub(crate) passing: bool,
}

#[derive(Debug, Clone)]
enum Target {
    Http { port: u16, path: String, scheme: String },
    Tcp { port: u16 },
    Exec,
}

/// What one probe found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    Well,
    /// With what the kubelet says of it, without `Readiness probe failed: `.
    Ill(String),
}

impl Probe {
    /// The probes of a container that starts now.
    pub(crate) fn all(container: &Value, now: DateTime<Utc>) -> Vec<Self> {
        let has_startup = !at(container, "/startupProbe").is_null();
        let probes = Which::ALL.iter().filter_map(|(which, field)| {
            let spec = container.get(*field).filter(|spec| !spec.is_null())?;
            let seconds = |name: &str, default: i64| integer(spec, name).unwrap_or(default);
            let delay = Duration::seconds(seconds("/initialDelaySeconds", 0));
            let first = (*which == Which::Startup || !has_startup).then_some(now + delay);
            Some(Self {
                which: *which,
                next: first,
                due: first,
                delay,
                period: Duration::seconds(seconds("/periodSeconds", 10).max(1)),
                failure_threshold: seconds("/failureThreshold", 3).max(1),
                success_threshold: seconds("/successThreshold", 1).max(1),
                target: Target::of(spec, container),
                run: 0,
                passed_last: None,
                passing: *which == Which::Liveness,
            })
        });
        probes.collect()
    }

    /// When something can come of it.
    pub(crate) fn due(&self) -> Option<DateTime<Utc>> {
        self.due
    }

    /// The startup probe has passed: this one begins.
    pub(crate) fn begin(&mut self, since: DateTime<Utc>, now: DateTime<Utc>) {
        if self.next.is_none() {
            self.next = Some((since + self.delay).max(now));
            self.due = self.next;
        }
    }

    /// It has done its work.
    pub(crate) fn stop(&mut self) {
        self.next = None;
        self.due = None;
    }

    /// Looks anew: what the image does has changed.
    pub(crate) fn look_again(&mut self, now: DateTime<Utc>) {
        if let Some(next) = &mut self.next {
            while *next < now {
                *next += self.period;
            }
            self.due = self.next;
        }
    }

    /// Makes the probe that is due by now, and gives what it found and whether the result turned.
    pub(crate) fn make(
        &mut self,
        life: &ImageLife,
        ip: &str,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<(Found, bool)> {
        let mut next = self.next.filter(|next| *next <= now)?;
        // Those that were left out, because nothing could have come of them, had the same result.
        while next + self.period <= now {
            next += self.period;
        }
        let found = self.target.find(self.which, life, ip, since, next);
        let passed = found == Found::Well;
        self.run = if self.passed_last == Some(passed) { self.run + 1 } else { 1 };
        self.passed_last = Some(passed);
        let threshold = if passed { self.success_threshold } else { self.failure_threshold };
        let turned = self.run >= threshold && self.passing != passed;
        if turned {
            self.passing = passed;
        }
        self.next = Some(next + self.period);
        self.due = self.next;
        Some((found, turned))
    }

    /// Whether the failures so far make the kubelet kill the container.
    pub(crate) fn has_failed_for_good(&self) -> bool {
        self.passed_last == Some(false) && self.run >= self.failure_threshold && self.which != Which::Readiness
    }

    /// Puts off what nothing can come of: a settled result, until the image's life turns it, and failures that
    /// would be told, until `told` at the earliest.
    pub(crate) fn settle(&mut self, life: &ImageLife, since: DateTime<Utc>, told: DateTime<Utc>) {
        let Some(next) = self.next else { return };
        let settled = self.passed_last == Some(self.passing);
        if !settled || (!self.passing && self.which != Which::Readiness) {
            self.due = Some(next);
            return;
        }
        let turns = self.turns(life, since).filter(|turns| *turns >= next - self.period);
        let turns = turns.map(|turns| self.at_or_after(next, turns));
        let tells = (!self.passing).then(|| self.at_or_after(next, told));
        self.due = turns.into_iter().chain(tells).min();
    }

    /// When the life of the image turns the result.
    fn turns(&self, life: &ImageLife, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = |after: Option<std::time::Duration>| after.map(|after| since + after);
        if self.passing { after(life.hangs) } else { after(life.ready.after) }
    }

    /// The first time it is made at or after a time.
    fn at_or_after(&self, next: DateTime<Utc>, time: DateTime<Utc>) -> DateTime<Utc> {
        if time <= next {
            return next;
        }
        let period = self.period.num_milliseconds().max(1);
        let periods = ((time - next).num_milliseconds() + period - 1) / period;
        next + Duration::milliseconds(periods * period)
    }
}

impl Target {
    fn of(probe: &Value, container: &Value) -> Self {
        let port = |spec: &Value| -> u16 {
            let port = at(spec, "/port");
            let named = |name: &str| {
                let ports = items(container, "/ports");
                ports.iter().find(|port| text(port, "/name") == name).and_then(|port| integer(port, "/containerPort"))
            };
            let number = port.as_i64().or_else(|| named(port.as_str().unwrap_or_default()));
            number.and_then(|number| u16::try_from(number).ok()).unwrap_or_default()
        };
        if let Some(http) = probe.get("httpGet") {
            let path = text(http, "/path");
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            let scheme = text(http, "/scheme").to_lowercase();
            Self::Http { port: port(http), path, scheme: if scheme.is_empty() { "http".to_owned() } else { scheme } }
        } else if let Some(tcp) = probe.get("tcpSocket").or_else(|| probe.get("grpc")) {
            Self::Tcp { port: port(tcp) }
        } else {
            Self::Exec
        }
    }

    fn find(&self, which: Which, life: &ImageLife, ip: &str, since: DateTime<Utc>, now: DateTime<Utc>) -> Found {
        let hangs = life.hangs.is_some_and(|hangs| now >= since + hangs);
        let listens = life.ready.never || life.ready.after.is_some_and(|after| now >= since + after);
        let has = |port: u16| life.ports.is_empty() || life.ports.contains(&port);
        let unready = life.ready.never && which != Which::Liveness;
        match self {
            Self::Http { port, path, scheme } => {
                let url = format!("{scheme}://{ip}:{port}{path}");
                if !listens || !has(*port) {
                    Found::Ill(format!("Get \"{url}\": dial tcp {ip}:{port}: connect: connection refused"))
                } else if hangs {
                    let why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
                    Found::Ill(format!("Get \"{url}\": {why}"))
                } else if unready {
                    Found::Ill("HTTP probe failed with statuscode: 503".to_owned())
                } else if !life.paths.is_empty() && !life.paths.contains(path) {
                    Found::Ill("HTTP probe failed with statuscode: 404".to_owned())
                } else {
                    Found::Well
                }
            }
            // A program that hangs has its port open still, and is connected to by the kernel.
            Self::Tcp { port } if !listens || !has(*port) || unready => {
                Found::Ill(format!("dial tcp {ip}:{port}: connect: connection refused"))
            }
            Self::Exec if hangs => Found::Ill("command timed out".to_owned()),
            Self::Exec if !listens || unready => Found::Ill(String::new()),
            Self::Tcp { .. } | Self::Exec => Found::Well,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn life(text: &str) -> ImageLife {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_settled_probe_is_not_made_again_before_its_result_can_turn() {
        let since: DateTime<Utc> = "2026-06-03T09:00:00Z".parse().unwrap();
        let container = json!({"readinessProbe": {"httpGet": {"port": 8080, "path": "/ready"}, "periodSeconds": 5}});
        let mut probe = Probe::all(&container, since).remove(0);
        let life = life(r#"{"ready": {"after": "4s"}, "hangs": "1h"}"#);
        assert!(matches!(probe.make(&life, "10.0.0.1", since, since), Some((Found::Ill(_), false))));
        probe.settle(&life, since, since + Duration::days(1));
        assert_eq!(probe.due(), Some(since + Duration::seconds(5)));
        let (found, turned) = probe.make(&life, "10.0.0.1", since, since + Duration::seconds(5)).unwrap();
        assert!(found == Found::Well && turned && probe.passing);
        probe.settle(&life, since, since);
        assert_eq!(probe.due(), Some(since + Duration::hours(1)));
    }
}

//! From attempt to attempt: images, creation, running, probes, ends and restarts of a pod's containers.

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;

use super::container::{BackOff, Container, Doing, End, Ended};
use super::events::Kind;
use super::pod::{PodLife, Site, limit, program};
use super::probe::{Found, Probe, Which};
use super::{config, image};
use crate::images::ImageLife;
use crate::quantity;
use crate::value::{integer, text};

/// How soon the kubelet sees that a container ended, and that a pull failed.
const SEEN: Duration = Duration::seconds(1);
/// How soon it tries again what failed without a back-off of its own.
const AGAIN: Duration = Duration::seconds(11);
/// How often it says that it still waits.
const RETELL: Duration = Duration::seconds(60);
const PULL: Duration = Duration::seconds(1);
/// How long it takes a program to find that it lacks something.
const LACKS: Duration = Duration::seconds(1);
const FILLS: Duration = Duration::seconds(2);

fn of_std(span: Option<std::time::Duration>, or: Duration) -> Duration {
    span.and_then(|span| Duration::from_std(span).ok()).unwrap_or(or)
}

/// As Go prints durations: `1.5s`, `2m40s`, `5m0s`, `250ms`.
pub(crate) fn go(span: Duration) -> String {
    let millis = span.num_milliseconds();
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let seconds = |millis: i64| {
        let text = format!("{}.{:03}", millis / 1000, millis % 1000);
        format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match (minutes, rest) {
        (0, 0) => "0s".to_owned(),
        (0, 1..1000) => format!("{rest}ms"),
        (0, _) => seconds(rest),
        (1..60, _) => format!("{minutes}m{}", seconds(rest)),
        _ => format!("{}h{}m{}", minutes / 60, minutes % 60, seconds(rest)),
    }
}

impl PodLife {
    fn at(&self, place: usize) -> Option<&Container> {
        self.containers.get(place)
    }

    fn say(&mut self, place: usize, site: &mut Site<'_, '_>, kind: Kind, reason: &str, message: &str) {
        let path = self.at(place).map(Container::field_path);
        self.tell(site, path.as_deref(), kind, reason, message);
    }

    fn hold(&mut self, place: usize, reason: &'static str, message: String, until: DateTime<Utc>, told: DateTime<Utc>) {
        if let Some(container) = self.containers.get_mut(place) {
            container.doing = Doing::Held { reason, message, until, told };
        }
    }

    /// Brings a container one state further, if it is time; gives whether it was.
    pub(super) fn advance(&mut self, place: usize, site: &mut Site<'_, '_>) -> bool {
        let now = site.now;
        let Some(container) = self.at(place) else { return false };
        match container.doing.clone() {
            Doing::Pulling { began, until } if until <= now => self.pulled(place, began, site),
            Doing::Held { reason: "ErrImagePull", message, until, .. } if until <= now => {
                self.pull_back_off(place, &message, site)
            }
            Doing::Held { until, .. } if until <= now => self.attempt(place, site),
            Doing::Held { reason, message, until, told } if told <= now => {
                self.tell_held(place, reason, site);
                self.hold(place, reason, message, until, now + RETELL);
            }
            Doing::Running { since, end: Some(end) } if end.at <= now => self.ended(place, since, end, site),
            Doing::Running { since, .. } => return self.probe(place, since, site),
            Doing::Over { next: Some(next) } if next <= now => self.attempt(place, site),
            _ => return false,
        }
        true
    }

    fn tell_held(&mut self, place: usize, reason: &str, site: &mut Site<'_, '_>) {
        let name = self.at(place).map(|it| it.name.clone()).unwrap_or_default();
        let image = text(self.spec(place, &site.pod), "/image").to_owned();
        match reason {
            "CrashLoopBackOff" => {
                let message = format!(
                    "Back-off restarting failed container {name} in pod {}_{}({})",
                    self.name, self.namespace, self.uid
                );
                self.say(place, site, Kind::Warning, "BackOff", &message);
            }
            "ImagePullBackOff" => {
                self.say(place, site, Kind::Normal, "BackOff", &format!("Back-off pulling image \"{image}\""));
                self.say(place, site, Kind::Warning, "Failed", "Error: ImagePullBackOff");
            }
            _ => {}
        }
    }

    /// Tries to start a container: its back-off, its image, its configuration.
    pub(super) fn attempt(&mut self, place: usize, site: &mut Site<'_, '_>) {
        let now = site.now;
        let Some(container) = self.at(place) else { return };
        let crashed = container.ended.as_ref().map(|ended| ended.at);
        if let Some(until) = crashed.and_then(|at| BackOff::until(container.crashes, at)).filter(|until| *until > now) {
            let delay = container.crashes.map(|it| go(it.delay)).unwrap_or_default();
            let message = format!(
                "back-off {delay} restarting failed container={} pod={}_{}({})",
                container.name, self.name, self.namespace, self.uid
            );
            self.tell_held(place, "CrashLoopBackOff", site);
            return self.hold(place, "CrashLoopBackOff", message, until, now + RETELL);
        }
        let spec = self.spec(place, &site.pod);
        let (image, policy) = (text(spec, "/image").to_owned(), text(spec, "/imagePullPolicy").to_owned());
        if let Some(why) = image::invalid(&image) {
            self.say(place, site, Kind::Warning, "InspectFailed", &why);
            self.say(place, site, Kind::Warning, "Failed", "Error: InvalidImageName");
            return self.hold(place, "InvalidImageName", why, now + AGAIN, now + AGAIN);
        }
        let full = image::full(&image);
        let present = site.present.contains(&full);
        let always = policy == "Always" || (policy.is_empty() && full.ends_with(":latest"));
        if present && !always {
            let message =
                format!("Container image \"{image}\" already present on machine and can be accessed by the pod");
            self.say(place, site, Kind::Normal, "Pulled", &message);
            return self.create(place, site);
        }
        if policy == "Never" {
            let message = format!("Container image \"{image}\" is not present with pull policy of Never");
            self.say(place, site, Kind::Warning, "ErrImageNeverPull", &message);
            self.say(place, site, Kind::Warning, "Failed", "Error: ErrImageNeverPull");
            return self.hold(place, "ErrImageNeverPull", message, now + AGAIN, now + AGAIN);
        }
        self.say(place, site, Kind::Normal, "Pulling", &format!("Pulling image \"{image}\""));
        // What the node has already is only asked about.
        let takes = if present { Duration::milliseconds(100) } else { of_std(self.life(place, site).pull, PULL) };
        if let Some(container) = self.containers.get_mut(place) {
            container.doing = Doing::Pulling { began: now, until: now + takes };
        }
    }

    fn pulled(&mut self, place: usize, began: DateTime<Utc>, site: &mut Site<'_, '_>) {
        let now = site.now;
        let image = text(self.spec(place, &site.pod), "/image").to_owned();
        // A command that the image does not have says nothing of its registry.
        let life = site.images.get(&image).cloned().unwrap_or_default();
        if let Some(why) = image::refusal(&image, &life) {
            self.say(place, site, Kind::Warning, "Failed", &format!("Failed to pull image \"{image}\": {why}"));
            self.say(place, site, Kind::Warning, "Failed", "Error: ErrImagePull");
            if let Some(container) = self.containers.get_mut(place) {
                container.pulls = Some(BackOff::next(container.pulls, now, now));
            }
            return self.hold(place, "ErrImagePull", why, now + SEEN, now + SEEN);
        }
        site.present.insert(image::full(&image));
        let took = go(now - began);
        let size = image::size(&image);
        let message = format!(
            "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {size} bytes."
        );
        self.say(place, site, Kind::Normal, "Pulled", &message);
        self.create(place, site);
    }

    fn pull_back_off(&mut self, place: usize, why: &str, site: &mut Site<'_, '_>) {
        let now = site.now;
        let image = text(self.spec(place, &site.pod), "/image").to_owned();
        let wait = self.at(place).and_then(|it| it.pulls).map(|pulls| pulls.delay).unwrap_or(AGAIN);
        self.tell_held(place, "ImagePullBackOff", site);
        let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {why}");
        self.hold(place, "ImagePullBackOff", message, now - SEEN + wait, now + RETELL);
    }

    /// Makes and starts the container.
    fn create(&mut self, place: usize, site: &mut Site<'_, '_>) {
        let now = site.now;
        let pod = std::sync::Arc::clone(&site.pod);
        let spec = self.spec(place, &pod);
        if let Some(why) = config::trouble(site.cluster, &pod, spec) {
            self.say(place, site, Kind::Warning, "Failed", &format!("Error: {why}"));
            return self.hold(place, "CreateContainerConfigError", why, now + AGAIN, now + AGAIN);
        }
        let uid = self.uid.clone();
        let Some(container) = self.containers.get_mut(place) else { return };
        if let Some(ended) = &container.ended {
            container.crashes = Some(BackOff::next(container.crashes, ended.at, now));
        }
        let id = format!("containerd://{}", image::digest(&format!("{uid}/{}/{}", container.name, container.attempts)));
        container.make(id.clone());
        container.pulls = None;
        container.image_id = image::image_id(text(spec, "/image"));
        self.say(place, site, Kind::Normal, "Created", "Container created");
        let Some(life) = program(site.images, spec) else { return self.can_not_run(place, id, spec, site) };
        self.say(place, site, Kind::Normal, "Started", "Container started");
        let unmet = config::unmet(site.cluster, &pod, spec, &life);
        let Some(container) = self.containers.get_mut(place) else { return };
        container.log.clone_from(&life.log);
        let end = plan(container, spec, &life, unmet, now);
        container.doing = Doing::Running { since: now, end };
        container.probes = Probe::all(spec, now);
        container.started = !has(container, Which::Startup);
        container.ready = container.started && !has(container, Which::Readiness);
    }

    fn can_not_run(&mut self, place: usize, id: String, spec: &Value, site: &mut Site<'_, '_>) {
        let now = site.now;
        let command = text(spec, "/command/0");
        let why = if command.starts_with('/') {
            format!("stat {command}: no such file or directory")
        } else {
            "executable file not found in $PATH".to_owned()
        };
        let message = format!(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
             unable to start container process: error during container init: exec: \"{command}\": {why}"
        );
        self.say(place, site, Kind::Warning, "Failed", &format!("Error: {message}"));
        if let Some(container) = self.containers.get_mut(place) {
            let message = Some(message.clone());
            container.end(Ended { started: None, at: now, code: 128, reason: "StartError", message, id }, None);
            container.faults += 1;
        }
        if self.restarts(place, 128, site) {
            self.hold(place, "RunContainerError", message, now + SEEN, now + SEEN);
        }
    }

    /// Whether a container that ended with this code is started anew.
    fn restarts(&self, place: usize, code: i64, site: &Site<'_, '_>) -> bool {
        let Some(container) = self.at(place) else { return false };
        let policy = text(&site.pod, "/spec/restartPolicy");
        let always = policy == "Always" || policy.is_empty();
        self.ending.is_none()
            && match (container.init, container.sidecar) {
                (_, true) => true,
                (true, false) => code != 0 && policy != "Never",
                (false, false) => always || (policy == "OnFailure" && code != 0),
            }
    }

    fn ended(&mut self, place: usize, since: DateTime<Utc>, end: End, site: &mut Site<'_, '_>) {
        let next = self.restarts(place, end.code, site).then(|| (end.at + SEEN).max(site.now));
        let Some(container) = self.containers.get_mut(place) else { return };
        container.log.extend(end.log);
        container.faults += u32::from(end.own);
        let id = container.id.clone();
        container.end(
            Ended { started: Some(since), at: end.at, code: end.code, reason: end.reason, message: None, id },
            next,
        );
    }

    /// What the images of running containers do has changed.
    pub(super) fn plan_again(&mut self, site: &Site<'_, '_>) {
        let pod = std::sync::Arc::clone(&site.pod);
        for place in 0..self.containers.len() {
            let spec = self.spec(place, &pod);
            let life = self.life(place, site);
            let Some(container) = self.containers.get_mut(place) else { continue };
            let Doing::Running { since, end } = container.doing.clone() else { continue };
            // Who is stopped already ends as it was going to.
            if end.is_none_or(|end| end.own) {
                let end = plan(container, spec, &life, None, since);
                let end = end.map(|end| End { at: end.at.max(site.now), ..end });
                container.doing = Doing::Running { since, end };
            }
        }
    }

    /// Makes the probes that are due; gives whether anything came of it.
    fn probe(&mut self, place: usize, since: DateTime<Utc>, site: &mut Site<'_, '_>) -> bool {
        let now = site.now;
        let due = |probe: &Probe| probe.due().is_some_and(|due| due <= now);
        let Some(container) = self.at(place).filter(|container| container.probes.iter().any(due)) else { return false };
        let mut probes = container.probes.clone();
        let life = self.life(place, site);
        let mut kill = None;
        for probe in &mut probes {
            if !due(probe) {
                continue;
            }
            let Some((found, turned)) = probe.make(&life, &self.ip, since, now) else { continue };
            if let Found::Ill(why) = &found {
                let message = format!("{} probe failed: {why}", probe.which.title());
                self.say(place, site, Kind::Warning, "Unhealthy", &message);
            }
            if probe.has_failed_for_good() {
                kill.get_or_insert(probe.which);
            }
            self.turn(place, probe, turned);
            let told = self.budget.next(Kind::Warning, now);
            probe.settle(&life, since, told);
        }
        let begun = self.at(place).is_some_and(|container| container.started);
        for probe in probes.iter_mut().filter(|_| begun) {
            if probe.which == Which::Startup {
                probe.stop();
            } else {
                probe.begin(since, now);
            }
        }
        if let Some(container) = self.containers.get_mut(place) {
            container.probes = probes;
        }
        if let Some(which) = kill {
            let name = self.at(place).map(|it| it.name.clone()).unwrap_or_default();
            let message = format!("Container {name} failed {} probe, will be restarted", which.title().to_lowercase());
            self.say(place, site, Kind::Normal, "Killing", &message);
            let grace = integer(&site.pod, "/spec/terminationGracePeriodSeconds").unwrap_or(30);
            self.stop(place, now + Duration::seconds(grace), site);
        }
        true
    }

    fn turn(&mut self, place: usize, probe: &Probe, turned: bool) {
        let Some(container) = self.containers.get_mut(place).filter(|_| turned) else { return };
        match probe.which {
            Which::Startup => {
                container.started = probe.passing;
                container.ready = container.started && !has(container, Which::Readiness);
            }
            Which::Readiness => container.ready = probe.passing && container.started,
            Which::Liveness => {}
        }
    }
}

fn has(container: &Container, which: Which) -> bool {
    container.probes.iter().any(|probe| probe.which == which)
}

/// When and how a container that starts now will end by itself.
pub(crate) fn plan(
    container: &Container,
    spec: &Value,
    life: &ImageLife,
    unmet: Option<String>,
    now: DateTime<Utc>,
) -> Option<End> {
    let lacks = unmet.map(|why| End { at: now + LACKS, code: 1, reason: "Error", log: vec![why], own: true });
    let crash = life.crash.as_ref().filter(|crash| crash.times.is_none_or(|times| container.faults < times));
    let crash = crash.map(|crash| {
        let log = match (crash.log.is_empty(), crash.exit_code) {
            (true, 0) => Vec::new(),
            (true, code) => vec![format!("FATAL: giving up with exit code {code}")],
            (false, _) => crash.log.clone(),
        };
        let reason = if crash.exit_code == 0 { "Completed" } else { "Error" };
        End { at: now + crash.after, code: crash.exit_code, reason, log, own: true }
    });
    let too_much = life.memory.as_deref().and_then(quantity::milli).zip(limit(spec, "memory"));
    let too_much = too_much.is_some_and(|(uses, limit)| uses > limit);
    let grows = life.oom.is_some() && life.memory.is_none();
    let killed = (too_much || grows).then(|| of_std(life.oom, FILLS));
    let killed =
        killed.map(|after| End { at: now + after, code: 137, reason: "OOMKilled", log: Vec::new(), own: true });
    [lacks, crash, killed].into_iter().flatten().min_by_key(|end| end.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        let cases = [(10_000, "10s"), (80_000, "1m20s"), (300_000, "5m0s"), (250, "250ms"), (1500, "1.5s"), (0, "0s")];
        for (millis, text) in cases {
            assert_eq!(go(Duration::milliseconds(millis)), text);
        }
    }
}

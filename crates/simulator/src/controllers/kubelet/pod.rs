//! One pod on its node, from the moment the kubelet sees it to the moment it is gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;

use super::config;
use super::container::{Container, Doing, Ended};
use super::events::{Budget, Kind};
use crate::controllers::{Cluster, Note};
use crate::images::{ImageLife, Images};
use crate::value::{at, is_terminating, items, name, namespace, text, time, uid};

/// How long the pod's sandbox takes: its namespaces, its network.
const SANDBOX: Duration = Duration::seconds(1);
/// Volumes that can't be set up are tried again after so long, doubling to two minutes.
const REMOUNT: Duration = Duration::milliseconds(500);
const LONGEST_REMOUNT: Duration = Duration::seconds(122);
/// How long a program takes to end when it is asked to, where its image says nothing.
const STOP: Duration = Duration::seconds(1);

/// How far the pod's surroundings are.
#[derive(Debug, Clone, PartialEq)]
enum Setup {
    Volumes {
        next: DateTime<Utc>,
        wait: Duration,
    },
    Sandbox {
        at: DateTime<Utc>,
    },
    Up,
    /// Nothing runs in it any more, or ever will.
    Down,
}

/// A pod that is being deleted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ending {
    deadline: DateTime<Utc>,
}

/// A pod as its kubelet knows it.
#[derive(Debug, Clone)]
pub(crate) struct PodLife {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Empty until its sandbox is ready.
    pub(crate) ip: String,
    pub(crate) started: DateTime<Utc>,
    setup: Setup,
    /// Init containers first.
    pub(crate) containers: Vec<Container>,
    pub(crate) ending: Option<Ending>,
    /// Reason and message of a pod that its node has evicted.
    pub(crate) evicted: Option<(String, String)>,
    pub(crate) budget: Budget,
    /// When something will happen.
    pub(crate) due: Option<DateTime<Utc>>,
    /// What its images do has changed since it was looked at.
    changed: bool,
}

/// Where a pod lives while it is looked at.
pub(crate) struct Site<'c, 's> {
    pub(crate) cluster: &'c mut Cluster<'s>,
    pub(crate) pod: Arc<Value>,
    pub(crate) node: &'c str,
    /// The pod's address, for when its sandbox is made.
    pub(crate) ip: &'c str,
    pub(crate) images: &'c Images,
    /// The images that the node has.
    pub(crate) present: &'c mut BTreeSet<String>,
    pub(crate) now: DateTime<Utc>,
}

impl PodLife {
    /// A pod that the kubelet sees for the first time.
    pub(crate) fn new(pod: &Value, now: DateTime<Utc>) -> Self {
        let init = items(pod, "/spec/initContainers").iter().enumerate().map(|(place, spec)| {
            Container::new(text(spec, "/name"), place, true, text(spec, "/restartPolicy") == "Always")
        });
        let main = items(pod, "/spec/containers").iter().enumerate();
        let main = main.map(|(place, spec)| Container::new(text(spec, "/name"), place, false, false));
        Self {
            namespace: namespace(pod).to_owned(),
            name: name(pod).to_owned(),
            uid: uid(pod).to_owned(),
            ip: String::new(),
            started: now,
            setup: Setup::Volumes { next: now, wait: REMOUNT },
            containers: init.chain(main).collect(),
            ending: None,
            evicted: None,
            budget: Budget::default(),
            due: Some(now),
            changed: false,
        }
    }

    /// The CPU that it uses without any request, in thousandths; none while nothing runs in it.
    pub(crate) fn cpu(&self, pod: &Value, images: &Images) -> Option<i128> {
        let running = self.containers.iter().enumerate().filter(|(_, container)| container.is_running());
        let used = running.map(|(place, _)| {
            let life = program(images, self.spec(place, pod)).unwrap_or_default();
            life.cpu.as_deref().and_then(crate::quantity::milli).unwrap_or_default()
        });
        used.reduce(|sum, used| sum + used)
    }

    pub(crate) fn has_sandbox(&self) -> bool {
        self.setup == Setup::Up
    }

    /// Nothing runs in it, and nothing will.
    pub(crate) fn is_over(&self) -> bool {
        self.setup == Setup::Down
    }

    /// Brings the pod to where it is at this time.
    pub(crate) fn sync(&mut self, site: &mut Site<'_, '_>) {
        if is_terminating(&site.pod) {
            self.end(site);
        }
        match self.setup {
            Setup::Volumes { next, wait } if next <= site.now && self.ending.is_none() => {
                if let Some(message) = config::unmountable(site.cluster, &site.pod) {
                    self.tell(site, None, Kind::Warning, "FailedMount", &message);
                    let again = site.now + wait;
                    self.setup = Setup::Volumes { next: again, wait: (wait * 2).min(LONGEST_REMOUNT) };
                } else {
                    self.setup = Setup::Sandbox { at: site.now + SANDBOX };
                }
            }
            Setup::Sandbox { at } if at <= site.now && self.ending.is_none() => {
                self.setup = Setup::Up;
                site.ip.clone_into(&mut self.ip);
            }
            Setup::Volumes { .. } | Setup::Sandbox { .. } | Setup::Up | Setup::Down => {}
        }
        if std::mem::take(&mut self.changed) {
            self.plan_again(site);
        }
        if self.setup == Setup::Up {
            // Each step brings one container one state further; states that last no time follow at once.
            for _ in 0..64 {
                if !self.step(site) {
                    break;
                }
            }
        }
        if self.has_ended() || self.evicted.is_some() {
            self.setup = Setup::Down;
        }
        self.due = self.next();
    }

    fn next(&self) -> Option<DateTime<Utc>> {
        match self.setup {
            Setup::Down => None,
            Setup::Volumes { next, .. } => Some(next),
            Setup::Sandbox { at } => Some(at),
            Setup::Up => self.containers.iter().filter_map(Container::due).min(),
        }
    }

    fn step(&mut self, site: &mut Site<'_, '_>) -> bool {
        let mut changed = false;
        for place in 0..self.containers.len() {
            changed |= self.advance(place, site);
        }
        changed | self.begin(site)
    }

    /// Starts what may start: init containers one after the other, then the others together.
    fn begin(&mut self, site: &mut Site<'_, '_>) -> bool {
        if self.ending.is_some() {
            return false;
        }
        let mut startable = Vec::new();
        for (place, container) in self.containers.iter().enumerate() {
            if container.init {
                let passed = if container.sidecar {
                    container.started || container.attempts > 1
                } else {
                    container.has_completed()
                };
                if !passed {
                    startable.push(place);
                    break;
                }
            } else {
                startable.push(place);
            }
        }
        let mut changed = false;
        for place in startable {
            if self.containers.get(place).is_some_and(|container| container.doing == Doing::Nothing) {
                self.attempt(place, site);
                changed = true;
            }
        }
        changed | self.stop_sidecars(site)
    }

    /// Sidecars end when nothing is left to serve.
    fn stop_sidecars(&mut self, site: &mut Site<'_, '_>) -> bool {
        let over = |container: &Container| matches!(container.doing, Doing::Over { next: None });
        let done =
            self.containers.iter().filter(|container| !container.init).all(over) || self.has_failed_to_begin(site);
        if !done {
            return false;
        }
        let mut changed = false;
        for place in 0..self.containers.len() {
            let Some(container) = self.containers.get_mut(place).filter(|it| it.sidecar) else { continue };
            match &container.doing {
                Doing::Running { end: None, .. } => {
                    self.stop(place, site.now + Duration::seconds(30), site);
                    changed = true;
                }
                Doing::Over { next: Some(_) } => {
                    container.doing = Doing::Over { next: None };
                    changed = true;
                }
                _ => {}
            }
        }
        changed
    }

    /// An init container failed for good.
    fn has_failed_to_begin(&self, site: &Site<'_, '_>) -> bool {
        let failed = |container: &Container| {
            container.init
                && !container.sidecar
                && matches!(container.doing, Doing::Over { next: None })
                && container.ended.as_ref().is_some_and(|ended| ended.code != 0)
        };
        text(&site.pod, "/spec/restartPolicy") == "Never" && self.containers.iter().any(failed)
    }

    fn has_ended(&self) -> bool {
        let over = |container: &Container| matches!(container.doing, Doing::Over { next: None });
        if self.ending.is_some() {
            return !self.containers.iter().any(Container::is_running);
        }
        let failed = |it: &Container| {
            it.init && !it.sidecar && over(it) && it.ended.as_ref().is_some_and(|ended| ended.code != 0)
        };
        let main = self.containers.iter().filter(|container| !container.init).all(over);
        (main || self.containers.iter().any(failed)) && !self.containers.iter().any(Container::is_running)
    }

    /// Begins to end it, or hastens its end.
    fn end(&mut self, site: &mut Site<'_, '_>) {
        let deadline = time(&site.pod, "/metadata/deletionTimestamp").unwrap_or(site.now).max(site.now);
        let hasten = match self.ending {
            None => {
                for place in 0..self.containers.len() {
                    let Some(container) = self.containers.get_mut(place) else { continue };
                    if container.is_running() {
                        let (path, name) = (container.field_path(), container.name.clone());
                        self.tell(site, Some(&path), Kind::Normal, "Killing", &format!("Stopping container {name}"));
                    } else {
                        let over = container.ended.is_some();
                        container.doing = if over { Doing::Over { next: None } } else { Doing::Nothing };
                    }
                }
                true
            }
            Some(before) => deadline < before.deadline,
        };
        if hasten {
            self.ending = Some(Ending { deadline });
            for place in 0..self.containers.len() {
                self.stop(place, deadline, site);
            }
        }
    }

    /// Asks a running container to end, and kills it at the deadline.
    pub(super) fn stop(&mut self, place: usize, deadline: DateTime<Utc>, site: &Site<'_, '_>) {
        let life = self.life(place, site);
        let takes = life.stop.and_then(|stop| Duration::from_std(stop).ok()).unwrap_or(STOP);
        let Some(container) = self.containers.get_mut(place) else { return };
        let Doing::Running { since, end } = &mut container.doing else { return };
        // A program that hangs hears nothing.
        let hangs = life.hangs.is_some_and(|hangs| site.now >= *since + hangs);
        let obeys = !hangs && site.now + takes <= deadline;
        let at = if obeys { site.now + takes } else { deadline };
        if end.as_ref().is_none_or(|end| at < end.at) {
            let (code, reason) = if obeys { (0, "Completed") } else { (137, "Error") };
            *end = Some(super::container::End { at, code, reason, log: Vec::new(), own: false });
        }
        // Nothing but its readiness is looked at any more.
        container.probes.retain(|probe| probe.which == super::probe::Which::Readiness);
    }

    /// What the container's image does with its command.
    pub(super) fn life<'i>(&self, place: usize, site: &Site<'_, 'i>) -> ImageLife {
        let spec = self.spec(place, &site.pod);
        program(site.images, spec).unwrap_or_default()
    }

    pub(super) fn spec<'p>(&self, place: usize, pod: &'p Value) -> &'p Value {
        let found = self.containers.get(place);
        let found = found.and_then(|container| items(pod, &format!("/spec/{}", container.list())).get(container.place));
        found.unwrap_or(&Value::Null)
    }

    /// Tells an Event, if the kubelet's budget for this pod allows.
    pub(super) fn tell(
        &mut self,
        site: &mut Site<'_, '_>,
        path: Option<&str>,
        kind: Kind,
        reason: &str,
        message: &str,
    ) {
        if self.budget.spend(kind, site.now) {
            let note = Note { component: "kubelet", host: site.node, field_path: path.unwrap_or_default() };
            let kind = if kind == Kind::Warning { "Warning" } else { "Normal" };
            site.cluster.tell(&site.pod, note, kind, reason, message);
        }
    }

    /// The node stopped and starts again: everything in it died.
    pub(crate) fn reboot(&mut self, now: DateTime<Utc>) {
        if self.setup == Setup::Down {
            return;
        }
        for container in &mut self.containers {
            if let Doing::Running { since, .. } = container.doing {
                let id = container.id.clone();
                let ended = Ended { started: Some(since), at: now, code: 255, reason: "Unknown", message: None, id };
                let next = (!container.init || container.sidecar || ended.code != 0).then_some(now);
                container.end(ended, next);
            }
        }
        self.ip.clear();
        self.setup = Setup::Sandbox { at: now + SANDBOX };
        self.due = Some(now);
    }

    /// Something outside kills a running container.
    pub(crate) fn kill(&mut self, name: &str, now: DateTime<Utc>) {
        for container in self.containers.iter_mut().filter(|container| container.name == name) {
            if let Doing::Running { end, .. } = &mut container.doing {
                *end = Some(super::container::End { at: now, code: 137, reason: "Error", log: Vec::new(), own: false });
                self.due = Some(now);
            }
        }
    }

    /// Looks anew at everything: images changed.
    pub(crate) fn look_again(&mut self, now: DateTime<Utc>) {
        for container in &mut self.containers {
            for probe in &mut container.probes {
                probe.look_again(now);
            }
        }
        if self.setup != Setup::Down {
            self.due = Some(now);
            self.changed = true;
        }
    }

    /// The node gives the pod up: all its containers are killed, and nothing follows.
    pub(crate) fn evict(&mut self, message: &str, now: DateTime<Utc>) {
        if self.setup == Setup::Down || self.ending.is_some() {
            return;
        }
        for container in &mut self.containers {
            container.doing = match container.doing {
                Doing::Running { since, .. } => {
                    let id = container.id.clone();
                    let ended = Ended { started: Some(since), at: now, code: 137, reason: "Error", message: None, id };
                    container.end(ended, None);
                    Doing::Over { next: None }
                }
                _ if container.ended.is_some() => Doing::Over { next: None },
                _ => Doing::Nothing,
            };
        }
        self.evicted = Some(("Evicted".to_owned(), message.to_owned()));
        self.setup = Setup::Down;
        self.due = Some(now);
    }
}

/// The life of a container's image with the container's command; none when there is no such program in it.
pub(crate) fn program(images: &Images, container: &Value) -> Option<ImageLife> {
    let Some(life) = images.get(text(container, "/image")) else { return Some(ImageLife::default()) };
    let words = |field: &str| items(container, field).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let command = words("/command");
    let Some(first) = command.first().filter(|_| !life.programs.is_empty()) else { return Some(life.clone()) };
    let whole = [command.clone(), words("/args")].concat().join(" ");
    let found =
        [whole.as_str(), command.join(" ").as_str(), first].iter().find_map(|name| life.programs.get(*name).cloned());
    // What says nothing of its registry has the image's.
    found.map(|program| ImageLife { pull: life.pull, missing: life.missing, refused: life.refused, ..program })
}

/// The number at a pointer of a container's limits, in thousandths.
pub(crate) fn limit(container: &Value, resource: &str) -> Option<i128> {
    let limit = at(container, &format!("/resources/limits/{resource}"));
    limit.as_str().and_then(crate::quantity::milli).or_else(|| limit.as_i64().map(|it| i128::from(it) * 1000))
}

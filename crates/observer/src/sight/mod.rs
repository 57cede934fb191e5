//! Where watches meet the world and the tracker: what is applied is kept, judged, and what is news
//! is left for the [relay](crate::relay) to tell.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use evenkeel_model::{Kind, ObjectRef, Signal, SignalState, Source};
use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt as _;
use tokio::sync::Notify;

use crate::changes::Changes;
use crate::config::Kubernetes;
use crate::detect::{self, Trouble, reference};
use crate::metrics::{Metrics, count};
use crate::tracker::{Found, Group, Tracker};
use crate::world::{self, Kept as _, Noticed, SharedWorld, Watched, World, write};

/// Trouble that Events tell and a pod's readiness ends.
const ENDED_BY_READINESS: [&str; 3] = ["Unhealthy", "FailedMount", "FailedCreatePodSandBox"];

/// See the module.
pub(crate) struct Sight {
    pub(crate) world: SharedWorld,
    pub(crate) changes: Changes,
    cluster: String,
    config: Kubernetes,
    tracker: Mutex<Tracker>,
    /// Watches whose first list is not in.
    missing: Mutex<BTreeSet<&'static str>>,
    /// Watches that are broken now.
    broken: Mutex<BTreeSet<&'static str>>,
    /// Told when there is something to tell.
    pub(crate) news: Notify,
    metrics: Metrics,
}

impl Sight {
    /// `watches` are the names of all that have to be in before anything is judged.
    pub(crate) fn new(
        cluster: String,
        config: Kubernetes,
        world: SharedWorld,
        watches: impl IntoIterator<Item = &'static str>,
        metrics: Metrics,
    ) -> Self {
        let tracker = Mutex::new(Tracker::new(config.damping.clone(), config.max_troubles));
        Self {
            world,
            changes: Changes::default(),
            cluster,
            config,
            tracker,
            missing: Mutex::new(watches.into_iter().collect()),
            broken: Mutex::new(BTreeSet::new()),
            news: Notify::new(),
            metrics,
        }
    }

    pub(crate) fn tracker(&self) -> MutexGuard<'_, Tracker> {
        lock(&self.tracker)
    }

    /// Whether the first list of every watch is in. Nothing is judged before: half a world shows
    /// trouble that is none.
    pub(crate) fn is_whole(&self) -> bool {
        lock(&self.missing).is_empty()
    }

    /// Whether all watches work now.
    pub(crate) fn is_live(&self) -> bool {
        self.is_whole() && lock(&self.broken).is_empty()
    }

    /// A watch broke, or works again.
    pub(crate) fn set_broken(&self, watch: &'static str, broken: bool) {
        let mut all = lock(&self.broken);
        if broken {
            all.insert(watch);
        } else {
            all.remove(watch);
        }
    }

    /// A list begins.
    pub(crate) fn begin<K: Watched>(&self) {
        K::table(&mut write(&self.world)).begin();
    }

    /// An object is there as it is.
    pub(crate) fn apply<K: Watched>(&self, object: K, now: DateTime<Utc>) {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let writer = K::KIND.is_workload().then(|| world::writer(object.meta())).flatten();
        let (noticed, replaced, count) = {
            let mut world = write(&self.world);
            let table = K::table(&mut world);
            let kept = object.keep(table.get(&namespace, &name));
            let before = table.get(&namespace, &name);
            // Another object of the same name: the one before is gone, whether that was seen or not.
            let replaced = before.filter(|it| it.meta().uid != kept.meta().uid).map(|it| it.meta().uid.to_string());
            let noticed = kept.noticed(before.filter(|_| replaced.is_none()));
            let (before, count) = (table.apply(&namespace, &name, kept), table.len());
            if let Some(before) = before.filter(|_| replaced.is_some()) {
                world.gone.add(K::KIND, &namespace, &name, before.meta());
            }
            (noticed, replaced, count)
        };
        self.metrics.objects(K::KIND.as_str(), count);
        if let Some(uid) = replaced {
            self.tracker().gone(&uid, now);
        }
        for noticed in noticed {
            self.notice(K::KIND, &namespace, &name, noticed, writer.as_deref(), now);
        }
        self.judge(K::KIND, &namespace, &name, now);
    }

    /// An object is gone.
    pub(crate) fn delete<K: Watched>(&self, object: &K, now: DateTime<Utc>) {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let (gone, count) = {
            let mut world = write(&self.world);
            let table = K::table(&mut world);
            let (gone, count) = (table.delete(&namespace, &name), table.len());
            if let Some(gone) = &gone {
                world.gone.add(K::KIND, &namespace, &name, gone.meta());
            }
            (gone, count)
        };
        self.metrics.objects(K::KIND.as_str(), count);
        if let Some(gone) = gone {
            self.forget(&gone.meta().uid, now);
        }
    }

    /// The list of a watch is complete. The last of all has everything judged.
    pub(crate) fn listed<K: Watched>(&self, watch: &'static str, now: DateTime<Utc>) {
        let gone = {
            let mut world = write(&self.world);
            let gone = K::table(&mut world).end();
            for (namespace, name, gone) in &gone {
                world.gone.add(K::KIND, namespace, name, gone.meta());
            }
            gone
        };
        for (_, _, gone) in gone {
            self.forget(&gone.meta().uid, now);
        }
        self.first_list_is_in(watch, now);
    }

    /// Events have no table: their list being in is all there is to it.
    pub(crate) fn events_listed(&self, watch: &'static str, now: DateTime<Utc>) {
        self.first_list_is_in(watch, now);
    }

    fn first_list_is_in(&self, watch: &'static str, now: DateTime<Utc>) {
        let was_whole = {
            let mut missing = lock(&self.missing);
            let was_whole = missing.is_empty();
            missing.remove(watch);
            was_whole
        };
        if !was_whole && self.is_whole() {
            self.judge_everything(now);
        }
    }

    fn forget(&self, uid: &str, now: DateTime<Utc>) {
        self.tracker().gone(uid, now);
        self.news.notify_one();
    }

    fn judge_everything(&self, now: DateTime<Utc>) {
        let objects: Vec<(Kind, String, String)> = {
            let world = world::read(&self.world);
            let mut all = Vec::new();
            let mut add = |kind, namespace: &str, name: &str| all.push((kind, namespace.to_owned(), name.to_owned()));
            world.nodes.iter().for_each(|(namespace, name, _)| add(Kind::Node, namespace, name));
            for kind in [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet] {
                let workloads = world.workloads(kind).into_iter().flat_map(|table| table.iter());
                workloads.for_each(|(namespace, name, _)| add(kind, namespace, name));
            }
            world.replica_sets.iter().for_each(|(namespace, name, _)| add(Kind::ReplicaSet, namespace, name));
            world.jobs.iter().for_each(|(namespace, name, _)| add(Kind::Job, namespace, name));
            world.pods.iter().for_each(|(namespace, name, _)| add(Kind::Pod, namespace, name));
            all
        };
        for (kind, namespace, name) in objects {
            self.judge(kind, &namespace, &name, now);
        }
        let mut tracker = self.tracker();
        // What an earlier process had told and is nowhere to be seen ended while nobody looked.
        tracker.end_unseen(Group::Status, now);
        tracker.end_unseen(Group::Events, now);
        drop(tracker);
        self.news.notify_one();
    }

    /// Tells what is wrong with one object, as it is known now.
    fn judge(&self, kind: Kind, namespace: &str, name: &str, now: DateTime<Utc>) {
        if !self.config.signals || !self.is_whole() {
            return;
        }
        let world = world::read(&self.world);
        let judged = detect::troubles(&world, kind, namespace, name, &self.config.thresholds, now);
        let Some((object, troubles)) = judged else { return };
        let ready_since = (kind == Kind::Pod)
            .then(|| world.pods.get(namespace, name).filter(|pod| pod.is_ready())?.ready.as_ref())
            .flatten()
            .map(|ready| ready.since);
        drop(world);
        let found = troubles.into_iter().map(|trouble| self.found(&object, trouble)).collect();
        let subject = object.uid.unwrap_or_default();
        let mut tracker = self.tracker();
        tracker.observe(&subject, Group::Status, found, now);
        if let Some(ready_since) = ready_since {
            // A probe that failed before the pod got ready, a mount that came about after all.
            tracker.end_where(&subject, Group::Events, now, |name, entry| {
                ENDED_BY_READINESS.contains(&name) && entry.starts_at <= ready_since
            });
        }
        drop(tracker);
        self.news.notify_one();
    }

    /// A warning Event.
    pub(crate) fn event(&self, event: &Event, now: DateTime<Utc>) {
        if !self.config.signals {
            return;
        }
        let Some((object, trouble)) = detect::event(event, &self.config.thresholds, now) else { return };
        let known = world::read(&self.world).meta(&object).map(|meta| meta.uid.to_string());
        // Events outlive what they are about, and come before it.
        if self.is_whole() && known != object.uid {
            return;
        }
        let found = self.found(&object, trouble);
        self.tracker().see(&object.uid.unwrap_or_default(), Group::Events, found, now);
        self.news.notify_one();
    }

    fn found(&self, object: &ObjectRef, trouble: Trouble) -> Found {
        let at = trouble.since.unwrap_or_default();
        Found {
            signal: Signal {
                id: String::new(),
                source: Source::Kubernetes,
                name: trouble.name.to_owned(),
                state: SignalState::Firing,
                severity: trouble.severity,
                cluster: self.cluster.clone(),
                target: Some(object.clone()),
                root: None,
                causes: trouble.causes,
                labels: std::collections::BTreeMap::new(),
                summary: summary(&trouble.summary),
                suppressed: None,
                holds_object: false,
                starts_at: at,
                ends_at: None,
                observed_at: at,
            },
            mark: trouble.mark,
            since: trouble.since,
            after: trouble.after,
            until: trouble.until,
        }
    }

    fn notice(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        noticed: Noticed,
        writer: Option<&str>,
        now: DateTime<Utc>,
    ) {
        match noticed {
            Noticed::Change(what, summary) => {
                let object = world::read(&self.world).identified(reference(kind, namespace, name));
                self.changes.note(object, what, writer.map(str::to_owned), summary, now);
            }
            Noticed::NodeTurned => {
                let pods: Vec<(String, String)> = {
                    let world = world::read(&self.world);
                    let on_it = world.pods.iter().filter(|(_, _, pod)| pod.node.as_deref() == Some(name));
                    on_it.map(|(namespace, pod, _)| (namespace.to_owned(), pod.to_owned())).collect()
                };
                for (namespace, pod) in pods {
                    self.judge(Kind::Pod, &namespace, &pod, now);
                }
            }
        }
    }

    /// Time passed: what was pending may be news, what was only remembered may be over.
    pub(crate) fn tick(&self, now: DateTime<Utc>) {
        let live = self.is_live();
        let mut tracker = self.tracker();
        tracker.tick(now, live);
        let (held, firing, untold, refused) = tracker.counts();
        drop(tracker);
        self.metrics.troubles.set(count(held));
        self.metrics.troubles_firing.set(count(firing));
        self.metrics.troubles_untold.set(count(untold));
        self.metrics.troubles_refused.set(i64::try_from(refused).unwrap_or(i64::MAX));
    }

    /// Fills in what the world says of a signal at this moment. False: a link of the chain of
    /// owners is not in yet, and will be.
    pub(crate) fn complete(world: &World, signal: &mut Signal, fresh: bool) -> bool {
        let Some(target) = &signal.target else { return true };
        let root = world.root(target);
        if root.is_none() && fresh && world.meta(target).is_some() {
            return false;
        }
        signal.root = root.or(signal.root.take());
        // What was said of the object may be over; what was said of the alert is its poll's to say.
        let of_alert = signal.suppressed.take().filter(|_| !signal.holds_object);
        let of_object = world.suppressed(signal.target.as_ref(), signal.root.as_ref());
        signal.holds_object = of_object.is_some();
        signal.suppressed = of_object.or(of_alert);
        true
    }
}

/// A summary from the cluster's words: redacted, one line, bounded.
fn summary(text: &str) -> String {
    let text = evenkeel_runtime::redact::text(text).replace(['\n', '\r'], " ");
    crate::alert::bounded(&text, 512).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

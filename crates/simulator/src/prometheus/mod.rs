//! A Prometheus and an Alertmanager of the simulated cluster.
//!
//! Scraping, evaluating and grouping happen at the moments at which the real ones would, but only where something
//! can have changed: a quiet cluster costs nothing.

mod alertmanager;
mod answer;
mod exporters;
mod labels;
mod promql;
mod rules;
mod storage;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::Notify;

pub use alertmanager::{AlertmanagerOptions, Notification};
pub use promql::QueryError;
pub use rules::RuleError;

use crate::controllers::{Cluster, Controller};
use crate::kinds::Resource;
use crate::simulator::Simulator;
use crate::state::State;
use crate::store::Key;
use crate::traffic::{BUCKETS, Requests};
use crate::value::text;
use alertmanager::Alertmanager;
use exporters::Exposition;
use labels::Labels;
use promql::millis;
use rules::Rules;
use storage::{Millis, SeriesId, Storage};

/// The rules that come with the simulator, in Prometheus' format: file names and texts.
pub const SHIPPED_RULES: [(&str, &str); 1] =
    [("kubernetes.yaml", include_str!("../../../../simulations/rules/kubernetes.yaml"))];

/// How the cluster is watched.
#[derive(Debug, Clone)]
pub struct MonitoringOptions {
    /// How often is scraped, and rules are evaluated. Default 30s, as kube-prometheus-stack has it.
    pub interval: Duration,
    /// How long samples are kept. Default 2h.
    pub retention: Duration,
    /// Rule files: names and texts. Default [`SHIPPED_RULES`].
    pub rules: Vec<(String, String)>,
    /// How Alertmanager is configured.
    pub alertmanager: AlertmanagerOptions,
}

impl Default for MonitoringOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            retention: Duration::from_secs(2 * 3600),
            rules: SHIPPED_RULES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            alertmanager: AlertmanagerOptions::default(),
        }
    }
}

/// Where a series comes from: an object, or something that is no object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Object(Key),
    Kubelet(String),
    Exporter,
    Traffic,
}

/// Prometheus and Alertmanager.
#[derive(Debug)]
pub(crate) struct Monitoring {
    step: Millis,
    storage: Storage,
    rules: Rules,
    pub(crate) alertmanager: Alertmanager,
    exposed: BTreeMap<Origin, BTreeMap<Labels, SeriesId>>,
    /// The store's revision that was scraped last; none before the first time.
    revision: Option<u64>,
    reachable: Vec<(String, bool)>,
    /// When is scraped next.
    next: Millis,
    /// Whether there is something to see then.
    is_news: bool,
    outbox: VecDeque<Notification>,
    sent: Arc<Notify>,
    /// The last evaluation that failed, for whoever asks.
    failure: Option<QueryError>,
}

impl Monitoring {
    fn new(options: &MonitoringOptions, now: Millis) -> Result<Self, RuleError> {
        let mut rules = Rules::default();
        for (name, text) in &options.rules {
            rules.add(name, text)?;
        }
        Ok(Self {
            step: millis(options.interval).max(1),
            storage: Storage::new(options.retention),
            rules,
            alertmanager: Alertmanager::new(&options.alertmanager),
            exposed: BTreeMap::new(),
            revision: None,
            reachable: Vec::new(),
            next: now,
            is_news: true,
            outbox: VecDeque::new(),
            sent: Arc::new(Notify::new()),
            failure: None,
        })
    }

    /// Does what is due until now; gives when it has to be called again although nothing changes.
    fn advance(&mut self, state: &State, now: Millis) -> Option<Millis> {
        loop {
            let tells = self.alertmanager.due().unwrap_or(Millis::MAX);
            if self.next.min(tells) > now {
                break;
            }
            if tells < self.next {
                let told = self.alertmanager.notify(tells);
                if !told.is_empty() {
                    self.outbox.extend(told);
                    self.sent.notify_one();
                }
            } else if !self.is_news && self.next < now {
                // Nothing changed before now: the scrapes up to here were all the same.
                let until = tells.min(now - 1);
                let same = (until - self.next).max(0) / self.step;
                self.storage.advance(self.next + same * self.step);
                self.next += (same + 1) * self.step;
            } else {
                let at = self.next;
                self.next += self.step;
                self.scrape(state, at);
                self.failure = self.rules.evaluate(&mut self.storage, self.step, at).err();
                if let Some(error) = &self.failure {
                    tracing::warn!(%error, "a rule of the simulated Prometheus could not be evaluated");
                }
                self.alertmanager.receive(self.rules.active(), at);
                self.is_news = self.rules.is_waiting(&self.storage) || !state.traffic.is_none();
            }
        }
        let is_changed = |seen: u64| {
            exporters::EXPORTED.iter().any(|(resource, _)| state.store.head(&Resource::from(*resource)) > seen)
        };
        self.is_news |= self.revision.is_none_or(is_changed) || self.reachable != reachable(state);
        let scrape = self.is_news.then_some(self.next);
        scrape.into_iter().chain(self.alertmanager.due()).min()
    }

    fn scrape(&mut self, state: &State, at: Millis) {
        self.storage.advance(at);
        let mut is_other = self.revision.is_none();
        for (name, _) in exporters::EXPORTED {
            let resource = Resource::from(name);
            let since = self.revision.unwrap_or(0);
            if self.revision.is_some() && state.store.head(&resource) <= since {
                continue;
            }
            is_other |= matches!(name, "pods" | "nodes");
            match state.store.since(&resource, since) {
                Ok(changes) => {
                    let changed: BTreeMap<&Key, Option<&Arc<Value>>> =
                        changes.map(|change| (&change.key, change.after.as_ref())).collect();
                    for (key, object) in changed {
                        self.object(key, object.map(AsRef::as_ref), at);
                    }
                }
                Err(_) => self.all(state, &resource, at),
            }
        }
        self.revision = Some(state.store.revision());
        let reachable = reachable(state);
        if is_other || reachable != self.reachable {
            self.reachable = reachable;
            self.kubelets(state, at);
        }
        if !self.exposed.contains_key(&Origin::Exporter) {
            self.expose(Origin::Exporter, exporters::up(), at);
        }
        if !state.traffic.is_none() || self.exposed.contains_key(&Origin::Traffic) {
            self.expose(Origin::Traffic, traffic(&state.traffic), at);
        }
    }

    /// All objects of a resource, where the changes since the last time are forgotten.
    fn all(&mut self, state: &State, resource: &Resource, at: Millis) {
        let gone = |origin: &&Origin| match origin {
            Origin::Object(key) => key.resource == *resource && state.store.get(key).is_none(),
            _ => false,
        };
        let gone: Vec<Origin> = self.exposed.keys().filter(gone).cloned().collect();
        for origin in gone {
            self.expose(origin, Vec::new(), at);
        }
        for (key, object) in state.store.of(resource) {
            self.object(key, Some(object), at);
        }
    }

    fn object(&mut self, key: &Key, object: Option<&Value>, at: Millis) {
        let series = match object {
            Some(object) => exporters::export(key.resource.as_str(), object),
            None => Some(Vec::new()),
        };
        if let Some(series) = series {
            self.expose(Origin::Object(key.clone()), series, at);
        }
    }

    fn kubelets(&mut self, state: &State, at: Millis) {
        let mut running: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, pod) in state.store.of(&"pods".into()) {
            if text(pod, "/status/phase") == "Running" {
                *running.entry(text(pod, "/spec/nodeName")).or_default() += 1;
            }
        }
        let mut now: BTreeMap<Origin, Vec<(Labels, f64)>> = BTreeMap::new();
        for (key, node) in state.store.of(&"nodes".into()) {
            let is_up = is_reachable(state, &key.name, node);
            let pods = running.get(key.name.as_str()).copied().unwrap_or(0);
            now.insert(Origin::Kubelet(key.name.clone()), exporters::kubelet(node, is_up, pods));
        }
        let gone = |origin: &&Origin| matches!(origin, Origin::Kubelet(_)) && !now.contains_key(origin);
        let gone: Vec<Origin> = self.exposed.keys().filter(gone).cloned().collect();
        for origin in gone {
            self.expose(origin, Vec::new(), at);
        }
        for (origin, series) in now {
            self.expose(origin, series, at);
        }
    }

    /// What comes from there now; what came from there before and does not now has ended.
    fn expose(&mut self, origin: Origin, series: Vec<(Labels, f64)>, at: Millis) {
        let before = self.exposed.remove(&origin).unwrap_or_default();
        let mut now = BTreeMap::new();
        for (labels, value) in series {
            let id = match before.get(&labels) {
                Some(id) => *id,
                None => self.storage.series(&labels, self.step),
            };
            self.storage.set(id, at, value);
            now.insert(labels, id);
        }
        for (labels, id) in &before {
            if !now.contains_key(labels) {
                self.storage.end(*id, at);
            }
        }
        if !now.is_empty() {
            self.exposed.insert(origin, now);
        }
    }
}

fn reachable(state: &State) -> Vec<(String, bool)> {
    state.machines.iter().map(|(name, machine)| (name.clone(), machine.is_reachable())).collect()
}

/// Whether a node's kubelet answers; where there is no machine, whether it is heard of.
fn is_reachable(state: &State, name: &str, node: &Value) -> bool {
    match state.machines.get(name) {
        Some(machine) => machine.is_reachable(),
        None => crate::value::condition(node, "Ready").is_none_or(|ready| text(ready, "/status") != "Unknown"),
    }
}

/// Requests as the pods themselves count them, and CPU as cAdvisor does.
fn traffic(requests: &Requests) -> Vec<(Labels, f64)> {
    let mut all = Exposition::default();
    for (lane, counter) in &requests.lanes {
        let (namespace, service) = &lane.service;
        let labels = [
            ("namespace", namespace.as_str()),
            ("service", service),
            ("job", service),
            ("pod", &lane.pod),
            ("code", lane.code),
        ];
        all.add("http_requests_total", &labels, counter.total);
    }
    for (((namespace, service), pod), latency) in &requests.latencies {
        let labels = [("namespace", namespace.as_str()), ("service", service), ("job", service), ("pod", pod)];
        let bounds = BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, requests) in bounds.zip(latency.buckets) {
            let [a, b, c, d] = labels;
            all.add("http_request_duration_seconds_bucket", &[a, b, c, d, ("le", &bound)], requests);
        }
        all.add("http_request_duration_seconds_sum", &labels, latency.sum);
        all.add("http_request_duration_seconds_count", &labels, latency.buckets.last().copied().unwrap_or(0.0));
    }
    for ((namespace, pod), seconds) in &requests.cpu_seconds {
        let labels = [
            ("job", "kubelet"),
            ("metrics_path", "/metrics/cadvisor"),
            ("namespace", namespace.as_str()),
            ("pod", pod),
        ];
        all.add("container_cpu_usage_seconds_total", &labels, *seconds);
    }
    all.series
}

fn at(time: DateTime<Utc>) -> Millis {
    time.timestamp_millis()
}

/// Prometheus, in the order of controllers: the last, so that it sees what the others have done.
#[derive(Debug, Default)]
pub(crate) struct Watcher;

impl Controller for Watcher {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn watches(&self) -> &'static [&'static str] {
        // What kube-state-metrics tells of, and what requests depend on.
        &[
            "pods",
            "nodes",
            "services",
            "endpointslices.discovery.k8s.io",
            "deployments.apps",
            "replicasets.apps",
            "statefulsets.apps",
            "daemonsets.apps",
            "jobs.batch",
            "cronjobs.batch",
            "horizontalpodautoscalers.autoscaling",
            "poddisruptionbudgets.policy",
            "resourcequotas",
            "persistentvolumes",
            "persistentvolumeclaims",
            "namespaces",
        ]
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let due = cluster.state.observe()?;
        DateTime::from_timestamp_millis(due)
    }
}

impl State {
    /// Counts requests, scrapes, evaluates and notifies, as far as it is due.
    pub(crate) fn observe(&mut self) -> Option<Millis> {
        let now = self.now();
        let mut traffic = std::mem::take(&mut self.traffic);
        traffic.advance(self, now);
        self.traffic = traffic;
        let mut monitoring = self.monitoring.take()?;
        let due = monitoring.advance(self, at(now));
        self.monitoring = Some(monitoring);
        due
    }
}

impl Simulator {
    /// Begins to watch the cluster, from now on.
    ///
    /// # Errors
    /// [`RuleError`] when a rule is wrong or uses what is not simulated.
    pub fn monitor(&self, options: &MonitoringOptions) -> Result<(), RuleError> {
        let mut state = self.state();
        let now = at(state.now());
        state.monitoring = Some(Box::new(Monitoring::new(options, now)?));
        drop(state);
        self.nudge();
        Ok(())
    }

    /// The next notification that Alertmanager sends. Never, where nothing is watched.
    pub async fn next_notification(&self) -> Notification {
        loop {
            let sent = {
                let mut state = self.state();
                let monitoring = state.monitoring.as_mut();
                match monitoring {
                    None => None,
                    Some(monitoring) => match monitoring.outbox.pop_front() {
                        Some(notification) => return notification,
                        None => Some(Arc::clone(&monitoring.sent)),
                    },
                }
            };
            match sent {
                Some(sent) => sent.notified().await,
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unit;

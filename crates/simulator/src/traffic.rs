//! Users' requests: from Services to ready endpoints, and onward to what those call.
//!
//! Rates are constant between two changes of the cluster, so that counts are rates times durations. There are no
//! queues: a container answers every request after its latency, whatever the rate. A port is open when the pod's
//! container names it, or names none. A request that no container answers is counted without a pod, as an ingress or
//! a mesh would count it. A call that comes back to a service that waits for it fails. Network policies and the pods'
//! DNS policies count: see `reach`.

mod reach;

pub(crate) use reach::finds_services;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::controllers::{is_met, program};
use crate::images::ImageLife;
use crate::nodes::Power;
use crate::simulator::Simulator;
use crate::state::State;
use crate::store::Key;
use crate::value::{at, integer, items, name, text, uid};

/// Upper bounds of the latency histogram's buckets in seconds: the defaults of Prometheus' clients.
pub(crate) const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How long what happened is remembered.
const MEMORY: chrono::Duration = chrono::Duration::hours(2);
/// What changes with time alone, as a container that begins to hang, is seen after so long.
const LOOK: chrono::Duration = chrono::Duration::seconds(10);
const LATENCY: Duration = Duration::from_millis(10);

/// Requests that users send to a Service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// `namespace/name`.
    pub service: String,
    /// Requests a second.
    pub rate: f64,
}

/// A namespaced name.
pub(crate) type Named = (String, String);

/// Who answered, and how: a service, a pod or none, a status.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) service: Named,
    pub(crate) pod: String,
    pub(crate) code: &'static str,
}

/// Requests of one lane, or of one pod and service.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counter {
    rate: f64,
    pub(crate) total: f64,
}

/// How long the requests of a service's pod take.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latency {
    seconds: f64,
    rate: f64,
    /// How many took at most each bound, the last for all.
    pub(crate) buckets: [f64; BUCKETS.len() + 1],
    pub(crate) sum: f64,
}

/// A service's requests over a time.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    rate: f64,
    failed: f64,
}

/// All requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    flows: Vec<Traffic>,
    revision: u64,
    looked: Option<DateTime<Utc>>,
    since: Option<DateTime<Utc>>,
    pub(crate) lanes: BTreeMap<Lane, Counter>,
    pub(crate) latencies: BTreeMap<(Named, String), Latency>,
    cpu: BTreeMap<Named, f64>,
    /// CPU seconds that a pod's requests took so far.
    pub(crate) cpu_seconds: BTreeMap<Named, f64>,
    history: BTreeMap<Named, VecDeque<Span>>,
}

/// What becomes of a request to a service.
#[derive(Debug, Clone)]
struct Fate {
    fails: f64,
    seconds: f64,
    ends: Vec<End>,
}

/// One of a service's endpoints.
#[derive(Debug, Clone)]
enum End {
    /// Nobody answers.
    Nobody {
        share: f64,
        code: &'static str,
    },
    Pod {
        share: f64,
        pod: String,
        fails: f64,
        seconds: f64,
        own: f64,
        calls: Vec<Named>,
        cpu: f64,
    },
}

fn named(text: &str, or: &str) -> Named {
    match text.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (or.to_owned(), text.to_owned()),
    }
}

fn count(of: usize) -> f64 {
    u32::try_from(of).map_or(f64::INFINITY, f64::from)
}

fn seconds(of: chrono::Duration) -> f64 {
    of.to_std().map_or(0.0, |of| of.as_secs_f64())
}

impl Requests {
    pub(crate) fn is_none(&self) -> bool {
        self.flows.is_empty()
    }

    /// CPUs that a pod's requests keep busy now.
    pub(crate) fn cpu(&self, namespace: &str, pod: &str) -> f64 {
        self.cpu.get(&(namespace.to_owned(), pod.to_owned())).copied().unwrap_or(0.0)
    }

    /// Counts what came since the last time, and looks where requests go from now on.
    pub(crate) fn advance(&mut self, state: &State, now: DateTime<Utc>) {
        if self.flows.is_empty() && self.lanes.is_empty() {
            return;
        }
        self.pass(now);
        let heads = ["pods", "services", "endpointslices.discovery.k8s.io"].map(|name| state.store.head(&name.into()));
        let revision = heads.into_iter().max().unwrap_or(0);
        if self.revision != revision || self.looked.is_none_or(|looked| now - looked >= LOOK) {
            self.revision = revision;
            self.looked = Some(now);
            self.look(state, now);
        }
    }

    fn pass(&mut self, now: DateTime<Utc>) {
        let since = self.since.replace(now).unwrap_or(now);
        let passed = seconds(now - since);
        if passed <= 0.0 {
            return;
        }
        for counter in self.lanes.values_mut() {
            counter.total += counter.rate * passed;
        }
        for latency in self.latencies.values_mut() {
            let requests = latency.rate * passed;
            latency.sum += latency.seconds * requests;
            let bounds = BUCKETS.iter().copied().chain([f64::INFINITY]);
            for (bucket, bound) in latency.buckets.iter_mut().zip(bounds) {
                if latency.seconds <= bound {
                    *bucket += requests;
                }
            }
        }
        for (pod, cpu) in &self.cpu {
            *self.cpu_seconds.entry(pod.clone()).or_default() += cpu * passed;
        }
        let mut rates: BTreeMap<&Named, (f64, f64)> = BTreeMap::new();
        for (lane, counter) in self.lanes.iter().filter(|(_, counter)| counter.rate > 0.0) {
            let (all, failed) = rates.entry(&lane.service).or_default();
            *all += counter.rate;
            *failed += if lane.code == "200" { 0.0 } else { counter.rate };
        }
        for (service, (rate, failed)) in rates {
            let spans = self.history.entry(service.clone()).or_default();
            while spans.front().is_some_and(|span| span.to < now - MEMORY) {
                spans.pop_front();
            }
            match spans.back_mut() {
                #[expect(clippy::float_cmp, reason = "the same sum of the same rates")]
                Some(last) if last.to == since && last.rate == rate && last.failed == failed => last.to = now,
                _ => spans.push_back(Span { from: since, to: now, rate, failed }),
            }
        }
    }

    /// The share of a service's requests of the last `window` that failed; none where there were none.
    fn failed_share(&self, service: &str, window: Duration, now: DateTime<Utc>) -> Option<f64> {
        let begin = now - window;
        let (mut all, mut failed) = (0.0, 0.0);
        for span in self.history.get(&named(service, "default"))? {
            let length = seconds(span.to - span.from.max(begin));
            all += span.rate * length;
            failed += span.failed * length;
        }
        (all > 0.0).then(|| failed / all)
    }

    fn look(&mut self, state: &State, now: DateTime<Utc>) {
        let is_there =
            |namespace: &str, pod: &str| pod.is_empty() || state.store.get(&Key::new("pods", namespace, pod)).is_some();
        self.lanes.retain(|lane, _| is_there(&lane.service.0, &lane.pod));
        self.latencies.retain(|((namespace, _), pod), _| is_there(namespace, pod));
        self.cpu_seconds.retain(|(namespace, pod), _| is_there(namespace, pod));
        self.lanes.values_mut().for_each(|counter| counter.rate = 0.0);
        self.latencies.values_mut().for_each(|latency| latency.rate = 0.0);
        self.cpu.clear();
        let mut fates = Fates { state, now, known: BTreeMap::new(), asked: BTreeSet::new() };
        for flow in self.flows.clone() {
            self.send(&mut fates, &named(&flow.service, "default"), flow.rate, 0);
        }
    }

    fn send(&mut self, fates: &mut Fates<'_>, service: &Named, rate: f64, depth: u32) {
        // A circle of calls fails where it closes; no real chain is as long.
        if rate <= 0.0 || depth > 16 {
            return;
        }
        let fate = fates.of(service);
        for end in fate.ends {
            let mut come = |pod: &str, code: &'static str, rate: f64| {
                if rate > 0.0 {
                    let lane = Lane { service: service.clone(), pod: pod.to_owned(), code };
                    self.lanes.entry(lane).or_default().rate += rate;
                }
            };
            match end {
                End::Nobody { share, code } => come("", code, rate * share),
                End::Pod { share, pod, fails, seconds, own, calls, cpu } => {
                    let rate = rate * share;
                    come(&pod, "200", rate * (1.0 - fails));
                    come(&pod, "500", rate * fails);
                    let latency = self.latencies.entry((service.clone(), pod.clone())).or_default();
                    latency.seconds = seconds;
                    latency.rate += rate;
                    *self.cpu.entry((service.0.clone(), pod)).or_default() += rate * cpu;
                    for callee in calls {
                        self.send(fates, &callee, rate * (1.0 - own), depth + 1);
                    }
                }
            }
        }
    }
}

/// What becomes of requests at one moment.
struct Fates<'a> {
    state: &'a State,
    now: DateTime<Utc>,
    known: BTreeMap<Named, Fate>,
    asked: BTreeSet<Named>,
}

impl Fates<'_> {
    fn of(&mut self, service: &Named) -> Fate {
        if let Some(known) = self.known.get(service) {
            return known.clone();
        }
        let nobody = |code| Fate { fails: 1.0, seconds: 0.0, ends: vec![End::Nobody { share: 1.0, code }] };
        if !self.asked.insert(service.clone()) {
            return nobody("503");
        }
        let pods = self.endpoints(service);
        let share = 1.0 / count(pods.len());
        let ends: Vec<End> = pods.into_iter().map(|(pod, port)| self.end(share, &service.0, pod, port)).collect();
        let fate = if ends.is_empty() {
            nobody("503")
        } else {
            let fails = |end: &End| match end {
                End::Nobody { share, .. } => *share,
                End::Pod { share, fails, .. } => share * fails,
            };
            let seconds = |end: &End| match end {
                End::Nobody { .. } => 0.0,
                End::Pod { share, seconds, .. } => share * seconds,
            };
            Fate { fails: ends.iter().map(fails).sum(), seconds: ends.iter().map(seconds).sum(), ends }
        };
        self.asked.remove(service);
        self.known.insert(service.clone(), fate.clone());
        fate
    }

    /// The ready pods behind a service's first port, and their port.
    fn endpoints(&self, service: &Named) -> Vec<(std::sync::Arc<Value>, i64)> {
        let store = &self.state.store;
        let Some(object) = store.get(&Key::new("services", &service.0, &service.1)) else { return Vec::new() };
        let port = items(object, "/spec/ports").first().map(|port| text(port, "/name").to_owned()).unwrap_or_default();
        let mut found: BTreeMap<String, (std::sync::Arc<Value>, i64)> = BTreeMap::new();
        for (key, slice) in store.of(&"endpointslices.discovery.k8s.io".into()) {
            let of = text(slice, "/metadata/labels/kubernetes.io~1service-name");
            if key.namespace != service.0 || of != service.1 {
                continue;
            }
            let ports = items(slice, "/ports");
            let Some(number) = ports.iter().find(|it| text(it, "/name") == port).and_then(|it| integer(it, "/port"))
            else {
                continue;
            };
            for endpoint in items(slice, "/endpoints") {
                if at(endpoint, "/conditions/ready").as_bool() == Some(false) {
                    continue;
                }
                let pod = store.get(&Key::new("pods", &service.0, text(endpoint, "/targetRef/name")));
                if let Some(pod) = pod {
                    found.insert(name(pod).to_owned(), (std::sync::Arc::clone(pod), number));
                }
            }
        }
        found.into_values().collect()
    }

    fn end(&mut self, share: f64, namespace: &str, pod: std::sync::Arc<Value>, port: i64) -> End {
        let life = match self.serving(&pod, port) {
            Ok(life) => life,
            Err(code) => return End::Nobody { share, code },
        };
        let calls: Vec<Named> = life.calls.iter().map(|callee| named(callee, namespace)).collect();
        let mut good = 1.0 - life.error_rate;
        let mut seconds = life.latency.unwrap_or(LATENCY).as_secs_f64();
        let finds_services = reach::finds_services(&pod);
        for callee in &calls {
            if !finds_services {
                good = 0.0;
                continue;
            }
            let fate = self.of(callee);
            good *= 1.0 - fate.fails;
            seconds += fate.seconds;
        }
        let calls = if finds_services { calls } else { Vec::new() };
        End::Pod {
            share,
            pod: name(&pod).to_owned(),
            fails: 1.0 - good,
            seconds,
            own: life.error_rate,
            calls,
            cpu: life.cpu_per_request.unwrap_or_default().as_secs_f64(),
        }
    }

    /// How the container lives that answers on a port, or the status that a request ends with.
    fn serving(&self, pod: &Value, port: i64) -> Result<ImageLife, &'static str> {
        let containers = items(pod, "/spec/containers");
        let names = |container: &&Value| {
            items(container, "/ports").iter().any(|it| integer(it, "/containerPort") == Some(port))
        };
        let names_none = containers.iter().all(|container| items(container, "/ports").is_empty());
        let container = containers.iter().find(names).or_else(|| containers.first().filter(|_| names_none));
        let container = container.ok_or("503")?;
        if !reach::admits(&self.state.store, pod, port) {
            return Err("504");
        }
        let mut life = program(&self.state.images, container).ok_or("503")?;
        for (need, answers) in &life.when.clone() {
            if is_met(&self.state.store, pod, container, need) {
                life.error_rate = answers.error_rate.unwrap_or(life.error_rate);
                life.latency = answers.latency.or(life.latency);
                life.cpu_per_request = answers.cpu_per_request.or(life.cpu_per_request);
            }
        }
        if !life.ports.is_empty() && !life.ports.iter().any(|open| i64::from(*open) == port) {
            return Err("503");
        }
        let since = self.running(pod, text(container, "/name"))?;
        match life.hangs {
            Some(hangs) if since.is_some_and(|since| self.now >= since + hangs) => Err("504"),
            _ => Ok(life),
        }
    }

    /// Since when a container runs, as its node knows it; where there is no node, as its status says.
    fn running(&self, pod: &Value, container: &str) -> Result<Option<DateTime<Utc>>, &'static str> {
        if let Some(machine) = self.state.machines.get(text(pod, "/spec/nodeName")) {
            if matches!(machine.power, Power::Off(_)) {
                return Err("504");
            }
            let life =
                machine.pods.get(uid(pod)).and_then(|life| life.containers.iter().find(|it| it.name == container));
            return life.and_then(crate::controllers::running_since).map(Some).ok_or("503");
        }
        let status = items(pod, "/status/containerStatuses").iter().find(|status| text(status, "/name") == container);
        let running = status.map(|status| at(status, "/state/running")).filter(|running| !running.is_null());
        running.map(|running| crate::value::time(running, "/startedAt")).ok_or("503")
    }
}

impl Simulator {
    /// From now on users send these requests, and no others.
    pub fn set_traffic(&self, flows: Vec<Traffic>) {
        self.change_traffic(|all| *all = flows);
    }

    /// From now on users send so many requests to this service.
    pub fn set_rate(&self, flow: Traffic) {
        self.change_traffic(|all| {
            all.retain(|known| known.service != flow.service);
            all.push(flow);
        });
    }

    fn change_traffic(&self, change: impl FnOnce(&mut Vec<Traffic>)) {
        let mut state = self.state();
        let now = state.now();
        let mut requests = std::mem::take(&mut state.traffic);
        requests.since.get_or_insert(now);
        requests.advance(&state, now);
        change(&mut requests.flows);
        requests.looked = None;
        requests.advance(&state, now);
        state.traffic = requests;
        drop(state);
        self.nudge();
    }

    /// The share, 0 to 1, of the requests to a service (`namespace/name`) that failed within the last `window`;
    /// none where there were none. Reaches back two hours.
    pub fn failed_share(&self, service: &str, window: Duration) -> Option<f64> {
        let mut state = self.state();
        let now = state.now();
        let mut requests = std::mem::take(&mut state.traffic);
        requests.advance(&state, now);
        let share = requests.failed_share(service, window, now);
        state.traffic = requests;
        share
    }
}

//! The real engine in one process and in virtual time: its planes, how they die and come back.

mod calls;
mod client;
mod clock;
mod fuse;
mod meter;
mod outbound;
mod process;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use chrono::{DateTime, Utc};
use evenkeel_bus::{Cluster, MemoryBus, MemoryOptions, Trouble};
use evenkeel_model::{Mode, Span};
use evenkeel_runtime::metrics::registry;
use evenkeel_runtime::{BoxError, Health, Shutdown};
use evenkeel_simulator::Simulator;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::audit_log::AuditLog;
use crate::file::{EngineSpec, On, Plane};
use crate::runner::RunOptions;
use calls::Calls;
pub use calls::{Call, Crash, Moment};
use client::Line;
use clock::SkewedClock;
use meter::Meter;
pub(crate) use process::Id;
use process::{Deaths, Life};

/// The cluster's name.
pub(crate) const CLUSTER: &str = "simulated";
/// The engine's namespace.
pub(crate) const NAMESPACE: &str = "evenkeel";
/// Where the simulated Prometheus is.
pub(crate) const PROMETHEUS: &str = "http://prometheus.monitoring:9090";
/// Where the simulated Alertmanager is.
pub(crate) const ALERTMANAGER: &str = "http://alertmanager.monitoring:9093";

/// A process that ended is started again after so long at least, and at most so much later.
const RESTART: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));

/// The user a plane is.
pub(crate) fn user(plane: Plane) -> String {
    format!("system:serviceaccount:{NAMESPACE}:evenkeel-{plane}")
}

/// Something that happened to a process.
#[derive(Debug, Clone)]
pub(crate) struct Incident {
    pub(crate) at: DateTime<Utc>,
    pub(crate) id: Id,
    pub(crate) what: String,
    /// It ended by itself in a way that it must not.
    pub(crate) is_fault: bool,
}

/// The engine.
pub(crate) struct Engine {
    simulator: Simulator,
    bus: MemoryBus,
    spec: EngineSpec,
    deaths: Arc<Deaths>,
    died: mpsc::UnboundedSender<(Id, On)>,
    clocks: BTreeMap<Plane, SkewedClock>,
    meter: Arc<Meter>,
    calls: Arc<Calls>,
    audit: Option<AuditLog>,
    inner: Mutex<Inner>,
    #[cfg(feature = "mutation")]
    mutation: Option<crate::Mutation>,
}

struct Inner {
    random: fastrand::Rng,
    processes: BTreeMap<Id, Process>,
    router: Option<Router>,
    incidents: Vec<Incident>,
}

struct Process {
    life: Life,
    starts: u32,
    task: JoinHandle<()>,
}

impl Engine {
    /// An engine that does not run yet, and what brings its dead back: to be run beside it.
    pub(crate) fn new(
        simulator: Simulator,
        spec: EngineSpec,
        options: RunOptions,
    ) -> Result<(Arc<Self>, impl Future<Output = ()>), BoxError> {
        let seed = options.seed;
        let clock = simulator.clock();
        let clocks = [Plane::Observer, Plane::Reasoner, Plane::Gateway].map(|plane| (plane, SkewedClock::new(clock)));
        let truth = SkewedClock::new(clock);
        let mut of_bus = MemoryOptions::new(Cluster::new(CLUSTER)?, Arc::new(truth));
        of_bus.trouble = Trouble { seed, ..Trouble::none() };
        let (died, mut dead) = mpsc::unbounded_channel();
        let inner = Inner {
            random: fastrand::Rng::with_seed(seed ^ 0x656e_6769_6e65),
            processes: BTreeMap::new(),
            router: None,
            incidents: Vec::new(),
        };
        let engine = Arc::new(Self {
            simulator,
            bus: MemoryBus::new(of_bus),
            audit: spec.audit.then(AuditLog::new).transpose()?,
            spec,
            deaths: Arc::default(),
            died,
            clocks: clocks.into_iter().collect(),
            meter: Arc::default(),
            calls: Arc::new(Calls::new(options.crash)),
            inner: Mutex::new(inner),
            #[cfg(feature = "mutation")]
            mutation: options.mutation,
        });
        let caretaker = Arc::clone(&engine);
        let care = async move {
            while let Some((id, on)) = dead.recv().await {
                caretaker.bury(id, &format!("killed {on:?}"), false);
            }
        };
        Ok((engine, care))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts all processes.
    pub(crate) fn start(self: &Arc<Self>) {
        let of = |plane, count| (1..=count).map(move |number| Id { plane, number });
        let all = of(Plane::Observer, 1)
            .chain(of(Plane::Reasoner, self.spec.reasoner))
            .chain(of(Plane::Gateway, self.spec.gateway));
        for id in all {
            self.begin(id);
        }
    }

    /// The bus.
    pub(crate) fn bus(&self) -> &MemoryBus {
        &self.bus
    }

    /// The audit log, where one is kept.
    pub(crate) fn audit(&self) -> Option<&AuditLog> {
        self.audit.as_ref()
    }

    /// The observer's webhook, while there is one.
    pub(crate) fn webhook(&self) -> Option<Router> {
        self.inner().router.clone()
    }

    /// How many requests its processes made.
    pub(crate) fn requests(&self) -> u64 {
        self.meter.all()
    }

    /// The calls that its gateways made.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.made()
    }

    /// When it made more requests at one instant than any work needs.
    pub(crate) fn livelock(&self) -> Option<DateTime<Utc>> {
        self.meter.livelock()
    }

    /// What happened to processes so far.
    pub(crate) fn incidents(&self) -> Vec<Incident> {
        self.inner().incidents.clone()
    }

    /// Has processes of a plane die, now or when they come to a moment.
    pub(crate) fn kill(self: &Arc<Self>, plane: Plane, number: Option<u32>, on: On) {
        if on != On::Now {
            self.deaths.add(plane, number, on);
            return;
        }
        let alive: Vec<Id> = self.inner().processes.keys().filter(|id| id.plane == plane).copied().collect();
        let meant = alive.into_iter().find(|id| number.is_none_or(|number| number == id.number));
        if let Some(id) = meant {
            self.bury(id, "killed", false);
        }
    }

    /// Sets by how many seconds the clocks of a plane's machines are off.
    pub(crate) fn skew(&self, plane: Plane, seconds: i64) {
        if let Some(clock) = self.clocks.get(&plane) {
            clock.skew(seconds);
        }
    }

    /// A process is no more; another takes its place.
    fn bury(self: &Arc<Self>, id: Id, what: &str, is_fault: bool) {
        let (wait, starts) = {
            let mut inner = self.inner();
            let Some(process) = inner.processes.remove(&id) else { return };
            process.life.fuse.blow();
            process.task.abort();
            if id.plane == Plane::Observer {
                inner.router = None;
            }
            let at = self.simulator.clock().now();
            inner.incidents.push(Incident { at, id, what: what.to_owned(), is_fault });
            (RESTART.0 + (RESTART.1 - RESTART.0).mul_f64(inner.random.f64()), process.starts)
        };
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            engine.begin_again(id, starts);
        });
    }

    fn begin(self: &Arc<Self>, id: Id) {
        self.begin_again(id, 0);
    }

    fn begin_again(self: &Arc<Self>, id: Id, starts: u32) {
        let life = Life::new(
            id,
            Arc::clone(&self.deaths),
            self.died.clone(),
            (self.simulator.clock(), Arc::clone(&self.calls)),
        );
        let starts = starts + 1;
        let running = self.run(&life, starts);
        let engine = Arc::clone(self);
        let fuse = life.fuse.clone();
        let task = tokio::spawn(async move {
            let ended = running.await;
            if !fuse.is_blown() {
                let (what, is_fault) = match ended {
                    Ok(()) => ("ended by itself".to_owned(), true),
                    Err(error) => {
                        let what = error.to_string();
                        let is_fault = what.contains("panicked");
                        (format!("ended: {what}"), is_fault)
                    }
                };
                engine.bury(id, &what, is_fault);
            }
        });
        let mut inner = self.inner();
        inner.processes.insert(id, Process { life, starts, task });
        if starts > 1 {
            let at = self.simulator.clock().now();
            inner.incidents.push(Incident { at, id, what: "started again".to_owned(), is_fault: false });
        }
    }

    /// One life of a process.
    fn run(
        self: &Arc<Self>,
        life: &Life,
        starts: u32,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> {
        let id = life.id;
        let bus: Arc<dyn evenkeel_bus::Bus> = Arc::new(wire::Wire { bus: self.bus.clone(), life: life.clone() });
        let clock: Arc<dyn evenkeel_model::Clock> = match self.clocks.get(&id.plane) {
            Some(clock) => Arc::new(clock.clone()),
            None => Arc::new(SkewedClock::new(self.simulator.clock())),
        };
        let simulator = &self.simulator;
        let line = || Line {
            inner: simulator.client(&user(id.plane)),
            life: life.clone(),
            clock: simulator.clock(),
            meter: Arc::clone(&self.meter),
        };
        let client = || line().client(NAMESPACE);
        let outbound = Arc::new(outbound::Simulated { simulator: self.simulator.clone(), life: life.clone() });
        let mut metrics = registry("simulation", env!("CARGO_PKG_VERSION"));
        let (health, shutdown) = (Health::new(), Shutdown::new());
        let (cluster, namespace) = (CLUSTER.to_owned(), NAMESPACE.to_owned());
        match id.plane {
            Plane::Observer => {
                let (give, given) = oneshot::channel();
                let parts = evenkeel_observer::Parts {
                    config: self.observer(),
                    cluster,
                    namespace,
                    listen: evenkeel_observer::Listen::InProcess(give),
                    dev: true,
                    playbooks: evenkeel_observer::PlaybookSource::Cluster,
                    bus,
                    clock,
                    health,
                    metrics: evenkeel_observer::Metrics::register(&mut metrics),
                    client: client(),
                    outbound,
                    seed: u64::from(starts),
                    #[cfg(feature = "mutation")]
                    believes_pod_labels: self.mutation == Some(crate::Mutation::Targets),
                };
                let engine = Arc::clone(self);
                Box::pin(async move {
                    let takes = async {
                        if let Ok(router) = given.await {
                            engine.inner().router = Some(router);
                        }
                    };
                    let (ended, ()) = futures::join!(evenkeel_observer::run(parts, shutdown), takes);
                    Ok(ended?)
                })
            }
            Plane::Reasoner => {
                let parts = evenkeel_reasoner::Parts {
                    config: evenkeel_reasoner::Config::default(),
                    cluster,
                    namespace,
                    bus,
                    clock,
                    health,
                    metrics: evenkeel_reasoner::Metrics::register(&mut metrics),
                };
                Box::pin(async move { Ok(evenkeel_reasoner::run(parts, shutdown).await?) })
            }
            Plane::Gateway => {
                let holder = format!("{id}-{starts}");
                let sealer = self
                    .audit
                    .as_ref()
                    .map(|log| log.sealer(Arc::clone(&bus), &holder, health.part("audit sealer"), &mut metrics));
                let parts = evenkeel_gateway::Parts {
                    config: self.gateway(),
                    cluster,
                    namespace,
                    holder,
                    bus,
                    clock,
                    health,
                    metrics: evenkeel_gateway::Metrics::register(&mut metrics),
                    reader: client(),
                    writer: client(),
                    playbooks: evenkeel_gateway::PlaybookSource::Cluster,
                    outbound,
                    audit: self.audit.as_ref().map(AuditLog::audit),
                    chat: None,
                    #[cfg(feature = "mutation")]
                    mutation: self.mutation.and_then(crate::Mutation::of_gateway),
                };
                Box::pin(async move {
                    let seals = async {
                        match sealer {
                            Some(sealer) => evenkeel_audit::seal(sealer, shutdown.clone()).await,
                            None => Ok(()),
                        }
                    };
                    let gates = async { Ok(evenkeel_gateway::run(parts, shutdown.clone()).await?) };
                    futures::try_join!(gates, seals).map(drop)
                })
            }
        }
    }

    fn observer(&self) -> evenkeel_observer::Config {
        let mut config = evenkeel_observer::Config::default();
        if self.spec.prometheus {
            config.prometheus.url = Some(PROMETHEUS.to_owned());
            config.alertmanager.url = Some(ALERTMANAGER.to_owned());
        }
        config
    }

    fn gateway(&self) -> evenkeel_gateway::Config {
        let prometheus_url = self.spec.prometheus.then(|| PROMETHEUS.to_owned());
        evenkeel_gateway::Config {
            mode: self.mode(),
            prometheus_url,
            // Nobody's rights are simulated, nor what admission makes of the gateway's writes.
            policy_check: Span::seconds(0),
            ..evenkeel_gateway::Config::default()
        }
    }

    fn mode(&self) -> Mode {
        self.spec.mode
    }
}

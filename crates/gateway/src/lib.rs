//! The only plane that writes to the cluster: checks, decides, acts, verifies, undoes, reports.
//!
//! Proposals come from the bus and are believed in nothing. Those that pass the checks
//! (`checks`, `proposals`) become Remediations, whose status on the API server is the authority;
//! the loop (`work`) drives each through its lifecycle, one compare-and-set at a time (`drive`), and
//! tells how it ended (`outcomes`).

#[allow(dead_code, reason = "used by the loop")]
mod actions;
mod answers;
mod approvals;
mod audit;
mod breakers;
mod chat;
mod checks;
mod clock_guard;
mod config;
mod drive;
mod enforceable;
mod error;
mod events;
mod follow;
mod freeze;
mod guard;
mod index;
mod ledger;
mod metrics;
#[cfg(feature = "mutation")]
mod mutation;
mod outcomes;
mod plane;
mod playbooks;
mod policies;
mod prometheus;
mod proposals;
mod queue;
mod records;
mod refusals;
mod remediations;
mod requests;
mod retention;
mod sealing;
mod sources;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod work;

pub use audit::Audit;
pub use breakers::breakers;
pub use chat::ChatParts;
pub use config::{BadConfig, BreakerConfig, Config};
pub use error::{ApiError, Error};
pub use metrics::Metrics;
#[cfg(feature = "mutation")]
pub use mutation::Mutation;
pub use playbooks::PlaybookSource;

use std::sync::{Arc, Mutex, OnceLock};

use evenkeel_bus::Bus;
use evenkeel_model::Clock;
use evenkeel_policy::Protected;
use evenkeel_runtime::http::Outbound;
use evenkeel_runtime::{Health, Shutdown, Supervisor};
use kube::Client;
use tokio::sync::{SetOnce, mpsc};

use crate::plane::Plane;

/// What a gateway is made of.
pub struct Parts {
    /// Its settings.
    pub config: Config,
    /// The cluster's name.
    pub cluster: String,
    /// The engine's namespace, in which Remediations and the Ledger live.
    pub namespace: String,
    /// This process, as claims name it: distinct for every start (pod name and a random part).
    pub holder: String,
    /// Where proposals come from and outcomes go.
    pub bus: Arc<dyn Bus>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Readiness.
    pub health: Health,
    /// What it counts.
    pub metrics: Metrics,
    /// For reads; it may retry.
    pub reader: Client,
    /// For everything that writes. It must not retry (`kube::Config::default_retry = false`), or a
    /// request whose answer was lost would be sent again behind our back.
    pub writer: Client,
    /// Where playbooks are read.
    pub playbooks: PlaybookSource,
    /// How Prometheus is asked.
    pub outbound: Arc<dyn Outbound>,
    /// What is recorded for the audit log, and when to stop; `None`: nothing is.
    pub audit: Option<Audit>,
    /// Chats and pagers. Absent: nobody is told there.
    pub chat: Option<ChatParts>,
    /// The protection that is switched off.
    #[cfg(feature = "mutation")]
    pub mutation: Option<Mutation>,
}

/// Runs a gateway until shutdown: the steps begun are finished, everything else is left as it
/// stands, for this process' next start or another gateway.
///
/// # Errors
/// [`Error`] when a setting can't be worked with or a part of it ended.
pub async fn run(mut parts: Parts, shutdown: Shutdown) -> Result<(), Error> {
    parts.config.check()?;
    let chat = parts.chat.take().map(|chat| (chat, Arc::clone(&parts.outbound)));
    let health = parts.health.clone();
    let bus = health.part("bus");
    let remediations = health.part("watch remediations");
    let watch_approvals = health.part("watch approvals");
    let audit = (health.part("audit"), health.part("audit backlog"));
    let requests = health.part("watch requests");
    let (asks, asked) = mpsc::unbounded_channel();
    let plane = Arc::new(plane(parts, asks)?);

    let mut tasks = Supervisor::new(shutdown.clone());
    if let Some((chat, outbound)) = chat {
        chat::open(chat, &plane, outbound, health, &mut tasks, &shutdown).await?;
    }
    tasks.spawn("watch remediations", Arc::clone(&plane).watch_remediations(remediations, shutdown.clone()));
    let (late, told) = mpsc::channel(approvals::late::WAITING);
    tasks.spawn("watch approvals", Arc::clone(&plane).watch_approvals(late, watch_approvals, shutdown.clone()));
    tasks.spawn("late approvals", Arc::clone(&plane).tell_late(told, shutdown.clone()));
    tasks.spawn("requests", Arc::clone(&plane).take_requests(requests, shutdown.clone()));
    tasks.spawn("check sources", Arc::clone(&plane).check_sources(shutdown.clone()));
    tasks.spawn("check policies", Arc::clone(&plane).watch_enforceable(shutdown.clone()));
    tasks.spawn("work", Arc::clone(&plane).work(asked, shutdown.clone()));
    tasks.spawn("audit", Arc::clone(&plane).tell_records(audit.0, shutdown.clone()));
    tasks.spawn("audit backlog", Arc::clone(&plane).watch_unsealed(audit.1, shutdown.clone()));
    tasks.spawn("proposals", async move { plane.take_proposals(bus, shutdown).await });
    tasks.join().await.map_err(|ended| Error::Ended(ended.to_string()))
}

/// Where nothing is done whatever policies say: what the configuration names, and the engine's own namespace.
pub fn protected(config: &Config, namespace: &str) -> Protected {
    let mut namespaces = config.protected_namespaces.clone();
    namespaces.insert(namespace.to_owned(), "evenkeel's own".to_owned());
    Protected { namespaces, nodes: config.protected_nodes.clone() }
}

fn plane(parts: Parts, asks: mpsc::UnboundedSender<String>) -> Result<Plane, Error> {
    let Parts {
        config,
        cluster,
        namespace,
        holder,
        bus,
        clock,
        health,
        metrics,
        reader,
        writer,
        playbooks,
        outbound,
        audit,
        chat: _,
        #[cfg(feature = "mutation")]
        mutation,
    } = parts;
    let timeout = config.request_timeout.get();
    let guard = Arc::new(clock_guard::ClockGuard::new(clock, config.clock_tolerance));
    let clock: Arc<dyn Clock> = Arc::clone(&guard) as Arc<dyn Clock>;
    let prometheus = config
        .prometheus_url
        .as_deref()
        .map(|url| prometheus::Prometheus::new(outbound, url, config.prometheus_timeout.get()))
        .transpose()
        .map_err(Error::Prometheus)?;
    let recorder = Arc::new(audit::Recorder::new(audit, &cluster, &holder));
    Ok(Plane {
        remediations: remediations::Remediations::new(
            reader.clone(),
            writer.clone(),
            &namespace,
            timeout,
            metrics.clone(),
        ),
        ledger: ledger::LedgerKeeper::new(
            writer.clone(),
            &namespace,
            guard,
            timeout,
            metrics.clone(),
            health.part("ledger"),
        ),
        approvals: approvals::Approvals::new(reader.clone(), writer.clone(), &namespace, Arc::clone(&clock), timeout),
        contents: Mutex::default(),
        chat: OnceLock::new(),
        request_keeper: requests::RequestKeeper::new(reader.clone(), writer.clone(), &namespace, timeout),
        people_guard: guard::Guard::over_requests(guard::Asking {
            reader: reader.clone(),
            writer: writer.clone(),
            namespace: &namespace,
            clock: Arc::clone(&clock),
            timeout,
        }),
        policies: policies::Policies::new(reader.clone(), timeout, health.part("policies")),
        enforcement: enforceable::Enforcement::new(reader.clone(), writer.clone(), &namespace, timeout),
        freezes: freeze::FreezeReader::new(
            reader.clone(),
            timeout,
            health.part("freezes"),
            metrics.clone(),
            Arc::clone(&clock),
            Arc::clone(&recorder),
        ),
        playbooks: playbooks::Playbooks::new(playbooks, reader.clone(), timeout, health.part("playbooks")),
        events: events::Events::new(writer.clone(), Arc::clone(&clock), timeout, holder.clone(), metrics.clone()),
        recorder,
        records: Arc::new(records::Records::new(Arc::clone(&bus), metrics.clone())),
        protected: protected(&config, &namespace),
        prometheus,
        index: Mutex::default(),
        asks,
        listed: SetOnce::new(),
        sent: Mutex::default(),
        saved: Mutex::default(),
        unindicated: Mutex::default(),
        verifying: Mutex::default(),
        refused: Mutex::default(),
        requests: Mutex::default(),
        opened: Mutex::default(),
        config,
        cluster,
        holder,
        bus,
        clock,
        metrics,
        reader,
        writer,
        #[cfg(feature = "mutation")]
        mutation,
    })
}

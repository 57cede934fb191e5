use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use evenkeel_bus::Bus;
use evenkeel_model::{Clock, Query};
use evenkeel_runtime::http::{Limits, Outbound};
use evenkeel_runtime::{BoxError, Health, HealthPart, Shutdown, Supervisor, TaskEnded};
use k8s_openapi::api::{apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch, core::v1 as core};
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, oneshot, watch as channel};

use crate::alert::Normalizer;
use crate::availability::{self, Records};
use crate::config::Config;
use crate::detect;
use crate::evidence::{self, Evidence};
use crate::metrics::Metrics;
use crate::playbooks::{self, InUse, PlaybookSource};
use crate::poll::{self, Alerts, HttpError, Server};
use crate::publish::Publisher;
use crate::relay::Relay;
use crate::sight::Sight;
use crate::targets::{BadTable, Resolver};
use crate::watch::{self, Watching};
use crate::webhook::{self, BadTokenFile, Heartbeat, Tokens, Webhook};
use crate::world::{SharedWorld, Watched};

/// Token files are read again every so often.
const TOKENS_EVERY: Duration = Duration::from_secs(5);
/// Whether the watchdog is silent is looked at every so often.
const WATCHDOG_EVERY: Duration = Duration::from_secs(5);

/// What the observer is made of.
pub struct Parts {
    /// Its configuration.
    pub config: Config,
    /// The cluster's name.
    pub cluster: String,
    /// The engine's own namespace.
    pub namespace: String,
    /// Where webhooks are taken.
    pub listen: Listen,
    /// Development: a webhook without a bearer token is allowed.
    pub dev: bool,
    /// Where playbooks come from.
    pub playbooks: PlaybookSource,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The process' readiness.
    pub health: Health,
    /// What is counted.
    pub metrics: Metrics,
    /// Reads the cluster; nothing is ever written with it.
    pub client: Client,
    /// How Prometheus and Alertmanager are asked.
    pub outbound: Arc<dyn Outbound>,
    /// Decides how long failed watches wait; another in every process.
    pub seed: u64,
    /// Whether an alert's pod label counts as its target, whosever pod it is.
    #[cfg(feature = "mutation")]
    pub believes_pod_labels: bool,
}

/// Where webhooks are taken.
pub enum Listen {
    /// On the network.
    Address(SocketAddr),
    /// In this process: the routes are handed to whoever posts. A token is not asked for.
    InProcess(oneshot::Sender<Router>),
}

/// Why the observer can't run, or no longer does.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The webhook needs a token.
    #[error(
        "expected observer.alertmanager.bearerTokenFile: without it whoever reaches {listen} could post alerts; --dev allows that"
    )]
    NoToken {
        /// Where it would listen.
        listen: SocketAddr,
    },
    /// The token file can't be used.
    #[error(transparent)]
    TokenFile(#[from] BadTokenFile),
    /// The address can't be listened on.
    #[error("listening on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// A server to be asked can't be.
    #[error("{field}: {source}")]
    Server {
        /// The configuration's field.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: HttpError,
    },
    /// The shipped table of targets is not what it should be.
    #[error(transparent)]
    Table(#[from] BadTable),
    /// A task ended.
    #[error(transparent)]
    Task(#[from] TaskEnded),
}

/// What the observer reads of the cluster, beside what `evenkeel_cluster::READS` lists: API group,
/// resource, verbs. RBAC is made of both.
pub const READS: &[(&str, &str, &[&str])] = &[
    ("", "events", &["list", "watch"]),
    ("", "namespaces", &["list", "watch"]),
    ("", "nodes", &["list", "watch"]),
    ("", "pods", &["list", "watch"]),
    ("", "pods/log", &["get"]),
    ("apps", "controllerrevisions", &["list"]),
    ("apps", "daemonsets", &["list", "watch"]),
    ("apps", "deployments", &["list", "watch"]),
    ("apps", "replicasets", &["list", "watch"]),
    ("apps", "statefulsets", &["list", "watch"]),
    ("autoscaling", "horizontalpodautoscalers", &["list", "watch"]),
    ("batch", "jobs", &["list", "watch"]),
    ("evenkeel.dev", "playbooks", &["list", "watch"]),
];

/// The watches; their names are those of their health parts.
const WATCHES: [&str; 10] = [
    "watch pods",
    "watch nodes",
    "watch namespaces",
    "watch deployments",
    "watch statefulsets",
    "watch daemonsets",
    "watch replicasets",
    "watch jobs",
    "watch horizontalpodautoscalers",
    "watch events",
];

/// Runs the observer until shutdown, then lets what is under way end.
///
/// # Errors
/// [`Error`] when it can't begin, or a part of it ended.
pub async fn run(parts: Parts, shutdown: Shutdown) -> Result<(), Error> {
    let Parts {
        config,
        cluster,
        listen,
        dev,
        playbooks,
        bus,
        clock,
        health,
        metrics,
        client,
        outbound,
        seed,
        #[cfg(feature = "mutation")]
        believes_pod_labels,
        ..
    } = parts;
    let resolver = Resolver::new(config.targets.exporters.clone())?;
    #[cfg(feature = "mutation")]
    let resolver = resolver.believing_pod_labels(believes_pod_labels);
    let names: Vec<String> = resolver.names().chain(detect::NAMES).map(str::to_owned).collect();
    let normalizer = Arc::new(Normalizer::new(cluster.clone(), resolver));
    let patience = config.alertmanager.publish_timeout.get();
    let publisher = Publisher::new(Arc::clone(&bus), metrics.clone(), patience, names.iter().map(String::as_str));
    let world = SharedWorld::default();
    let sight = Sight::new(cluster, config.kubernetes.clone(), Arc::clone(&world), WATCHES, metrics.clone());
    let sight = Arc::new(sight);
    let heartbeat = Arc::new(Heartbeat::new(config.alertmanager.watchdog_every, clock.now()));
    let poll_now = Arc::new(Notify::new());
    let mut tasks = Supervisor::new(shutdown.clone());

    // Webhook.
    let tokens = match listen {
        Listen::Address(listen) => tokens(config.alertmanager.bearer_token_file.clone(), dev, listen).await?,
        Listen::InProcess(_) => None,
    };
    if let Some(tokens) = tokens.clone() {
        let shutdown = shutdown.clone();
        tasks.spawn("webhook tokens", async move {
            shutdown.run_until_cancelled(webhook::refresh_tokens(&tokens, TOKENS_EVERY)).await;
            Ok(())
        });
    }
    let health_of_webhook = health.part("webhook");
    let router = webhook::router(Webhook {
        config: config.alertmanager.clone(),
        tokens,
        publisher: publisher.clone(),
        normalizer: Arc::clone(&normalizer),
        world: Arc::clone(&world),
        heartbeat: Arc::clone(&heartbeat),
        poll_now: Arc::clone(&poll_now),
        clock: Arc::clone(&clock),
        metrics: metrics.clone(),
    });
    match listen {
        Listen::Address(listen) => {
            let listener = TcpListener::bind(listen).await.map_err(|source| Error::Listen { listen, source })?;
            tracing::info!(address = %listener.local_addr().unwrap_or(listen), "webhook listens");
            let most = config.alertmanager.max_connections;
            tasks.spawn("webhook", evenkeel_runtime::serve(listener, router, most, shutdown.clone()));
        }
        // Nobody who still wants it: then nobody posts.
        Listen::InProcess(given) => drop(given.send(router)),
    }
    health_of_webhook.ready();
    tasks.spawn(
        "watchdog",
        watch_heartbeat(Arc::clone(&heartbeat), Arc::clone(&clock), metrics.clone(), shutdown.clone()),
    );

    // Watches, and what they see on the bus.
    let relay = Relay::new(Arc::clone(&sight), publisher, Arc::clone(&bus), Arc::clone(&clock), metrics.clone());
    let watching = |name: &'static str| Watching {
        client: client.clone(),
        sight: Arc::clone(&sight),
        clock: Arc::clone(&clock),
        metrics: metrics.clone(),
        name,
        health: health.part(name),
        shutdown: shutdown.clone(),
        seed,
    };
    let watches = WATCHES.map(watching);
    tasks.spawn("signals", signals(relay, watches, health.part("signals"), shutdown.clone()));

    // What is asked every so often.
    let limits = Limits { timeout: config.prometheus.timeout.get(), max_bytes: config.prometheus.max_answer_bytes };
    let prometheus = config.prometheus.url.as_deref().map(|url| {
        let token = config.prometheus.bearer_token_file.clone();
        server(&outbound, url, token, limits, "observer.prometheus.url")
    });
    let prometheus = prometheus.transpose()?;
    if let Some(server) = prometheus.clone().filter(|_| config.prometheus.alerts) {
        let alerts = Alerts {
            sight: Arc::clone(&sight),
            normalizer: Arc::clone(&normalizer),
            heartbeat: Arc::clone(&heartbeat),
            watchdog: config.alertmanager.watchdog.clone(),
            clock: Arc::clone(&clock),
            metrics: metrics.clone(),
            before: Mutex::default(),
        };
        let interval = config.prometheus.interval.get();
        tasks.spawn(
            "poll alerts",
            poll::alerts(alerts, server, interval, poll_now, health.part("poll alerts"), shutdown.clone()),
        );
    }
    if let Some(url) = config.alertmanager.url.as_deref() {
        let server = server(&outbound, url, None, limits, "observer.alertmanager.url")?;
        let interval = config.alertmanager.interval.get();
        let part = health.part("poll silences");
        tasks.spawn("poll silences", poll::quiet(server, world, interval, metrics.clone(), part, shutdown.clone()));
    }

    // Playbooks to the reasoner.
    let in_use = InUse::default();
    let (given, read) = channel::channel(None);
    let part = health.part("playbooks");
    let keeper = playbooks::Keeper {
        bus: Arc::clone(&bus),
        in_use: in_use.clone(),
        metrics: metrics.clone(),
        health: part.clone(),
    };
    tasks.spawn(
        "read playbooks",
        playbooks::follow(playbooks, client.clone(), given, metrics.clone(), part, shutdown.clone()),
    );
    tasks.spawn("playbooks", keeper.run(read, shutdown.clone()));

    // Evidence, and the records it needs.
    let records = Records::default();
    let keeper = availability::Keeper {
        records: records.clone(),
        sight: Arc::clone(&sight),
        client: client.clone(),
        bus: Arc::clone(&bus),
        clock: Arc::clone(&clock),
        hold: config.kubernetes.available_for.chrono(),
        metrics: metrics.clone(),
    };
    tasks.spawn("availability", keeper.run(shutdown.clone()));
    let evidence = Arc::new(Evidence {
        queries: Semaphore::new(config.prometheus.max_queries),
        questions: Arc::new(Semaphore::new(config.evidence.max_questions)),
        config: config.evidence,
        client,
        bus,
        clock,
        sight,
        records,
        in_use,
        prometheus,
        metrics,
    });
    for token in Query::TOKENS {
        let part = health.part(evidence_part(token));
        tasks.spawn("evidence", evidence::serve(Arc::clone(&evidence), token, part, shutdown.clone()));
    }
    Ok(tasks.join().await?)
}

async fn tokens(path: Option<PathBuf>, dev: bool, listen: SocketAddr) -> Result<Option<Arc<Tokens>>, Error> {
    match path {
        Some(path) => Ok(Some(Arc::new(Tokens::read(path).await?))),
        None if dev => Ok(None),
        None => Err(Error::NoToken { listen }),
    }
}

fn server(
    outbound: &Arc<dyn Outbound>,
    url: &str,
    token: Option<PathBuf>,
    limits: Limits,
    field: &'static str,
) -> Result<Server, Error> {
    Server::new(Arc::clone(outbound), url, token, limits).map_err(|source| Error::Server { field, source })
}

/// What was told before is taken over first; then the watches may see, and the relay tells.
async fn signals(
    relay: Relay,
    watches: [Watching; WATCHES.len()],
    health: HealthPart,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let Some(bucket) = relay.restore(&shutdown).await else { return Ok(()) };
    health.ready();
    let mut tasks = Supervisor::new(shutdown.clone());
    let [pods, nodes, namespaces, deployments, stateful_sets, daemon_sets, replica_sets, jobs, autoscalers, events] =
        watches;
    let mut objects = |watching: Watching, run: fn(Watching) -> Running| tasks.spawn(watching.name, run(watching));
    objects(pods, running::<core::Pod>);
    objects(nodes, running::<core::Node>);
    objects(namespaces, running::<core::Namespace>);
    objects(deployments, running::<apps::Deployment>);
    objects(stateful_sets, running::<apps::StatefulSet>);
    objects(daemon_sets, running::<apps::DaemonSet>);
    objects(replica_sets, running::<apps::ReplicaSet>);
    objects(jobs, running::<batch::Job>);
    objects(autoscalers, running::<autoscaling::HorizontalPodAutoscaler>);
    objects(events, |watching| Box::pin(watch::events(watching)));
    tasks.spawn("relay", async move {
        relay.run(&bucket, &shutdown).await;
        Ok(())
    });
    Ok(tasks.join().await?)
}

type Running = std::pin::Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

fn running<K: Watched>(watching: Watching) -> Running {
    Box::pin(watch::objects::<K>(watching))
}

/// Shows whether the watchdog is silent.
async fn watch_heartbeat(
    heartbeat: Arc<Heartbeat>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let mut was_blind = false;
    loop {
        let blind = heartbeat.is_blind(clock.now());
        metrics.blind.set(i64::from(blind));
        match (was_blind, blind) {
            (false, true) => tracing::warn!("the watchdog is silent: nothing is concluded to be healed"),
            (true, false) => tracing::info!("the watchdog is heard again"),
            _ => {}
        }
        was_blind = blind;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(WATCHDOG_EVERY) => {}
        }
    }
}

fn evidence_part(token: &'static str) -> &'static str {
    match token {
        "object" => "evidence object",
        "owners" => "evidence owners",
        "events" => "evidence events",
        "changes" => "evidence changes",
        "promql" => "evidence promql",
        _ => "evidence logs",
    }
}

#[cfg(test)]
mod tests;

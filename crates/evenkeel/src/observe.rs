//! `evenkeel observe`.

use std::sync::Arc;

use anyhow::Result;
use evenkeel_bus::permissions::Plane;
use evenkeel_observer::{Listen, Metrics, Parts, PlaybookSource};
use evenkeel_runtime::WallClock;

use crate::args::PlaneArgs;
use crate::config::{Config, PlaybooksFrom};
use crate::connect::{self, Transport};
use crate::process::Process;

pub(crate) async fn run(args: &PlaneArgs) -> Result<()> {
    let config = Config::load(&args.config)?;
    let transport = connect::transport(&config, Plane::Observer)?;
    let mut process = Process::begin("observer", &config).await?;
    add(&mut process, config, transport, args.dev).await?;
    process.run().await
}

/// Adds the observer to a process.
pub(crate) async fn add(process: &mut Process, config: Config, transport: Transport, dev: bool) -> Result<()> {
    let metrics = Metrics::register(&mut process.registry);
    let (health, shutdown) = (process.health("observer"), process.shutdown.clone());
    let client = connect::reader(&config.kubernetes).await?;
    let outbound = connect::outbound()?;
    let connected = health.part("bus connection");
    process.spawn("observer", async move {
        let Some(bus) = connect::bus(transport, &connected, &shutdown).await? else { return Ok(()) };
        let parts = Parts {
            config: config.observer,
            cluster: config.cluster,
            namespace: config.namespace,
            listen: Listen::Address(config.listen),
            dev,
            playbooks: source(&config.playbooks.from),
            bus,
            clock: Arc::new(WallClock),
            health,
            metrics,
            client,
            outbound,
            seed: u64::from(std::process::id()),
        };
        Ok(evenkeel_observer::run(parts, shutdown).await?)
    });
    Ok(())
}

/// Where the observer reads the playbooks it publishes to reasoners.
fn source(from: &PlaybooksFrom) -> PlaybookSource {
    match from {
        PlaybooksFrom::Cluster => PlaybookSource::Cluster,
        PlaybooksFrom::Files(paths) => PlaybookSource::Files(paths.clone()),
    }
}

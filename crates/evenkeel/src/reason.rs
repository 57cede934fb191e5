//! `evenkeel reason`.

use std::sync::Arc;

use anyhow::Result;
use evenkeel_bus::permissions::Plane;
use evenkeel_reasoner::{Metrics, Parts};
use evenkeel_runtime::WallClock;

use crate::args::PlaneArgs;
use crate::config::Config;
use crate::connect::{self, Transport};
use crate::process::Process;

pub(crate) async fn run(args: &PlaneArgs) -> Result<()> {
    let config = Config::load(&args.config)?;
    let transport = connect::transport(&config, Plane::Reasoner)?;
    let mut process = Process::begin("reasoner", &config).await?;
    add(&mut process, config, transport);
    process.run().await
}

/// Adds the reasoner to a process. No client of the cluster is made.
pub(crate) fn add(process: &mut Process, config: Config, transport: Transport) {
    let metrics = Metrics::register(&mut process.registry);
    let (health, shutdown) = (process.health("reasoner"), process.shutdown.clone());
    let connected = health.part("bus connection");
    process.spawn("reasoner", async move {
        let Some(bus) = connect::bus(transport, &connected, &shutdown).await? else { return Ok(()) };
        let parts = Parts {
            config: config.reasoner,
            cluster: config.cluster,
            namespace: config.namespace,
            bus,
            clock: Arc::new(WallClock),
            health,
            metrics,
        };
        Ok(evenkeel_reasoner::run(parts, shutdown).await?)
    });
}

//! `evenkeel gate`.

use std::sync::Arc;

use anyhow::Result;
use evenkeel_audit::{MessageKey, SealerParts, seal};
use evenkeel_bus::permissions::Plane;
use evenkeel_gateway::{ChatParts, Metrics, Parts, PlaybookSource};
use evenkeel_runtime::{Supervisor, WallClock, process_name};
use tokio::sync::watch;

use crate::args::PlaneArgs;
use crate::audit;
use crate::config::{Config, PlaybooksFrom};
use crate::connect::{self, Transport};
use crate::playbooks;
use crate::process::Process;

pub(crate) async fn run(args: &PlaneArgs) -> Result<()> {
    let config = Config::load(&args.config)?;
    let transport = connect::transport(&config, Plane::Gateway)?;
    let mut process = Process::begin("gateway", &config).await?;
    add(&mut process, config, transport).await?;
    process.run().await
}

/// Adds the gateway to a process.
pub(crate) async fn add(process: &mut Process, config: Config, transport: Transport) -> Result<()> {
    let metrics = Metrics::register(&mut process.registry);
    let (health, shutdown) = (process.health("gateway"), process.shutdown.clone());
    let reader = connect::reader(&config.kubernetes).await?;
    let writer = connect::writer(&config.kubernetes, config.gateway.request_timeout.get()).await?;
    let playbooks = source(process, &config.playbooks.from)?;
    let outbound = connect::outbound()?;
    let chat = (!config.chat.is_empty()).then(|| ChatParts {
        config: config.chat.clone(),
        listen: config.listen,
        metrics: evenkeel_chat::Metrics::register(&mut process.registry),
        seed: u64::from(std::process::id()),
    });
    let connected = health.part("bus connection");
    let log = audit::configured(&config.audit)?;
    let sealing =
        log.as_ref().map(|_| (evenkeel_audit::Metrics::register(&mut process.registry), health.part("audit sealer")));
    process.spawn("gateway", async move {
        let Some(bus) = connect::bus(transport, &connected, &shutdown).await? else { return Ok(()) };
        let holder = process_name();
        let audit = log.as_ref().map(|log| evenkeel_gateway::Audit {
            key: MessageKey::of(&log.key),
            unsealed_at_most: config.audit.unsealed_at_most,
        });
        let sealer = log.zip(sealing).map(|(log, (metrics, health))| SealerParts {
            bus: Arc::clone(&bus),
            store: log.store,
            key: log.key,
            accepted: log.accepted,
            holder: holder.clone(),
            config: config.audit,
            health,
            metrics,
        });
        let parts = Parts {
            config: evenkeel_gateway::Config { mode: config.mode, ..config.gateway },
            cluster: config.cluster,
            namespace: config.namespace,
            holder,
            bus,
            clock: Arc::new(WallClock),
            health,
            metrics,
            reader,
            writer,
            playbooks,
            outbound,
            audit,
            chat,
        };
        let mut tasks = Supervisor::new(shutdown.clone());
        if let Some(sealer) = sealer {
            tasks.spawn("audit sealer", seal(sealer, shutdown.clone()));
        }
        tasks.spawn("gateway", async move { Ok(evenkeel_gateway::run(parts, shutdown).await?) });
        Ok(tasks.join().await?)
    });
    Ok(())
}

/// Where the gateway reads playbooks: never from the bus, which others write.
fn source(process: &mut Process, from: &PlaybooksFrom) -> Result<PlaybookSource> {
    Ok(match from {
        PlaybooksFrom::Cluster => PlaybookSource::Cluster,
        PlaybooksFrom::Files(paths) => {
            let (sender, files) = watch::channel(playbooks::from_files(paths)?);
            let reading = playbooks::follow(paths.clone(), sender, process.shutdown.clone());
            process.spawn("playbooks from files", async move {
                reading.await;
                Ok(())
            });
            PlaybookSource::Files(files)
        }
    })
}

//! `evenkeel all`.

use std::sync::Arc;

use anyhow::{Result, bail};
use evenkeel_bus::permissions::Plane;
use evenkeel_bus::{MemoryBus, MemoryOptions};
use evenkeel_runtime::WallClock;

use crate::args::PlaneArgs;
use crate::config::{Bus, Config};
use crate::connect::{self, Transport};
use crate::process::Process;
use crate::{gate, observe, reason};

pub(crate) async fn run(args: &PlaneArgs) -> Result<()> {
    if !args.dev {
        bail!(
            "all three planes in one process share one identity; say --dev to try things out, \
             or run `evenkeel observe`, `evenkeel reason` and `evenkeel gate` as three processes"
        );
    }
    let config = Config::load(&args.config)?;
    if config.chat.listens() && config.chat.listen.is_none() {
        bail!(
            "listen is Alertmanager's here: expected chat.listen with an address for clicks in Slack, or \
             chat.slack.appTokenFile for Socket Mode"
        );
    }
    let memory = memory(&config)?;
    let transport = |plane| match &memory {
        Some(bus) => Ok(Transport::Memory(Arc::new(bus.clone()))),
        None => connect::transport(&config, plane),
    };
    let (observer, reasoner, gateway) =
        (transport(Plane::Observer)?, transport(Plane::Reasoner)?, transport(Plane::Gateway)?);
    let mut process = Process::begin("all", &config).await?;
    observe::add(&mut process, config.clone(), observer, args.dev).await?;
    reason::add(&mut process, config.clone(), reasoner);
    gate::add(&mut process, config, gateway).await?;
    process.run().await
}

/// The bus in memory, if that is what is configured.
fn memory(config: &Config) -> Result<Option<MemoryBus>> {
    Ok(match config.bus {
        Bus::Memory => Some(MemoryBus::new(MemoryOptions::new(config.cluster()?, Arc::new(WallClock)))),
        Bus::Jetstream(_) => None,
    })
}

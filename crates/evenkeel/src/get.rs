//! `evenkeel get incidents|remediations|breakers|signals|playbooks|policies`.

mod breakers;
mod incidents;
pub(crate) mod remediations;
mod rules;
mod signals;

use anyhow::Result;

use crate::args::{ClientArgs, Get};
use crate::config::Config;

pub(crate) async fn run(command: &Get) -> Result<()> {
    match command {
        Get::Incidents { get, all } => incidents::run(get, *all).await,
        Get::Remediations { get } => remediations::run(get).await,
        Get::Playbooks { get } => rules::playbooks(get).await,
        Get::Policies { get } => rules::policies(get).await,
        Get::Breakers { get } => breakers::run(get).await,
        Get::Signals { get, since } => signals::run(get, *since).await,
    }
}

/// The configuration of a person's command: the file, the environment, then the arguments.
pub(crate) fn config(args: &ClientArgs) -> Result<Config> {
    let mut config = Config::load_or_default(args.config.as_deref())?;
    if let Some(namespace) = &args.namespace {
        config.namespace.clone_from(namespace);
    }
    Ok(config)
}

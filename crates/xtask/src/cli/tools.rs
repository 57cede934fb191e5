//! `cargo xtask tools`.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::tools::{Family, Toolbox};
use crate::ui;

/// What a kind of test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Suite {
    /// A NATS server alone.
    Bus,
    /// A control plane with fake nodes, NATS, Prometheus and Alertmanager.
    Kwok,
    /// The same with a real node.
    Real,
    /// What runs beside a cluster that is there already.
    Foreign,
}

impl Suite {
    pub(super) fn families(self) -> Vec<Family> {
        let around = [Family::Nats, Family::Prometheus, Family::Alertmanager];
        match self {
            Self::Bus => vec![Family::Nats],
            Self::Kwok => [Family::KWOK_CLUSTER, &around].concat(),
            // With what policies are also printed for.
            Self::Real => [Family::REAL_CLUSTER, &around, &[Family::Gatekeeper]].concat(),
            Self::Foreign => [Family::FOREIGN_CLUSTER, &around].concat(),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Families to build; all if none is named
    families: Vec<Family>,
    /// Build what this suite needs
    #[arg(long, conflicts_with = "families")]
    suite: Option<Suite>,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let families = match arguments.suite {
        Some(suite) => suite.families(),
        None if arguments.families.is_empty() => Family::value_variants().to_vec(),
        None => arguments.families,
    };
    let tools = Toolbox::ensure(&families)?;
    for (name, path) in tools.programs() {
        ui::result(format_args!("{name:<24} {}", path.display()));
    }
    Ok(())
}

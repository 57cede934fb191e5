//! `cargo xtask cluster`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use crate::cluster::{self, Addon, ClusterOptions, Node};
use crate::{engine, ui, wait};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum NodeKind {
    /// Pods exist as objects only
    Kwok,
    /// Pods run; needs root
    Real,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a cluster; it runs until `cluster down`
    Up(Up),
    /// End the cluster in a directory, and everything it started
    Down {
        #[arg(long)]
        dir: PathBuf,
    },
    /// Run a program with the cluster's environment, inside its network
    Exec {
        #[arg(long)]
        dir: PathBuf,
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Up {
    /// An empty directory for everything: kubeconfig, env, logs
    #[arg(long)]
    dir: PathBuf,
    /// Fake nodes, or a real one (needs root)
    #[arg(long, value_enum, default_value_t = NodeKind::Kwok)]
    node: NodeKind,
    /// How many fake nodes; 3 by default, 0 beside a real node
    #[arg(long)]
    kwok_nodes: Option<u32>,
    /// What to run beside Kubernetes
    #[arg(long, value_delimiter = ',')]
    with: Vec<Addon>,
    /// A further kube-apiserver flag; may be repeated
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    api_server_arg: Vec<String>,
    /// A further kube-controller-manager flag; may be repeated
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    controller_manager_arg: Vec<String>,
    /// A Prometheus rule file
    #[arg(long)]
    rules: Option<PathBuf>,
    /// An Alertmanager configuration file
    #[arg(long)]
    alertmanager_config: Option<PathBuf>,
}

pub(super) fn run(command: Command) -> Result<()> {
    match command {
        Command::Up(arguments) => up(arguments),
        Command::Down { dir } => {
            engine::down(&dir)?;
            cluster::down(&dir)?;
            ui::say(format_args!("nothing runs in {} any more", dir.display()));
            Ok(())
        }
        Command::Exec { dir, program } => std::process::exit(cluster::exec(&dir, &program)?),
    }
}

fn up(arguments: Up) -> Result<()> {
    let mut options = match arguments.node {
        NodeKind::Kwok => {
            ClusterOptions { node: Node::Kwok { nodes: arguments.kwok_nodes.unwrap_or(3) }, ..ClusterOptions::kwok() }
        }
        NodeKind::Real => {
            ClusterOptions { node: Node::Real { kwok: arguments.kwok_nodes.unwrap_or(0) }, ..ClusterOptions::real() }
        }
    };
    options.with = arguments.with.into_iter().collect();
    options.api_server_args = arguments.api_server_arg;
    options.controller_manager_args = arguments.controller_manager_arg;
    options.prometheus_rules = arguments.rules.map(std::fs::read_to_string).transpose()?;
    options.alertmanager_config = arguments.alertmanager_config.map(std::fs::read_to_string).transpose()?;
    let start = wait::now();
    let progress = ui::Progress::start("starting the cluster");
    cluster::up(options, &arguments.dir, &|what| progress.now(what))?;
    let dir = arguments.dir.display();
    progress.done(format_args!("ready after {:.1} s", start.elapsed().as_secs_f64()));
    if arguments.node == NodeKind::Real {
        ui::say(format_args!("use it:  cargo xtask cluster exec --dir {dir} -- kubectl get pods -A"));
    } else {
        ui::say(format_args!("use it:  . {dir}/env && kubectl get pods -A"));
    }
    ui::say(format_args!("end it:  cargo xtask cluster down --dir {dir}"));
    Ok(())
}

//! The planes as child processes.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::install;
use crate::{env, proc, wait};

/// Which plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Plane {
    /// `evenkeel observe`
    Observer,
    /// `evenkeel reason`
    Reasoner,
    /// `evenkeel gate`
    Gateway,
}

impl Plane {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Observer, Self::Reasoner, Self::Gateway];

    /// Its name in identities and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Reasoner => "reasoner",
            Self::Gateway => "gateway",
        }
    }

    fn subcommand(self) -> &'static str {
        match self {
            Self::Observer => "observe",
            Self::Reasoner => "reason",
            Self::Gateway => "gate",
        }
    }
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What it takes to start a plane.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kit {
    /// Configurations, credentials and logs.
    pub(super) dir: PathBuf,
    /// The `evenkeel` binary.
    pub(super) program: PathBuf,
    /// The cluster's network, with a real node.
    pub(super) network: Option<PathBuf>,
    /// The cluster's directory.
    pub(super) cluster: PathBuf,
}

impl Kit {
    pub(super) fn config(&self, plane: Plane) -> PathBuf {
        install::config_file(&self.dir, plane.name())
    }

    pub(super) fn log(&self, plane: Plane) -> PathBuf {
        self.dir.join(format!("{plane}.log"))
    }

    pub(super) fn holder_log(&self) -> PathBuf {
        self.dir.join("holder.log")
    }

    /// Starts a plane so that the kernel kills it when this process ends. Nothing of our environment gets in: neither
    /// a proxy nor the settings of another installation.
    pub(super) fn start(&self, plane: Plane) -> Result<Running> {
        let file = self.log(plane);
        let log = File::options().create(true).append(true).open(&file);
        let log = log.with_context(|| format!("opening {}", file.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(network) = &self.network {
            command.arg("nsenter").arg(format!("--net={}", network.display())).arg("--");
        }
        command
            .arg(&self.program)
            .arg(plane.subcommand())
            .arg("--config")
            .arg(self.config(plane))
            .env_clear()
            .env("PATH", env::path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = proc::spawn(command);
        let child = child.with_context(|| format!("starting the {plane} (through setpriv, Debian package util-linux)"));
        Ok(Running { child: child? })
    }
}

/// One running process of a plane. It ends with this.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has. Reaps it.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to end. It is not reaped yet, so its pid is nobody else's.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    pub(super) fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        wait::until("a plane to end", patience, || self.ended())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

//! The engine on a cluster of ours: installed under three identities, its planes as processes of the built binary.
//!
//! What is here runs on the calling thread's network, so with a real node call [`Cluster::enter`] first.

mod detached;
mod install;
mod planes;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

pub use detached::down;
pub(crate) use detached::hold;
pub use planes::Plane;
pub use settings::{Mode, Settings};

use crate::cluster::Cluster;
use crate::proc::tail;
use crate::{env, http, wait};
use planes::{Kit, Running};

/// How long a plane may take until it is ready.
const READY: Duration = Duration::from_secs(60);
/// How long a plane may take to end in good order.
const DRAINED: Duration = Duration::from_secs(30);

/// The engine, installed on a cluster. Its planes end when this is dropped, and also when this process ends in any
/// other way.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    kit: Kit,
    running: BTreeMap<Plane, Running>,
}

impl Engine {
    /// Installs custom resources, RBAC, users and streams on the bus, and writes the configuration of each plane below
    /// the cluster's directory. Nothing runs yet.
    ///
    /// # Errors
    /// The cluster was not made with [`Settings::prepare`], or something refuses what is to be installed.
    pub fn install(cluster: &Cluster, settings: Settings) -> Result<Self> {
        let dir = cluster.dir().join("engine");
        let environment: BTreeMap<String, String> = cluster.environment().into_iter().collect();
        let network = environment.get("NETNS").map(PathBuf::from);
        let kit = Kit { dir, program: settings.program.clone(), network, cluster: cluster.dir().to_path_buf() };
        install::install(cluster, &settings, &kit.dir, &environment)?;
        let engine = Self { settings, kit, running: BTreeMap::new() };
        engine.command(&["bus", "init"])?;
        Ok(engine)
    }

    /// Starts all planes and waits until they are ready.
    ///
    /// # Errors
    /// One does not become ready; the message says what is missing and has the end of its log.
    pub fn start(&mut self) -> Result<()> {
        for plane in Plane::ALL {
            self.launch(plane)?;
        }
        Plane::ALL.into_iter().try_for_each(|plane| self.ready(plane))
    }

    /// Starts a plane and does not wait for it.
    ///
    /// # Errors
    /// It can't be started.
    pub fn launch(&mut self, plane: Plane) -> Result<()> {
        self.running.insert(plane, self.kit.start(plane)?);
        Ok(())
    }

    /// Waits until a plane says that it is ready.
    ///
    /// # Errors
    /// It ends, or is not ready in time; the message says what is missing and has the end of its log.
    pub fn ready(&mut self, plane: Plane) -> Result<()> {
        let log = self.log(plane);
        let running = self.running.get_mut(&plane).with_context(|| format!("the {plane} does not run"))?;
        await_ready(plane, self.settings.admin_port(plane), &log, || match running.ended()? {
            Some(status) => bail!("the {plane} ended ({status}):\n{}", tail(&log)),
            None => Ok(()),
        })
    }

    /// An error with the end of its log if a plane that was started has ended by itself.
    ///
    /// # Errors
    /// One has.
    pub fn check(&mut self) -> Result<()> {
        for (plane, running) in &mut self.running {
            if let Some(status) = running.ended()? {
                bail!("the {plane} ended ({status}):\n{}", tail(&self.kit.log(*plane)));
            }
        }
        Ok(())
    }

    /// Ends a plane with SIGKILL.
    pub fn kill(&mut self, plane: Plane) {
        self.running.remove(&plane);
    }

    /// Ends a plane with SIGTERM and gives its exit status.
    ///
    /// # Errors
    /// It does not run, or does not end in time.
    pub fn terminate(&mut self, plane: Plane) -> Result<std::process::ExitStatus> {
        let running = self.running.get_mut(&plane).with_context(|| format!("the {plane} does not run"))?;
        let status = running.terminate(DRAINED)?;
        self.running.remove(&plane);
        Ok(status)
    }

    /// Process id of a running plane.
    #[must_use]
    pub fn pid(&self, plane: Plane) -> Option<u32> {
        self.running.get(&plane).map(Running::pid)
    }

    /// Runs a command of the binary as the bus' and the cluster's administrator; gives its standard output.
    ///
    /// # Errors
    /// It fails; the message is its standard error.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let config = self.admin_config();
        evenkeel(&self.kit.program, arguments, |command| command.arg("--config").arg(config))
    }

    /// The binary that runs.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.kit.program
    }

    /// The configuration file with which people's commands see everything.
    #[must_use]
    pub fn admin_config(&self) -> PathBuf {
        install::config_file(&self.kit.dir, install::ADMIN)
    }

    /// A plane's configuration, as it was written last.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn configuration(&self, plane: Plane) -> Result<Value> {
        let file = self.kit.config(plane);
        let bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Writes a plane's configuration; it is read when the plane starts.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn configure(&self, plane: Plane, configuration: &Value) -> Result<()> {
        install::write_json(&self.kit.config(plane), configuration)
    }

    /// Where Alertmanagers post: `http://127.0.0.1:PORT/webhooks/alertmanager`.
    #[must_use]
    pub fn webhook(&self) -> String {
        self.settings.webhook()
    }

    /// Where a plane's `/metrics` is: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn admin_url(&self, plane: Plane) -> String {
        format!("http://127.0.0.1:{}", self.settings.admin_port(plane))
    }

    /// The log of a plane, of all its lives.
    #[must_use]
    pub fn log(&self, plane: Plane) -> PathBuf {
        self.kit.log(plane)
    }

    /// The end of a plane's log.
    #[must_use]
    pub fn tail(&self, plane: Plane) -> String {
        tail(&self.log(plane))
    }

    /// Leaves the engine to itself: it goes on after this process has ended, for as long as its cluster runs, and ends
    /// by [`down`]. The planes start anew for that.
    ///
    /// # Errors
    /// They do not become ready.
    pub fn leave(mut self) -> Result<()> {
        for plane in Plane::ALL {
            if self.running.contains_key(&plane) {
                self.terminate(plane)?;
            }
        }
        let mut holder = detached::start(&self.kit)?;
        for plane in Plane::ALL {
            await_ready(plane, self.settings.admin_port(plane), &self.kit.log(plane), || match holder.try_wait()? {
                Some(status) => bail!("the engine's holder ended ({status}):\n{}", tail(&self.kit.holder_log())),
                None => Ok(()),
            })?;
        }
        Ok(())
    }
}

fn await_ready(plane: Plane, port: u16, log: &Path, mut lives: impl FnMut() -> Result<()>) -> Result<()> {
    let mut missing = String::new();
    let ready = wait::until(&format!("the {plane} to be ready"), READY, || {
        lives()?;
        match http::get(port, "/readyz") {
            Some((200, _)) => return Ok(Some(())),
            Some((_, body)) => missing = body,
            None => missing = format!("nothing answers on 127.0.0.1:{port}"),
        }
        Ok(None)
    });
    // What ended has said why already.
    if ready.is_err() {
        lives()?;
    }
    ready.with_context(|| format!("it says: {}\n{}", missing.trim(), tail(log)))
}

/// Runs the binary to its end and gives its standard output. Nothing of the caller's environment gets in: neither a
/// proxy nor the settings of another installation.
fn evenkeel(program: &Path, arguments: &[&str], more: impl FnOnce(&mut Command) -> &mut Command) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", env::path());
    let output = more(&mut command).output().with_context(|| format!("running {}", program.display()))?;
    if !output.status.success() {
        bail!("evenkeel {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("evenkeel printed something other than text")
}

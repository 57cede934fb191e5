//! Child processes that cannot outlive their owner, and the proof that a pid is still the one we started.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::wait;

/// A pid together with what tells it from a later process of the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Clock ticks since boot at which it started (`/proc/PID/stat`, field 22).
    pub(crate) started: u64,
    /// The program (`/proc/PID/exe`).
    pub(crate) exe: PathBuf,
}

impl Identity {
    /// What runs under `pid` now, if anything but a zombie does.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        Some(Self {
            pid,
            started: fields.get(19)?.parse().ok()?,
            exe: std::fs::read_link(format!("/proc/{pid}/exe")).ok()?,
        })
    }

    /// Whether this very process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.started == self.started && same_program(&now.exe, &self.exe))
    }

    /// Signals it, if it still is the process it was.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        let pid = Pid::from_raw(self.pid).context("pid 0 is nobody's")?;
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("signalling {} (pid {})", self.exe.display(), self.pid)),
        }
    }
}

/// A rebuilt program shows as `… (deleted)`.
fn same_program(now: &Path, then: &Path) -> bool {
    let plain = |path: &Path| path.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
    plain(now) == plain(then)
}

/// A program to start.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Both outputs are appended here.
    pub(crate) log: PathBuf,
}

impl Launch {
    /// Starts it so that the kernel kills it when this process ends.
    pub(crate) fn start(&self) -> Result<Process> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("opening {}", self.log.display()))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = spawn(command).with_context(|| {
            format!("starting {} (through setpriv, Debian package util-linux)", self.program.display())
        })?;
        Process::new(child, &self.program, self.log.clone())
    }
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    identity: Identity,
    log: PathBuf,
}

impl Process {
    /// Waits until setpriv has become the program.
    fn new(mut child: Child, program: &Path, log: PathBuf) -> Result<Self> {
        let pid = i32::try_from(child.id())?;
        let program = std::fs::canonicalize(program).with_context(|| format!("no program {}", program.display()))?;
        let identity = wait::until(&format!("{} to start", program.display()), Duration::from_secs(20), || {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended at once ({status}):\n{}", program.display(), tail(&log));
            }
            // A script shows its interpreter, so anything but setpriv will do.
            Ok(Identity::of(pid)
                .filter(|now| now.exe.file_name().is_some_and(|name| name != "setpriv") && !is_self(&now.exe)))
        })?;
        Ok(Self { child, identity, log })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// An error with the end of its log if it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}):\n{}", self.identity.exe.display(), tail(&self.log)),
        }
    }

    /// Whether it has ended. Reaps it.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.has_ended()? {
            return Ok(());
        }
        self.identity.signal(signal)
    }

    /// Asks it to end, insists after `patience`, and reaps it.
    pub(crate) fn stop(&mut self, patience: Duration) -> Result<()> {
        self.signal(Signal::TERM)?;
        let gently = wait::until("a child to end", patience, || Ok(self.has_ended()?.then_some(())));
        if gently.is_err() {
            self.kill()?;
        }
        Ok(())
    }

    /// SIGKILL, and reaps it.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait()?;
        Ok(())
    }
}

fn is_self(exe: &Path) -> bool {
    std::env::current_exe().is_ok_and(|own| own == exe)
}

/// The last lines of a log, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(12);
    format!("{}\n(from {})", lines.get(from..).unwrap_or_default().join("\n"), log.display())
}

type Order = (Command, SyncSender<io::Result<Child>>);

/// The kernel ends such a child when the *thread* that started it ends, so one thread, which never ends, starts all.
pub(crate) fn spawn(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                // The asker waits for the answer, so it is there to take it.
                drop(reply.send(command.spawn()));
            }
        });
        orders
    });
    let (reply, answer) = sync_channel(1);
    spawner.send((command, reply)).ok().context("the spawning thread has ended")?;
    Ok(answer.recv().context("the spawning thread has ended")??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(dir: &Path) -> Process {
        let launch =
            Launch { program: "/bin/sleep".into(), args: vec!["600".into()], env: vec![], log: dir.join("log") };
        launch.start().unwrap()
    }

    #[test]
    fn a_stopped_process_is_no_longer_alive() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = sleeper(dir.path());
        let identity = process.identity().clone();
        assert!(identity.is_alive());
        process.stop(Duration::from_secs(5)).unwrap();
        assert!(!identity.is_alive());
    }

    #[test]
    fn another_process_of_the_same_number_is_not_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = sleeper(dir.path());
        let other = Identity { started: process.identity().started + 1, ..process.identity().clone() };
        assert!(!other.is_alive());
        other.signal(Signal::KILL).unwrap();
        process.check().unwrap();
        process.kill().unwrap();
    }

    #[test]
    fn the_thread_that_asked_may_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        let mut process = std::thread::spawn(move || sleeper(&path)).join().unwrap();
        process.check().unwrap();
        process.kill().unwrap();
    }
}

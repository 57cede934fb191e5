//! The engine's planes as processes of the built binary, each under its own identity.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::wait::eventually;

/// Which plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// One running process of a plane.
#[derive(Debug)]
struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The planes' processes. They end when this is dropped.
#[derive(Debug)]
pub struct Engine {
    dir: PathBuf,
    binary: PathBuf,
    running: BTreeMap<Plane, Running>,
    /// Those that run beside the first of their plane, by their number, from 2.
    replicas: BTreeMap<(Plane, u8), Running>,
    admin: BTreeMap<Plane, u16>,
    /// Where the webhook listens: `http://127.0.0.1:PORT`.
    pub webhook: String,
}

impl Engine {
    /// An engine whose planes read `DIR/<plane>.yaml`; nothing runs yet.
    ///
    /// # Errors
    /// The binary was not built.
    pub fn new(dir: &Path, webhook: u16, admin: BTreeMap<Plane, u16>) -> Result<Self> {
        let webhook = format!("http://127.0.0.1:{webhook}");
        Ok(Self {
            dir: dir.to_owned(),
            binary: binary()?,
            running: BTreeMap::new(),
            replicas: BTreeMap::new(),
            admin,
            webhook,
        })
    }

    /// The configuration file of a plane.
    pub fn config(&self, plane: Plane) -> PathBuf {
        self.dir.join(format!("{}.yaml", plane.name()))
    }

    /// The log of a plane, of all its lives.
    pub fn log(&self, plane: Plane) -> PathBuf {
        self.dir.join(format!("{}.log", plane.name()))
    }

    /// Starts a plane and does not wait for it.
    ///
    /// # Errors
    /// It can't be started.
    pub fn launch(&mut self, plane: Plane) -> Result<()> {
        let running = self.spawn(plane, &self.config(plane))?;
        self.running.insert(plane, running);
        Ok(())
    }

    /// The configuration file of one that runs beside the first of its plane.
    pub fn config_of(&self, plane: Plane, number: u8) -> PathBuf {
        self.dir.join(format!("{}-{number}.yaml", plane.name()))
    }

    /// Starts one beside the first of its plane; it writes into the same log.
    ///
    /// # Errors
    /// It can't be started.
    pub fn launch_replica(&mut self, plane: Plane, number: u8) -> Result<()> {
        let running = self.spawn(plane, &self.config_of(plane, number))?;
        self.replicas.insert((plane, number), running);
        Ok(())
    }

    /// Ends one that runs beside the first of its plane with SIGKILL.
    pub fn kill_replica(&mut self, plane: Plane, number: u8) {
        self.replicas.remove(&(plane, number));
    }

    fn spawn(&self, plane: Plane, config: &Path) -> Result<Running> {
        let log = File::options().create(true).append(true).open(self.log(plane))?;
        // The planes end with the test process, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.binary)
            .arg(plane.subcommand())
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting a plane through setpriv (Debian package util-linux)")?;
        Ok(Running { child })
    }

    /// Waits until a plane says that it is ready.
    ///
    /// # Errors
    /// It ends, or is not ready within a minute; the message has what it says is missing and the end of its log.
    pub async fn ready(&mut self, plane: Plane) -> Result<()> {
        let url = format!("{}/readyz", self.admin_url(plane)?);
        let client = reqwest::Client::builder().no_proxy().build()?;
        let running = &mut self.running;
        let mut said = String::new();
        let waited = eventually(&format!("{} to be ready", plane.name()), Duration::from_secs(60), || {
            let ended = running.get_mut(&plane).map(|running| running.child.try_wait());
            let request = client.get(&url);
            async move {
                if let Some(Ok(Some(status))) = ended {
                    return Ok(Some(Err(format!("it ended with {status}"))));
                }
                let answer = request.send().await?;
                let ready = answer.status().is_success();
                let text = answer.text().await?;
                if ready { Ok(Some(Ok(()))) } else { bail!("{text}") }
            }
        })
        .await;
        match waited {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ended)) => {
                said.push_str(&ended);
                bail!("{}: {said}\n{}", plane.name(), self.tail(plane))
            }
            Err(error) => Err(error.context(self.tail(plane))),
        }
    }

    /// Starts all planes and waits until they are ready.
    ///
    /// # Errors
    /// One does not become ready.
    pub async fn start(&mut self) -> Result<()> {
        for plane in Plane::ALL {
            self.launch(plane)?;
        }
        for plane in Plane::ALL {
            self.ready(plane).await?;
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
    /// It does not end within 30 seconds.
    pub async fn terminate(&mut self, plane: Plane) -> Result<std::process::ExitStatus> {
        let running = self.running.get_mut(&plane).context("it does not run")?;
        let pid = running.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let status = eventually("the plane to end", Duration::from_secs(30), || {
            let ended = running.child.try_wait();
            async move { Ok(ended?) }
        })
        .await?;
        self.running.remove(&plane);
        Ok(status)
    }

    /// Process id of a running plane.
    pub fn pid(&self, plane: Plane) -> Option<u32> {
        self.running.get(&plane).map(|running| running.child.id())
    }

    /// Where a plane's `/metrics` is: `http://127.0.0.1:PORT`.
    ///
    /// # Errors
    /// It has none.
    pub fn admin_url(&self, plane: Plane) -> Result<String> {
        let port = self.admin.get(&plane).context("the plane has no admin port")?;
        Ok(format!("http://127.0.0.1:{port}"))
    }

    /// Sum of a counter's or gauge's samples whose line contains all of `with`.
    ///
    /// # Errors
    /// The plane does not answer.
    pub async fn metric(&self, plane: Plane, name: &str, with: &[&str]) -> Result<f64> {
        let text = reqwest::get(format!("{}/metrics", self.admin_url(plane)?)).await?.text().await?;
        let matching = text.lines().filter(|line| {
            let named =
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']) || rest.starts_with("_total"));
            named && with.iter().all(|part| line.contains(part))
        });
        Ok(matching.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Runs a command of the binary to its end and gives its standard output.
    ///
    /// # Errors
    /// It fails; the message is its standard error.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        run(&self.binary, arguments)
    }

    /// The end of a plane's log.
    pub fn tail(&self, plane: Plane) -> String {
        let text = std::fs::read_to_string(self.log(plane)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!("--- end of {} ---\n{}", self.log(plane).display(), lines.get(from..).unwrap_or_default().join("\n"))
    }
}

/// Runs the binary to its end and gives its standard output.
///
/// # Errors
/// It fails; the message is its standard error.
pub fn run(binary: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(binary).args(arguments).output()?;
    if !output.status.success() {
        bail!("evenkeel {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The binary beside the test binary, as cargo builds it.
///
/// # Errors
/// It was not built.
pub fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    // Tests lie in `deps`, the benches beside the binary.
    let beside = here.ancestors().skip(1).take(2).map(|dir| dir.join("evenkeel"));
    let binary = beside.clone().find(|binary| binary.is_file()).or(beside.last()).context("no target directory")?;
    if !binary.is_file() {
        bail!(
            "{} is missing: run the suites with `cargo xtask test`, or build it with `cargo build -p evenkeel`",
            binary.display()
        );
    }
    Ok(binary)
}

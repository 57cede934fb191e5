//! A real Kubernetes control plane on this machine, for as long as somebody holds it.

mod alerting;
mod archive;
mod cgroup;
mod config;
mod faults;
mod foreign;
mod hold;
mod images;
mod node;
mod options;
mod pki;
mod plan;
mod service;
mod start;

use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub use config::webhook_receiver;
pub use foreign::Foreign;
pub(crate) use hold::hold;
pub use images::{Images, PREFIX};
pub(crate) use node::runc;
pub use options::{Addon, ClusterOptions, Node};

use crate::proc::Identity;
use crate::{env, ui, wait};
use hold::Order;
use pki::Authority;
use plan::{Plan, State};
use start::{await_done, dismiss, keep_logs, lock, prepare, start};

/// How long a holder may take to end its cluster.
const ENDING: Duration = Duration::from_secs(40);

/// A running cluster. It ends when this is dropped, and also when this process ends in any other way. Of a foreign one
/// that holds for what runs beside it.
#[derive(Debug)]
pub struct Cluster {
    plan: Plan,
    /// Of a foreign cluster we have none.
    authority: Option<Authority>,
    namespaces: Option<Identity>,
    link: Mutex<Link>,
    temporary: Option<tempfile::TempDir>,
}

/// The line to the holder.
#[derive(Debug)]
struct Link {
    holder: Child,
    /// Its end is the holder's sign to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Cluster {
    /// Builds the tools if need be, starts everything and waits until nodes are Ready and addons answer.
    ///
    /// # Errors
    /// Something is missing on this machine (the message says what to install), or a part does not come up (the
    /// message has the end of its log).
    pub fn up(mut options: ClusterOptions) -> Result<Self> {
        let (dir, temporary) = match options.dir.take() {
            Some(dir) => (dir, None),
            None => {
                let temporary = tempfile::Builder::new().prefix("evenkeel-cluster-").tempdir()?;
                (temporary.path().to_path_buf(), Some(temporary))
            }
        };
        let lock = lock(&dir)?;
        let (plan, authority) = prepare(options, &dir, temporary.is_some())?;
        let (mut holder, answers) = match start(&plan, false, &|_| {}) {
            Ok(started) => started,
            Err(error) => {
                if let Some(temporary) = temporary {
                    keep_logs(temporary);
                }
                return Err(error);
            }
        };
        drop(lock);
        let orders = holder.stdin.take();
        let namespaces = State::load(&plan.dir).and_then(|state| state.namespaces);
        let link = Mutex::new(Link { holder, orders, answers });
        Ok(Self { plan, authority, namespaces, link, temporary })
    }

    /// Moves the calling thread into the cluster's network, where everything is on loopback. Threads and processes
    /// it starts afterwards are there too, so call this before building an async runtime. With fake nodes only,
    /// there is no network of the cluster's own and nothing to do.
    ///
    /// # Errors
    /// The cluster has ended.
    pub fn enter(&self) -> Result<()> {
        let Some(namespaces) = &self.namespaces else { return Ok(()) };
        if !namespaces.is_alive() {
            bail!("the cluster in {} has ended", self.plan.dir.display());
        }
        let link = File::open(format!("/proc/{}/ns/net", namespaces.pid))?;
        move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))
            .context("entering the cluster's network")
    }

    /// Runs `act` on a thread inside the cluster's network.
    ///
    /// # Errors
    /// The cluster has ended, or `act` fails or panics.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.enter()?;
                act()
            });
            worker.join().unwrap_or_else(|_| bail!("the thread inside the cluster's network panicked"))
        })
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.plan.dir
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.plan.kubeconfig("admin")
    }

    /// A kubeconfig with a client certificate for somebody else, who has only what RBAC gives them.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn kubeconfig_for(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let authority = self.authority.as_ref();
        let authority =
            authority.with_context(|| foreign::not_ours("the key that client certificates are signed with"))?;
        authority.admit(&self.plan, user, group)?;
        Ok(self.plan.kubeconfig(user))
    }

    /// What a process that uses the cluster is to have in its environment.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        self.plan.environment(self.namespaces.as_ref())
    }

    /// The API server's audit log, one JSON event a line.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.plan.path("logs/audit.json")
    }

    /// Whether the cluster was there already, and stays when this is dropped.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.plan.options.foreign_kubeconfig().is_some()
    }

    /// The log of a service, such as `kube-apiserver`.
    #[must_use]
    pub fn log(&self, service: &str) -> PathBuf {
        let below = if service == "nats" { "nats/nats.log".to_owned() } else { format!("logs/{service}.log") };
        self.plan.path(&below)
    }

    /// NATS's address; the same after every start.
    #[must_use]
    pub fn nats_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.plan.ports.nats)
    }

    /// Prometheus' address.
    #[must_use]
    pub fn prometheus_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plan.ports.prometheus)
    }

    /// The addresses of the Alertmanagers.
    #[must_use]
    pub fn alertmanager_urls(&self) -> Vec<String> {
        let used = self.plan.ports.alertmanagers.iter().take(usize::from(self.plan.options.alertmanagers));
        used.map(|(port, _)| format!("http://127.0.0.1:{port}")).collect()
    }

    /// The images that a real node can pull.
    ///
    /// # Errors
    /// The cluster was made without the test application, or is not ours.
    pub fn images(&self) -> Result<Images> {
        if self.is_foreign() {
            bail!(foreign::not_ours("the registry its nodes pull from"));
        }
        Images::open(&self.plan)
    }

    /// A program of the cluster, such as `kubectl` or `promtool`.
    ///
    /// # Errors
    /// This cluster has no such program.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        Ok(self.plan.program(name)?.to_path_buf())
    }

    /// Runs kubectl as administrator and gives its standard output.
    ///
    /// # Errors
    /// kubectl fails; the message is its own.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_with(args, "")
    }

    /// The same with a manifest on standard input, for `apply -f -`.
    ///
    /// # Errors
    /// kubectl fails; the message is its own.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(self.plan.program("kubectl")?);
        command.args(args).envs(self.environment()).envs(self.plan.home().map(|home| ("HOME", home)));
        self.inside(|| kubectl(&mut command, args, input))
    }

    /// Ends a service in good order: `nats`, `prometheus`, `alertmanager-0`, `kube-apiserver`, `kubelet`, ….
    ///
    /// # Errors
    /// The cluster has no such service.
    pub fn stop(&self, service: &str) -> Result<()> {
        self.order(&Order::Stop(service.to_owned()))
    }

    /// Starts a service again, on the same port and data, and waits until it answers. Does nothing if it runs.
    ///
    /// # Errors
    /// The cluster has no such service, or it does not come up.
    pub fn start(&self, service: &str) -> Result<()> {
        self.order(&Order::Start(service.to_owned()))
    }

    /// Ends a service with SIGKILL.
    ///
    /// # Errors
    /// The cluster has no such service.
    pub fn kill(&self, service: &str) -> Result<()> {
        self.order(&Order::Kill(service.to_owned()))
    }

    /// Freezes a service (SIGSTOP): it keeps its connections and answers nothing, until [`Self::resume`].
    ///
    /// # Errors
    /// The service does not run.
    pub fn pause(&self, service: &str) -> Result<()> {
        self.order(&Order::Pause(service.to_owned()))
    }

    /// Lets a frozen service go on.
    ///
    /// # Errors
    /// The service does not run.
    pub fn resume(&self, service: &str) -> Result<()> {
        self.order(&Order::Resume(service.to_owned()))
    }

    /// Gives every Alertmanager a new configuration and starts it again; silences and notifications are kept.
    ///
    /// # Errors
    /// Alertmanager does not come up with it.
    pub fn set_alertmanager_config(&self, config: &str) -> Result<()> {
        plan::write(&self.plan.path("config/alertmanager.yaml"), config)?;
        for number in 0..self.plan.options.alertmanagers {
            self.stop(&format!("alertmanager-{number}"))?;
            self.start(&format!("alertmanager-{number}"))?;
        }
        Ok(())
    }

    /// Gives Prometheus other rules and starts it again; its data is kept.
    ///
    /// # Errors
    /// Prometheus does not come up with them.
    pub fn set_prometheus_rules(&self, rules: &str) -> Result<()> {
        plan::write(&self.plan.path("config/rules.yaml"), rules)?;
        self.stop("prometheus")?;
        self.start("prometheus")
    }

    /// Makes a node fall silent: Ready becomes Unknown as when a kubelet stops posting, and stays so until
    /// [`Self::node_ready`]. The node's pods stay as they were last seen.
    ///
    /// # Errors
    /// There is no such node, or it is not ours.
    pub fn node_not_ready(&self, name: &str) -> Result<()> {
        if self.is_foreign() {
            bail!(foreign::not_ours("its nodes"));
        }
        if name == node::NAME {
            self.kill("kubelet")?;
        } else {
            self.kubectl(&["annotate", "node", name, "kwok.x-k8s.io/node-"])?;
        }
        let patch = node::silent()?;
        self.kubectl(&["patch", "node", name, "--subresource=status", "--type=strategic", "--patch", &patch])?;
        Ok(())
    }

    /// Lets a silent node come back.
    ///
    /// # Errors
    /// There is no such node.
    pub fn node_ready(&self, name: &str) -> Result<()> {
        if name == node::NAME {
            return self.start("kubelet");
        }
        self.kubectl(&["annotate", "--overwrite", "node", name, "kwok.x-k8s.io/node=fake"])?;
        Ok(())
    }

    /// Leaves the cluster to itself: it goes on after this process has ended, until [`down`]. Gives its directory.
    ///
    /// # Errors
    /// The cluster has ended.
    pub fn leave(mut self) -> Result<PathBuf> {
        self.order(&Order::Stay)?;
        if let Some(temporary) = self.temporary.take() {
            drop(temporary.keep());
        }
        let dir = self.plan.dir.clone();
        // Dropping it would end the cluster.
        std::mem::forget(self);
        Ok(dir)
    }

    fn order(&self, order: &Order) -> Result<()> {
        let Ok(mut link) = self.link.lock() else { bail!("another order to the cluster panicked") };
        let orders = link.orders.as_mut().context("the cluster has ended")?;
        writeln!(orders, "{}", serde_json::to_string(order)?).context("the cluster's holder has ended")?;
        await_done(&mut link.answers, &self.plan.dir, &|_| {})
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(mut link) = self.link.lock() {
            if let Some(orders) = link.orders.take() {
                dismiss(orders);
            }
            let ended = wait::until("the cluster's holder to end", ENDING, || Ok(link.holder.try_wait()?));
            if let Err(error) = ended.map(drop).and_then(|()| down(&self.plan.dir)) {
                ui::say(format_args!("ending the cluster in {}: {error:#}", self.plan.dir.display()));
            }
        }
        if std::thread::panicking()
            && let Some(temporary) = self.temporary.take()
        {
            keep_logs(temporary);
        }
    }
}

fn kubectl(command: &mut Command, args: &[&str], input: &str) -> Result<String> {
    use std::process::Stdio;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("running kubectl")?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end without reading; its own message says why.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a cluster runs in `dir`.
pub(crate) fn is_up(dir: &Path) -> bool {
    State::load(dir).is_some_and(|state| state.holder.is_alive())
}

/// Whether this machine can have a real node.
///
/// # Errors
/// It can't; the message says what to install or do.
pub fn can_be_real() -> Result<()> {
    node::check()
}

/// Starts a cluster that nobody owns: it lives until [`down`].
///
/// # Errors
/// As [`Cluster::up`].
pub fn up(options: ClusterOptions, dir: &Path, progress: &dyn Fn(&str)) -> Result<()> {
    let _lock = lock(dir)?;
    let (plan, _) = prepare(options, dir, false)?;
    start(&plan, true, progress)?;
    Ok(())
}

/// Ends the cluster in `dir`, if one runs there, and everything it started. The logs stay.
///
/// # Errors
/// It does not end.
pub fn down(dir: &Path) -> Result<()> {
    let Some(state) = State::load(dir) else { return Ok(()) };
    if state.holder.is_alive() {
        // Without a reader the pipe cannot be opened for writing only; the holder reads it as long as it lives.
        if let Ok(mut control) = File::options().write(true).open(hold::control_file(dir)) {
            writeln!(control, "{}", serde_json::to_string(&Order::Down)?)?;
        }
        let ended = wait::until("the holder to end", ENDING, || Ok((!state.holder.is_alive()).then_some(())));
        if ended.is_err() {
            state.holder.signal(Signal::KILL)?;
        }
    }
    if let Some(namespaces) = &state.namespaces {
        namespaces.signal(Signal::KILL)?;
        wait::until("the namespaces to end", ENDING, || Ok((!namespaces.is_alive()).then_some(())))?;
        cgroup::remove(&Plan::load(dir)?.cgroup)?;
    }
    hold::forget(dir);
    Ok(())
}

/// A directory of links to the cluster's programs, to go on PATH.
fn tools(plan: &Plan) -> Result<PathBuf> {
    let dir = plan.path("bin");
    std::fs::create_dir_all(&dir)?;
    for (name, program) in &plan.programs {
        let link = dir.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(program, link)?;
        }
    }
    Ok(dir)
}

/// Runs a program inside the network of the cluster in `dir`, with its environment; gives the exit code.
///
/// # Errors
/// No cluster runs there, or the program cannot be started.
pub fn exec(dir: &Path, program: &[String]) -> Result<i32> {
    let dir = std::fs::canonicalize(dir).with_context(|| format!("no directory {}", dir.display()))?;
    let plan = Plan::load(&dir)?;
    let state = State::load(&dir).filter(|state| state.holder.is_alive());
    let state = state.with_context(|| format!("no cluster runs in {}", dir.display()))?;
    let (name, args) = program.split_first().context("name a program to run")?;
    let mut command = match &state.namespaces {
        None => Command::new(name),
        Some(namespaces) => {
            let mut command = Command::new("nsenter");
            command.arg("--target").arg(namespaces.pid.to_string()).args(["--net", "--", name]);
            command
        }
    };
    command.args(args).envs(plan.environment(state.namespaces.as_ref())).env("PATH", env::path_with(&tools(&plan)?));
    let status = command.status().with_context(|| format!("running {name}"))?;
    Ok(status.code().unwrap_or(1))
}

//! The holder: the one process that owns a cluster's children, and ends them when its own owner is gone.
//!
//! Its owner is at the other end of its standard input: end of file there ends the cluster. A daemon has no owner
//! and lives until it is told to end. Orders come as JSON lines on standard input or through the pipe `control`,
//! answers go to standard output. The children die with the holder in any case, by the kernel's parent-death signal.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::plan::{Plan, State, state_file};
use super::service::{self, Service};
use super::{cgroup, config, node};
use crate::proc::{Identity, Process, tail};
use crate::{http, wait};

/// What a holder can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    Start(String),
    Stop(String),
    Kill(String),
    Pause(String),
    Resume(String),
    /// The owner goes and the cluster stays.
    Stay,
    Down,
}

/// What a holder says: progress, then one `Done` or `Failed` for the start and for each order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    Progress(String),
    Done,
    Failed(String),
}

/// Orders for a holder whose owner is not at hand go through this pipe.
pub(super) fn control_file(dir: &Path) -> PathBuf {
    dir.join("control")
}

/// Runs a holder until the end of its cluster.
pub(crate) fn hold(dir: &Path, daemon: bool, inside: bool) -> Result<()> {
    let plan = Plan::load(dir)?;
    if plan.options.is_real() && !inside {
        return outside(&plan, daemon);
    }
    if !inside {
        State { holder: own_identity()?, namespaces: None }.save(dir)?;
    }
    let ending = Arc::new(AtomicBool::new(false));
    let orders = listen(&plan, daemon, &ending)?;
    let mut holder = Holder { plan, ending, services: BTreeMap::new(), running: BTreeMap::new() };
    match holder.bring_up() {
        Ok(()) => {
            say(&Answer::Done);
            holder.obey(&orders);
        }
        Err(error) => say(&Answer::Failed(format!("{error:#}"))),
    }
    holder.tear_down(inside);
    if !inside {
        finish(&holder.plan);
    }
    Ok(())
}

/// With a real node: makes the namespaces, waits for the holder inside them to end, and removes the cgroups.
/// The process namespace ends with its first process, so no pod can stay behind.
fn outside(plan: &Plan, daemon: bool) -> Result<()> {
    if daemon {
        // No terminal's hang-up is to reach it; the process may lead a group already, which is as good.
        let _ = rustix::process::setsid();
    }
    cgroup::create(&plan.cgroup)?;
    let own = crate::env::own_program()?;
    let mut command = Program::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc"]);
    command
        .args(["--kill-child=KILL", "--propagation", "private", "--"])
        .arg(own)
        .args(["__hold", "--inside", "--dir"])
        .arg(&plan.dir);
    if daemon {
        command.arg("--daemon");
    }
    let mut child = command.spawn().context("starting unshare (Debian package util-linux)")?;
    let pid = i32::try_from(child.id())?;
    let namespaces = wait::until("unshare to start", Duration::from_secs(10), || {
        Ok(Identity::of(pid).filter(|now| now.exe.file_name().is_some_and(|name| name == "unshare")))
    });
    let state = State { holder: own_identity()?, namespaces: Some(namespaces?) };
    state.save(&plan.dir)?;
    config::create_env(plan, state.namespaces.as_ref())?;
    child.wait()?;
    cgroup::remove(&plan.cgroup)?;
    finish(plan);
    Ok(())
}

fn own_identity() -> Result<Identity> {
    Identity::of(i32::try_from(std::process::id())?).context("/proc is not mounted")
}

/// Nothing is held any more. The files may be gone already with the whole directory.
pub(super) fn forget(dir: &Path) {
    for file in [control_file(dir), state_file(dir)] {
        drop(std::fs::remove_file(file));
    }
}

/// The last thing a holder does. An owner that was killed can't remove its temporary directory itself.
fn finish(plan: &Plan) {
    forget(&plan.dir);
    if plan.temporary && abandoned(&plan.dir).exists() {
        drop(std::fs::remove_dir_all(&plan.dir));
    }
}

/// Marks a cluster whose owner went without a word.
fn abandoned(dir: &Path) -> PathBuf {
    dir.join("abandoned")
}

fn say(answer: &Answer) {
    let Ok(mut line) = serde_json::to_string(answer) else { return };
    line.push('\n');
    // Nobody reads a daemon's answers once it is up.
    drop(std::io::stdout().write_all(line.as_bytes()));
}

/// Threads that turn what is read into orders.
fn listen(plan: &Plan, daemon: bool, ending: &Arc<AtomicBool>) -> Result<Receiver<Order>> {
    let (orders, inbox) = channel();
    let control = control_file(&plan.dir);
    drop(std::fs::remove_file(&control));
    rustix::fs::mkfifoat(rustix::fs::CWD, &control, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
        .context("making the control pipe")?;
    // Open for writing too, or the pipe would end with its first writer.
    let pipe = File::options().read(true).write(true).open(&control)?;
    follow(pipe, orders.clone(), Arc::clone(ending), None);
    if !daemon {
        follow(std::io::stdin(), orders, Arc::clone(ending), Some(abandoned(&plan.dir)));
    }
    Ok(inbox)
}

/// Reads orders until told to end; `at_end` is written when the source ends without that.
fn follow(
    source: impl std::io::Read + Send + 'static,
    orders: Sender<Order>,
    ending: Arc<AtomicBool>,
    at_end: Option<PathBuf>,
) {
    std::thread::spawn(move || {
        let mut told = false;
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Order::Down) => {
                    told = true;
                    break;
                }
                Ok(Order::Stay) => return say(&Answer::Done),
                Ok(order) => drop(orders.send(order)),
                Err(error) => say(&Answer::Failed(format!("not an order: {line}: {error}"))),
            }
        }
        if let Some(mark) = at_end.filter(|_| !told) {
            drop(std::fs::write(mark, ""));
        }
        ending.store(true, Ordering::SeqCst);
        drop(orders.send(Order::Down));
    });
}

#[derive(Debug)]
struct Holder {
    plan: Plan,
    ending: Arc<AtomicBool>,
    services: BTreeMap<String, Service>,
    running: BTreeMap<String, Process>,
}

impl Holder {
    fn bring_up(&mut self) -> Result<()> {
        let plan = self.plan.clone();
        if let Some(kubeconfig) = plan.options.foreign_kubeconfig() {
            return self.bring_up_beside(kubeconfig);
        }
        let real = plan.options.is_real();
        if real {
            node::prepare(&plan)?;
        }
        self.launch(service::etcd(&plan)?)?;
        self.launch(service::api_server(&plan)?)?;
        if real {
            for service in node::runtime(&plan)? {
                self.launch(service)?;
            }
        }
        let addons = service::addons(&plan)?;
        for service in &addons {
            self.launch(service.clone())?;
        }
        say(&Answer::Progress("waiting for the API server".to_owned()));
        self.await_api_server()?;
        self.launch(service::controller_manager(&plan)?)?;
        self.launch(service::scheduler(&plan)?)?;
        self.kubectl(&["create", "--validate=false", "-f", &plan.text("config/rbac.yaml")])?;
        if plan.options.kwok_nodes() > 0 {
            self.launch(service::kwok(&plan)?)?;
            self.kubectl(&["create", "--validate=false", "-f", &plan.text("config/nodes.yaml")])?;
        }
        if real {
            for service in node::services(&plan)? {
                self.launch(service)?;
            }
        }
        say(&Answer::Progress("waiting for the nodes".to_owned()));
        let nodes = usize::try_from(plan.options.kwok_nodes())? + usize::from(real);
        self.wait("the nodes to be Ready", 60, |holder| {
            let path = "{.items[*].status.conditions[?(@.type=='Ready')].status}";
            let states = holder.kubectl(&["get", "nodes", "-o", &format!("jsonpath={path}")])?;
            Ok(states.split_whitespace().filter(|state| *state == "True").count() == nodes)
        })?;
        self.wait("the default ServiceAccount", 60, |holder| {
            Ok(holder.kubectl(&["-n", "default", "get", "serviceaccount", "default"]).is_ok())
        })?;
        for service in addons {
            self.await_ready(&service)?;
        }
        Ok(())
    }

    /// Only what runs beside a cluster that is there already.
    fn bring_up_beside(&mut self, kubeconfig: &Path) -> Result<()> {
        // Anyone who may log in may ask for the version.
        self.kubectl(&["get", "--raw", "/version", "--request-timeout=20s"]).with_context(|| {
            format!("expected the cluster of {} to answer: try `kubectl version` with it", kubeconfig.display())
        })?;
        let addons = service::addons(&self.plan)?;
        for service in &addons {
            self.launch(service.clone())?;
        }
        addons.iter().try_for_each(|service| self.await_ready(service))
    }

    fn launch(&mut self, service: Service) -> Result<()> {
        let process = service.launch.start()?;
        self.running.insert(service.name.clone(), process);
        self.services.insert(service.name.clone(), service);
        Ok(())
    }

    fn await_api_server(&mut self) -> Result<()> {
        let port = self.plan.ports.api;
        self.wait("the API server to be ready", 90, |holder| {
            Ok(http::listens(port) && holder.kubectl(&["get", "--raw", "/readyz"]).is_ok())
        })
    }

    fn await_ready(&mut self, service: &Service) -> Result<()> {
        let (what, ready) = (format!("{} to be ready", service.name), service.ready);
        self.wait(&what, 60, |_| Ok(ready.holds()))
    }

    /// Waits for a condition while the owner lives and every service does.
    fn wait(&mut self, what: &str, seconds: u64, mut holds: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
        wait::until(what, Duration::from_secs(seconds), || {
            if self.ending.load(Ordering::SeqCst) {
                bail!("the owner has gone");
            }
            for process in self.running.values_mut() {
                process.check()?;
            }
            Ok(holds(self)?.then_some(()))
        })
    }

    fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = Program::new(self.plan.program("kubectl")?);
        command.args(args).envs(self.plan.environment(None));
        command.envs(self.plan.home().map(|home| ("HOME", home)));
        let output = command.output().context("running kubectl")?;
        if !output.status.success() {
            bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Until told to end. Orphans of the namespace are adopted by its first process, which has to bury them.
    fn obey(&mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(Duration::from_millis(500)) {
                Ok(Order::Down) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(order) => match self.carry_out(order) {
                    Ok(()) => say(&Answer::Done),
                    Err(error) => say(&Answer::Failed(format!("{error:#}"))),
                },
                Err(RecvTimeoutError::Timeout) => {
                    node::bury_orphans(self.running.values().map(|process| process.identity().pid))
                }
            }
        }
    }

    fn carry_out(&mut self, order: Order) -> Result<()> {
        match order {
            Order::Start(name) => {
                let service = self.services.get(&name).with_context(|| self.unknown(&name))?.clone();
                if self.running.get_mut(&name).is_some_and(|process| process.check().is_ok()) {
                    return Ok(());
                }
                self.launch(service.clone())?;
                if name == service::API_SERVER { self.await_api_server() } else { self.await_ready(&service) }
            }
            Order::Stop(name) => {
                self.running_or_known(&name)?.map_or(Ok(()), |mut process| process.stop(Duration::from_secs(10)))
            }
            Order::Kill(name) => self.running_or_known(&name)?.map_or(Ok(()), |mut process| process.kill()),
            Order::Pause(name) => self.signal(&name, Signal::STOP),
            Order::Resume(name) => self.signal(&name, Signal::CONT),
            Order::Stay | Order::Down => Ok(()),
        }
    }

    fn signal(&mut self, name: &str, signal: Signal) -> Result<()> {
        let process = self.running.get_mut(name);
        process.with_context(|| format!("{name} does not run"))?.signal(signal)
    }

    fn running_or_known(&mut self, name: &str) -> Result<Option<Process>> {
        if !self.services.contains_key(name) {
            bail!(self.unknown(name));
        }
        Ok(self.running.remove(name))
    }

    fn unknown(&self, name: &str) -> String {
        let known: Vec<&str> = self.services.keys().map(String::as_str).collect();
        format!("this cluster has no service {name:?}, only {}", known.join(", "))
    }

    fn tear_down(&mut self, inside: bool) {
        for (name, process) in &mut self.running {
            if let Err(error) = process.kill() {
                crate::ui::say(format_args!("ending {name}: {error:#}"));
            }
        }
        if inside {
            node::end_namespace();
        }
    }
}

/// Starts a holder for a planned cluster, and says who it is.
pub(super) fn start(program: &Path, plan: &Plan, daemon: bool) -> Result<std::process::Child> {
    use std::os::unix::process::CommandExt;
    use std::process::Stdio;
    let log = plan.path("logs/holder.log");
    let log =
        File::options().create(true).append(true).open(&log).with_context(|| format!("opening {}", log.display()))?;
    let mut command = Program::new(program);
    command.args(["__hold", "--dir"]).arg(&plan.dir).stdout(Stdio::piped()).stderr(log).process_group(0);
    if daemon {
        command.arg("--daemon").stdin(Stdio::null());
    } else {
        command.stdin(Stdio::piped());
    }
    command.spawn().with_context(|| format!("starting {}", program.display()))
}

/// The end of the holder's own log.
pub(super) fn last_words(dir: &Path) -> String {
    tail(&dir.join("logs/holder.log"))
}

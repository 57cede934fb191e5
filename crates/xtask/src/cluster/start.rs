//! From options to a running cluster: its files, its holder, and what is kept of it when it fails.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::hold::{self, Answer, Order};
use super::options::ClusterOptions;
use super::pki::{self, Authority};
use super::plan::{Plan, State};
use super::{Images, config, foreign, node};
use crate::{env, ui};

/// What went wrong is in the logs, so they outlive the rest.
pub(super) fn keep_logs(temporary: tempfile::TempDir) {
    let written = std::fs::read_dir(temporary.path().join("logs")).is_ok_and(|mut logs| logs.next().is_some());
    if !written {
        return;
    }
    let dir = temporary.keep();
    for bulky in ["etcd", "node", "prometheus", "registry", "nats/jetstream"] {
        drop(std::fs::remove_dir_all(dir.join(bulky)));
    }
    ui::say(format_args!("the cluster's logs are kept in {}", dir.join("logs").display()));
}

/// Keeps a second start out of the same directory, until there is a holder that others can see.
pub(super) fn lock(dir: &Path) -> Result<File> {
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let lock = File::open(dir)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another cluster is being started in {}", dir.display()))?;
    Ok(lock)
}

/// Everything that is on file before the holder starts.
pub(super) fn prepare(options: ClusterOptions, dir: &Path, temporary: bool) -> Result<(Plan, Option<Authority>)> {
    if options.is_real() {
        node::check()?;
    }
    foreign::check(&options)?;
    let dir = std::fs::canonicalize(dir)?;
    clear(&dir)?;
    let plan = Plan::new(options, dir, temporary)?;
    plan.save()?;
    std::fs::create_dir_all(plan.path("logs"))?;
    let ours = plan.options.foreign_kubeconfig().is_none();
    let authority = ours.then(|| pki::create(&plan)).transpose()?;
    config::create(&plan)?;
    if plan.options.is_real() {
        Images::open(&plan)?.add_usual()?;
    }
    Ok((plan, authority))
}

/// Makes room for a new cluster: removes an earlier one's files, and nothing else.
fn clear(dir: &Path) -> Result<()> {
    if State::load(dir).is_some_and(|state| state.holder.is_alive()) {
        bail!("a cluster runs in {}: end it with `cargo xtask cluster down --dir {}`", dir.display(), dir.display());
    }
    let was_ours = Plan::load(dir).is_ok();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if !was_ours {
            bail!("{} is not empty and holds no cluster: name another directory", dir.display());
        }
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// Tells a holder to end; if it has ended already, all the better.
pub(super) fn dismiss(mut orders: ChildStdin) {
    if let Ok(order) = serde_json::to_string(&Order::Down) {
        drop(writeln!(orders, "{order}"));
    }
}

/// Starts the holder and waits until the cluster is up.
pub(super) fn start(plan: &Plan, daemon: bool, progress: &dyn Fn(&str)) -> Result<(Child, BufReader<ChildStdout>)> {
    let mut holder = hold::start(&xtask_program()?, plan, daemon)?;
    let mut answers = BufReader::new(holder.stdout.take().context("the holder has no standard output")?);
    if let Err(error) = await_done(&mut answers, &plan.dir, progress) {
        if let Some(orders) = holder.stdin.take() {
            dismiss(orders);
        }
        holder.wait()?;
        return Err(error);
    }
    Ok((holder, answers))
}

pub(super) fn await_done(answers: &mut impl BufRead, dir: &Path, progress: &dyn Fn(&str)) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if answers.read_line(&mut line)? == 0 {
            bail!("the cluster's holder has ended:\n{}", hold::last_words(dir));
        }
        match serde_json::from_str(&line)? {
            Answer::Progress(what) => progress(&what),
            Answer::Done => return Ok(()),
            Answer::Failed(why) => bail!(why),
        }
    }
}

/// The program whose `__hold` holds a cluster: this one, the one the caller names, or one built now, once.
fn xtask_program() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    if let Some(named) = env::xtask_program() {
        return Ok(named);
    }
    let own = env::own_program()?;
    if own.file_stem().is_some_and(|name| name == "xtask") {
        return Ok(own);
    }
    let Ok(mut built) = BUILT.lock() else { bail!("building xtask panicked on another thread") };
    if built.is_none() {
        *built = Some(build_xtask()?);
    }
    built.clone().context("xtask was not built")
}

fn build_xtask() -> Result<PathBuf> {
    let mut command = Command::new(env::cargo());
    command.args(["build", "--quiet", "--package", "evenkeel-xtask", "--bin", "xtask", "--message-format=json"]);
    let output = command.current_dir(env::workspace()?).output().context("running cargo")?;
    if !output.status.success() {
        bail!("building xtask, which holds test clusters: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let built = String::from_utf8_lossy(&output.stdout).lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    built.context("cargo built xtask but did not say where it is")
}

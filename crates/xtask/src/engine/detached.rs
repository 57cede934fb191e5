//! An engine without an owner: a process of its own holds the planes for as long as their cluster runs.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::DRAINED;
use super::planes::{Kit, Plane};
use crate::cluster;
use crate::proc::Identity;
use crate::{ui, wait};

/// How often the holder looks at its planes and its cluster.
const LOOK: Duration = Duration::from_millis(250);

/// Who holds the planes, on file while somebody does.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    holder: Identity,
}

fn state_file(dir: &Path) -> PathBuf {
    dir.join("state.json")
}

fn kit_file(dir: &Path) -> PathBuf {
    dir.join("kit.json")
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("reading {}", file.display()))
}

/// Starts a holder that outlives this process.
pub(super) fn start(kit: &Kit) -> Result<Child> {
    std::fs::write(kit_file(&kit.dir), serde_json::to_vec_pretty(kit)?)?;
    let log = File::options().create(true).append(true).open(kit.holder_log())?;
    let mut command = Command::new(crate::env::own_program()?);
    command.args(["__engine", "--dir"]).arg(&kit.dir).process_group(0);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = command.spawn().context("starting the engine's holder")?;
    let pid = i32::try_from(child.id())?;
    let holder = Identity::of(pid).context("the engine's holder ended at once")?;
    std::fs::write(state_file(&kit.dir), serde_json::to_vec_pretty(&State { holder })?)?;
    Ok(child)
}

/// Runs a holder: until its cluster or all planes have ended, or it is asked to end.
pub(crate) fn hold(dir: &Path) -> Result<()> {
    let kit: Kit = read(&kit_file(dir))?;
    let mut planes = Vec::new();
    for plane in Plane::ALL {
        planes.push((plane, kit.start(plane)?));
    }
    let ended = wait::until_every(LOOK, "the cluster to end", Duration::MAX, || {
        let mut left = Vec::new();
        for (plane, mut running) in planes.drain(..) {
            match running.ended()? {
                Some(status) => ui::say(format_args!("the {plane} ended ({status})")),
                None => left.push((plane, running)),
            }
        }
        planes = left;
        let over = planes.is_empty() || !cluster::is_up(&kit.cluster) || stop_file(dir).exists();
        Ok(over.then_some(()))
    });
    for (_, running) in &mut planes {
        running.signal(Signal::TERM)?;
    }
    for (plane, mut running) in planes {
        if let Err(error) = running.terminate(DRAINED) {
            ui::say(format_args!("the {plane} is killed: {error:#}"));
        }
    }
    ended
}

/// Asks the holder to end.
fn stop_file(dir: &Path) -> PathBuf {
    dir.join("stop")
}

/// Ends the engine that was left to itself in a cluster's directory, if there is one; its planes drain first.
///
/// # Errors
/// It does not end.
pub fn down(cluster: &Path) -> Result<()> {
    let dir = cluster.join("engine");
    let Ok(state) = read::<State>(&state_file(&dir)) else { return Ok(()) };
    if state.holder.is_alive() {
        std::fs::write(stop_file(&dir), "")?;
        let ended = wait::until("the engine to end", DRAINED, || Ok((!state.holder.is_alive()).then_some(())));
        if ended.is_err() {
            // The kernel ends the planes with it.
            state.holder.signal(Signal::KILL)?;
        }
    }
    for file in [state_file(&dir), stop_file(&dir)] {
        drop(std::fs::remove_file(file));
    }
    Ok(())
}

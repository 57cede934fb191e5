//! The cgroup below which a real node's pods run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait;

const MOUNT: &str = "/sys/fs/cgroup";

/// A leak in a test stays inside this.
const MEMORY: u64 = 3 << 30;

/// The named group's directories: one in version 2, one a controller in version 1.
fn directories(name: &str) -> Result<Vec<PathBuf>> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").exists() {
        return Ok(vec![mount.join(name)]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(mount).with_context(|| format!("a real node needs cgroups mounted on {MOUNT}"))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path().join(name));
        }
    }
    Ok(found)
}

/// Makes the group.
pub(super) fn create(name: &str) -> Result<()> {
    for directory in directories(name)? {
        if directory.parent().is_some_and(|controller| controller.ends_with("unified")) {
            // Beside version 1 it has no controllers; runc makes what it wants there, and only removing it is ours.
            continue;
        }
        std::fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let above = directory.parent().unwrap_or(&directory);
        if above.join("cgroup.subtree_control").exists() {
            for controller in ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"] {
                // Not every kernel has each; the kubelet says which it misses.
                for level in [above, &directory] {
                    drop(std::fs::write(level.join("cgroup.subtree_control"), format!("+{controller}")));
                }
            }
            std::fs::write(directory.join("memory.max"), MEMORY.to_string())?;
        }
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if above.join(file).exists() && !above.join("cgroup.subtree_control").exists() {
                std::fs::copy(above.join(file), directory.join(file))?;
            }
        }
        let limit = directory.join("memory.limit_in_bytes");
        if limit.exists() {
            std::fs::write(limit, MEMORY.to_string())?;
        }
    }
    Ok(())
}

/// Removes the group and everything below it. Its processes have ended; the kernel may still be cleaning up.
pub(super) fn remove(name: &str) -> Result<()> {
    let directories = directories(name)?;
    wait::until(&format!("cgroup {name} to be empty"), Duration::from_secs(20), || {
        for directory in &directories {
            remove_tree(directory);
        }
        Ok(directories.iter().all(|directory| !directory.exists()).then_some(()))
    })
}

fn remove_tree(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // Refused while a process is in it; the caller looks again.
    drop(std::fs::remove_dir(directory));
}

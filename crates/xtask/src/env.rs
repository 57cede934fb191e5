//! The only place that reads the environment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

#[allow(clippy::disallowed_methods, reason = "xtask is configured by its caller's environment, read here only")]
fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where built tools are kept: `$XDG_CACHE_HOME/evenkeel`, or `~/.cache/evenkeel`.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match read("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(read("HOME").context("neither XDG_CACHE_HOME nor HOME is set: set one")?).join(".cache"),
    };
    Ok(base.join("evenkeel"))
}

/// Directories that may hold a tool already: `KUBEBUILDER_ASSETS`, then `PATH`.
pub(crate) fn tool_directories() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = read("KUBEBUILDER_ASSETS").into_iter().map(PathBuf::from).collect();
    if let Some(path) = read("PATH") {
        directories.extend(std::env::split_paths(&path));
    }
    directories
}

/// The first `name` on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = read("PATH")?;
    let mut system: Vec<PathBuf> = std::env::split_paths(&path).collect();
    system.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    system.into_iter().map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// `PATH` with `first` in front.
pub(crate) fn path_with(first: &Path) -> String {
    format!("{}:{}:/usr/sbin:/sbin", first.display(), read("PATH").unwrap_or_default())
}

/// `PATH`.
pub(crate) fn path() -> String {
    read("PATH").unwrap_or_default()
}

/// Whether the caller asks for no colours (<https://no-color.org>).
pub(crate) fn no_color() -> bool {
    read("NO_COLOR").is_some()
}

/// The `xtask` program to run as a cluster's holder, when the caller has named one.
pub(crate) fn xtask_program() -> Option<PathBuf> {
    read(XTASK).map(PathBuf::from)
}

/// This program's file. Cargo may have built it anew while this process runs: the kernel then calls the one we were
/// started from deleted, and the new one lies in its place.
pub(crate) fn own_program() -> Result<PathBuf> {
    Ok(in_place(&std::env::current_exe()?))
}

fn in_place(program: &Path) -> PathBuf {
    let text = program.to_string_lossy();
    text.strip_suffix(" (deleted)").map_or_else(|| program.to_path_buf(), PathBuf::from)
}

/// The cluster that the suites are to run against instead of their own, as `cargo xtask test` names it.
pub(crate) fn test_kubeconfig() -> Option<PathBuf> {
    read(TEST_KUBECONFIG).map(PathBuf::from)
}

/// Where that cluster pulls the test images from.
pub(crate) fn test_image_prefix() -> Option<String> {
    read(TEST_IMAGE_PREFIX)
}

// None of these names begins with EVENKEEL_: the engines that tests start take such variables for keys of
// their configuration.

/// Names a foreign cluster's kubeconfig for test processes.
pub(crate) const TEST_KUBECONFIG: &str = "XTASK_TEST_KUBECONFIG";

/// Names, for test processes, what stands before `app:TAG` in a foreign cluster.
pub(crate) const TEST_IMAGE_PREFIX: &str = "XTASK_TEST_IMAGE_PREFIX";

/// Names the `xtask` program for test processes.
pub(crate) const XTASK: &str = "XTASK_BIN";

/// Cargo's own program, as cargo names it to what it runs.
pub(crate) fn cargo() -> String {
    read("CARGO").unwrap_or_else(|| "cargo".to_owned())
}

/// The root of this workspace.
pub(crate) fn workspace() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).with_context(|| format!("{} has no workspace above it", here.display()))?;
    Ok(root.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_test_processes_are_told_is_no_configuration_of_the_engines_they_start() {
        for name in [TEST_KUBECONFIG, TEST_IMAGE_PREFIX, XTASK] {
            assert!(!name.starts_with("EVENKEEL_"), "{name}");
        }
    }

    #[test]
    fn a_program_built_anew_is_found_in_its_place() {
        assert_eq!(in_place(Path::new("/target/xtask (deleted)")), Path::new("/target/xtask"));
        assert_eq!(in_place(Path::new("/target/xtask")), Path::new("/target/xtask"));
    }
}

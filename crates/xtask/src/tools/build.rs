//! Building a family once: under a lock, into a directory named after everything that decides the result.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::catalog::{Recipe, Source};
use super::go;
use crate::{env, ui, wait};

/// Each program's name and file.
pub(crate) fn ensure(recipe: &Recipe) -> Result<Vec<(&'static str, PathBuf)>> {
    if let Some(installed) = installed(recipe, &env::tool_directories()) {
        return Ok(installed);
    }
    let module = env::workspace()?.join(recipe.module);
    let recipe = &with_seccomp(recipe);
    let kept = env::cache()?.join("tools");
    let name = format!("{}-{}", recipe.name, key(recipe, &module)?);
    let directory = kept.join(&name);
    if !directory.is_dir() {
        std::fs::create_dir_all(&kept).with_context(|| format!("creating {}", kept.display()))?;
        let lock = File::create(kept.join(format!("{}.lock", recipe.name)))?;
        flock(&lock, FlockOperation::LockExclusive).context("waiting for another build of the same tools")?;
        if !directory.is_dir() {
            build(recipe, &module, &kept, &directory)?;
        }
    }
    Ok(recipe.binaries.iter().map(|binary| (binary.name, directory.join(binary.name))).collect())
}

fn build(recipe: &Recipe, module: &Path, kept: &Path, directory: &Path) -> Result<()> {
    if recipe.cgo && env::on_path("cc").is_none() {
        bail!("{} needs a C compiler: install the Debian packages gcc and libc6-dev", recipe.name);
    }
    let start = wait::now();
    // The lock is ours, so what is there was left by a build that was interrupted.
    let scratch = kept.join(format!(".building-{}", recipe.name));
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    let output = scratch.join("bin");
    std::fs::create_dir_all(&output)?;
    let patched = match recipe.source {
        Source::Patched { module: path, file, gzipped } => Some(patch(module, &scratch, path, file, gzipped)?),
        Source::Module | Source::Own => None,
    };
    let module = patched.as_deref().unwrap_or(module);
    let progress =
        ui::Progress::start(format_args!("building {} (about {} s the first time)", recipe.name, recipe.cold_seconds));
    for binary in &recipe.binaries {
        progress.now(format_args!("building {} of {}", binary.name, recipe.name));
        let mut command = go::command(module, recipe.cgo);
        command.args(["build", "-trimpath", "-ldflags", &format!("-s -w {}", recipe.ldflags)]);
        if !recipe.tags.is_empty() {
            command.args(["-tags", &recipe.tags.join(",")]);
        }
        command.arg("-o").arg(output.join(binary.name)).arg(binary.package);
        go::run(&mut command)?;
    }
    std::fs::rename(&output, directory).with_context(|| format!("keeping {}", directory.display()))?;
    std::fs::remove_dir_all(&scratch)?;
    progress.done(format_args!("built {} in {} s", recipe.name, start.elapsed().as_secs()));
    Ok(())
}

/// With libseccomp at hand runc applies the containers' profiles; without it the node strips them.
fn with_seccomp(recipe: &Recipe) -> Recipe {
    let mut recipe = recipe.clone();
    if recipe.name == "node-runc" && has_libseccomp() {
        recipe.tags.push("seccomp");
    }
    recipe
}

fn has_libseccomp() -> bool {
    Command::new("pkg-config").args(["--exists", "libseccomp"]).status().is_ok_and(|status| status.success())
}

/// Hash of everything that decides the result.
fn key(recipe: &Recipe, module: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut files = vec![module.join("go.mod")];
    match recipe.source {
        Source::Own => files.extend(go_files(module)?),
        Source::Module | Source::Patched { .. } => files.push(module.join("go.sum")),
    }
    for file in files {
        let bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        hash.update(u64::try_from(bytes.len())?.to_be_bytes());
        hash.update(bytes);
    }
    hash.update(recipe.fingerprint());
    hash.update(go::version()?);
    hash.update(std::env::consts::ARCH);
    let digest = hex::encode(hash.finalize());
    Ok(digest.chars().take(16).collect())
}

fn go_files(module: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(module)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "go") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A scratch module that takes `path` from a local copy holding one file more.
fn patch(module: &Path, scratch: &Path, path: &str, file: &str, content: &[u8]) -> Result<PathBuf> {
    go::run(go::command(module, false).args(["mod", "download", path]))?;
    let source = go::run(go::command(module, false).args(["list", "-m", "-f", "{{.Dir}}", path]))?;
    let outer = scratch.join("module");
    let copy = outer.join("source");
    copy_tree(Path::new(source.trim()), &copy)?;
    let added = copy.join(file);
    if let Some(parent) = added.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(added, content)?;
    for name in ["go.mod", "go.sum"] {
        std::fs::copy(module.join(name), outer.join(name))?;
    }
    go::run(go::command(&outer, false).args(["mod", "edit", "-replace", &format!("{path}=./source")]))?;
    Ok(outer)
}

/// Copies contents but not modes: the module cache is read-only.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::write(&target, std::fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// The family as already installed, if every program of it is there in exactly the pinned version.
fn installed(recipe: &Recipe, directories: &[PathBuf]) -> Option<Vec<(&'static str, PathBuf)>> {
    if recipe.version.is_empty() {
        return None;
    }
    let find = |name: &'static str| {
        let file = directories.iter().map(|dir| dir.join(name)).find(|file| file.is_file())?;
        let flags: &[&str] = if name == "kubectl" { &["version", "--client"] } else { &["--version"] };
        let output = Command::new(&file).args(flags).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        names_version(&String::from_utf8_lossy(&text), recipe.version).then_some((name, file))
    };
    recipe.binaries.iter().map(|binary| find(binary.name)).collect()
}

/// Whether a `--version` text names exactly this release.
fn names_version(text: &str, version: &str) -> bool {
    text.split(|c: char| c.is_whitespace() || c == ',').any(|word| word.strip_prefix('v').unwrap_or(word) == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_release_is_taken() {
        assert!(names_version("nats-server: v2.15.2\n", "2.15.2"));
        assert!(names_version("prometheus, version 3.15.0 (branch: , revision: unknown)", "3.15.0"));
        assert!(names_version("Kubernetes v1.36.3", "1.36.3"));
        assert!(!names_version("Kubernetes v1.36.30", "1.36.3"));
        assert!(!names_version("etcd Version: 3.7.2", "3.7.3"));
    }

    #[test]
    fn a_tool_of_another_version_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("etcd");
        std::fs::write(&file, "#!/bin/sh\necho etcd Version: 3.5.0\n").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let recipe = super::super::Family::Etcd.recipe();
        assert!(installed(&recipe, &[dir.path().to_path_buf()]).is_none());
        std::fs::write(&file, format!("#!/bin/sh\necho etcd Version: {}\n", recipe.version)).unwrap();
        assert_eq!(installed(&recipe, &[dir.path().to_path_buf()]), Some(vec![("etcd", file)]));
    }
}

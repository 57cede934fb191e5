//! Building programs of the workspace.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::env;

/// The programs that `cargo build ARGUMENTS` makes, by name. What cargo says goes to standard error.
pub(super) fn build(arguments: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut command = Command::new(env::cargo());
    command.arg("build").args(arguments).arg("--message-format=json-render-diagnostics");
    command.current_dir(env::workspace()?).stderr(Stdio::inherit());
    let output = command.output().context("running cargo")?;
    if !output.status.success() {
        bail!("`cargo build {}` failed ({})", arguments.join(" "), output.status);
    }
    let mut programs = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let name = message.pointer("/target/name").and_then(Value::as_str);
        let file = message.pointer("/executable").and_then(Value::as_str);
        if let (Some(name), Some(file)) = (name, file) {
            programs.insert(name.to_owned(), PathBuf::from(file));
        }
    }
    Ok(programs)
}

/// One of them.
pub(super) fn program(programs: &BTreeMap<String, PathBuf>, name: &str) -> Result<PathBuf> {
    programs.get(name).cloned().with_context(|| format!("cargo did not say where it built {name}"))
}

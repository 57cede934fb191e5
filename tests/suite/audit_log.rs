//! The engine's audit log: kept by the gateway of a world, looked at as an auditor does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::engine::{self, Plane};
use crate::wait::eventually;
use crate::world::{World, path};

/// What an auditor has: where the log is, and its public key.
#[derive(Debug)]
pub struct AuditLog {
    binary: PathBuf,
    /// The log's directory.
    pub store: PathBuf,
    key: String,
}

/// What `evenkeel audit verify` answers.
#[derive(Debug)]
pub struct Verified {
    /// 0: whole, 1: not, 2: it can't be read.
    pub code: Option<i32>,
    /// What it prints.
    pub text: String,
}

impl World {
    /// Has the gateway keep an audit log in a directory from its next start on.
    ///
    /// # Errors
    /// No key can be made.
    pub fn with_audit_log(&self) -> Result<AuditLog> {
        let (file, store) = (self.dir.path().join("audit.key"), self.dir.path().join("audit-log"));
        let key = self.engine.command(&["audit", "key", "--name", "audit.test", "--out", path(&file)?])?;
        let mut configuration = self.read_configuration(Plane::Gateway)?;
        configuration["audit"] = json!({"store": store, "keyFile": file, "lease": "3s"});
        self.write_configuration(Plane::Gateway, &configuration)?;
        Ok(AuditLog { binary: engine::binary()?, store, key: key.trim().to_owned() })
    }
}

impl AuditLog {
    /// The records of a Remediation in a log, once its Outcome is among them.
    ///
    /// # Errors
    /// It is not sealed in time.
    pub async fn course(&self, remediation: &str) -> Result<Vec<Value>> {
        eventually(&format!("the outcome of {remediation} to be sealed"), Duration::from_secs(30), || async {
            let records = self.records(&self.store, remediation)?;
            Ok(records.iter().any(|record| record["kind"] == "Outcome").then_some(records))
        })
        .await
    }

    /// The records of a Remediation in a log or a copy of one.
    ///
    /// # Errors
    /// It can't be read.
    pub fn records(&self, place: &Path, remediation: &str) -> Result<Vec<Value>> {
        let arguments =
            ["audit", "show", path(place)?, "--key", &self.key, "--remediation", remediation, "-o", "jsonl"];
        let text = engine::run(&self.binary, &arguments)?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Copies the log into a directory.
    ///
    /// # Errors
    /// It can't be read or written.
    pub fn export(&self, to: &Path) -> Result<()> {
        let arguments = ["audit", "export", path(&self.store)?, "--key", &self.key, "--to", path(to)?];
        engine::run(&self.binary, &arguments).map(drop)
    }

    /// Checks a log or a copy of one, with nothing but the public key and, if given, a checkpoint kept elsewhere.
    ///
    /// # Errors
    /// The binary can't be run.
    pub fn verify(&self, place: &Path, kept: Option<&Path>) -> Result<Verified> {
        let mut command = Command::new(&self.binary);
        command.args(["audit", "verify", path(place)?, "--key", &self.key]).env_clear();
        if let Some(kept) = kept {
            command.args(["--checkpoint", path(kept)?]);
        }
        let output = command.output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Verified { code: output.status.code(), text: String::from_utf8(text)? })
    }
}

/// Changes one letter of a record in a copy, where the record itself has it; gives the object's name.
///
/// # Errors
/// No object of the copy has the record.
pub fn tamper(copy: &Path, record: &Value) -> Result<String> {
    let id = record["id"].as_str().context("a record without an id")?;
    let entries = copy.join("tile/entries");
    let mut folders = vec![entries.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let file = entry?.path();
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            let mut bytes = std::fs::read(&file)?;
            let Some(place) = bytes.windows(id.len()).position(|part| part == id.as_bytes()) else { continue };
            let letter = bytes.get_mut(place).context("a letter")?;
            ensure!(letter.is_ascii_lowercase(), "{id} begins with something else");
            *letter = if *letter == b'z' { b'a' } else { *letter + 1 };
            std::fs::write(&file, bytes)?;
            return Ok(file.strip_prefix(copy)?.display().to_string());
        }
    }
    bail!("{}: no object has record {id}", entries.display())
}

//! A month of a large cluster, made up, through `evenkeel backtest`: how fast, and with how much memory.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::cargo;
use crate::{env, ui, wait};

/// Signals in all: a beginning and an end for each firing.
const SIGNALS: u64 = 1_000_000;
/// Workloads that they are about.
const ROOTS: u64 = 20_000;
/// Over how long.
const DAYS: u64 = 30;
/// How often its memory is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// A run that takes longer has failed.
const GIVE_UP: Duration = Duration::from_secs(30 * 60);
/// The goal.
const GOAL: Duration = Duration::from_secs(60);

pub(super) fn run(as_json: bool) -> Result<()> {
    let programs = cargo::build(&["--release", "--package", "evenkeel", "--bin", "evenkeel"])?;
    let evenkeel = cargo::program(&programs, "evenkeel")?;
    let workspace = env::workspace()?;
    let dir = tempfile::tempdir().context("making a directory for the recording")?;
    let recording = dir.path().join("signals.jsonl");
    ui::say(format!("writing {SIGNALS} signals about {ROOTS} workloads over {DAYS} days"));
    let bytes = write(&recording)?;
    let result = dir.path().join("result.json");
    let mut command = Command::new(evenkeel);
    command.arg("backtest").arg("--signals").arg(&recording).arg("--json");
    command.args(["--playbooks", "playbooks", "--policies", "policies/standard.yaml"]);
    command.args(["--against-policies", "policies/conservative.yaml"]);
    command
        .current_dir(workspace)
        .stdout(File::create(&result).context("writing the result")?)
        .stderr(Stdio::inherit());
    let began = wait::now();
    let child = command.spawn().context("starting evenkeel backtest")?;
    let most = memory_until_it_ends(child)?;
    let took = began.elapsed();
    let verdicts: Value = serde_json::from_slice(&std::fs::read(&result)?).context("reading the result")?;
    let number = |pointer: &str| verdicts.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    if number("/recording/signals") != SIGNALS || number("/recording/bad") > 0 {
        bail!(
            "expected {SIGNALS} signals, found {} and {} bad lines",
            number("/recording/signals"),
            number("/recording/bad")
        );
    }
    let measured = json!({
        "signals": SIGNALS,
        "mebibytes": bytes / 1_048_576,
        "seconds": (took.as_secs_f64() * 10.0).round() / 10.0,
        "signalsPerSecond": (f64::from(u32::try_from(SIGNALS)?) / took.as_secs_f64()).round(),
        "mostMemoryMebibytes": most / 1_024,
        "incidents": number("/before/incidents"),
        "different": number("/different"),
    });
    if as_json {
        ui::result(serde_json::to_string_pretty(&measured)?);
    } else {
        for (name, value) in measured.as_object().into_iter().flatten() {
            ui::result(format!("{name:<22} {value}"));
        }
    }
    if took > GOAL {
        bail!("expected a million signals in under a minute, it took {:.1} s", took.as_secs_f64());
    }
    Ok(())
}

/// The most memory a process ever had, in KiB.
fn memory_until_it_ends(mut child: Child) -> Result<u64> {
    let file = format!("/proc/{}/status", child.id());
    let mut most = 0;
    wait::until_every(LOOK, "evenkeel backtest", GIVE_UP, || {
        if let Some(status) = child.try_wait().context("waiting for evenkeel backtest")? {
            if !status.success() {
                bail!("evenkeel backtest failed ({status})");
            }
            return Ok(Some(most));
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let found = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
        most = most.max(found.unwrap_or(0));
        Ok(None)
    })
}

/// Chance that is the same every time (Knuth's MMIX).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const NAMES: [&str; 8] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "OOMKilled",
    "ReplicasUnavailable",
    "KubeDeploymentReplicasMismatch",
    "FailedScheduling",
    "HighLatency",
    "QueueFilling",
];

/// Writes the recording, in order of time. Returns its length.
fn write(file: &Path) -> Result<u64> {
    let mut chance = Chance(42);
    let mut signals: Vec<(u64, u64, bool, u64)> = Vec::new();
    for _ in 0..SIGNALS / 2 {
        let root = chance.below(ROOTS);
        let begins = chance.below(DAYS * 86_400);
        // Most are over in minutes, some last hours.
        let length = if chance.below(10) < 8 { 20 + chance.below(900) } else { 900 + chance.below(20_000) };
        signals.push((begins, root, true, begins));
        signals.push((begins + length, root, false, begins));
    }
    signals.sort_unstable();
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
    for (at, root, fires, begins) in signals {
        line(&mut out, at, root, fires, begins)?;
    }
    out.flush()?;
    Ok(std::fs::metadata(file)?.len())
}

fn line(out: &mut impl std::io::Write, at: u64, root: u64, fires: bool, begins: u64) -> Result<()> {
    let time = |seconds: u64| -> Result<String> {
        let at: DateTime<Utc> =
            DateTime::from_timestamp(1_767_600_000 + i64::try_from(seconds)?, 0).context("a time")?;
        Ok(at.to_rfc3339_opts(SecondsFormat::Secs, true))
    };
    let index = usize::try_from((root + begins) % 8)?;
    let name = NAMES.get(index).copied().unwrap_or_default();
    let (namespace, state) = (root % 200, if fires { "Firing" } else { "Resolved" });
    let ends = if fires { String::new() } else { format!(r#","endsAt":"{}""#, time(at)?) };
    writeln!(
        out,
        r#"{{"id":"{begins}-{root}-{state}","source":"Kubernetes","name":"{name}","state":"{state}","severity":"Warning","cluster":"prod","target":{{"kind":"Pod","namespace":"team-{namespace}","name":"app-{root}-5d9f7c8b6d-x2x4z","uid":"6f1c2c1e-{root:04x}"}},"root":{{"kind":"Deployment","namespace":"team-{namespace}","name":"app-{root}"}},"summary":"container app of app-{root} is in trouble again","startsAt":"{}"{ends},"observedAt":"{}"}}"#,
        time(begins)?,
        time(at)?,
    )?;
    Ok(())
}

//! `evenkeel backtest`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use evenkeel_observer::RecordedAlerts;
use evenkeel_scenarios::backtest::{self, Assume, Recording, Rules, RulesError, Settings, Verdicts};

use crate::args::{BacktestArgs, BacktestFormat};
use crate::config::Config;
use crate::output;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const DIFFERENT: u8 = 3;

/// Where playbooks and policies lie unless it is said.
const PLAYBOOKS: &str = "playbooks";
const POLICIES: &str = "policies";

pub(crate) fn run(args: &BacktestArgs) -> Result<ExitCode> {
    let config = Config::load_or_default(args.config.as_deref())?;
    let playbooks = args.playbooks.as_deref().unwrap_or(Path::new(PLAYBOOKS));
    let policies = args.policies.as_deref().unwrap_or(Path::new(POLICIES));
    let Some(before) = rules(playbooks, policies)? else { return Ok(ExitCode::from(USAGE)) };
    let is_against = args.against_playbooks.is_some() || args.against_policies.is_some();
    let after = if is_against {
        let playbooks = args.against_playbooks.as_deref().unwrap_or(playbooks);
        let policies = args.against_policies.as_deref().unwrap_or(policies);
        let Some(after) = rules(playbooks, policies)? else { return Ok(ExitCode::from(USAGE)) };
        Some(after)
    } else {
        None
    };
    let mut settings = Settings::new(&config.namespace, &config.gateway, &config.reasoner);
    settings.assume = args.assume;
    let alerts = RecordedAlerts::new(&config.cluster, &config.observer)?;
    let file = args.signals.display().to_string();
    let recording = Recording::open(&file, open(&args.signals)?, args.disorder, &alerts)?;
    let verdicts = backtest::backtest(recording, &before, after.as_ref(), &settings)?;
    output::print(&shown(&verdicts, args.format())?)?;
    Ok(ExitCode::from(exit(&verdicts, args)))
}

/// The rules, or nothing when findings were printed.
fn rules(playbooks: &Path, policies: &Path) -> Result<Option<Rules>> {
    match Rules::read(playbooks, policies) {
        Ok(rules) => Ok(Some(rules)),
        Err(RulesError::Faulty(problems)) => {
            for problem in problems {
                output::warn(&problem.to_string());
            }
            Ok(None)
        }
        Err(error) => {
            output::warn(&error.to_string());
            Ok(None)
        }
    }
}

fn open(path: &PathBuf) -> Result<Box<dyn Read>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path).with_context(|| format!("opening {}", path.display()))?))
}

fn shown(verdicts: &Verdicts, format: BacktestFormat) -> Result<String> {
    Ok(match format {
        BacktestFormat::Text => backtest::text(verdicts),
        BacktestFormat::Markdown => backtest::markdown(verdicts),
        BacktestFormat::Json => serde_json::to_string_pretty(verdicts)? + "\n",
    })
}

/// Bad lines are told; with `--strict` they fail it. A difference is an answer, and an exit code
/// only where one was asked for.
fn exit(verdicts: &Verdicts, args: &BacktestArgs) -> u8 {
    let account = &verdicts.recording;
    for line in &account.bad_lines {
        output::warn(&line.to_string());
    }
    let told = u64::try_from(account.bad_lines.len()).unwrap_or(u64::MAX);
    if account.bad > told {
        output::warn(&format!("{}: {} more bad lines", account.file, account.bad - told));
    }
    if args.strict && account.bad > 0 {
        return FAILED;
    }
    if args.exit_code && verdicts.different > 0 { DIFFERENT } else { 0 }
}

/// As clap reads it.
pub(crate) fn parse_assume(text: &str) -> Result<Assume, String> {
    match text {
        "facts-hold" => Ok(Assume::FactsHold),
        "unknown" => Ok(Assume::Unknown),
        _ => Err("expected facts-hold or unknown".to_owned()),
    }
}

//! The question of `evenkeel policy explain`: from options, a file, or a record.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use evenkeel_model::{
    Action, ActionName, Clock as _, Empty, Kind, Mode, ObjectRef, Origin, Proposal, RemediationStatus, RollbackTo,
    RollbackWorkload, ScaleWorkload, Verdict,
};
use evenkeel_policy::{Context, Disruption, GitOps, Protected, Question};
use evenkeel_runtime::WallClock;
use serde::Deserialize;
use serde_json::Value;

use crate::args::{Asker, ExplainArgs, Fields, Installation};

/// A question, owned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    action: Action,
    target: ObjectRef,
    labels: BTreeMap<String, String>,
    origin: Origin,
    at: DateTime<Utc>,
    mode: Mode,
    annotated: Option<String>,
    context: Context,
    /// The verdict that a Remediation holds.
    pub(super) recorded: Option<Verdict>,
}

impl Asked {
    pub(super) fn question<'a>(&'a self, protected: &'a Protected) -> Question<'a> {
        Question {
            action: &self.action,
            target: &self.target,
            labels: &self.labels,
            origin: self.origin,
            now: self.at,
            ceiling: self.mode,
            narrowed: self.annotated.as_deref(),
            context: self.context,
            protected,
        }
    }
}

/// A proposal that nobody has made, in a file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Hypothetical {
    #[serde(rename = "do")]
    action: Action,
    target: String,
    #[serde(default)]
    origin: Option<Origin>,
    #[serde(default)]
    at: Option<DateTime<Utc>>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    annotated: Option<String>,
    #[serde(default)]
    replicas: Option<u32>,
    #[serde(default)]
    available: Option<u32>,
    #[serde(default)]
    takes: Option<u32>,
    #[serde(default)]
    budget: Option<u32>,
    #[serde(default)]
    stateful: bool,
    #[serde(default)]
    git_ops: Option<FileFields>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum FileFields {
    Free,
    Owned,
}

/// What is asked. `record` is a Remediation that was read from the cluster.
pub(super) fn asked(args: &ExplainArgs, record: Option<Value>) -> Result<Asked> {
    let record = match (record, &args.file) {
        (Some(record), _) => Some(record),
        (None, Some(file)) => Some(read(file)?),
        (None, None) => None,
    };
    let (file, proposed_at, recorded) = match record {
        Some(record) => from_record(record)?,
        None => (from_options(args)?, None, None),
    };
    let target: ObjectRef = file.target.parse()?;
    let labels = file.labels.into_iter().chain(args.labels.iter().cloned()).collect();
    let origin = args.origin.map(|asker| match asker {
        Asker::Playbook => Origin::Playbook,
        Asker::Person => Origin::Person,
    });
    let mode = args.mode.map(|mode| match mode {
        Installation::Audit => Mode::Audit,
        Installation::Enforce => Mode::Enforce,
    });
    let git_ops = args.git_ops.map(|fields| match fields {
        Fields::Free => GitOps::FieldsFree,
        Fields::Owned => GitOps::FieldsOwned,
    });
    let in_file = file.git_ops.map(|fields| match fields {
        FileFields::Free => GitOps::FieldsFree,
        FileFields::Owned => GitOps::FieldsOwned,
    });
    let (replicas, available) = (args.replicas.or(file.replicas), args.available.or(file.available));
    let takes = args.takes.or(file.takes).unwrap_or(0);
    let budget = args.budget.or(file.budget);
    let desired = replicas.or(available).unwrap_or(takes);
    let available = available.unwrap_or(desired);
    Ok(Asked {
        action: file.action,
        context: Context {
            stateful: args.stateful || file.stateful || target.kind == Kind::StatefulSet,
            available,
            takes_capacity: takes > 0,
            replicas,
            git_ops: git_ops.or(in_file).unwrap_or_default(),
            disruption: Some(Disruption { desired, unavailable: desired.saturating_sub(available), takes, budget }),
            budgets: u32::from(budget.is_some()),
        },
        target,
        labels,
        origin: origin.or(file.origin).unwrap_or(Origin::Playbook),
        at: args.at.or(file.at).or(proposed_at).unwrap_or_else(|| WallClock.now()),
        mode: mode.or(file.mode).unwrap_or(Mode::Enforce),
        annotated: args.annotated.clone().or(file.annotated),
        recorded,
    })
}

fn read(file: &Path) -> Result<Value> {
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("reading stdin")?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?
    };
    // JSON is YAML.
    serde_saphyr::from_str(&text).with_context(|| format!("{}: expected YAML or JSON", file.display()))
}

type Recorded = (Hypothetical, Option<DateTime<Utc>>, Option<Verdict>);

fn from_record(record: Value) -> Result<Recorded> {
    if record.get("kind").and_then(Value::as_str) == Some("Remediation") {
        let proposal = record.pointer("/spec/proposal").cloned().unwrap_or_default();
        let proposal: Proposal = serde_json::from_value(proposal).context("spec.proposal")?;
        let status = record.get("status").filter(|status| !status.is_null()).cloned();
        let status: Option<RemediationStatus> = status.map(serde_json::from_value).transpose().context("status")?;
        return Ok(proposed(proposal, status.and_then(|status| status.verdict)));
    }
    if record.get("incident").is_some() {
        return Ok(proposed(serde_json::from_value(record).context("expected a Proposal")?, None));
    }
    let file = serde_json::from_value(record).context("expected `do` and `target`, a Remediation, or a Proposal")?;
    Ok((file, None, None))
}

fn proposed(proposal: Proposal, recorded: Option<Verdict>) -> Recorded {
    let file = hypothetical(proposal.action, proposal.target.to_string(), Some(proposal.origin));
    (file, Some(proposal.proposed_at), recorded)
}

fn hypothetical(action: Action, target: String, origin: Option<Origin>) -> Hypothetical {
    Hypothetical {
        action,
        target,
        origin,
        at: None,
        labels: BTreeMap::new(),
        mode: None,
        annotated: None,
        replicas: None,
        available: None,
        takes: None,
        budget: None,
        stateful: false,
        git_ops: None,
    }
}

fn from_options(args: &ExplainArgs) -> Result<Hypothetical> {
    let (Some(name), Some(target)) = (args.action, &args.target) else {
        bail!("expected a FILE, --remediation NAME, or --do ACTION with --target OBJECT");
    };
    let action = match name {
        ActionName::RollbackWorkload => Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable }),
        ActionName::RestartWorkload => Action::RestartWorkload(Empty {}),
        ActionName::ScaleWorkload => {
            let replicas = args.to.context("scaleWorkload needs --to N: how many replicas to set")?;
            Action::ScaleWorkload(ScaleWorkload { replicas })
        }
        ActionName::DeletePod => Action::DeletePod(Empty {}),
        ActionName::EvictPod => Action::EvictPod(Empty {}),
        ActionName::CordonNode => Action::CordonNode(Empty {}),
        ActionName::UncordonNode => Action::UncordonNode(Empty {}),
        ActionName::DeleteJob => Action::DeleteJob(Empty {}),
        ActionName::Notify | ActionName::Escalate => bail!("{name} writes nothing and needs no policy"),
    };
    Ok(hypothetical(action, target.to_string(), None))
}

/// The verdict as it was, before the one as it would be.
pub(super) fn recorded(verdict: &Verdict) -> String {
    let decision = serde_json::to_value(&verdict.decision).unwrap_or_default();
    let mut text = format!("recorded: {decision}\n");
    for rule in &verdict.rules {
        let _ = writeln!(text, "  {}: {}", rule.policy, rule.said);
    }
    text.push_str("now, with these policies and what the options say of the object:\n\n");
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command, Policy};

    fn args(line: &str) -> ExplainArgs {
        let words = ["evenkeel", "policy", "explain"].into_iter().chain(line.split_whitespace());
        match Args::try_parse_from(words).unwrap().command {
            Command::Policy(Policy::Explain(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_and_a_file_ask_the_same() {
        let options = args(
            "--do scaleWorkload --target deployment/shop/cart --to 5 --replicas 4 --available 3 --takes 1 --budget 2 --origin person \
             --at 2026-12-24T12:00:00Z --label app=cart --git-ops free --mode audit --annotated audit",
        );
        let file = serde_json::json!({
            "do": {"scaleWorkload": {"replicas": 5}}, "target": "deployment/shop/cart", "replicas": 4, "available": 3,
            "takes": 1, "budget": 2, "origin": "Person", "at": "2026-12-24T12:00:00Z", "labels": {"app": "cart"}, "gitOps": "Free",
            "mode": "Audit", "annotated": "audit",
        });
        let by_options = asked(&options, None).unwrap();
        assert_eq!(asked(&args("-"), Some(file)).unwrap(), by_options);
        assert_eq!(
            by_options.context.disruption,
            Some(Disruption { desired: 4, unavailable: 1, takes: 1, budget: Some(2) })
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let said = |line: &str| asked(&args(line), None).unwrap_err().to_string();
        assert!(said("").starts_with("expected a FILE"));
        assert!(said("--do scaleWorkload --target deployment/shop/cart").contains("--to N"));
        let misspelt = serde_json::json!({"do": {"deletePod": {}}, "target": "pod/shop/a", "avalable": 1});
        assert!(asked(&args("-"), Some(misspelt)).is_err());
    }
}

//! What the run left behind, read from the bus, the API server's request log and the objects.

use chrono::{DateTime, Utc};
use evenkeel_bus::{Bus as _, MemoryBus, Stream};
use evenkeel_cluster::Stamp;
use evenkeel_model::{
    ActionName, ApprovalSpec, Kind, ObjectRef, Outcome, Proposal, Remediation, STAMP_ANNOTATION, Signal,
};
use evenkeel_simulator::{Entry, Simulator};
use futures::StreamExt as _;
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::report::{FreezeSeen, PhaseSeen, Proposed, RemediationSeen, SignalSeen, WriteSeen};
use crate::engine;
use crate::file::Plane;
use crate::invariants::Answer;

/// Messages of a stream with the time at which they were stored.
pub(crate) async fn messages<T: DeserializeOwned>(bus: &MemoryBus, stream: Stream) -> Vec<(DateTime<Utc>, T)> {
    bus.set_away(false);
    let Ok(stored) = bus.replay(stream, None).await else { return Vec::new() };
    let stored: Vec<_> = stored.collect().await;
    let read = stored.into_iter().flatten();
    read.filter_map(|message| Some((message.at, serde_json::from_slice(&message.payload).ok()?))).collect()
}

pub(crate) fn signal((at, signal): &(DateTime<Utc>, Signal)) -> SignalSeen {
    SignalSeen {
        at: *at,
        name: signal.name.clone(),
        source: signal.source,
        state: signal.state,
        target: signal.target.as_ref().map(ToString::to_string),
        root: signal.root.as_ref().map(ToString::to_string),
        summary: signal.summary.clone(),
    }
}

pub(crate) fn proposed((at, proposal): &(DateTime<Utc>, Proposal)) -> Proposed {
    Proposed {
        at: *at,
        remediation: proposal.name(),
        incident: proposal.incident.clone(),
        action: proposal.action.name(),
        target: proposal.target.to_string(),
        step: step(proposal),
        rationale: proposal.rationale.clone(),
    }
}

fn step(proposal: &Proposal) -> String {
    format!("{}/{}", proposal.playbook.name, proposal.playbook.step)
}

/// Outcomes, as they came to the bus.
pub(crate) async fn outcomes(bus: &MemoryBus) -> Vec<(DateTime<Utc>, Outcome)> {
    messages(bus, Stream::Outcomes).await
}

/// All Remediations there are, oldest first.
pub(crate) fn remediations(simulator: &Simulator) -> Vec<Remediation> {
    let all = simulator.list("remediations.evenkeel.dev");
    let mut all: Vec<Remediation> =
        all.iter().filter_map(|object| serde_json::from_value(object.as_ref().clone()).ok()).collect();
    all.sort_by_key(|remediation| (remediation.spec.proposal.proposed_at, remediation.name_any()));
    all
}

pub(crate) fn remediation(remediation: &Remediation) -> RemediationSeen {
    let proposal = &remediation.spec.proposal;
    let status = remediation.status.as_ref();
    let rules = status.and_then(|status| status.verdict.as_ref()).map(|verdict| verdict.rules.as_slice());
    let checks = status.and_then(|status| status.verification.as_ref()).map(|seen| seen.checks.as_slice());
    let phase = |transition: &evenkeel_model::Transition| PhaseSeen {
        at: transition.at,
        phase: transition.phase,
        reason: transition.reason.clone(),
    };
    RemediationSeen {
        name: remediation.name_any(),
        incident: proposal.incident.clone(),
        action: proposal.action.name(),
        target: proposal.target.to_string(),
        root: proposal.root.to_string(),
        step: step(proposal),
        rationale: proposal.rationale.clone(),
        rules: rules.unwrap_or_default().iter().map(|spoken| format!("{}: {}", spoken.policy, spoken.said)).collect(),
        phases: status.map(|status| status.history.iter().map(phase).collect()).unwrap_or_default(),
        acted_at: status.and_then(|status| status.acted_at),
        asked: status
            .and_then(|status| status.approval.as_ref())
            .map(|asked| asked.changes.clone())
            .unwrap_or_default(),
        changes: status.and_then(|status| status.plan.as_ref()).map(|plan| plan.changes.clone()).unwrap_or_default(),
        checks: checks
            .unwrap_or_default()
            .iter()
            .map(|check| {
                let is_said = check.found == "so" || check.condition.ends_with(&format!(" is {}", check.found));
                if is_said { check.condition.clone() } else { format!("{}: {}", check.condition, check.found) }
            })
            .collect(),
    }
}

/// What people answered, of themselves: the API server knows who they are.
pub(crate) fn answers(simulator: &Simulator) -> Vec<Answer> {
    let users = [Plane::Observer, Plane::Reasoner, Plane::Gateway].map(engine::user);
    let log = simulator.log();
    let made = log.iter().filter(|entry| {
        let is_approval = entry.key.resource.as_str() == "approvals.evenkeel.dev" && entry.verb == "create";
        is_approval && entry.code == 201 && !entry.dry_run && !users.contains(&entry.user)
    });
    let answer = made.filter_map(|entry| {
        let spec: ApprovalSpec = serde_json::from_value(entry.body.get("spec")?.clone()).ok()?;
        Some(Answer { at: entry.at, by: entry.user.clone(), remediation: spec.remediation, decision: spec.decision })
    });
    answer.collect()
}

/// Freezes that were made and ended.
pub(crate) fn freezes(simulator: &Simulator) -> Vec<FreezeSeen> {
    let log = simulator.log();
    let ours = log.iter().filter(|entry| {
        let is_freeze = entry.key.resource.as_str() == "freezes.evenkeel.dev" && !entry.dry_run;
        is_freeze && matches!(entry.verb, "create" | "delete") && (200..300).contains(&entry.code)
    });
    let seen = ours.map(|entry| {
        let object = entry.after.as_ref().or(entry.before.as_ref());
        let reason = object.and_then(|object| object.pointer("/spec/reason")).and_then(Value::as_str);
        FreezeSeen {
            at: entry.at,
            by: entry.user.clone(),
            name: entry.key.name.clone(),
            ends: entry.verb == "delete",
            reason: reason.unwrap_or_default().to_owned(),
        }
    });
    seen.collect()
}

/// The engine's changes of the cluster: what is no dry-run, no object of its own, no Event.
pub(crate) fn writes(simulator: &Simulator, remediations: &[RemediationSeen]) -> Vec<WriteSeen> {
    let users = [Plane::Observer, Plane::Reasoner, Plane::Gateway].map(engine::user);
    let log = simulator.log();
    let ours = log.iter().filter(|entry| users.contains(&entry.user) && !entry.dry_run);
    let changes = ours.filter(|entry| {
        let resource = entry.key.resource.as_str();
        !resource.ends_with("evenkeel.dev") && !resource.starts_with("events")
    });
    changes.map(|entry| write(entry, remediations)).collect()
}

fn write(entry: &Entry, remediations: &[RemediationSeen]) -> WriteSeen {
    let object = object(entry);
    let stamp = stamp(entry);
    let action = stamp
        .as_ref()
        .and_then(|stamp| remediations.iter().find(|found| found.name == stamp.remediation).map(|found| found.action));
    let action = action.or_else(|| told_by_verb(entry));
    // What leaves no object to be stamped is told by its target and time.
    let by_target = || {
        let mut open = remediations.iter().filter(|found| Some(found.action) == action && found.target == object);
        open.rfind(|found| found.phases.first().is_some_and(|first| first.at <= entry.at))
    };
    let remediation = stamp.as_ref().map(|stamp| stamp.remediation.clone());
    WriteSeen {
        at: entry.at,
        action,
        remediation: remediation.or_else(|| by_target().map(|found| found.name.clone())),
        object,
        verb: match entry.subresource.as_str() {
            "" => entry.verb.to_owned(),
            subresource => format!("{} {subresource}", entry.verb),
        },
        code: entry.code,
        undo: stamp.is_some_and(|stamp| stamp.undo),
        uid: entry.before.as_ref().and_then(|before| before.pointer("/metadata/uid")?.as_str().map(str::to_owned)),
    }
}

fn object(entry: &Entry) -> String {
    let plural = entry.key.resource.as_str().split('.').next().unwrap_or_default();
    let kind = Kind::ALL.iter().find(|kind| kind.plural() == plural);
    let namespace = Some(entry.key.namespace.clone()).filter(|namespace| !namespace.is_empty());
    match kind {
        Some(kind) => ObjectRef { kind: *kind, namespace, name: entry.key.name.clone(), uid: None }.to_string(),
        None => format!("{plural}/{}/{}", entry.key.namespace, entry.key.name),
    }
}

/// The stamp that the request itself carried.
fn stamp(entry: &Entry) -> Option<Stamp> {
    let name = STAMP_ANNOTATION.replace('/', "~1");
    let operations = entry.body.as_array()?;
    let value = operations.iter().find_map(|operation| {
        let path = operation.get("path")?.as_str()?;
        let value = operation.get("value")?;
        if path == "/metadata/annotations" {
            return value.get(STAMP_ANNOTATION)?.as_str();
        }
        (path.strip_prefix("/metadata/annotations/") == Some(&name) && operation["op"] != "test")
            .then(|| value.as_str())?
    });
    value?.parse().ok()
}

fn told_by_verb(entry: &Entry) -> Option<ActionName> {
    let operations = || entry.body.as_array().into_iter().flatten();
    let touches = |path: &str| operations().any(|it| it["op"] != "test" && it["path"].as_str() == Some(path));
    match (entry.verb, entry.key.resource.as_str(), entry.subresource.as_str()) {
        ("delete", "pods", "") => Some(ActionName::DeletePod),
        ("create", "pods", "eviction") => Some(ActionName::EvictPod),
        ("delete", "jobs.batch", "") => Some(ActionName::DeleteJob),
        ("patch", "nodes", "") => {
            let cordons =
                operations().any(|it| it["path"] == "/spec/unschedulable" && it["value"] == Value::Bool(true));
            Some(if cordons { ActionName::CordonNode } else { ActionName::UncordonNode })
        }
        ("patch", "deployments.apps" | "statefulsets.apps", "") if touches("/spec/replicas") => {
            Some(ActionName::ScaleWorkload)
        }
        _ => None,
    }
}

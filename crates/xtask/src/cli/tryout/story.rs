//! What the engine sees, decides and does, read from where it says so: the bus, the incidents, the Remediations.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use chrono::{DateTime, Duration, Utc};
use serde_json::Value;

use super::narrator::{Event, Tone};
use crate::cluster::Cluster;
use crate::engine::Engine;
use crate::wait;

/// A longer reason is cut.
const REASON: usize = 480;
/// A longer summary of a signal is cut.
const SUMMARY: usize = 220;
/// The same when the signal has been told before.
const AGAIN: usize = 70;

/// How long after a moment everything that was written then can be read.
const READABLE: Duration = Duration::milliseconds(200);

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// When that was certain.
    Repaired(DateTime<Utc>),
    /// Why not.
    NotRepaired(String),
}

/// Follows the engine; tells everything once.
#[derive(Debug, Default)]
pub(super) struct Story {
    signals: BTreeSet<String>,
    /// Names and targets of those that fire.
    firing: BTreeSet<String>,
    /// The Remediations proposed.
    proposals: BTreeSet<String>,
    /// What was decided last, and whether it is closed, of each incident.
    decisions: BTreeMap<String, (String, bool)>,
    remediations: BTreeMap<String, Told>,
    /// Read already, told when nothing earlier can come any more.
    waiting: Vec<Event>,
    end: Option<End>,
}

/// What has been told of a Remediation.
#[derive(Debug, Default)]
struct Told {
    phases: usize,
    verdict: bool,
}

impl Story {
    /// What is new, in order.
    pub(super) fn read(&mut self, engine: &Engine, cluster: &Cluster) -> Result<Vec<Event>> {
        let until = wait::wall() - READABLE;
        for line in engine.command(&["get", "signals", "-o", "jsonl"])?.lines() {
            self.signal(&serde_json::from_str(line).context("a signal")?);
        }
        let incidents = engine.command(&["get", "incidents", "--all", "-o", "json"])?;
        for incident in array(&serde_json::from_str(&incidents).context("incidents")?, "") {
            self.incident(incident);
        }
        let remediations = cluster.kubectl(&["get", "remediations", "--namespace", "evenkeel", "-o", "json"])?;
        for remediation in array(&serde_json::from_str(&remediations).context("remediations")?, "/items") {
            self.remediation(remediation);
        }
        Ok(self.due(until))
    }

    /// How it ended, once everything up to there has been told.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref().filter(|_| self.waiting.is_empty())
    }

    fn due(&mut self, until: DateTime<Utc>) -> Vec<Event> {
        self.waiting.sort_by_key(|event| event.at);
        let later = self.waiting.partition_point(|event| event.at <= until);
        let rest = self.waiting.split_off(later);
        std::mem::replace(&mut self.waiting, rest)
    }

    fn signal(&mut self, signal: &Value) {
        let Some(at) = time(signal, "/observedAt") else { return };
        if !self.signals.insert(text(signal, "/id").to_owned()) {
            return;
        }
        let about = signal.pointer("/target").map(|target| format!(" on {}", object(target))).unwrap_or_default();
        let what = text_of(signal, "/name") + &about;
        if text(signal, "/state") == "Resolved" {
            self.firing.remove(&what);
            let text = format!("{what} has ended");
            self.waiting.push(Event { at, who: "signal", tone: Tone::Good, text, more: Vec::new() });
            return;
        }
        let is_new = self.firing.insert(what.clone());
        let seen_by = match text(signal, "/source") {
            "Kubernetes" => "seen in the cluster",
            "Alertmanager" => "an alert that Alertmanager posted",
            "Prometheus" => "an alert polled from Prometheus",
            other => other,
        };
        let mut more = Vec::new();
        if !text(signal, "/summary").is_empty() {
            more.push((Tone::Faint, cut(text(signal, "/summary"), if is_new { SUMMARY } else { AGAIN })));
        }
        if let Some(reason) = signal.pointer("/suppressed").and_then(Value::as_str) {
            more.push((Tone::Busy, format!("no automatic action: {reason}")));
        }
        let text = match is_new {
            true => format!("{what}: {}, {seen_by}", text(signal, "/severity").to_lowercase()),
            false => format!("{what}, again"),
        };
        self.waiting.push(Event { at, who: "signal", tone: Tone::Bad, text, more });
    }

    fn incident(&mut self, incident: &Value) {
        // Told from the attempts: the decision may be overwritten before anybody reads it.
        for attempt in array(incident, "/attempts") {
            if let Some(at) = time(attempt, "/proposedAt")
                && self.proposals.insert(text_of(attempt, "/remediation"))
            {
                let rationale = cut(text(attempt, "/proposal/rationale"), REASON);
                let more = Some(rationale).filter(|why| !why.is_empty()).map(|why| (Tone::Faint, why));
                let (text, more) = (proposal(attempt), more.into_iter().collect());
                self.waiting.push(Event { at, who: "reasoner", tone: Tone::Strong, text, more });
            }
        }
        let id = text_of(incident, "/id");
        let closed = time(incident, "/closedAt");
        let decided = (text(incident, "/decided/what"), text(incident, "/decided/reason"));
        let now = (format!("{decided:?}"), closed.is_some());
        if self.decisions.get(&id) == Some(&now) {
            return;
        }
        let before = self.decisions.insert(id, now.clone());
        if let Some(at) = time(incident, "/decided/at")
            && decided.0 != "Propose"
            && before.is_none_or(|(decision, _)| decision != now.0)
        {
            let (verb, tone) = match decided.0 {
                "NeedEvidence" => ("asks", Tone::Plain),
                "WaitUntil" => ("waits", Tone::Plain),
                "Escalate" => ("hands over to people", Tone::Bad),
                "Ignore" => ("rests", Tone::Plain),
                other => (other, Tone::Plain),
            };
            let text = cut(&format!("{verb}: {}", decided.1), REASON);
            self.waiting.push(Event { at, who: "reasoner", tone, text, more: Vec::new() });
        }
        if let Some(at) = closed {
            let about = incident.pointer("/root").map(|root| format!(" about {}", object(root))).unwrap_or_default();
            let text = format!("closes the incident{about}");
            self.waiting.push(Event { at, who: "reasoner", tone: Tone::Good, text, more: Vec::new() });
        }
        if let Some(why) = incident.pointer("/needsHuman").and_then(Value::as_str) {
            self.end.get_or_insert(End::NotRepaired(format!("a person is needed: {why}")));
        }
    }

    /// Whether every incident is closed.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.decisions.values().all(|(_, closed)| *closed)
    }

    fn remediation(&mut self, remediation: &Value) {
        let name = text(remediation, "/metadata/name").to_owned();
        let told = self.remediations.entry(name.clone()).or_default();
        for transition in array(remediation, "/status/history").skip(told.phases) {
            told.phases += 1;
            let Some(at) = time(transition, "/at") else { continue };
            // The first one's time is the API server's, in whole seconds.
            let at = time(remediation, "/spec/proposal/proposedAt").map_or(at, |proposed| at.max(proposed));
            let phase = text(transition, "/phase");
            let changes: Vec<&str> = array(remediation, "/status/plan/changes").filter_map(Value::as_str).collect();
            // What changes is told once, as a difference.
            let reason = text(transition, "/reason");
            let reason = reason.strip_suffix(&changes.join(", ")).unwrap_or(reason).trim_end_matches([':', ' ']);
            let text = cut(&format!("{phase}: {reason}"), REASON);
            let mut more = Vec::new();
            if phase == "Proposed" {
                more.push((Tone::Faint, format!("remediation {name}")));
            }
            if phase != "Proposed" && !told.verdict {
                told.verdict = true;
                more.extend(array(remediation, "/status/verdict/rules").map(rule));
            }
            if phase == "Executing" {
                more.extend(changes.iter().copied().flat_map(diff));
            }
            if matches!(phase, "Succeeded" | "Ineffective" | "Unverified") {
                more.extend(array(remediation, "/status/verification/checks").map(check));
            }
            self.waiting.push(Event { at, who: "gateway", tone: tone(phase), text, more });
            self.end = match phase {
                "Succeeded" => Some(End::Repaired(at)),
                "Denied" | "WouldExecute" | "Expired" | "Cancelled" | "Obsolete" | "Failed" | "Unknown"
                | "Unverified" | "RolledBack" | "RollbackFailed" | "NotUndoable" | "Regressed" => {
                    Some(End::NotRepaired(text_of(remediation, "/spec/title") + " ended " + phase))
                }
                _ => self.end.take(),
            };
        }
    }
}

/// `proposes rollbackWorkload of deployment/shop/cart (bad-rollout/roll-back)`.
fn proposal(attempt: &Value) -> String {
    let about = attempt.pointer("/target").map(object).unwrap_or_default();
    let step = format!("{}/{}", text(attempt, "/playbook/name"), text(attempt, "/playbook/step"));
    format!("proposes {} of {about} ({step})", text(attempt, "/action"))
}

/// How a phase is shown.
fn tone(phase: &str) -> Tone {
    match phase {
        "Succeeded" => Tone::Good,
        "Proposed" | "Authorized" | "Claimed" | "Executing" | "Verifying" => Tone::Plain,
        "Deferred" | "AwaitingApproval" => Tone::Busy,
        _ => Tone::Bad,
    }
}

/// `path: old → new` as three lines.
fn diff(change: &str) -> Vec<(Tone, String)> {
    let parts = change.split_once(": ").and_then(|(path, values)| Some((path, values.split_once(" → ")?)));
    let Some((path, (old, new))) = parts else { return vec![(Tone::Plain, cut(change, SUMMARY))] };
    vec![
        (Tone::Plain, path.to_owned()),
        (Tone::Bad, format!("  - {}", cut(old, SUMMARY))),
        (Tone::Good, format!("  + {}", cut(new, SUMMARY))),
    ]
}

fn rule(rule: &Value) -> (Tone, String) {
    (Tone::Faint, cut(&format!("policy {}: {}", text(rule, "/policy"), text(rule, "/said")), REASON))
}

fn check(check: &Value) -> (Tone, String) {
    let (tone, mark) = match check.pointer("/holds").and_then(Value::as_bool) {
        Some(true) => (Tone::Good, "holds"),
        Some(false) => (Tone::Bad, "does not hold"),
        None => (Tone::Busy, "can't be told"),
    };
    (tone, cut(&format!("{mark}: {} (found {})", text(check, "/condition"), text(check, "/found")), REASON))
}

/// `deployment/shop/cart`.
fn object(object: &Value) -> String {
    let parts = [text(object, "/kind").to_lowercase(), text_of(object, "/namespace"), text_of(object, "/name")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

fn array<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn text_of(value: &Value, pointer: &str) -> String {
    text(value, pointer).to_owned()
}

pub(super) fn time(value: &Value, pointer: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text(value, pointer)).ok()?.to_utc())
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let short: String = text.chars().take(most).collect();
    format!("{} …", short.trim_end())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: u32) -> String {
        format!("2026-11-21T04:00:{second:02}Z")
    }

    fn all(story: &mut Story) -> Vec<String> {
        let due = story.due(DateTime::<Utc>::MAX_UTC);
        due.into_iter().map(|event| format!("{}: {}", event.who, event.text)).collect()
    }

    #[test]
    fn what_is_new_is_told_once_and_in_order() {
        let mut story = Story::default();
        let pod = json!({"kind": "Pod", "namespace": "shop", "name": "cart-1"});
        let mut signal = json!({"id": "a", "name": "ErrImagePull", "state": "Firing", "severity": "Warning",
            "source": "Kubernetes", "target": pod, "observedAt": at(2)});
        let incident = json!({"id": "i-1", "decided": {"at": at(3), "what": "WaitUntil", "reason": "settling"}});
        story.incident(&incident);
        story.signal(&signal);
        story.signal(&signal);
        assert_eq!(
            all(&mut story),
            ["signal: ErrImagePull on pod/shop/cart-1: warning, seen in the cluster", "reasoner: waits: settling"]
        );
        story.incident(&incident);
        signal["id"] = json!("a2");
        story.signal(&signal);
        assert_eq!(all(&mut story), ["signal: ErrImagePull on pod/shop/cart-1, again"]);
        (signal["id"], signal["state"]) = (json!("b"), json!("Resolved"));
        story.signal(&signal);
        assert_eq!(all(&mut story), ["signal: ErrImagePull on pod/shop/cart-1 has ended"]);
    }

    #[test]
    fn a_proposal_is_told_also_when_the_decision_was_not_seen_and_the_end_of_an_incident_once() {
        let mut story = Story::default();
        let cart = json!({"kind": "Deployment", "namespace": "shop", "name": "cart"});
        let attempt = json!({"remediation": "r-1", "proposedAt": at(2), "action": "rollbackWorkload", "target": cart,
            "playbook": {"name": "bad-rollout", "step": "roll-back"}, "proposal": {"rationale": "it helps"}});
        let waits = json!({"at": at(3), "what": "WaitUntil", "reason": "no outcome yet"});
        let mut incident = json!({"id": "i-1", "root": cart, "attempts": [attempt], "decided": waits});
        story.incident(&incident);
        assert_eq!(story.waiting[0].more, [(Tone::Faint, "it helps".to_owned())]);
        assert!(!story.is_over());
        assert_eq!(
            all(&mut story),
            [
                "reasoner: proposes rollbackWorkload of deployment/shop/cart (bad-rollout/roll-back)",
                "reasoner: waits: no outcome yet",
            ]
        );
        incident["closedAt"] = json!(at(4));
        story.incident(&incident);
        story.incident(&incident);
        assert_eq!(all(&mut story), ["reasoner: closes the incident about deployment/shop/cart"]);
        assert!(story.is_over());
    }

    #[test]
    fn what_was_written_a_moment_ago_waits_for_what_may_come_before_it() {
        let mut story = Story::default();
        story.incident(&json!({"id": "i-1", "decided": {"at": at(3), "what": "Ignore", "reason": "closed"}}));
        let second = |second| DateTime::parse_from_rfc3339(&at(second)).unwrap().to_utc();
        assert!(story.due(second(2)).is_empty());
        assert_eq!(story.due(second(3)).len(), 1);
    }

    #[test]
    fn a_remediation_is_told_phase_by_phase_with_what_changed() {
        let mut story = Story::default();
        let phase = |second, phase: &str| json!({"at": at(second), "phase": phase, "reason": "because: spec.image: cart:v2 → cart:v1"});
        let mut remediation = json!({
            "metadata": {"name": "r-1"},
            "spec": {"title": "rollbackWorkload deployment/shop/cart"},
            "status": {
                "history": [phase(1, "Proposed"), phase(2, "Executing")],
                "plan": {"changes": ["spec.image: cart:v2 → cart:v1"]},
            },
        });
        story.remediation(&remediation);
        let due = story.due(DateTime::<Utc>::MAX_UTC);
        assert_eq!(due.last().unwrap().text, "Executing: because");
        let lines: Vec<&str> = due.last().unwrap().more.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(lines, ["spec.image", "  - cart:v2", "  + cart:v1"]);
        assert_eq!(story.end(), None);
        remediation["status"]["history"].as_array_mut().unwrap().push(phase(3, "Succeeded"));
        story.remediation(&remediation);
        assert_eq!(story.end(), None, "not before it has been told");
        assert_eq!(all(&mut story), ["gateway: Succeeded: because"]);
        assert!(matches!(story.end(), Some(End::Repaired(_))));
    }

    #[test]
    fn what_was_denied_is_not_repaired() {
        let mut story = Story::default();
        story.remediation(&json!({
            "metadata": {"name": "r-1"},
            "spec": {"title": "rollbackWorkload deployment/shop/cart"},
            "status": {"history": [{"at": at(1), "phase": "Denied", "reason": "no policy"}]},
        }));
        all(&mut story);
        let why = "rollbackWorkload deployment/shop/cart ended Denied".to_owned();
        assert_eq!(story.end(), Some(&End::NotRepaired(why)));
    }
}

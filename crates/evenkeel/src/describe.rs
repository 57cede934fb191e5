//! `evenkeel describe remediation`: its life as a story.

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use evenkeel_model::{
    ApprovalDecision, Asked, Clock as _, Decision, Mode, Plan, Proposal, Remediation, RemediationStatus, Undo, Verb,
    Verdict, Verification,
};
use evenkeel_runtime::{WallClock, terminal};
use kube::{Api, ResourceExt as _};

use crate::args::ClientArgs;
use crate::connect;
use crate::get::config;
use crate::get::remediations::tone;
use crate::output::{self, Tone, age, fine_span, wrap};

pub(crate) async fn run(name: &str, client: &ClientArgs) -> Result<()> {
    let config = config(client)?;
    let api: Api<Remediation> = Api::namespaced(connect::reader(&config.kubernetes).await?, &config.namespace);
    let remediation = api.get(name).await.map_err(connect::said).with_context(|| {
        format!("reading remediation {name} in namespace {}; `evenkeel get remediations` lists them", config.namespace)
    })?;
    output::print(&story(&remediation, WallClock.now(), terminal::is_coloured()))
}

/// The words at the left.
const MARGIN: usize = 11;
/// The text beside them.
const WIDTH: usize = 100;
/// Where the reasons of phases begin.
const REASON: usize = 27;

struct Story {
    text: String,
    colour: bool,
    begin: DateTime<Utc>,
}

impl Story {
    /// A paragraph: a word at the left, lines beside it, long ones broken.
    fn tell(&mut self, word: &str, lines: impl IntoIterator<Item = String>) {
        self.tell_as_is(word, lines.into_iter().flat_map(|line| hang(wrap(&line, WIDTH), 2)));
    }

    fn tell_as_is(&mut self, word: &str, lines: impl IntoIterator<Item = String>) {
        let mut word = word;
        for line in lines {
            let padding = " ".repeat(MARGIN.saturating_sub(word.chars().count()));
            self.text.push_str(&Tone::Faint.paint(word, self.colour));
            self.text.push_str(&padding);
            self.text.push_str(&line);
            self.text.push('\n');
            word = "";
        }
    }

    /// How long after the proposal.
    fn after(&self, at: DateTime<Utc>) -> String {
        format!("+{}", fine_span(at - self.begin))
    }
}

/// Lines of which all but the first are indented.
fn hang(lines: Vec<String>, indent: usize) -> impl Iterator<Item = String> {
    lines.into_iter().enumerate().map(move |(n, line)| if n == 0 { line } else { " ".repeat(indent) + &line })
}

fn story(remediation: &Remediation, now: DateTime<Utc>, colour: bool) -> String {
    let proposal = &remediation.spec.proposal;
    let mut story = Story { text: String::new(), colour, begin: proposal.proposed_at };
    let status = remediation.status.as_ref();
    let phase = status
        .map_or("not judged yet".to_owned(), |status| tone(status.phase).paint(&status.phase.to_string(), colour));
    story.text = format!("{}: {}\n{phase}", remediation.name_any(), remediation.spec.title);
    if let Some(reason) = status.map(|status| status.reason.as_str()).filter(|reason| !reason.is_empty()) {
        story.text.push_str(&format!(": {reason}"));
    }
    story.text.push_str("\n\n");

    seen(&mut story, proposal, now);
    concluded(&mut story, proposal);
    let Some(status) = status else { return story.text };
    if let Some(verdict) = &status.verdict {
        allowed(&mut story, verdict);
    }
    if let Some(asked) = &status.approval {
        answered(&mut story, asked);
    }
    if let Some(plan) = &status.plan {
        changed(&mut story, plan, status, remediation.spec.step.as_ref().map(|step| step.undo));
    }
    if let Some(verification) = &status.verification {
        verified(&mut story, verification, status);
    }
    ended(&mut story, status, now);
    phases(&mut story, status);
    story.text
}

fn seen(story: &mut Story, proposal: &Proposal, now: DateTime<Utc>) {
    let mut lines = vec![format!("{} about {}", proposal.signals.join(", "), proposal.root)];
    if !proposal.target.is_same(&proposal.root) {
        lines.push(format!("to be acted on: {}", proposal.target));
    }
    lines.push(format!("incident {}, proposal {} of it", proposal.incident, proposal.number));
    if let Some(earlier) = &proposal.recurrence_of {
        lines.push(format!("again: {earlier} seemed to have helped, and did not"));
    }
    lines.push(format!("proposed {} ago, at {}", age(proposal.proposed_at, now), time(proposal.proposed_at)));
    story.tell("Seen", lines);
}

fn concluded(story: &mut Story, proposal: &Proposal) {
    let step = &proposal.playbook;
    let lines =
        [proposal.rationale.clone(), format!("playbook {}, step {} (version {})", step.name, step.step, step.version)];
    story.tell("Concluded", lines);
}

fn allowed(story: &mut Story, verdict: &Verdict) {
    let (word, line) = match &verdict.decision {
        Decision::Allow { mode: Mode::Enforce } => ("Allowed", "to be carried out".to_owned()),
        Decision::Allow { mode: Mode::Audit } => ("Allowed", "to be said only (Audit mode)".to_owned()),
        Decision::NeedsApproval { tier } => ("Held", format!("tier {tier:?}: people decide")),
        Decision::Defer { until } => ("Deferred", format!("until {} ({})", time(*until), story.after(*until))),
        Decision::Deny {} => ("Denied", "by policy".to_owned()),
    };
    let rules = verdict.rules.iter().map(|rule| format!("{}: {}", rule.policy, rule.said));
    story.tell(word, std::iter::once(line).chain(rules));
}

fn answered(story: &mut Story, asked: &Asked) {
    let yes = asked.given.iter().filter(|given| given.decision == ApprovalDecision::Approve).count();
    let mut lines = vec![format!("of {} people tier {:?} asks for, {yes} approved", asked.approvers, asked.tier)];
    lines.extend(asked.changes.iter().cloned());
    lines.extend(asked.given.iter().map(|given| {
        let said = if given.decision == ApprovalDecision::Approve { "approved" } else { "denied" };
        format!("{} {said} at {}: {}", given.approver, story.after(given.at), given.reason)
    }));
    lines
        .extend(asked.refused.iter().map(|it| format!("{} of {} does not count: {}", it.name, it.approver, it.reason)));
    lines.extend(asked.trouble.iter().map(|trouble| format!("no approval can be counted: {trouble}")));
    lines.push(format!("digest {}", asked.digest));
    story.tell("Asked", lines);
}

fn changed(story: &mut Story, plan: &Plan, status: &RemediationStatus, undo: Option<Undo>) {
    // A plan is written before it is sent: without an answer it tells what was meant.
    let word = if status.acted_at.is_some() { "Changed" } else { "Planned" };
    let mut lines = plan.changes.clone();
    let verb = match plan.request.verb {
        Verb::Patch => "patched",
        Verb::Delete => "deleted",
        Verb::Evict => "evicted",
        Verb::Tell => "told people about",
    };
    if let Some(at) = status.acted_at {
        lines.push(format!("{verb} {} at {}", plan.request.object, story.after(at)));
    }
    let undo = match (&plan.inverse, undo) {
        _ if plan.request.verb == Verb::Tell => "nothing is written to it",
        (None, _) => "can't be taken back",
        (Some(_), Some(Undo::Automatic)) => "taken back if it does not help",
        (Some(_), Some(Undo::Never) | None) => "left as it is if it does not help; the way back is written down",
    };
    lines.push(undo.to_owned());
    lines.extend(plan.captured.iter().map(|line| format!("kept from before: {line}")));
    story.tell(word, lines);
}

fn verified(story: &mut Story, verification: &Verification, status: &RemediationStatus) {
    let mut lines: Vec<String> = verification
        .checks
        .iter()
        .map(|check| {
            let (mark, tone) = match check.holds {
                Some(true) => ("yes", Tone::Good),
                Some(false) => ("no ", Tone::Bad),
                None => ("?  ", Tone::Busy),
            };
            let found = match check.found.as_str() {
                "so" | "" => String::new(),
                found if check.holds == Some(true) && check.condition.ends_with(found) => String::new(),
                found => format!(" (found {found})"),
            };
            format!("{} {}{found}", tone.paint(mark, story.colour), check.condition)
        })
        .collect();
    if let Some(since) = verification.holding_since {
        lines.push(format!("all hold since {}", story.after(since)));
    }
    if !status.phase.is_final() {
        lines.push(format!("has until {}", story.after(verification.deadline)));
    }
    story.tell(if status.phase.is_final() { "Verified" } else { "Verifying" }, lines);
}

fn ended(story: &mut Story, status: &RemediationStatus, now: DateTime<Utc>) {
    let Some(last) = status.history.last().filter(|last| last.phase.is_final()) else { return };
    let mut lines = vec![format!(
        "{} at {}, {} ago: {}",
        tone(last.phase).paint(&last.phase.to_string(), story.colour),
        story.after(last.at),
        age(last.at, now),
        last.reason
    )];
    match status.target_well {
        Some(true) => lines.push("the target was well then".to_owned()),
        Some(false) => lines.push("the target was not well then".to_owned()),
        None => {}
    }
    if last.phase.needs_acknowledgement() {
        lines.push("a person has to look; the root is held until then".to_owned());
    }
    if status.outcome_published.is_none() {
        lines.push("its outcome is not on the bus yet".to_owned());
    }
    story.tell("Ended", lines);
}

fn phases(story: &mut Story, status: &RemediationStatus) {
    story.text.push('\n');
    let mut lines: Vec<String> = Vec::new();
    for step in &status.history {
        let phase = format!("{:<16}", step.phase.to_string());
        let begin = format!("{:<9} {} ", story.after(step.at), tone(step.phase).paint(&phase, story.colour));
        let mut reason = hang(wrap(&step.reason, WIDTH - REASON), REASON);
        lines.push(begin + &reason.next().unwrap_or_default());
        lines.extend(reason);
    }
    story.tell_as_is("Phases", lines);
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Phase;

    use super::*;
    use crate::testing::{at, remediation};

    fn told(value: serde_json::Value) -> String {
        story(&serde_json::from_value(value).unwrap(), at(1000), false)
    }

    #[test]
    fn a_remediation_that_helped_reads_as_a_story() {
        insta::assert_snapshot!(told(remediation(Phase::Succeeded, "all conditions held for 3m")));
    }

    #[test]
    fn one_that_is_being_verified_says_until_when() {
        insta::assert_snapshot!(told(remediation(Phase::Verifying, "the API server took it")));
    }

    #[test]
    fn one_that_was_denied_says_by_which_rule() {
        let mut denied = remediation(Phase::Denied, "no policy allows it");
        let status = denied["status"].as_object_mut().unwrap();
        for gone in ["plan", "verification", "actedAt", "claim", "targetWell"] {
            status.remove(gone);
        }
        status["verdict"] = serde_json::json!({
            "decision": { "deny": {} },
            "rules": [{ "policy": "built-in", "said": "no ActionPolicy speaks about Deployments in shop" }],
        });
        status["history"].as_array_mut().unwrap().drain(1..5);
        insta::assert_snapshot!(told(denied));
    }

    #[test]
    fn one_that_was_lost_calls_for_a_person() {
        let lost = told(remediation(Phase::Unknown, "the reply was lost and the object is gone"));
        assert!(lost.contains("a person has to look"), "{lost}");
    }
}

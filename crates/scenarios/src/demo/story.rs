//! From a run's report to what people read: what happened, what was seen, concluded, allowed, done, and how it ended.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use evenkeel_model::{ActionName, ApprovalDecision, Phase, SignalState};

use crate::audit_log::AuditSeen;
use crate::runner::{RemediationSeen, RunReport};

/// How something is shown where colours are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Stands out.
    Strong,
    /// Less so.
    Faint,
    /// Went well.
    Good,
    /// Did not.
    Bad,
}

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it happened, from the start; none for what frames the story.
    pub at: Option<chrono::Duration>,
    /// Who speaks, one word; empty for headings and paragraphs.
    pub who: &'static str,
    /// How it is shown.
    pub tone: Tone,
    /// What is told.
    pub text: String,
}

/// A part of the story: when it begins (minutes from the start), its heading, what it is about.
const ACTS: [(i64, &str, &str); 5] = [
    (10, "1. A rollout goes wrong", "CI rolls out cart:1.5. Its pods crash seconds after they start."),
    (30, "2. A lie", "Somebody posts an alert about a service that is well, and asks for a restart."),
    (
        60,
        "3. One that a person decides",
        "CI rolls out orders:3.3, which crashes. But orders keeps data on a volume, and what does is not touched \
         unless somebody says yes: you.",
    ),
    (
        90,
        "4. A freeze",
        "Ana freezes the cluster for a release. A minute later CI rolls out search:2.1, which crashes.",
    ),
    (
        130,
        "5. A crash loop that no restart can help",
        "The payments provider changes its answers, and payments:7.1 crashes on them. Nothing was rolled out.",
    ),
];

/// The story of the demonstration.
pub fn story(report: &RunReport) -> Vec<Line> {
    let mut lines = acts(report, None);
    lines.push(Line { at: None, who: "", tone: Tone::Strong, text: "\nWhat was changed".to_owned() });
    let writes: Vec<_> = report.writes.iter().filter(|write| write.is_effect()).collect();
    for write in &writes {
        let action = write.action.map_or_else(|| write.verb.clone(), |action| action.to_string());
        let text = format!("{action} {}, once", write.object);
        lines.push(Line { at: Some(write.at - report.start), who: "gateway", tone: Tone::Plain, text });
    }
    let text = format!(
        "{} changes of the cluster by the engine, out of {} requests; all of them by a policy's leave, each written \
         down before it was made.",
        writes.len(),
        report.requests
    );
    lines.push(paragraph(Tone::Plain, &text));
    lines.extend(report.audit.iter().flat_map(audit));
    lines
}

/// The story up to a time, as [`story`] begins.
pub fn so_far(report: &RunReport, until: DateTime<Utc>) -> Vec<Line> {
    acts(report, Some(until))
}

/// What happened and what was made of it; with `until`, what came later is not told, and an act that goes on has no end.
fn acts(report: &RunReport, until: Option<DateTime<Utc>>) -> Vec<Line> {
    let is_told = |at: DateTime<Utc>| until.is_none_or(|until| at <= until);
    let mut lines = vec![
        paragraph(Tone::Strong, "A shop in a simulated cluster: three nodes and five services."),
        paragraph(
            Tone::Plain,
            "The engine is the real one, with the shipped playbooks and policies; only the cluster and the time are \
             simulated. Nothing leaves this process.",
        ),
    ];
    let mut events: Vec<(DateTime<Utc>, Vec<Line>)> = Vec::new();
    events.extend(signals(report));
    events.extend(people(report));
    for remediation in &report.remediations {
        events.extend(of_remediation(report, remediation));
    }
    events.retain(|(at, _)| is_told(*at));
    events.sort_by_key(|(at, _)| *at);
    for (number, (minute, heading, about)) in ACTS.iter().enumerate() {
        let from = report.start + chrono::Duration::minutes(*minute);
        let next = ACTS.get(number + 1).map(|(minute, ..)| report.start + chrono::Duration::minutes(*minute));
        let to = next.unwrap_or(report.end);
        if !is_told(from) {
            break;
        }
        lines.push(Line { at: None, who: "", tone: Tone::Strong, text: format!("\n{heading}") });
        lines.push(paragraph(Tone::Plain, about));
        let before = lines.len();
        let within = events.iter().filter(|(at, _)| *at >= from && *at < to);
        lines.extend(within.flat_map(|(_, told)| told.clone()));
        if is_told(to) {
            lines.push(end(report, from, to, lines.len() > before));
        }
    }
    lines
}

/// The record of all this, checked as an auditor would.
fn audit(seen: &AuditSeen) -> Vec<Line> {
    let mut lines = vec![Line { at: None, who: "", tone: Tone::Strong, text: "\nThe audit log".to_owned() }];
    let told = |tone, text: String| Line { at: None, who: "audit", tone, text };
    lines.push(paragraph(
        Tone::Plain,
        "What was asked, decided and done was recorded and signed meanwhile. Now it is verified, with the public key alone.",
    ));
    match seen.faults.first() {
        None => lines.push(told(Tone::Good, format!("whole: {} records, root {}", seen.records, seen.root))),
        Some(fault) => lines.push(told(Tone::Bad, format!("NOT whole: {fault}"))),
    }
    if let Some(found) = seen.tampered.first() {
        lines.push(paragraph(Tone::Plain, "Somebody changes one letter in a copy, in the record of the last change."));
        lines.push(told(Tone::Bad, format!("NOT whole: {found}")));
    }
    lines
}

fn paragraph(tone: Tone, text: &str) -> Line {
    Line { at: None, who: "", tone, text: text.to_owned() }
}

/// Each kind of trouble of a root once; how often it came is no part of the story.
fn signals(report: &RunReport) -> Vec<(DateTime<Utc>, Vec<Line>)> {
    let mut told = BTreeSet::new();
    let mut lines = Vec::new();
    for signal in report.signals.iter().filter(|signal| signal.state == SignalState::Firing) {
        let about = signal.root.as_deref().or(signal.target.as_deref()).unwrap_or("nobody knows what");
        // The same in another part of the story is another trouble.
        let minute = (signal.at - report.start).num_minutes();
        let act = ACTS.iter().filter(|(begins, ..)| *begins <= minute).count();
        if !told.insert((signal.name.clone(), about.to_owned(), act)) {
            continue;
        }
        let at = Some(signal.at - report.start);
        let mut some = vec![Line { at, who: "seen", tone: Tone::Bad, text: format!("{} on {about}", signal.name) }];
        if !signal.summary.is_empty() {
            some.push(Line { at: None, who: "seen", tone: Tone::Faint, text: short(&signal.summary) });
        }
        lines.push((signal.at, some));
    }
    lines
}

/// What people did to the engine, and others in their names.
fn people(report: &RunReport) -> Vec<(DateTime<Utc>, Vec<Line>)> {
    let mut lines = Vec::new();
    for seen in &report.approvals {
        let line = |at, who, tone, text| Line { at, who, tone, text };
        let at = Some(seen.at - report.start);
        // The viewer is told of as such.
        let decision = match (seen.decision, seen.by.as_str()) {
            (ApprovalDecision::Approve, "you") => "approve",
            (ApprovalDecision::Approve, _) => "approves",
            (ApprovalDecision::Deny, "you") => "deny",
            (ApprovalDecision::Deny, _) => "denies",
        };
        let some = match &seen.refused {
            Some(refused) => vec![
                line(at, "forged", Tone::Strong, format!("{} {decision} it, signing as {}", seen.by, seen.approver)),
                line(None, "forged", Tone::Bad, format!("refused by the API server: {refused}")),
            ],
            None => vec![line(at, "signed", Tone::Strong, format!("{} {decision} it", seen.by))],
        };
        lines.push((seen.at, some));
    }
    for seen in &report.freezes {
        let text = if seen.ends {
            format!("{} thaws {}", seen.by, seen.name)
        } else {
            format!("{} freezes everything: {}", seen.by, seen.reason)
        };
        let who = if seen.ends { "thawed" } else { "frozen" };
        let at = Some(seen.at - report.start);
        lines.push((seen.at, vec![Line { at, who, tone: Tone::Strong, text }]));
    }
    lines
}

fn of_remediation(report: &RunReport, remediation: &RemediationSeen) -> Vec<(DateTime<Utc>, Vec<Line>)> {
    let line = |at: Option<DateTime<Utc>>, who, tone, text: String| Line {
        at: at.map(|at| at - report.start),
        who,
        tone,
        text,
    };
    let mut lines = Vec::new();
    let tells = !remediation.action.is_mutating();
    let proposed = report.proposals.iter().find(|it| it.remediation == remediation.name);
    let first = proposed.map(|it| it.at).or_else(|| remediation.phases.first().map(|phase| phase.at));
    if let Some(at) = first {
        let text = match remediation.action {
            ActionName::Notify => {
                format!("no playbook applies to {}: to be noted ({})", remediation.target, remediation.step)
            }
            ActionName::Escalate => format!("calls a person about {} ({})", remediation.target, remediation.step),
            action => format!("{action} {} would help ({})", remediation.target, remediation.step),
        };
        let mut some = vec![line(Some(at), "decided", Tone::Strong, text)];
        let (why, passed_over) = reasons(&remediation.rationale);
        let lines_of = |text| line(None, "decided", Tone::Faint, text);
        some.extend(Some(short(why)).filter(|why| !why.is_empty()).map(lines_of));
        if !passed_over.is_empty() {
            some.push(lines_of("Passed over:".to_owned()));
            some.extend(passed_over.into_iter().map(|one| lines_of(format!("  {one}"))));
        }
        lines.push((at, some));
    }
    let mut told = BTreeSet::new();
    for phase in &remediation.phases {
        let mut some = Vec::new();
        let at = Some(phase.at);
        let reason = short(&phase.reason);
        // What waits is looked at again and again, and waits for the same.
        if matches!(phase.phase, Phase::Deferred | Phase::AwaitingApproval) && !told.insert(phase.phase) {
            continue;
        }
        match phase.phase {
            Phase::Authorized if !tells => {
                let what = format!("{} {}, by the policies:", remediation.action, remediation.target);
                some.push(line(at, "allowed", Tone::Good, what));
                if !remediation.asked.is_empty() {
                    some.push(line(None, "allowed", Tone::Plain, reason));
                }
                some.extend(remediation.rules.iter().map(|rule| line(None, "allowed", Tone::Faint, short(rule))));
            }
            Phase::Executing if !tells => {
                some.push(line(at, "changed", Tone::Strong, remediation.target.clone()));
                let changes = remediation.changes.iter();
                some.extend(
                    changes.flat_map(|change| diff(change)).map(|(tone, text)| line(None, "changed", tone, text)),
                );
            }
            Phase::Verifying if !tells => {
                some.push(line(at, "verify", Tone::Plain, "done; now watching whether it helps".to_owned()));
            }
            Phase::Succeeded if remediation.action == ActionName::Notify => {
                some.push(line(at, "noted", Tone::Plain, "written down for whoever looks".to_owned()));
            }
            Phase::Succeeded if tells => {
                some.push(line(at, "called", Tone::Good, "a person has been called".to_owned()));
            }
            Phase::Succeeded => {
                some.push(line(at, "verified", Tone::Good, reason));
                some.extend(remediation.checks.iter().map(|check| line(None, "verified", Tone::Faint, short(check))));
            }
            Phase::Deferred => some.push(line(at, "waits", Tone::Strong, reason)),
            Phase::AwaitingApproval => {
                some.push(line(at, "asks", Tone::Strong, reason));
                // Why it is not done without them.
                let rules = remediation.rules.iter().filter(|rule| rule.starts_with("built-in: "));
                some.extend(rules.map(|rule| line(None, "asks", Tone::Faint, short(rule))));
                let changes = remediation.asked.iter();
                some.extend(changes.flat_map(|change| diff(change)).map(|(tone, text)| line(None, "asks", tone, text)));
            }
            Phase::Denied
            | Phase::Obsolete
            | Phase::Expired
            | Phase::Failed
            | Phase::Unknown
            | Phase::Ineffective
            | Phase::Unverified
            | Phase::RolledBack
            | Phase::RollbackFailed
            | Phase::NotUndoable
            | Phase::Regressed => some.push(line(at, "ended", Tone::Bad, format!("{}: {reason}", phase.phase))),
            _ => {}
        }
        if !some.is_empty() {
            lines.push((phase.at, some));
        }
    }
    lines
}

/// Why something was decided, and which playbooks were passed over for what condition.
fn reasons(rationale: &str) -> (&str, Vec<&str>) {
    let Some((why, passed_over)) = rationale.split_once("Passed over: ") else { return (rationale, Vec::new()) };
    (why.trim_end(), passed_over.trim_end_matches('.').split("; ").collect())
}

/// How an act ended.
fn end(report: &RunReport, from: DateTime<Utc>, to: DateTime<Utc>, something_seen: bool) -> Line {
    let within = |at: DateTime<Utc>| at >= from && at < to;
    let done = report.writes.iter().filter(|write| write.is_effect() && within(write.at)).count();
    let called = report
        .remediations
        .iter()
        .any(|it| it.action == ActionName::Escalate && it.phases.first().is_some_and(|first| within(first.at)));
    let asked = report.approvals.iter().any(|it| it.refused.is_none() && within(it.at));
    let frozen = report.freezes.iter().any(|it| within(it.at));
    let text = match (done, called, something_seen) {
        (1.., false, _) if asked => "Repaired, once a person had said yes.",
        (1.., false, _) if frozen => "Nothing was touched while all was frozen; then it was repaired.",
        (0, true, _) if asked => "Nothing was changed: a person had said no. They are called to see to it themselves.",
        (0, true, _) => "Nothing was changed. A person knows, with what was seen.",
        (0, false, true) => "Nothing was changed, and nobody was woken: the cluster was asked, and it was well.",
        (0, false, false) => "Nothing was changed, and nobody was woken.",
        (_, true, _) => "The harm was bounded at once, and a person knows about the rest.",
        (_, false, _) => "Repaired, and nobody was woken.",
    };
    let tone = if done > 0 { Tone::Good } else { Tone::Strong };
    Line { at: None, who: "", tone, text: text.to_owned() }
}

/// `field: old → new` as a difference.
fn diff(change: &str) -> Vec<(Tone, String)> {
    let parts = change.split_once(": ").and_then(|(field, values)| Some((field, values.split_once(" → ")?)));
    match parts {
        Some((field, (old, new))) => {
            vec![(Tone::Faint, field.to_owned()), (Tone::Bad, format!("  - {old}")), (Tone::Good, format!("  + {new}"))]
        }
        None => vec![(Tone::Plain, change.to_owned())],
    }
}

/// The beginning, to the end of a clause, and the last sentence, which says what all this is about.
fn short(text: &str) -> String {
    const MOST: usize = 280;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= MOST {
        return text;
    }
    let (begins, last) = text.rsplit_once(". ").unwrap_or((&text, ""));
    let room = MOST.saturating_sub(last.chars().count());
    let fits: String = begins.chars().take(room).collect();
    let cut = if fits.len() == begins.len() {
        fits.len()
    } else {
        fits.rfind("; ").or(fits.rfind(' ')).unwrap_or(fits.len())
    };
    format!("{}; … {last}", fits.get(..cut).unwrap_or(&fits)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{reasons, short};

    #[test]
    fn what_was_passed_over_is_told_one_by_one() {
        let (why, passed_over) = reasons("A on b for 5m. Passed over: one: x is true (false); two: y is 1 (0).");
        assert_eq!((why, passed_over), ("A on b for 5m.", vec!["one: x is true (false)", "two: y is 1 (0)"]));
        assert_eq!(reasons("A on b."), ("A on b.", vec![]));
    }

    #[test]
    fn a_long_reason_keeps_its_beginning_and_its_last_sentence() {
        let seen = (1..20).map(|pod| format!("CrashLoopBackOff on pod/shop/cart-{pod} for 2m")).collect::<Vec<_>>();
        let text = short(&format!("{}. A new revision never came up.", seen.join("; ")));
        assert!(text.starts_with("CrashLoopBackOff on pod/shop/cart-1 for 2m; "), "{text}");
        assert!(text.ends_with("for 2m; … A new revision never came up."), "{text}");
        assert!(text.chars().count() <= 290, "{text}");
        assert_eq!(short("as\n it  is"), "as it is");
    }
}

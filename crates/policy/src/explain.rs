//! Why a verdict is what it is, and what would have to change for another: for people and programs.

use std::fmt;

use evenkeel_model::{Decision, Mode, Origin};
use serde::Serialize;

use crate::judge::{Context, Question, evaluate};
use crate::judgement::{Evaluation, Heard, PolicySource};
use crate::ruling::Weight;

/// A verdict, explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was asked.
    pub question: String,
    /// The verdict.
    pub verdict: String,
    /// Every rule that spoke.
    pub rules: Vec<Explained>,
    /// What the ledger counts, if it comes to that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<String>,
    /// What would have to change for another verdict, all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to_change: Vec<String>,
    /// What one other circumstance would come to, where that is another verdict.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<Otherwise>,
}

/// One rule that spoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The policy, or `built-in`.
    pub policy: String,
    /// What it does to the verdict.
    pub effect: &'static str,
    /// What it said.
    pub said: String,
}

/// Another circumstance and its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Otherwise {
    /// What is other.
    pub were: String,
    /// What it comes to.
    pub verdict: String,
}

/// Judges, and says why.
pub fn explain(question: &Question<'_>, policies: &[PolicySource]) -> Explanation {
    let evaluation = evaluate(question, policies);
    let verdict = shown(&evaluation);
    Explanation {
        question: asked(question),
        rules: evaluation.trace.iter().map(explained).collect(),
        counted: counted(&evaluation),
        to_change: to_change(&evaluation),
        otherwise: otherwise(question, &evaluation, policies, &verdict),
        verdict,
    }
}

fn asked(question: &Question<'_>) -> String {
    let who = match question.origin {
        Origin::Playbook => "a playbook",
        Origin::Person => "a person",
    };
    format!("{} of {}, asked for by {who}, at {}", question.action.name(), question.target, question.now)
}

fn shown(evaluation: &Evaluation<'_>) -> String {
    match &evaluation.decision {
        Decision::Allow { mode: Mode::Enforce } => "Allow".to_owned(),
        Decision::Allow { mode: Mode::Audit } => "Allow in Audit mode: it is only said what would be done".to_owned(),
        Decision::NeedsApproval { tier } => match evaluation.approvers {
            1 => format!("NeedsApproval: 1 person (tier {tier:?})"),
            persons => format!("NeedsApproval: {persons} persons (tier {tier:?})"),
        },
        Decision::Defer { until } => format!("Defer until {until}"),
        Decision::Deny {} => "Deny".to_owned(),
    }
}

fn explained(heard: &Heard<'_>) -> Explained {
    let effect = match heard.ruling.weight() {
        Weight::Passes => "allows",
        Weight::Audits => "audits",
        Weight::AsksPeople => "asks people",
        Weight::Defers => "defers",
        Weight::Denies => "denies",
    };
    Explained { policy: heard.policy.to_owned(), effect, said: heard.ruling.to_string() }
}

fn counted(evaluation: &Evaluation<'_>) -> Vec<String> {
    if matches!(evaluation.decision, Decision::Deny {} | Decision::Allow { mode: Mode::Audit }) {
        return Vec::new();
    }
    let rates = evaluation.rates();
    let scopes = [
        ("target", &rates.target),
        ("namespace", &rates.namespace),
        ("playbook", &rates.playbook),
        ("cluster", &rates.cluster),
    ];
    let mut counted: Vec<String> = scopes
        .into_iter()
        .flat_map(|(scope, rates)| rates.iter().map(move |rate| format!("at most {rate} per {scope}")))
        .collect();
    counted.extend(evaluation.matched.iter().map(|(name, limit)| format!("at most {limit} at once under {name}")));
    counted
}

/// What the rules of the greatest weight would need to say something else: while one of them stands, the verdict does.
fn to_change(evaluation: &Evaluation<'_>) -> Vec<String> {
    let weight = evaluation.trace.iter().map(|heard| heard.ruling.weight()).max().unwrap_or(Weight::Passes);
    if weight == Weight::Passes {
        return Vec::new();
    }
    // In Audit mode nobody is asked, so that what would ask is not what holds.
    let is_audit = evaluation.decision == (Decision::Allow { mode: Mode::Audit });
    let holds = |heard: &&Heard<'_>| match heard.ruling.weight() {
        Weight::AsksPeople if is_audit => false,
        Weight::Audits if is_audit => true,
        its => its == weight,
    };
    let remedy = |heard: &Heard<'_>| match heard.ruling.remedy() {
        Some(remedy) => format!("{}: {remedy}", heard.policy),
        None => format!("{}: nothing can: {}", heard.policy, heard.ruling),
    };
    let mut all: Vec<String> = evaluation.trace.iter().filter(holds).map(remedy).collect();
    all.dedup();
    all
}

/// One circumstance at a time, judged anew.
fn otherwise(
    question: &Question<'_>,
    evaluation: &Evaluation<'_>,
    policies: &[PolicySource],
    verdict: &str,
) -> Vec<Otherwise> {
    let context = question.context;
    let mut cases: Vec<(String, Question<'_>)> = Vec::new();
    match question.origin {
        Origin::Playbook => {
            cases.push(("asked for by a person".to_owned(), Question { origin: Origin::Person, ..*question }))
        }
        Origin::Person => {
            cases.push(("asked for by a playbook".to_owned(), Question { origin: Origin::Playbook, ..*question }))
        }
    }
    if let Decision::Defer { until } = evaluation.decision {
        cases.push((format!("asked at {until}"), Question { now: until, ..*question }));
    }
    if question.ceiling == Mode::Audit {
        let enforce = Question { ceiling: Mode::Enforce, ..*question };
        cases.push(("with the installation in Enforce mode".to_owned(), enforce));
    }
    if question.narrowed.is_some() {
        cases.push(("without the annotation evenkeel.dev/mode".to_owned(), Question { narrowed: None, ..*question }));
    }
    if context.takes_capacity && context.available > 0 {
        let none = Context { available: 0, ..context };
        cases.push(("with no capacity available to take away".to_owned(), Question { context: none, ..*question }));
    }
    let judged =
        cases.into_iter().map(|(were, question)| Otherwise { were, verdict: shown(&evaluate(&question, policies)) });
    judged.filter(|other| other.verdict != verdict).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", self.question, self.verdict)?;
        let width = self.rules.iter().map(|rule| rule.policy.chars().count()).max().unwrap_or(0);
        for rule in &self.rules {
            writeln!(f, "  {:width$}  {:11}  {}", rule.policy, rule.effect, rule.said)?;
        }
        let lines: Vec<String> = self.otherwise.iter().map(|it| format!("{}: {}", it.were, it.verdict)).collect();
        for (heading, lines) in [
            ("Counted in the ledger, where there may be no room now:", &self.counted),
            ("For another verdict, all of this would have to change:", &self.to_change),
            ("As it would be", &lines),
        ] {
            if lines.is_empty() {
                continue;
            }
            writeln!(f, "\n{heading}")?;
            for line in lines {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! What can be told wrong with a playbook before it ever runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use evenkeel_model::{Action, ActionName, Condition, Diagnose, Kind, PlaybookStepSpec, Span, Undo, Verify};

use crate::facts::{self, FactEntry};
use crate::matching::ANY_SIGNAL;
use crate::suggest::one_of;
use crate::template::{Piece, compile};
use crate::{Escape, Loaded, Problem};

const MAX_SETTLE: Span = Span::hours(24);
const MAX_WITHIN: Span = Span::hours(24);
const MAX_RECUR: Span = Span::hours(30 * 24);
const MAX_LOOK_BACK: Span = Span::hours(7 * 24);
const MAX_LOG_LINES: u32 = 200;

/// What is wrong with playbooks, each by itself and among each other; in the order of files and lines.
pub fn check(loaded: &[Loaded]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = loaded.iter().flat_map(each).collect();
    problems.extend(clashes(loaded).into_iter().filter_map(|clash| {
        let (first, second) = (loaded.get(clash.first)?, loaded.get(clash.second)?);
        let earlier = first.source.problem(clash.path, "");
        let at = if earlier.line == 0 { earlier.file } else { format!("{}:{}", earlier.file, earlier.line) };
        Some(second.source.problem(clash.path, format!("{} ({at}); {}", clash.what, clash.remedy)))
    }));
    problems.sort();
    problems
}

/// Two playbooks that can't both be kept.
pub(crate) struct Clash {
    pub(crate) first: usize,
    pub(crate) second: usize,
    path: &'static str,
    what: String,
    remedy: &'static str,
}

pub(crate) fn clashes(loaded: &[Loaded]) -> Vec<Clash> {
    let mut clashes = Vec::new();
    for (second, b) in loaded.iter().enumerate() {
        for (first, a) in loaded.iter().enumerate().take(second) {
            if a.name == b.name {
                let what = format!("there is another playbook {:?}", a.name);
                clashes.push(Clash { first, second, path: "metadata.name", what, remedy: "rename one" });
            } else if let Some(both) = both_match(a, b) {
                let what = format!("{both} is matched by {:?} too, at the same priority {}", a.name, a.spec.priority);
                let remedy = "the highest priority goes first, so give one of them another";
                clashes.push(Clash { first, second, path: "spec.priority", what, remedy });
            }
        }
    }
    clashes
}

/// Something that two playbooks of the same priority both match, in words.
fn both_match(a: &Loaded, b: &Loaded) -> Option<String> {
    if a.spec.priority != b.spec.priority {
        return None;
    }
    let (a, b) = (&a.spec.matches, &b.spec.matches);
    let names = |x: &[String], y: &[String]| {
        x.iter().find(|name| y.contains(name) || y.iter().any(|n| n == ANY_SIGNAL)).cloned()
    };
    let signal = names(&a.signals, &b.signals).or_else(|| names(&b.signals, &a.signals))?;
    let common = |x: Option<Vec<String>>, y: Option<Vec<String>>| match (x, y) {
        (Some(x), Some(y)) => x.into_iter().find(|one| y.contains(one)).map(Some),
        (Some(one), None) | (None, Some(one)) => Some(one.into_iter().next()),
        (None, None) => Some(None),
    };
    let kinds = |kinds: &Option<Vec<Kind>>| kinds.as_ref().map(|kinds| kinds.iter().map(Kind::to_string).collect());
    let kind = common(kinds(&a.kinds), kinds(&b.kinds))?;
    let namespace = common(a.namespaces.clone(), b.namespaces.clone())?;
    let of = kind.map(|kind| format!(" of a {kind}")).unwrap_or_default();
    let within = namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
    Some(format!("{signal}{of}{within}"))
}

/// What is wrong with one playbook by itself.
pub(crate) fn each(loaded: &Loaded) -> Vec<Problem> {
    let mut found = Findings { loaded, problems: Vec::new() };
    found.head();
    found.matches();
    found.diagnose();
    found.when();
    found.steps();
    // Steps that lack the same thing tell it once.
    found.problems.sort();
    found.problems.dedup();
    found.problems
}

struct Findings<'a> {
    loaded: &'a Loaded,
    problems: Vec<Problem>,
}

impl Findings<'_> {
    fn add(&mut self, path: &str, message: impl Display) {
        self.problems.push(self.loaded.source.problem(path, message));
    }

    fn at_most(&mut self, path: &str, what: Span, most: Span) {
        if what > most {
            self.add(path, format!("expected at most {most}, found {what}"));
        }
    }

    fn head(&mut self) {
        let spec = &self.loaded.spec;
        let length = spec.summary.chars().count();
        if spec.summary.trim().is_empty() || length > 256 {
            self.add("spec.summary", format!("expected one line of at most 256 characters, found {length}"));
        }
        self.at_most("spec.settle", spec.settle, MAX_SETTLE);
    }

    fn matches(&mut self) {
        let matches = &self.loaded.spec.matches;
        self.list("spec.match.signals", &matches.signals, 64);
        if matches.signals.iter().any(|name| name == ANY_SIGNAL) {
            if matches.signals.len() > 1 {
                self.add("spec.match.signals", "\"*\" is any signal; leave out the others");
            }
            if let Some(action) = self.mutating() {
                let message = format!(
                    "\"*\" is only for playbooks that notify or escalate, and this one does {action}; name the signals"
                );
                self.add("spec.match.signals", message);
            }
        }
        if let Some(kinds) = &matches.kinds {
            let names: Vec<String> = kinds.iter().map(Kind::to_string).collect();
            self.list("spec.match.kinds", &names, Kind::ALL.len());
        }
        if let Some(namespaces) = &matches.namespaces {
            self.list("spec.match.namespaces", namespaces, 256);
            if matches.kinds.as_ref().is_some_and(|kinds| kinds.iter().all(|kind| !kind.is_namespaced())) {
                self.add("spec.match.namespaces", "the kinds have no namespace, so nothing can match; leave it out");
            }
        }
    }

    fn list(&mut self, path: &str, words: &[String], most: usize) {
        if words.is_empty() || words.len() > most {
            self.add(path, format!("expected 1 to {most} entries, found {}", words.len()));
        }
        let mut seen = BTreeSet::new();
        for (n, word) in words.iter().enumerate() {
            let path = format!("{path}[{n}]");
            if word.trim() != word || word.is_empty() {
                self.add(&path, format!("expected a name, found {word:?}"));
            } else if !seen.insert(word) {
                self.add(&path, format!("{word:?} is given twice"));
            }
        }
    }

    /// The first of its actions that writes to the target.
    fn mutating(&self) -> Option<ActionName> {
        self.loaded.spec.steps.iter().map(|step| step.action.name()).find(|action| action.is_mutating())
    }

    fn diagnose(&mut self) {
        let spec = &self.loaded.spec;
        if spec.diagnose.len() > 16 {
            self.add("spec.diagnose", format!("expected at most 16 questions, found {}", spec.diagnose.len()));
        }
        let mut seen = BTreeSet::new();
        for (n, asked) in spec.diagnose.iter().enumerate() {
            let path = format!("spec.diagnose[{n}]");
            if !is_question_name(&asked.name) {
                let expected = "a name such as recent: a small letter, then at most 31 letters and digits";
                self.add(&format!("{path}.name"), format!("expected {expected}, found {:?}", asked.name));
            } else if asked.name == "target" {
                self.add(&format!("{path}.name"), "\"target\" is what facts of the target go by; take another name");
            } else if !seen.insert(&asked.name) {
                self.add(&format!("{path}.name"), format!("there is another question {:?}", asked.name));
            }
            self.question(&path, asked);
        }
    }

    fn question(&mut self, path: &str, asked: &Diagnose) {
        if facts::question(asked).is_none() {
            self.add(path, "expected exactly one of changes, events, promql and logs");
        }
        for (name, lately) in [("changes", &asked.changes), ("events", &asked.events)] {
            if let Some(lately) = lately {
                let path = format!("{path}.{name}.within");
                self.at_most(&path, lately.within, MAX_LOOK_BACK);
                if lately.within == Span::seconds(0) {
                    self.add(&path, "expected more than 0s");
                }
            }
        }
        if let Some(logs) = &asked.logs
            && !(1..=MAX_LOG_LINES).contains(&logs.lines)
        {
            self.add(&format!("{path}.logs.lines"), format!("expected 1 to {MAX_LOG_LINES}, found {}", logs.lines));
        }
        if let Some(promql) = &asked.promql {
            self.template(&format!("{path}.promql"), promql, Escape::Promql);
        }
    }

    fn template(&mut self, path: &str, template: &str, escape: Escape) {
        match compile(template, escape) {
            Err(error) => self.add(path, error),
            Ok(_) if template.trim().is_empty() => self.add(path, "expected a text, found none"),
            Ok(pieces) => {
                let kinds = self.loaded.spec.matches.kinds.as_deref().unwrap_or_default();
                let never = !kinds.is_empty() && kinds.iter().all(|kind| !kind.is_namespaced());
                let names = |piece: &Piece| matches!(piece, Piece::Variable { name, .. } if name == "target.namespace");
                if never && pieces.iter().any(names) {
                    self.add(path, "the kinds have no namespace, so {{target.namespace}} never has a value");
                }
            }
        }
    }

    fn condition(&mut self, path: &str, condition: &Condition) -> Option<&'static FactEntry> {
        let spec = &self.loaded.spec;
        match facts::check(condition, &spec.diagnose, spec.matches.kinds.as_deref()) {
            Ok(entry) => Some(entry),
            Err(wrong) => {
                for (field, message) in wrong {
                    self.add(&format!("{path}.{field}"), message);
                }
                None
            }
        }
    }

    fn when(&mut self) {
        let spec = &self.loaded.spec;
        if spec.when.len() > 16 {
            self.add("spec.when", format!("expected at most 16 conditions, found {}", spec.when.len()));
        }
        let mut problems = false;
        let mut reads_cluster = false;
        for (n, condition) in spec.when.iter().enumerate() {
            match self.condition(&format!("spec.when[{n}]"), condition) {
                Some(entry) => reads_cluster |= entry.from_cluster,
                None => problems = true,
            }
        }
        let mutating = self.mutating();
        if let Some(action) = mutating
            && !reads_cluster
            && !problems
        {
            let message = format!(
                "a playbook that does {action} needs at least one condition on a fact read from the cluster \
                 (target.unavailableReplicas, recent.podTemplateChanged): an alert alone proves nothing"
            );
            self.add("spec.when", message);
        }
    }

    fn steps(&mut self) {
        let steps = &self.loaded.spec.steps;
        if steps.is_empty() || steps.len() > 8 {
            self.add("spec.steps", format!("expected 1 to 8 steps, found {}", steps.len()));
        }
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for (n, step) in steps.iter().enumerate() {
            let path = format!("spec.steps[{n}]");
            if !is_step_name(&step.name) {
                let expected = "a name such as roll-back: small letters, digits and '-', at most 40";
                self.add(&format!("{path}.name"), format!("expected {expected}, found {:?}", step.name));
            }
            if let Some(first) = names.insert(&step.name, n) {
                self.add(&format!("{path}.name"), format!("steps[{first}] is called {:?} too", step.name));
            }
            self.step(&path, step);
        }
    }

    fn step(&mut self, path: &str, step: &PlaybookStepSpec) {
        let action = step.action.name();
        self.at_most(&format!("{path}.recurWithin"), step.recur_within, MAX_RECUR);
        if let Action::Notify(notify) = &step.action {
            self.template(&format!("{path}.do.notify.message"), &notify.message, Escape::Text);
        }
        if !action.is_mutating() {
            if step.verify.is_some() {
                self.add(
                    &format!("{path}.verify"),
                    format!("{action} changes nothing, so there is nothing to verify; leave it out"),
                );
            }
            return;
        }
        self.kinds_fit(path, action);
        if step.undo == Undo::Automatic && !can_be_undone(action) {
            self.add(&format!("{path}.undo"), format!("{action} can't be undone; write Never, or leave it out"));
        }
        match &step.verify {
            None => {
                self.add(path, format!("{action} needs verify: how to tell whether it helped, such as target.well"))
            }
            Some(verify) => self.verify(&format!("{path}.verify"), verify, step.recur_within, path),
        }
    }

    fn kinds_fit(&mut self, path: &str, action: ActionName) {
        let can: Vec<&str> = action.kinds().iter().map(|kind| kind.as_str()).collect();
        match &self.loaded.spec.matches.kinds {
            None => self
                .add("spec.match", format!("the field \"kinds\" is missing: {action} is done to a {}", one_of(&can))),
            Some(kinds) => {
                if let Some(kind) = kinds.iter().find(|kind| !action.kinds().contains(kind)) {
                    self.add(
                        &format!("{path}.do"),
                        format!("{action} is done to a {}, and this playbook is also for {kind}", one_of(&can)),
                    );
                }
            }
        }
    }

    fn verify(&mut self, path: &str, verify: &Verify, recur_within: Span, step: &str) {
        self.at_most(&format!("{path}.within"), verify.within, MAX_WITHIN);
        if verify.hold >= verify.within {
            let message = format!("expected less than within ({}), found {}", verify.within, verify.hold);
            self.add(&format!("{path}.hold"), message);
        }
        if recur_within < verify.within {
            let message = format!("expected at least verify.within ({}), found {recur_within}", verify.within);
            self.add(&format!("{step}.recurWithin"), message);
        }
        if verify.that.is_empty() || verify.that.len() > 16 {
            self.add(&format!("{path}.that"), format!("expected 1 to 16 conditions, found {}", verify.that.len()));
        }
        for (n, condition) in verify.that.iter().enumerate() {
            let path = format!("{path}.that[{n}]");
            let entry = self.condition(&path, condition);
            if let Some(entry) = entry
                && !["target", "promql"].contains(&entry.source())
            {
                let message = format!(
                    "{} is of a question for {}, which is not asked again; verify with facts of the target or of promql",
                    condition.fact,
                    entry.source()
                );
                self.add(&format!("{path}.fact"), message);
            }
        }
    }
}

/// Whether there is a request that takes it back.
fn can_be_undone(action: ActionName) -> bool {
    use ActionName::{CordonNode, RollbackWorkload, ScaleWorkload, UncordonNode};
    matches!(action, RollbackWorkload | ScaleWorkload | CordonNode | UncordonNode)
}

fn is_question_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_step_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(fits)
        && name.chars().all(|c| fits(c) || c == '-')
}

#[cfg(test)]
mod tests;

//! Two courses of one incident beside each other.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use evenkeel_model::Spoken;
use serde::Serialize;

use super::Side;
use super::changes::Change;
use super::course::{Class, Course, StepTaken};

/// So many classes are told apart; incidents of more are counted.
const MAX_CLASSES: usize = 500;
/// A first proposal moved by less than this is not worth a row.
const MOVED: chrono::Duration = chrono::Duration::seconds(30);

/// Incidents of one class that came to something else, for the same reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Differing {
    /// What they are like.
    pub class: Class,
    /// How many.
    pub incidents: u64,
    /// What they came to.
    pub before: String,
    /// What they come to with the change.
    pub after: String,
    /// Why.
    pub why: Vec<String>,
    /// The first of them.
    pub example: Example,
}

/// Incidents of one class that came to the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Came {
    /// What they are like.
    pub class: Class,
    /// How many.
    pub incidents: u64,
    /// What they came to.
    pub to: String,
    /// The rules that spoke of the first proposal, of the first of them.
    pub why: Vec<String>,
    /// The first of them.
    pub example: Example,
}

/// One incident of a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    /// Its id.
    pub incident: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
}

impl Example {
    fn of(course: &Course) -> Self {
        Self { incident: course.incident.clone(), root: course.root.clone(), opened_at: course.opened_at }
    }
}

type Key = (Class, String, String, Vec<String>);

/// Takes courses from both sides as they come.
#[derive(Debug)]
pub struct Comparison<'a> {
    two: bool,
    changes: &'a [Change],
    waiting: BTreeMap<String, (Side, VecDeque<Course>)>,
    differing: BTreeMap<Key, (u64, Example)>,
    came_to: BTreeMap<(Class, String), (u64, Vec<String>, Example)>,
    same: u64,
    different: u64,
    beyond: u64,
}

/// What the comparison came to.
pub(super) struct Found {
    pub(super) same: u64,
    pub(super) different: u64,
    pub(super) beyond: u64,
    pub(super) differing: Vec<Differing>,
    pub(super) came_to: Vec<Came>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(two: bool, changes: &'a [Change]) -> Self {
        Self {
            two,
            changes,
            waiting: BTreeMap::new(),
            differing: BTreeMap::new(),
            came_to: BTreeMap::new(),
            same: 0,
            different: 0,
            beyond: 0,
        }
    }

    pub(super) fn take(&mut self, side: Side, course: Course) {
        if !self.two {
            return self.note_one(&course);
        }
        // An incident may be told of more than once: a wave that came again is the same one.
        let other = match self.waiting.get_mut(&course.incident) {
            Some((waits, courses)) if *waits != side => courses.pop_front(),
            _ => None,
        };
        let Some(other) = other else {
            let id = course.incident.clone();
            self.waiting.entry(id).or_insert_with(|| (side, VecDeque::new())).1.push_back(course);
            return;
        };
        if self.waiting.get(&course.incident).is_some_and(|(_, courses)| courses.is_empty()) {
            self.waiting.remove(&course.incident);
        }
        let (before, after) = if side == Side::After { (&other, &course) } else { (&course, &other) };
        self.compare(before, after);
    }

    fn compare(&mut self, before: &Course, after: &Course) {
        let moved = moved(before, after);
        if before.is_like(after) && moved.is_none() {
            self.same += 1;
            return;
        }
        self.different += 1;
        let mut why = why(before, after, self.changes);
        if why.is_empty() {
            why = mentioned(before, after, self.changes);
        }
        if why.is_empty() {
            why.push("follows from what came before: steps on the same root, or budgets already spent".to_owned());
        }
        let mut after_text = after.to_string();
        if let Some(moved) = moved.filter(|_| before.is_like(after)) {
            after_text = format!("the same, {moved}");
        }
        self.note(before, (before.class.clone(), before.to_string(), after_text, why));
    }

    fn note(&mut self, course: &Course, key: Key) {
        if let Some((count, _)) = self.differing.get_mut(&key) {
            *count += 1;
        } else if self.differing.len() < MAX_CLASSES {
            self.differing.insert(key, (1, Example::of(course)));
        } else {
            self.beyond += 1;
        }
    }

    fn note_one(&mut self, course: &Course) {
        self.same += 1;
        let key = (course.class.clone(), course.to_string());
        if let Some((count, _, _)) = self.came_to.get_mut(&key) {
            *count += 1;
        } else if self.came_to.len() < MAX_CLASSES {
            let why = course.steps.first().map(rules).unwrap_or_default();
            self.came_to.insert(key, (1, why, Example::of(course)));
        } else {
            self.beyond += 1;
        }
    }

    pub(super) fn finish(mut self) -> Found {
        // An incident that only one side has: on the other an earlier one had not ended.
        for (_, (side, courses)) in std::mem::take(&mut self.waiting) {
            for course in courses {
                self.different += 1;
                let none = "part of an earlier incident, which is still open".to_owned();
                let (before, after) = match side {
                    Side::Before => (course.to_string(), none),
                    Side::After => (none, course.to_string()),
                };
                let why = vec!["its predecessor's last proposal had not ended".to_owned()];
                self.note(&course, (course.class.clone(), before, after, why));
            }
        }
        let mut differing: Vec<Differing> = self
            .differing
            .into_iter()
            .map(|((class, before, after, why), (incidents, example))| Differing {
                class,
                incidents,
                before,
                after,
                why,
                example,
            })
            .collect();
        differing.sort_by(|a, b| b.incidents.cmp(&a.incidents).then_with(|| a.class.cmp(&b.class)));
        let mut came_to: Vec<Came> = self
            .came_to
            .into_iter()
            .map(|((class, to), (incidents, why, example))| Came { class, incidents, to, why, example })
            .collect();
        came_to.sort_by(|a, b| b.incidents.cmp(&a.incidents).then_with(|| a.class.cmp(&b.class)));
        Found { same: self.same, different: self.different, beyond: self.beyond, differing, came_to }
    }
}

fn rules(step: &StepTaken) -> Vec<String> {
    step.rules.iter().map(|rule| format!("{}: {}", rule.policy, rule.said)).collect()
}

/// By how much the first proposal moved, in words.
fn moved(before: &Course, after: &Course) -> Option<String> {
    let (before, after) = (before.steps.first()?.proposed_at, after.steps.first()?.proposed_at);
    let by = after - before;
    if by.abs() < MOVED {
        return None;
    }
    let length = evenkeel_model::Span::minutes(by.abs().num_seconds().unsigned_abs().div_ceil(60));
    Some(format!("proposed {length} {}", if by > chrono::Duration::zero() { "later" } else { "earlier" }))
}

/// Why two courses differ: the first place where they do tells.
fn why(before: &Course, after: &Course, changes: &[Change]) -> Vec<String> {
    let mut why = Vec::new();
    let about = |name: &str| -> Vec<String> {
        let about = changes.iter().filter(|change| change.is_playbook(name));
        about.map(|change| change.for_signal(&before.class.signal).to_string()).collect()
    };
    for (a, b) in before.steps.iter().zip(&after.steps) {
        if !a.is_same_step(b) {
            why.extend(about(&a.playbook));
            why.extend(about(&b.playbook));
            break;
        }
        if a.verdict != b.verdict || a.deferred.is_some() != b.deferred.is_some() {
            why.extend(verdict_why(a, b, changes));
            break;
        }
        if a.end != b.end {
            why.extend(about(&a.playbook));
            let spoke = |change: &&Change| a.rules.iter().chain(&b.rules).any(|rule| change.is_policy(&rule.policy));
            why.extend(changes.iter().filter(spoke).map(ToString::to_string));
            if let (Some(then), Some(now)) = (&a.deferred, &b.deferred)
                && then != now
            {
                why.push(format!("deferred: {now} (was: {then})"));
            }
            break;
        }
    }
    if why.is_empty() && (before.steps.len() != after.steps.len() || moved(before, after).is_some()) {
        // One went on where the other ended: what it went on with tells.
        let shorter = before.steps.len().min(after.steps.len());
        let longer = if before.steps.len() > shorter { before } else { after };
        if let Some(step) = longer.steps.get(shorter).or_else(|| longer.steps.first()) {
            why.extend(about(&step.playbook));
        }
    }
    why.dedup();
    why
}

/// Playbooks that either course names, as far as they were changed.
fn mentioned(before: &Course, after: &Course, changes: &[Change]) -> Vec<String> {
    let texts = [before.to_string(), after.to_string()];
    let is_named = |change: &&Change| texts.iter().any(|text| text.contains(change.name.as_str()));
    changes.iter().filter(is_named).map(ToString::to_string).collect()
}

/// What a rule comes to, without the figures after it.
fn gist(rule: &Spoken) -> (&str, &str) {
    (&rule.policy, rule.said.split(',').next().unwrap_or_default())
}

fn verdict_why(before: &StepTaken, after: &StepTaken, changes: &[Change]) -> Vec<String> {
    let new_of = |of: &'_ StepTaken, than: &StepTaken| -> Vec<Spoken> {
        let of_verdict = before.verdict != after.verdict;
        let is_new = |rule: &&Spoken| {
            let known = |other: &Spoken| if of_verdict { gist(other) == gist(rule) } else { other == *rule };
            !than.rules.iter().any(known)
        };
        of.rules.iter().filter(is_new).cloned().collect()
    };
    let mut no_longer = "";
    let mut spoken = new_of(after, before);
    if spoken.is_empty() {
        spoken = new_of(before, after);
        no_longer = "no longer ";
    }
    let mut why: Vec<String> = spoken
        .into_iter()
        .map(|rule| {
            // What was changed of a policy is shorter than all that it says; of a new one, that it is new is not enough.
            let change = changes.iter().find(|change| change.is_policy(&rule.policy) && !change.is_whole());
            change.map_or_else(|| format!("{no_longer}{}: {}", rule.policy, rule.said), ToString::to_string)
        })
        .collect();
    match (&before.deferred, &after.deferred) {
        (None, Some(now)) => why.push(format!("deferred: {now}")),
        (Some(then), None) => why.push(format!("no longer deferred: {then}")),
        _ => {}
    }
    why
}

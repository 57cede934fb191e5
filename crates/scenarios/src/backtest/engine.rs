//! One side of a backtest: the reasoner's and the gateway's decisions over recorded signals, with
//! the recording's time as the only clock.

mod causes;
mod step;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{ActionName, Evidence, Incident, Meta, ObjectRef, Phase, Proposal, Snapshot, Span, Undo};
use evenkeel_planner::{Decision, Situation, apply, close_if_over, fold_into, plan, wave};
use evenkeel_playbook::facts;
use evenkeel_policy::Judgement;

use super::course::{Class, Course, StepTaken};
use super::gate::{Gate, said};
use super::recording::Recorded;
use super::rules::{Rules, asked};
use super::totals::Totals;
use super::{Assume, Settings};

/// How often incidents closed long ago are looked for.
const SWEEP: Duration = Duration::hours(6);
/// A planner that wants to look again more often than this at one instant would never come to an end.
const MAX_LOOKS: usize = 16;

/// One side.
pub(super) struct Engine<'a> {
    rules: &'a Rules,
    settings: &'a Settings,
    incidents: BTreeMap<String, Entry>,
    due: BinaryHeap<Reverse<(DateTime<Utc>, u64, Due)>>,
    /// Keeps what is due at one instant in the order in which it became due.
    serial: u64,
    gate: Gate<'a>,
    now: DateTime<Utc>,
    swept: DateTime<Utc>,
    totals: Totals,
    courses: Vec<Course>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// Plan this incident.
    Look { key: String },
    /// Go on with the open step of this incident.
    Step { key: String, number: u32 },
}

/// An incident and what was said of it.
#[derive(Default)]
struct Entry {
    incident: Option<Incident>,
    class: Option<Class>,
    look_at: Option<DateTime<Utc>>,
    /// The last wait: why, and how long from then. The same again is a mere look whether evidence has changed.
    waited: Option<(String, Duration)>,
    steps: Vec<StepTaken>,
    asks: Vec<String>,
    open: Option<Open>,
}

/// The step that has not ended.
struct Open {
    proposal: Box<Proposal>,
    judgement: Judgement,
    within: Span,
    undo: Undo,
    state: Waiting,
}

/// What it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    People,
    Windows,
    Ledger,
    Effect,
}

impl<'a> Engine<'a> {
    pub(super) fn new(rules: &'a Rules, settings: &'a Settings) -> Self {
        Self {
            rules,
            settings,
            incidents: BTreeMap::new(),
            due: BinaryHeap::new(),
            serial: 0,
            gate: Gate::new(rules, settings),
            now: DateTime::<Utc>::MIN_UTC,
            swept: DateTime::<Utc>::MIN_UTC,
            totals: Totals::default(),
            courses: Vec::new(),
        }
    }

    /// Takes one signal at its time. Signals come in order of time, but for those that are late.
    pub(super) fn take(&mut self, recorded: &Recorded) {
        self.advance(recorded.at);
        self.now = self.now.max(recorded.at);
        let now = self.now;
        let key = &recorded.key;
        if !self.incidents.contains_key(key) {
            self.incidents.insert(key.clone(), Entry::default());
        }
        let Some(entry) = self.incidents.get_mut(key) else { return };
        let was_open = entry.incident.as_ref().is_some_and(|incident| incident.closed_at.is_none());
        if !fold_into(&mut entry.incident, std::slice::from_ref(&recorded.arrival), now) {
            return;
        }
        let Some(incident) = entry.incident.as_mut() else { return };
        if !was_open && incident.closed_at.is_none() {
            let root = incident.root.as_ref();
            entry.class = Some(Class {
                signal: recorded.arrival.signal.name.clone(),
                kind: root.map(|root| root.kind),
                namespace: root.and_then(|root| root.namespace.clone()),
            });
        }
        self.after_change(key, was_open);
        self.note_causes(&recorded.arrival, key);
    }

    /// Lets everything come that is due until then.
    pub(super) fn advance(&mut self, to: DateTime<Utc>) {
        while let Some(Reverse((at, _, _))) = self.due.peek()
            && *at <= to
        {
            let Some(Reverse((at, _, due))) = self.due.pop() else { return };
            self.now = self.now.max(at);
            match due {
                Due::Look { key } => {
                    let is_it = self.incidents.get(&key).is_some_and(|entry| entry.look_at == Some(at));
                    if is_it {
                        self.look(&key);
                    }
                }
                Due::Step { key, number } => self.go_on(&key, number),
            }
        }
        if self.now - self.swept > SWEEP {
            self.sweep();
        }
    }

    /// What was found since the last time.
    pub(super) fn courses(&mut self) -> Vec<Course> {
        std::mem::take(&mut self.courses)
    }

    /// The end of the recording.
    pub(super) fn finish(&mut self) -> Totals {
        let open: Vec<String> = self
            .incidents
            .iter()
            .filter(|(_, entry)| entry.incident.as_ref().is_some_and(|incident| incident.closed_at.is_none()))
            .map(|(key, _)| key.clone())
            .collect();
        for key in open {
            self.tell(&key);
        }
        std::mem::take(&mut self.totals)
    }

    fn schedule(&mut self, at: DateTime<Utc>, due: Due) {
        self.serial += 1;
        self.due.push(Reverse((at, self.serial, due)));
    }

    fn look_at(&mut self, key: &str, at: DateTime<Utc>) {
        let Some(entry) = self.incidents.get_mut(key) else { return };
        if entry.look_at == Some(at) {
            return;
        }
        entry.look_at = Some(at);
        self.schedule(at, Due::Look { key: key.to_owned() });
    }

    /// After signals were folded or an outcome was noted: ends what is over, else plans anew.
    fn after_change(&mut self, key: &str, was_open: bool) {
        let now = self.now;
        let Some(entry) = self.incidents.get_mut(key) else { return };
        let Some(incident) = entry.incident.as_mut() else { return };
        if incident.closed_at.is_some() {
            return;
        }
        let is_over = incident.firing().next().is_none();
        if is_over && let Some(open) = &entry.open {
            let end = match open.state {
                Waiting::Effect => (Phase::Succeeded, "its signals ended"),
                Waiting::People | Waiting::Ledger | Waiting::Windows => {
                    (Phase::Obsolete, "its signals ended meanwhile")
                }
            };
            return self.end(key, end.0, end.1.to_owned());
        }
        if close_if_over(incident, now) {
            if was_open || !entry.steps.is_empty() {
                self.tell(key);
            }
            self.free_causes(key);
            return;
        }
        entry.waited = None;
        if entry.open.is_none() {
            self.look_at(key, now);
        }
    }

    /// Plans, as the reasoner does, with the evidence that is assumed.
    fn look(&mut self, key: &str) {
        for _ in 0..MAX_LOOKS {
            if !self.look_once(key) {
                return;
            }
        }
    }

    /// True when there is something to plan at once.
    fn look_once(&mut self, key: &str) -> bool {
        let now = self.now;
        let parent = self.parent_of(key);
        let Some(entry) = self.incidents.get_mut(key) else { return false };
        entry.look_at = None;
        let Some(incident) = entry.incident.as_mut() else { return false };
        if incident.closed_at.is_some() || entry.open.is_some() {
            return false;
        }
        if let Some(parent) = parent {
            incident.parent.get_or_insert(parent);
        }
        let mut evidence = BTreeMap::new();
        let decision = loop {
            let decision = plan(Situation {
                incident,
                playbooks: &self.rules.assumed,
                evidence: &evidence,
                fallback: &self.settings.fallback,
                limits: &self.settings.limits,
                now,
            });
            let Decision::NeedEvidence { playbook, target, .. } = &decision else { break decision };
            let asks = self.rules.playbook(playbook).is_some_and(|playbook| asked(playbook).next().is_some());
            if self.settings.assume == Assume::Unknown && asks {
                break decision;
            }
            let target = Some(neutral(target, now));
            let before = evidence.insert(playbook.clone(), Evidence { target, ..Evidence::default() });
            // Fresh evidence does not make it ask again.
            if before.is_some() {
                break decision;
            }
        };
        apply(incident, &decision, now);
        match decision {
            Decision::Propose { proposal, .. } | Decision::Escalate { proposal, .. } => self.submit(key, proposal),
            Decision::WaitUntil { at, reason } => {
                let wait = (reason, at - now);
                // Nothing changes but by signals: the same look again would find the same again.
                if entry.waited.as_ref() != Some(&wait) {
                    entry.waited = Some(wait);
                    self.look_at(key, at.max(now + Duration::seconds(1)));
                }
                false
            }
            Decision::NeedEvidence { playbook, target, .. } => {
                let ask = self.would_ask(&playbook, &target);
                let Some(entry) = self.incidents.get_mut(key) else { return false };
                if let Some(ask) = ask.filter(|ask| !entry.asks.contains(ask)) {
                    entry.asks.push(ask);
                    self.totals.asked(&playbook);
                }
                false
            }
            Decision::Ignore { .. } => false,
        }
    }

    /// What a playbook would ask, and what policies say to its first step.
    fn would_ask(&self, name: &str, target: &ObjectRef) -> Option<String> {
        let playbook = self.rules.playbook(name)?;
        let asks: Vec<String> = asked(playbook).map(facts::describe).collect();
        let mut text = format!("would ask for {name}: {}", asks.join(" and "));
        if let Some(step) = playbook.spec.steps.first().filter(|step| step.action.name().is_mutating()) {
            let proposal = evenkeel_model::Proposal {
                incident: String::new(),
                number: 1,
                cluster: String::new(),
                target: target.clone(),
                root: target.clone(),
                action: step.action.clone(),
                playbook: evenkeel_model::PlaybookStep {
                    name: name.to_owned(),
                    version: playbook.version.clone(),
                    step: step.name.clone(),
                },
                origin: evenkeel_model::Origin::Playbook,
                signals: Vec::new(),
                rationale: String::new(),
                recurrence_of: None,
                proposed_at: self.now,
                expires_at: self.now,
                traceparent: None,
            };
            let verdict = said(&self.gate.judge(&proposal, self.now));
            text.push_str(&format!("; if so {} ({}): {verdict}", step.name, step.action.name()));
        }
        Some(text)
    }

    /// The cause whose wave the incident is part of.
    fn parent_of(&self, key: &str) -> Option<ObjectRef> {
        let incident = self.incidents.get(key)?.incident.as_ref()?;
        let is_wave = |cause: &&ObjectRef| {
            let found = self.incidents.get(&cause.key(&incident.cluster)).and_then(|entry| entry.incident.as_ref());
            found.is_some_and(|found| wave::is_wave(found, self.now))
        };
        incident.causes.iter().find(is_wave).cloned()
    }

    /// Writes down what the incident came to.
    fn tell(&mut self, key: &str) {
        let Some(entry) = self.incidents.get_mut(key) else { return };
        let Some(incident) = entry.incident.as_ref() else { return };
        let Some(class) = entry.class.clone() else { return };
        entry.look_at = None;
        entry.waited = None;
        let course = Course {
            incident: incident.id.clone(),
            class,
            root: incident.root.as_ref().map(ToString::to_string),
            opened_at: incident.opened_at,
            closed_at: incident.closed_at,
            steps: std::mem::take(&mut entry.steps),
            asks: std::mem::take(&mut entry.asks),
            part_of: incident.parent.as_ref().map(ToString::to_string),
            decided: incident.decided.as_ref().map(|decided| decided.reason.clone()).unwrap_or_default(),
        };
        self.totals.incident(&course, incident.firing().next().is_some());
        self.courses.push(course);
    }

    /// Forgets what was closed long ago, as the reasoner does.
    fn sweep(&mut self) {
        self.swept = self.now;
        let (now, keep) = (self.now, self.settings.keep_closed.chrono());
        self.incidents.retain(|_, entry| {
            let closed_at = entry.incident.as_ref().and_then(|incident| incident.closed_at);
            closed_at.is_none_or(|closed_at| now - closed_at <= keep)
        });
    }
}

/// An object of which nothing is known but that it is there.
fn neutral(target: &ObjectRef, now: DateTime<Utc>) -> Snapshot {
    Snapshot {
        target: target.clone(),
        taken_at: now,
        meta: Some(Meta {
            uid: target.uid.clone().unwrap_or_default(),
            resource_version: String::new(),
            created_at: now,
            deleted_at: None,
            mode: None,
            stamp: None,
            git_ops: None,
            controller: None,
            writers: Vec::new(),
        }),
        workload: None,
        pod: None,
        node: None,
        job: None,
        pods: Vec::new(),
        revisions: Vec::new(),
        scaled_by: None,
        owner: None,
        suppressed: None,
    }
}

/// Whether an action's figures are worth telling.
pub(super) fn is_counted(action: ActionName) -> bool {
    action.is_mutating()
}

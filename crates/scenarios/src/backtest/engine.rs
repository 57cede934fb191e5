//! One side of a backtest: the reasoner's and the gateway's decisions over recorded signals, with
//! the recording's time as the only clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{
    ActionName, Evidence, Incident, Meta, ObjectRef, Outcome, Phase, Proposal, SignalState, Snapshot, Span, Undo,
};
use evenkeel_planner::{Arrival, Decision, Situation, apply, close_if_over, fold_into, plan, record, wave};
use evenkeel_playbook::facts;
use evenkeel_policy::Judgement;

use super::course::{Class, Course, Said, StepTaken};
use super::gate::{Claimed, Gate, said};
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

    /// Hands a proposal to the gate. True when it has ended at once.
    fn submit(&mut self, key: &str, proposal: Box<Proposal>) -> bool {
        let now = self.now;
        let name = proposal.action.name();
        let judgement = self.gate.judge(&proposal, now);
        let verdict = said(&judgement);
        self.totals.proposed(name, verdict);
        if let Some(earlier) = &proposal.recurrence_of {
            self.regress(key, earlier);
        }
        let step = self
            .rules
            .playbook(&proposal.playbook.name)
            .and_then(|playbook| playbook.spec.step(&proposal.playbook.step));
        let (within, undo) = step.map_or((Span::minutes(10), Undo::Never), |step| {
            (step.verify.as_ref().map_or(Span::minutes(10), |verify| verify.within), step.undo)
        });
        let Some(entry) = self.incidents.get_mut(key) else { return false };
        entry.steps.push(StepTaken {
            playbook: proposal.playbook.name.clone(),
            step: proposal.playbook.step.clone(),
            action: name,
            proposed_at: now,
            why: proposal.rationale.clone(),
            verdict,
            rules: judgement.verdict.rules.clone(),
            deferred: None,
            end: None,
            ended_at: None,
        });
        let number = proposal.number;
        entry.open = Some(Open { proposal, judgement, within, undo, state: Waiting::Ledger });
        self.follow(key, number, verdict)
    }

    /// Does what policies said to the open step. True when it has ended at once.
    fn follow(&mut self, key: &str, number: u32, verdict: Said) -> bool {
        let Some(entry) = self.incidents.get_mut(key) else { return false };
        let Some(open) = &mut entry.open else { return false };
        let (name, expires_at) = (open.proposal.action.name(), open.proposal.expires_at);
        match verdict {
            _ if !name.is_mutating() => self.end_quietly(key, Phase::Succeeded, "people were told"),
            Said::Deny => self.end_quietly(key, Phase::Denied, "denied by policy"),
            Said::Audit => self.end_quietly(key, Phase::WouldExecute, "not done in Audit mode"),
            Said::NeedsApproval(_) => {
                open.state = Waiting::People;
                self.schedule(expires_at, Due::Step { key: key.to_owned(), number });
                return false;
            }
            Said::Defer => {
                self.wait_for_windows(key, number);
                return false;
            }
            Said::Allow => {
                open.state = Waiting::Ledger;
                self.claim(key, number);
                return false;
            }
        }
        true
    }

    /// Policies say not at this time: judged again when they open, if that is in time.
    fn wait_for_windows(&mut self, key: &str, number: u32) {
        let Some(entry) = self.incidents.get_mut(key) else { return };
        let Some(open) = &mut entry.open else { return };
        let evenkeel_model::Decision::Defer { until } = open.judgement.verdict.decision else { return };
        open.state = Waiting::Windows;
        let due = until.max(self.now + Duration::seconds(1)).min(open.proposal.expires_at);
        if let Some(step) = entry.steps.last_mut().filter(|step| step.deferred.is_none()) {
            step.deferred = Some("outside the windows of its policies".to_owned());
            self.totals.deferred(open.proposal.action.name());
        }
        self.schedule(due, Due::Step { key: key.to_owned(), number });
    }

    /// The windows may be open now.
    fn judge_again(&mut self, key: &str, number: u32) {
        let Some(entry) = self.incidents.get_mut(key) else { return };
        let Some(open) = &mut entry.open else { return };
        open.judgement = self.gate.judge(&open.proposal, self.now);
        let verdict = said(&open.judgement);
        if let Some(step) = entry.steps.last_mut() {
            step.verdict = verdict;
            step.rules = open.judgement.verdict.rules.clone();
        }
        if self.follow(key, number, verdict) {
            self.after_change(key, true);
        }
    }

    fn claim(&mut self, key: &str, number: u32) {
        let now = self.now;
        let Some(entry) = self.incidents.get_mut(key) else { return };
        let Some(open) = &mut entry.open else { return };
        let expires_at = open.proposal.expires_at;
        let due = match self.gate.claim(&open.proposal, &open.judgement, open.within, now) {
            Claimed::Yes => {
                open.state = Waiting::Effect;
                self.totals.acted(open.proposal.action.name(), now);
                now + open.within.chrono()
            }
            Claimed::NotBefore(until, why) => {
                if let Some(step) = entry.steps.last_mut().filter(|step| step.deferred.is_none()) {
                    step.deferred = Some(why);
                    self.totals.deferred(open.proposal.action.name());
                }
                until.max(now + Duration::seconds(1)).min(expires_at)
            }
        };
        self.schedule(due, Due::Step { key: key.to_owned(), number });
    }

    /// The open step's time has come.
    fn go_on(&mut self, key: &str, number: u32) {
        let now = self.now;
        let Some(open) = self.incidents.get(key).and_then(|entry| entry.open.as_ref()) else { return };
        if open.proposal.number != number {
            return;
        }
        let (expired, undo) = (now >= open.proposal.expires_at, open.undo);
        match open.state {
            Waiting::Effect => {
                let within = open.within;
                let end = if undo == Undo::Automatic { Phase::RolledBack } else { Phase::NotUndoable };
                self.end(key, end, format!("its signals had not ended after {within}"));
            }
            Waiting::People if expired => self.end(key, Phase::Expired, "nobody approved".to_owned()),
            Waiting::Ledger if expired => self.end(key, Phase::Expired, "deferred until it expired".to_owned()),
            Waiting::Windows if expired => self.end(key, Phase::Expired, "deferred until it expired".to_owned()),
            Waiting::Ledger => self.claim(key, number),
            Waiting::Windows => self.judge_again(key, number),
            Waiting::People => {}
        }
    }

    /// Ends the open step and goes on with its incident.
    fn end(&mut self, key: &str, phase: Phase, reason: String) {
        self.note_end(key, phase, reason);
        self.after_change(key, true);
    }

    /// Ends the open step; its incident is planned by who called.
    fn end_quietly(&mut self, key: &str, phase: Phase, reason: &str) {
        self.note_end(key, phase, reason.to_owned());
    }

    fn note_end(&mut self, key: &str, phase: Phase, reason: String) {
        let now = self.now;
        let Some(entry) = self.incidents.get_mut(key) else { return };
        let Some(open) = entry.open.take() else { return };
        if let Some(step) = entry.steps.last_mut() {
            step.end = Some(phase);
            step.ended_at = Some(now);
        }
        entry.waited = None;
        let proposal = open.proposal;
        self.totals.ended(proposal.action.name(), phase);
        if open.state == Waiting::Effect {
            self.gate.release(&proposal, now);
        }
        if let Some(incident) = entry.incident.as_mut() {
            let outcome = Outcome {
                remediation: proposal.name(),
                incident: proposal.incident,
                number: proposal.number,
                target: proposal.target,
                root: proposal.root,
                action: proposal.action.name(),
                playbook: proposal.playbook,
                phase,
                reason,
                target_well: None,
                ended_at: now,
            };
            record(incident, &outcome, now);
        }
    }

    /// What had helped did not: the same signal came again in its recurrence time.
    fn regress(&mut self, key: &str, remediation: &str) {
        let now = self.now;
        let Some(incident) = self.incidents.get_mut(key).and_then(|entry| entry.incident.as_mut()) else { return };
        let known = incident.attempts.iter().chain(&incident.earlier).find(|it| it.remediation == remediation);
        let Some(known) = known.cloned() else { return };
        let outcome = Outcome {
            remediation: known.remediation,
            incident: incident.id.clone(),
            number: known.number,
            target: known.target.clone(),
            root: known.target,
            action: known.action,
            playbook: known.playbook,
            phase: Phase::Regressed,
            reason: "the same signal came again".to_owned(),
            target_well: None,
            ended_at: now,
        };
        if record(incident, &outcome, now) {
            self.totals.ended(outcome.action, Phase::Regressed);
        }
    }

    /// Notes the root with the causes that its signals name, as the reasoner does.
    fn note_causes(&mut self, arrival: &Arrival, key: &str) {
        let signal = &arrival.signal;
        if signal.causes.is_empty() || signal.state != SignalState::Firing {
            return;
        }
        let Some(incident) = self.incidents.get(key).and_then(|entry| entry.incident.as_ref()) else { return };
        let Some(root) = incident.root.clone().filter(|_| incident.closed_at.is_none()) else { return };
        let now = self.now;
        for cause in signal.causes.iter().filter(|cause| !cause.is_same(&root)) {
            let cause_key = cause.key(&signal.cluster);
            let entry = self.incidents.entry(cause_key.clone()).or_default();
            let was_open = entry.incident.as_ref().is_some_and(|incident| incident.closed_at.is_none());
            let known = entry.incident.clone();
            let Some(noted) = wave::note_member(known, cause, &signal.cluster, &root, None, now) else { continue };
            let opens = !was_open && noted.closed_at.is_none();
            entry.incident = Some(noted);
            if opens {
                entry.class = Some(Class {
                    signal: wave::SIGNAL.to_owned(),
                    kind: Some(cause.kind),
                    namespace: cause.namespace.clone(),
                });
            }
            if opens || was_open {
                self.after_change(&cause_key, was_open);
            }
        }
    }

    /// Takes a root that has recovered out of its causes' members.
    fn free_causes(&mut self, key: &str) {
        let now = self.now;
        let Some(incident) = self.incidents.get(key).and_then(|entry| entry.incident.as_ref()) else { return };
        let Some(root) = incident.root.clone() else { return };
        let keys: Vec<String> = incident.causes.iter().map(|cause| cause.key(&incident.cluster)).collect();
        for cause in keys.into_iter().filter(|cause| cause != key) {
            let found = self.incidents.get_mut(&cause).and_then(|entry| entry.incident.as_mut());
            let Some(incident) = found else { continue };
            let was_open = incident.closed_at.is_none();
            if wave::forget_member(incident, &root, now) && was_open {
                self.after_change(&cause, was_open);
            }
        }
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

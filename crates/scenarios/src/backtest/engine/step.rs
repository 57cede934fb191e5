//! The course of one step: judged, deferred, claimed, ended.

use chrono::Duration;
use evenkeel_model::{Outcome, Phase, Proposal, Span, Undo};
use evenkeel_planner::record;

use super::{Due, Engine, Open, Waiting};
use crate::backtest::course::{Said, StepTaken};
use crate::backtest::gate::{Claimed, said};

impl Engine<'_> {
    /// Hands a proposal to the gate. True when it has ended at once.
    pub(super) fn submit(&mut self, key: &str, proposal: Box<Proposal>) -> bool {
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
    pub(super) fn go_on(&mut self, key: &str, number: u32) {
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
    pub(super) fn end(&mut self, key: &str, phase: Phase, reason: String) {
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
}

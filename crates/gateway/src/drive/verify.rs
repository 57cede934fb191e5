//! Verifying: the gateway's own look at the target and its own questions to Prometheus; never what
//! the bus says.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_cluster::NoRecords;
use evenkeel_model::{Check, Evidence, Finding, Match, Phase, PlaybookSpec, Query, Snapshot, Span, Step, Verification};
use evenkeel_playbook::{Loaded, Vars, facts, queries};
use evenkeel_policy::ledger;
use evenkeel_runtime::{redact, trace};
use tracing::Instrument as _;

use super::begin::NotClaimed;
use super::watch::{self, Conclusion, Patience};
use crate::actions::{self, Well};
use crate::outcomes::acted;
use crate::plane::{Draft, DriveError, Next, Plane};

/// Whether the root is held for as long as the next step needs.
pub(super) enum Holding {
    /// By us; the draft's claim says until when.
    Ours,
    /// Another gateway is at it.
    ElsewhereUntil(chrono::DateTime<chrono::Utc>),
    /// Another remediation has it by now, or a person has to look.
    No(String),
}

impl Plane {
    /// One look at whether it helped.
    pub(super) async fn verify(&self, mut draft: Draft) -> Result<Next, DriveError> {
        let before = draft.clone();
        match self.keep_hold(&mut draft).await? {
            Holding::Ours => {}
            Holding::ElsewhereUntil(until) => return Ok(Next::At(until)),
            // To look needs no claim; to undo will.
            Holding::No(reason) => tracing::debug!(remediation = draft.name(), reason, "verifying without a claim"),
        }
        let span = self.verify_span(&draft);
        let (snapshot, checks) = self.look_whether_it_helped(&draft).instrument(span.clone()).await?;
        let now = self.now();
        let step = draft.remediation().spec.step.clone();
        let hold = step.and_then(|step| step.verify).map_or(Duration::ZERO, |verify| verify.hold.get());
        let patience = Patience { hold, grace: self.config.verification_grace.get() };
        let mut verification = draft.status.verification.clone().unwrap_or(Verification {
            deadline: now,
            holding_since: None,
            checks: Vec::new(),
        });
        let broke_at = watch::last_break(&snapshot);
        let conclusion = watch::conclude(&mut verification, checks, broke_at, patience, now);
        #[cfg(feature = "mutation")]
        let conclusion = match self.mutation {
            Some(crate::Mutation::Verification) => Conclusion::Helped,
            _ => conclusion,
        };
        draft.status.verification = Some(verification);
        draft.status.target_well = snapshot.is_well();
        match conclusion {
            Conclusion::Watch(latest) => {
                let acted_at = draft.status.acted_at.unwrap_or(now);
                let since = (now - acted_at).to_std().unwrap_or_default();
                let pause = watch::pause(since, self.config.poll_first.get(), self.config.poll_most.get());
                let next = now + chrono::Duration::from_std(pause).unwrap_or_default();
                if is_news(&before, &draft) {
                    self.save(draft).await?;
                }
                Ok(Next::At(next.min(latest)))
            }
            Conclusion::Helped => {
                draft.step(Step::Confirm, now, "all conditions held")?;
                self.conclude(draft, &span).await
            }
            Conclusion::Ineffective(why) => {
                draft.step(Step::FindIneffective, now, format!("it did not help: {why}"))?;
                self.conclude(draft, &span).await
            }
            Conclusion::Unverifiable(why) => {
                draft.step(Step::FindUnverifiable, now, format!("whether it helped can't be told: {why}"))?;
                self.conclude(draft, &span).await
            }
        }
    }

    async fn conclude(&self, draft: Draft, span: &tracing::Span) -> Result<Next, DriveError> {
        let draft = self.save(draft).instrument(span.clone()).await?;
        self.verifying().remove(&draft.name());
        match draft.phase() {
            Phase::Ineffective => Box::pin(self.undo(draft)).await,
            _ => self.finish(draft).await,
        }
    }

    /// One span from the first look to the conclusion.
    fn verify_span(&self, draft: &Draft) -> tracing::Span {
        let name = draft.name();
        let open = || {
            let span = tracing::info_span!(parent: None, "gate.verify", remediation = name);
            trace::set_parent(&span, draft.proposal().traceparent.as_deref());
            span
        };
        self.verifying().entry(draft.name()).or_insert_with(open).clone()
    }

    /// Sees to it that the root is held for at least half a claim longer; a claim of another gateway
    /// is taken over once it has ended.
    pub(super) async fn keep_hold(&self, draft: &mut Draft) -> Result<Holding, DriveError> {
        let (now, name) = (self.now(), draft.name());
        let Some(claim) = draft.status.claim.clone() else { return Ok(Holding::No("it has no claim".to_owned())) };
        let ours = claim.holder == self.holder;
        let left = (claim.until - now).to_std().unwrap_or_default();
        if ours && left > self.config.claim.get() / 2 {
            return Ok(Holding::Ours);
        }
        if !ours && !left.is_zero() {
            return Ok(Holding::ElsewhereUntil(claim.until));
        }
        if ours {
            let seed = || self.ledger_seed();
            let (hold_for, acted_at) = (self.config.claim, draft.status.acted_at);
            let extend = |spec: &evenkeel_model::LedgerSpec| {
                ledger::extend(&acted(spec, &name, acted_at), &name, claim.epoch, hold_for, self.now())
            };
            if let Ok(extended) = self.ledger.change(&seed, extend).await? {
                draft.status.claim = Some(extended);
                return Ok(Holding::Ours);
            }
        }
        match self.claim(draft, None).await? {
            Ok(claim) => {
                draft.status.claim = Some(claim);
                Ok(Holding::Ours)
            }
            Err(NotClaimed::ElsewhereUntil(until)) => Ok(Holding::ElsewhereUntil(until)),
            Err(NotClaimed::Later { reason, .. } | NotClaimed::HeldForPerson(reason)) => Ok(Holding::No(reason)),
        }
    }

    /// Reads the target and asks what the step's conditions need.
    async fn look_whether_it_helped(&self, draft: &Draft) -> Result<(Snapshot, Vec<Check>), DriveError> {
        let proposal = draft.proposal();
        let action = actions::for_action(&proposal.action);
        let target = action.verified_on(proposal);
        // What was available long ago matters to the choice of an action, not to whether it helped.
        let read = evenkeel_cluster::snapshot(&self.reader, target, &NoRecords, self.now());
        let snapshot = self.within(|| format!("reading {target}"), read).await?;
        let verify = draft.remediation().spec.step.as_ref().and_then(|step| step.verify.as_ref());
        let conditions = verify.map(|verify| verify.that.as_slice()).unwrap_or_default();
        let named = self.findings(draft).await;
        let evidence = Evidence { target: Some(snapshot.clone()), named };
        let mut checks: Vec<Check> = conditions
            .iter()
            .map(|condition| {
                let held = facts::holds(condition, &evidence);
                Check { condition: facts::describe(condition), holds: held.holds, found: redact::text(&held.found) }
            })
            .collect();
        let condition = format!("{} is as {} leaves it", snapshot.target, proposal.action.name());
        checks.push(match action.well(&snapshot) {
            Well::Yes => Check { condition, holds: Some(true), found: "so".to_owned() },
            Well::No(found) => Check { condition, holds: Some(false), found },
        });
        Ok((snapshot, checks))
    }

    /// Answers to the questions of the step's verification. Only Prometheus is asked: the rest of
    /// what conditions name is read with the target.
    async fn findings(&self, draft: &Draft) -> BTreeMap<String, Finding> {
        let (spec, proposal) = (&draft.remediation().spec, draft.proposal());
        let Some(step) = spec.step.clone().filter(|_| !spec.diagnose.is_empty()) else { return BTreeMap::new() };
        let vars = Vars {
            cluster: self.cluster.clone(),
            incident: proposal.incident.clone(),
            signals: proposal.signals.clone(),
            target: Some(proposal.target.clone()),
            root: Some(proposal.root.clone()),
        };
        // Only the questions of it are used.
        let asking = PlaybookSpec {
            summary: String::new(),
            priority: 0,
            matches: Match { signals: Vec::new(), kinds: None, namespaces: None },
            settle: Span::seconds(0),
            diagnose: spec.diagnose.clone(),
            when: Vec::new(),
            steps: vec![step],
        };
        let unknown = |reason: String| Finding::Unknown { reason };
        let asked = Loaded::new(&proposal.playbook.name, asking)
            .map_err(|error| error.to_string())
            .and_then(|playbook| queries::for_playbook(&playbook, &vars).map_err(|error| error.to_string()));
        let asked = match asked {
            Ok(asked) => asked,
            Err(reason) => {
                let found = unknown(reason);
                return spec.diagnose.iter().map(|question| (question.name.clone(), found.clone())).collect();
            }
        };
        let mut findings = BTreeMap::new();
        for question in asked {
            let finding = match (&question.query, &self.prometheus) {
                (Query::Promql { expression }, Some(prometheus)) => prometheus.ask(expression).await,
                (Query::Promql { .. }, None) => {
                    unknown("no Prometheus is configured (gateway.prometheusUrl)".to_owned())
                }
                (other, _) => unknown(format!("the gateway does not ask for {} itself", other.token())),
            };
            findings.insert(question.name, finding);
        }
        findings
    }
}

/// Whether a look found something that is worth a write: every look would be one.
fn is_news(before: &Draft, after: &Draft) -> bool {
    let holds = |draft: &Draft| {
        let verification = draft.status.verification.as_ref()?;
        let holds: Vec<Option<bool>> = verification.checks.iter().map(|check| check.holds).collect();
        Some((verification.holding_since, holds))
    };
    holds(before) != holds(after)
        || before.status.claim != after.status.claim
        || before.status.target_well != after.status.target_well
}

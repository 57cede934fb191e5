//! From Proposed to Executing: judged, claimed, looked at again, planned.

use chrono::{DateTime, Duration, Utc};
use evenkeel_cluster::Stamp;
use evenkeel_model::{Claim, Phase, Plan, Proposal, Span, Step};
use evenkeel_policy::ledger::{self, ClaimAsk, ClaimRefused};
use evenkeel_policy::{EffectiveRates, Judgement};
use evenkeel_runtime::trace;
use tracing::Instrument as _;

use super::look::{Considered, Look};
use crate::actions::{self, PlanError};
use crate::events::Say;
use crate::outcomes::acted;
use crate::plane::{Draft, DriveError, Next, Plane};

/// The largest request that is written down, bytes of JSON.
const MAX_REQUEST: usize = 256 * 1024;
/// The largest inverse; what is larger can't be undone.
const MAX_INVERSE: usize = 128 * 1024;

/// How soon a target that seems not to need it, or not without people, is looked at again; each time
/// later by a part of the time that has passed.
const LOOK_AGAIN: Duration = Duration::seconds(1);

/// Why the root is not claimed now.
pub(super) enum NotClaimed {
    /// Another process works on this Remediation: hands off until then.
    ElsewhereUntil(DateTime<Utc>),
    /// Not before; what others hold may be free earlier.
    Later { reason: String, until: Option<DateTime<Utc>>, might_end_earlier: bool },
    /// A person has to look first.
    HeldForPerson(String),
}

impl Plane {
    /// Judges, claims, and acts.
    pub(super) async fn begin(&self, mut draft: Draft) -> Result<Next, DriveError> {
        let now = self.now();
        let expires_at = draft.proposal().expires_at;
        if expires_at <= now {
            let reason = format!("its time ran out at {expires_at}; before: {}", draft.status.reason);
            return self.settle(draft, Step::Expire, reason, None).await;
        }
        if let Some(reason) = self.recorder.is_behind() {
            return match draft.phase() {
                Phase::Deferred => Ok(Next::At((now + self.config.retry.chrono()).min(expires_at))),
                _ => self.settle(draft, Step::Defer, reason, None).await,
            };
        }
        if draft.phase() == Phase::Deferred {
            if let Some(not_before) = draft.status.not_before.filter(|not_before| now < *not_before) {
                return Ok(Next::At(not_before.min(expires_at)));
            }
            draft.step(Step::Reconsider, now, "looked at again")?;
            draft.status.not_before = None;
        }
        self.begin_on(draft, None).await
    }

    /// As [`Plane::begin`], on a look taken just now, or a new one.
    pub(super) async fn begin_on(&self, draft: Draft, look: Option<Look>) -> Result<Next, DriveError> {
        let span = tracing::info_span!("gate.judge", remediation = draft.name());
        trace::set_parent(&span, draft.proposal().traceparent.as_deref());
        match Box::pin(self.get_ready(draft, look)).instrument(span).await? {
            Ready::Settled(next) => Ok(next),
            Ready::Act(draft) => self.act(*draft, false).await,
        }
    }

    async fn get_ready(&self, mut draft: Draft, look: Option<Look>) -> Result<Ready, DriveError> {
        let proposal = draft.proposal().clone();
        let look = match look {
            Some(look) => look,
            None => self.look(&proposal).await?,
        };
        let now = self.now();
        if draft.status.verdict.is_none() && !self.unindicated().contains_key(&draft.name()) {
            self.metrics.decided_after((now - proposal.proposed_at).to_std().unwrap_or_default());
        }
        let (judgement, why) = match self.weigh_with_people(&mut draft, &look, false).await? {
            Weighed::Go { judgement, why } => (judgement, why),
            Weighed::AskPeople { reason, .. } => {
                return Ok(Ready::Settled(self.settle(draft, Step::AskPeople, reason, None).await?));
            }
            Weighed::NotIndicated { reason } => {
                return Ok(Ready::Settled(match self.patience_ends(&draft) {
                    Some(again) => Next::At(again),
                    None => self.settle(draft, Step::FindObsolete, reason, None).await?,
                }));
            }
            Weighed::Settle { step, reason, not_before } => {
                return Ok(Ready::Settled(self.settle(draft, step, reason, not_before).await?));
            }
        };
        if draft.phase() == Phase::Proposed {
            let by = if judgement.approvers == 0 { "allowed by policy" } else { why.as_str() };
            draft.step(Step::Authorize, now, by)?;
        }
        // (1) The root, and every scope that counts.
        match self.claim(&draft, Some(&judgement)).await? {
            Ok(claim) => draft.status.claim = Some(claim),
            Err(NotClaimed::ElsewhereUntil(until)) => return Ok(Ready::Settled(Next::At(until))),
            Err(NotClaimed::Later { reason, until, .. }) => {
                return Ok(Ready::Settled(self.settle(draft, Step::Defer, reason, until).await?));
            }
            Err(NotClaimed::HeldForPerson(reason)) => {
                return Ok(Ready::Settled(self.settle(draft, Step::Deny, reason, None).await?));
            }
        }
        if draft.phase() == Phase::Authorized {
            draft.step(Step::Claim, self.now(), "holds its root")?;
        }
        let name = draft.name();
        let draft = match Box::pin(self.plan_under_claim(draft, &proposal, look, judgement, why)).await {
            Ok(Ready::Act(draft)) => draft,
            Ok(settled) => return Ok(settled),
            Err(error) => {
                // Nothing was written of it yet, so nothing can have been sent: the root and the rates are others'.
                if let Err(also) = self.change_ledger(|spec| ledger::release(spec, &name, true)).await {
                    tracing::debug!(remediation = name, error = %also, "claim not given back; it ends by itself");
                }
                return Err(error);
            }
        };
        Ok(Ready::Act(Box::new(self.save(*draft).await?)))
    }

    /// What is going to be done, with the root held; not written yet.
    async fn plan_under_claim(
        &self,
        mut draft: Draft,
        proposal: &Proposal,
        mut look: Look,
        mut judgement: Judgement,
        mut why: String,
    ) -> Result<Ready, DriveError> {
        if let Some(trouble) = self.ledger.clock_trouble() {
            return Ok(Ready::Settled(self.settle(draft, Step::Defer, trouble, None).await?));
        }
        // (2) Now that nobody else of us acts on it: is it what it was?
        if !self.is_unchanged(proposal, &look).await? {
            look = self.look(proposal).await?;
            (judgement, why) = match self.weigh_with_people(&mut draft, &look, true).await? {
                Weighed::Go { judgement, why } => (judgement, why),
                Weighed::AskPeople { reason, .. } => {
                    return Ok(Ready::Settled(self.settle(draft, Step::AskPeople, reason, None).await?));
                }
                Weighed::NotIndicated { reason } => {
                    return Ok(Ready::Settled(match self.patience_ends(&draft) {
                        Some(again) => self.settle(draft, Step::Defer, reason, Some(again)).await?,
                        None => self.settle(draft, Step::FindObsolete, reason, None).await?,
                    }));
                }
                Weighed::Settle { step, reason, not_before } => {
                    return Ok(Ready::Settled(self.settle(draft, step, reason, not_before).await?));
                }
            };
        }
        // What froze it since the look lets it wait; what does so from here on fails it, unwritten.
        if let Some(frozen) = self.freezes.read().await.on(&proposal.target, self.now()) {
            let again = frozen.look_again(self.now());
            return Ok(Ready::Settled(self.settle(draft, Step::Defer, frozen.to_string(), Some(again)).await?));
        }
        let planned = match self.plan(&draft, &look).await? {
            Ok(planned) => planned,
            Err(reason) => return Ok(Ready::Settled(self.settle(draft, Step::Deny, reason, None).await?)),
        };
        // Whoever signed must have signed this very request, and still may.
        if let Err(weighed) = self.still_approved(&mut draft, &look, &judgement, &planned).await? {
            let (step, reason) = weighed.into_settled();
            return Ok(Ready::Settled(self.settle(draft, step, reason, None).await?));
        }
        let plan = planned.plan;
        // (3) What is going to be sent, and how it is taken back.
        draft.step(Step::Begin, self.now(), format!("{why}: {}", plan.changes.join(", ")))?;
        draft.status.plan = Some(plan);
        Ok(Ready::Act(Box::new(draft)))
    }

    /// When to look again at a target that seems not to need it; `None` once it has seemed so for
    /// long enough. What crashes again and again is well in between, for a moment.
    pub(super) fn patience_ends(&self, draft: &Draft) -> Option<DateTime<Utc>> {
        let now = self.now();
        let since = *self.unindicated().entry(draft.name()).or_insert(now);
        let until = since + self.config.indication_patience.chrono();
        (now < until).then(|| until.min(next_look(since, now)))
    }

    /// Notes the verdict.
    pub(super) fn weigh(&self, draft: &mut Draft, look: &Look) -> Weighed {
        let (judgement, weighed) = match self.consider(draft.proposal(), look) {
            Considered::Go { judgement, why } => (Some(judgement.clone()), Weighed::Go { judgement, why }),
            Considered::NotIndicated { judgement, reason } => (Some(judgement), Weighed::NotIndicated { reason }),
            Considered::AskPeople { judgement, why, reason } => {
                (Some(judgement.clone()), Weighed::AskPeople { judgement, why, reason })
            }
            Considered::Settle { judgement, step, reason, not_before } => {
                (judgement, Weighed::Settle { step, reason, not_before })
            }
        };
        if !matches!(weighed, Weighed::NotIndicated { .. }) {
            self.unindicated().remove(&draft.name());
        }
        draft.status.target_well = look.snapshot.is_well();
        if let Some(judgement) = judgement {
            draft.status.verdict = Some(judgement.verdict);
        }
        weighed
    }

    /// Asks the ledger for the root. Without a judgement nothing is counted: the debit was made
    /// when it was first claimed.
    pub(super) async fn claim(
        &self,
        draft: &Draft,
        judgement: Option<&Judgement>,
    ) -> Result<Result<Claim, NotClaimed>, DriveError> {
        #[cfg(feature = "mutation")]
        if self.mutation == Some(crate::Mutation::Ledger) {
            let until = self.now() + self.config.claim.chrono();
            return Ok(Ok(Claim { epoch: 1, until, holder: self.holder.clone() }));
        }
        let (name, proposal) = (draft.name(), draft.proposal());
        let no_rates = EffectiveRates::default();
        let ask = ClaimAsk {
            remediation: &name,
            root: &proposal.root,
            target: &proposal.target,
            action: proposal.action.name(),
            playbook: &proposal.playbook.name,
            rates: judgement.map_or(&no_rates, |judgement| &judgement.rates),
            concurrent: judgement.map(|judgement| judgement.concurrent.as_slice()).unwrap_or_default(),
            holder: &self.holder,
            hold_for: self.config.claim,
            // What is verified has been answered: nothing of it can still be under way.
            grace: if draft.phase() == Phase::Verifying {
                Span::seconds(0)
            } else {
                self.config.server_request_timeout
            },
            cluster: &self.cluster,
        };
        let seed = || self.ledger_seed();
        let claimed = self.ledger.change(&seed, |spec| match self.ledger.clock_trouble() {
            Some(reason) => Err(NotClaimed::Later { reason, until: None, might_end_earlier: false }),
            None => {
                let spec = acted(spec, &name, draft.status.acted_at);
                ledger::claim(&spec, &ask, self.now()).map_err(|refused| not_claimed(refused, &name))
            }
        });
        let mut claimed = claimed.await?;
        if let Err(NotClaimed::Later { until: Some(until), might_end_earlier: true, .. }) = &mut claimed {
            *until = (*until).min(self.now() + self.config.retry.chrono());
        }
        Ok(claimed)
    }

    /// Makes the request. `Err` says why none can be made.
    pub(super) async fn plan(&self, draft: &Draft, look: &Look) -> Result<Result<Planned, String>, DriveError> {
        let epoch = draft.status.claim.as_ref().map(|claim| claim.epoch).unwrap_or_default();
        self.plan_at(draft, look, Stamp::new(draft.name(), epoch), self.now()).await
    }

    /// As [`Plane::plan`], with a stamp and a time.
    pub(super) async fn plan_at(
        &self,
        draft: &Draft,
        look: &Look,
        stamp: Stamp,
        at: DateTime<Utc>,
    ) -> Result<Result<Planned, String>, DriveError> {
        let proposal = draft.proposal();
        let (snapshot, now) = (&look.snapshot, at);
        let context = actions::Context { client: &self.reader, proposal, snapshot, stamp: &stamp, now };
        let action = actions::for_action(&proposal.action);
        let planned = async {
            match action.plan(context).await {
                Ok(plan) => Ok(Ok(plan)),
                Err(PlanError::Read(error)) => Err(error),
                Err(refused @ PlanError::Refused { .. }) => Ok(Err(refused.to_string())),
            }
        };
        let mut plan = match self.within(|| format!("planning {}", draft.remediation().spec.title), planned).await? {
            Ok(plan) => plan,
            Err(refused) => return Ok(Err(refused)),
        };
        let size = |request| serde_json::to_vec(request).map_or(usize::MAX, |json| json.len());
        let request = size(&plan.request);
        if request > MAX_REQUEST {
            return Ok(Err(format!("the request has {request} bytes, more than the {MAX_REQUEST} we write down")));
        }
        if let Some(bytes) = plan.inverse.as_ref().map(size).filter(|bytes| *bytes > MAX_INVERSE) {
            plan.inverse = None;
            plan.changes.push(format!("can't be undone: the way back has {bytes} bytes, more than {MAX_INVERSE}"));
        }
        Ok(Ok(Planned { plan, stamp, at }))
    }

    /// Ends, or waits, in another phase, with nothing sent.
    pub(super) async fn settle(
        &self,
        mut draft: Draft,
        step: Step,
        reason: String,
        not_before: Option<DateTime<Utc>>,
    ) -> Result<Next, DriveError> {
        let now = self.now();
        draft.step(step, now, reason)?;
        let expires_at = draft.proposal().expires_at;
        if !draft.phase().is_final() && draft.status.claim.take().is_some() {
            let name = draft.name();
            self.change_ledger(|spec| ledger::release(spec, &name, true)).await?;
        }
        if draft.phase() == Phase::Deferred {
            let not_before = not_before.filter(|at| *at > now).unwrap_or(now + self.config.retry.chrono());
            draft.status.not_before = Some(not_before);
            self.save(draft).await?;
            return Ok(Next::At(not_before.min(expires_at)));
        }
        let draft = self.save(draft).await?;
        match draft.phase() {
            Phase::AwaitingApproval => {
                let (name, proposal) = (draft.name(), draft.proposal());
                let note = format!("{}. evenkeel approve {name}, or deny", draft.status.reason);
                let say = Say { remediation: &name, proposal, phase: Phase::AwaitingApproval, note };
                self.events.try_say(&say).await;
                Ok(Next::At(next_look(now, now).min(expires_at)))
            }
            _ => self.finish(draft).await,
        }
    }
}

/// At no interval that could keep step with a container's crashes.
pub(super) fn next_look(since: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    now + LOOK_AGAIN + (now - since) * 2 / 5
}

/// A request as it would be sent.
pub(super) struct Planned {
    pub(super) plan: Plan,
    /// What it leaves on the target.
    pub(super) stamp: Stamp,
    /// The time it writes, where it writes one.
    pub(super) at: DateTime<Utc>,
}

enum Ready {
    Act(Box<Draft>),
    Settled(Next),
}

pub(super) enum Weighed {
    Go { judgement: Judgement, why: String },
    NotIndicated { reason: String },
    AskPeople { judgement: Judgement, why: String, reason: String },
    Settle { step: Step, reason: String, not_before: Option<DateTime<Utc>> },
}

impl Weighed {
    /// How it goes on where it is not to be done.
    pub(super) fn into_settled(self) -> (Step, String) {
        match self {
            Self::Settle { step, reason, .. } => (step, reason),
            Self::AskPeople { reason, .. } | Self::NotIndicated { reason } => (Step::AskPeople, reason),
            Self::Go { why, .. } => (Step::AskPeople, why),
        }
    }
}

fn not_claimed(refused: ClaimRefused, name: &str) -> NotClaimed {
    let reason = refused.to_string();
    match refused {
        ClaimRefused::HeldByOther { remediation, until, .. } if remediation == name => {
            NotClaimed::ElsewhereUntil(until)
        }
        ClaimRefused::HeldByOther { until, .. } | ClaimRefused::Concurrent { until, .. } => {
            NotClaimed::Later { reason, until: Some(until), might_end_earlier: true }
        }
        ClaimRefused::RateExceeded { until, .. } | ClaimRefused::Full { until } => {
            NotClaimed::Later { reason, until: Some(until), might_end_earlier: false }
        }
        ClaimRefused::HeldForPerson { .. } => NotClaimed::HeldForPerson(reason),
    }
}

//! The one place from which a request that changes a target leaves, and what to do when its answer
//! is lost. Why that makes at most one effect is argued in [`super`].

use std::time::Duration;

use evenkeel_cluster::{Stamp, WriteError, WriteOutcome};
use evenkeel_model::{ApiRequest, Claim, Phase, Snapshot, Step, Verb, Verification};
use evenkeel_runtime::{Backoff, trace};
use tracing::Instrument as _;

use super::begin::{NotClaimed, Weighed};
use crate::actions::{self, Probe};
use crate::events::Say;
use crate::plane::{Draft, DriveError, Next, Plane};

/// How often it is tried while the API server only asks for patience.
const TRIES: usize = 6;
/// The longest pause between two tries, whatever the API server asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

enum Sending {
    Done,
    NotDone(String),
    /// Not done: the target is no longer what the request was made of.
    Stale(String),
    /// It may have been done.
    Lost(String),
    /// Not done: the API server asks for patience.
    Later {
        reason: String,
        after: Option<Duration>,
    },
}

impl Plane {
    /// Carries out what was just written down. The draft is Executing and saved by us a moment ago;
    /// `again` when an earlier request for it may have left.
    pub(super) async fn act(&self, draft: Draft, again: bool) -> Result<Next, DriveError> {
        let span = tracing::info_span!("gate.act", remediation = draft.name(), title = draft.remediation().spec.title);
        trace::set_parent(&span, draft.proposal().traceparent.as_deref());
        async {
            match self.carry_out(&draft).await {
                Sending::Done => self.record(draft, "done").await,
                Sending::Stale(reason) if again => {
                    // Changed by our own earlier request, which was applied after all?
                    match self.look_for_effect(&draft).await? {
                        Probe::Done(why) => self.record(draft, &format!("found done ({why})")).await,
                        Probe::NotDone(_) | Probe::Unknown(_) => self.unwritten(draft, reason).await,
                    }
                }
                Sending::NotDone(reason) | Sending::Stale(reason) | Sending::Later { reason, .. } => {
                    self.unwritten(draft, reason).await
                }
                Sending::Lost(reason) => {
                    self.metrics.error("lost answer");
                    tracing::warn!(remediation = draft.name(), reason, "answer lost; looking for the effect");
                    Box::pin(self.resume(draft)).await
                }
            }
        }
        .instrument(span)
        .await
    }

    async fn carry_out(&self, draft: &Draft) -> Sending {
        let (Some(plan), Some(claim)) = (&draft.status.plan, &draft.status.claim) else {
            return Sending::NotDone("it has no plan or no claim: written by somebody else?".to_owned());
        };
        let mut backoff = Backoff::new(Duration::from_millis(100), LONGEST_PAUSE, claim.epoch);
        let mut tries = 1;
        loop {
            let sending = self.try_once(draft, &plan.request, claim).await;
            let Sending::Later { after, .. } = &sending else { return sending };
            let pause = backoff.next().max(after.unwrap_or_default()).min(LONGEST_PAUSE);
            let time_left = (claim.until - self.now()).to_std().unwrap_or_default();
            if tries >= TRIES || time_left <= self.config.request_timeout.get() * 2 + pause {
                return sending;
            }
            tries += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Dry run and request, once.
    async fn try_once(&self, draft: &Draft, request: &ApiRequest, claim: &Claim) -> Sending {
        // (4) Would the API server take it? Whether it is frozen, and whether somebody has said no meanwhile, is asked
        // beside it: nothing may come between that and the request.
        let dry = self.send(draft, request, true);
        let denied = Box::pin(self.denied_meanwhile(draft));
        let (dry, freezes, denied) = futures::future::join3(dry, self.freezes.read(), denied).await;
        if let Err(error) = dry {
            return not_done(&error, format!("dry run: {error}"));
        }
        if let Some(frozen) = freezes.on(&draft.proposal().target, self.now()) {
            return Sending::NotDone(frozen.to_string());
        }
        match denied {
            Ok(None) => {}
            Ok(Some(denied)) => return Sending::NotDone(denied),
            Err(error) => return Sending::Later { reason: error.to_string(), after: None },
        }
        // (5) Nothing leaves that could still be under way when the claim ends.
        let (now, limit) = (self.now(), self.config.request_timeout);
        if (claim.until - now).to_std().unwrap_or_default() <= limit.get() {
            return Sending::NotDone(format!(
                "reading and the dry run took too long: less than {limit} was left on the claim"
            ));
        }
        let expires_at = draft.proposal().expires_at;
        if expires_at <= now {
            return Sending::NotDone(format!("its time ran out at {expires_at}"));
        }
        self.sent().insert(draft.name(), claim.epoch);
        match self.send(draft, request, false).await {
            Ok(()) => Sending::Done,
            Err(error) => match error.outcome() {
                WriteOutcome::NotDone(reason) => not_done(&error, reason),
                WriteOutcome::Unknown(reason) => Sending::Lost(reason),
            },
        }
    }

    /// One request, answered or not within our request timeout.
    pub(super) async fn send(&self, draft: &Draft, request: &ApiRequest, dry_run: bool) -> Result<(), WriteError> {
        let limit = self.config.request_timeout.get();
        let sent = tokio::time::timeout(limit, actions::send(&self.writer, request, dry_run)).await;
        let sent = sent.unwrap_or_else(|_| {
            let (object, reason) = (request.object.to_string(), format!("no answer within {} s", limit.as_secs_f64()));
            Err(if dry_run { WriteError::Unavailable { object, reason } } else { WriteError::Lost { object, reason } })
        });
        let what = match (request.verb, dry_run) {
            (_, true) => "dry run",
            (Verb::Patch, false) => "patch",
            (Verb::Delete, false) => "delete",
            (Verb::Evict, false) => "evict",
            (Verb::Tell, false) => "tell",
        };
        let result = match &sent {
            Ok(_) => "ok",
            Err(error) => match error.outcome() {
                WriteOutcome::NotDone(_) => "refused",
                WriteOutcome::Unknown(_) => "lost",
            },
        };
        self.metrics.request(what, result);
        self.recorder.note_request(draft, request, dry_run, sent.as_ref().err(), self.now());
        sent.map(drop)
    }

    /// (6) It is done: now it has to help.
    async fn record(&self, mut draft: Draft, how: &str) -> Result<Next, DriveError> {
        let now = self.now();
        let changes = draft.status.plan.as_ref().map(|plan| plan.changes.join(", ")).unwrap_or_default();
        let within = draft.remediation().spec.step.as_ref().and_then(|step| step.verify.as_ref());
        let deadline = within.map_or(now, |verify| now + verify.within.chrono());
        draft.step(Step::Act, now, format!("{how}: {changes}"))?;
        draft.status.acted_at = Some(now);
        draft.status.verification = Some(Verification { deadline, holding_since: None, checks: Vec::new() });
        let draft = self.save(draft).await?;
        self.metrics.done_after((now - draft.proposal().proposed_at).to_std().unwrap_or_default());
        let (name, proposal) = (draft.name(), draft.proposal());
        let note = format!("{}: {changes}. {}", proposal.action.name(), proposal.rationale);
        self.events.try_say(&Say { remediation: &name, proposal, phase: Phase::Executing, note }).await;
        Ok(Next::At(now + self.config.poll_first.chrono()))
    }

    /// Known not to have been done: what was debited is given back.
    async fn unwritten(&self, mut draft: Draft, reason: String) -> Result<Next, DriveError> {
        draft.step(Step::FailUnwritten, self.now(), format!("nothing was written: {reason}"))?;
        let draft = self.save(draft).await?;
        self.finish(draft).await
    }

    /// Executing, and not by us, or not any more: was it done?
    pub(super) async fn resume(&self, mut draft: Draft) -> Result<Next, DriveError> {
        let now = self.now();
        let Some(claim) = draft.status.claim.clone() else {
            return self.lose_track(draft, "it is Executing without a claim: written by somebody else?").await;
        };
        if let Probe::Done(why) = self.look_for_effect(&draft).await? {
            return self.record(draft, &format!("found done ({why})")).await;
        }
        #[cfg(feature = "mutation")]
        if self.mutation == Some(crate::Mutation::Fence) {
            return Box::pin(self.act(draft, true)).await;
        }
        // It may still be under way, here or at the API server: only its effect says something yet.
        let settled_at = claim.until + self.config.server_request_timeout.chrono();
        let untouched = claim.holder == self.holder && self.sent().get(&draft.name()) != Some(&claim.epoch);
        if now < settled_at && !untouched {
            return Ok(Next::At(settled_at.min(now + self.config.poll_most.chrono())));
        }
        let proposal = draft.proposal().clone();
        let look = self.look(&proposal).await?;
        let weighed = self.weigh_with_people(&mut draft, &look, true).await?;
        let judgement = match &weighed {
            Weighed::Go { judgement, .. } => Some(judgement),
            Weighed::NotIndicated { .. } | Weighed::AskPeople { .. } | Weighed::Settle { .. } => None,
        };
        match self.claim(&draft, judgement).await? {
            Ok(claim) => draft.status.claim = Some(claim),
            Err(NotClaimed::ElsewhereUntil(until)) => return Ok(Next::At(until)),
            Err(NotClaimed::Later { reason, until, .. }) => {
                // It was never decided whether it was done; that comes before anything else.
                tracing::info!(remediation = draft.name(), reason, "not taken over yet");
                let later = now + self.config.retry.chrono();
                return Ok(Next::At(until.map_or(later, |until| until.max(later))));
            }
            Err(NotClaimed::HeldForPerson(reason)) => return self.lose_track(draft, &reason).await,
        }
        // Under the new claim nobody else can be at it, and the earlier request has had its time.
        match self.look_for_effect(&draft).await? {
            Probe::Done(why) => return self.record(draft, &format!("found done ({why})")).await,
            Probe::Unknown(why) => return self.lose_track(draft, &why).await,
            Probe::NotDone(_) => {}
        }
        if proposal.expires_at <= now {
            return self.unwritten(draft, format!("its time ran out at {}", proposal.expires_at)).await;
        }
        let (judgement, why) = match weighed {
            Weighed::Go { judgement, why } => (judgement, why),
            Weighed::NotIndicated { reason } => {
                return match self.patience_ends(&draft) {
                    Some(again) => Ok(Next::At(again)),
                    None => self.unwritten(draft, reason).await,
                };
            }
            Weighed::AskPeople { reason, .. } | Weighed::Settle { reason, .. } => {
                return self.unwritten(draft, reason).await;
            }
        };
        if let Some(trouble) = self.ledger.clock_trouble() {
            return self.unwritten(draft, trouble).await;
        }
        let planned = match self.plan(&draft, &look).await? {
            Ok(planned) => planned,
            Err(reason) => return self.unwritten(draft, reason).await,
        };
        // It is made of what the target is now, not of what it was when it was weighed.
        if let Err(weighed) = self.still_approved(&mut draft, &look, &judgement, &planned).await? {
            let (_, reason) = weighed.into_settled();
            return self.unwritten(draft, reason).await;
        }
        draft.status.reason = format!("{why}, again: {}", planned.plan.changes.join(", "));
        draft.status.plan = Some(planned.plan);
        let draft = self.save(draft).await?;
        Box::pin(self.act(draft, true)).await
    }

    /// Whether the effect of any request of this Remediation is there.
    async fn look_for_effect(&self, draft: &Draft) -> Result<Probe, DriveError> {
        let Some(plan) = &draft.status.plan else {
            return Ok(Probe::Unknown("nothing is written down of what was to be sent".to_owned()));
        };
        let object = &plan.request.object;
        let probe = actions::probe(&self.reader, &plan.request);
        let found = self.within(|| format!("looking for the effect on {object}"), probe).await?;
        if matches!(found, Probe::Done(_)) || plan.request.verb != Verb::Patch {
            return Ok(found);
        }
        // A request of an earlier epoch leaves another stamp, and is as much ours.
        let snapshot = self.snapshot(object).await?;
        match stamp(&snapshot).filter(|stamp| stamp.remediation == draft.name() && !stamp.undo) {
            Some(stamp) => Ok(Probe::Done(format!("{object} is stamped {stamp}"))),
            None => Ok(found),
        }
    }

    /// It can't be told whether it was done: a person has to look, and the root is held until then.
    async fn lose_track(&self, mut draft: Draft, why: &str) -> Result<Next, DriveError> {
        draft.step(Step::LoseTrack, self.now(), format!("it can't be told whether it was done: {why}"))?;
        let draft = self.save(draft).await?;
        self.finish(draft).await
    }
}

fn stamp(snapshot: &Snapshot) -> Option<Stamp> {
    snapshot.meta.as_ref()?.stamp.as_ref()?.parse().ok()
}

/// What follows from an error after which nothing was written. A disruption budget does not change in a second.
fn not_done(error: &WriteError, reason: String) -> Sending {
    match error {
        WriteError::Throttled { retry_after, .. } => Sending::Later { reason, after: *retry_after },
        WriteError::Unavailable { .. } => Sending::Later { reason, after: None },
        error if error.is_stale() => Sending::Stale(reason),
        _ => Sending::NotDone(reason),
    }
}

//! It did not help: what was done is taken back, where that is wanted and the fields still hold our
//! values.

use chrono::Duration;
use evenkeel_cluster::WriteOutcome;
use evenkeel_model::{ApiRequest, Phase, Step, Undo};
use evenkeel_policy::Freezes;
use evenkeel_runtime::trace;
use tracing::Instrument as _;

use super::verify::Holding;
use crate::actions::{self, Probe};
use crate::plane::{Draft, DriveError, Next, Plane};

/// How long an undo that can't be had for the moment is tried, from when it was found not to help.
const TRY_FOR: Duration = Duration::minutes(15);

impl Plane {
    /// Undoes, or says why not. Undoing is never stopped by policies, rates or clocks.
    pub(super) async fn undo(&self, draft: Draft) -> Result<Next, DriveError> {
        let span = tracing::info_span!("gate.act", remediation = draft.name(), undo = true);
        trace::set_parent(&span, draft.proposal().traceparent.as_deref());
        self.take_back(draft).instrument(span).await
    }

    async fn take_back(&self, mut draft: Draft) -> Result<Next, DriveError> {
        let wanted = draft.remediation().spec.step.as_ref().map_or(Undo::Never, |step| step.undo);
        let inverse = draft.status.plan.as_ref().and_then(|plan| plan.inverse.clone());
        let inverse = match (wanted, inverse) {
            (Undo::Automatic, Some(inverse)) => inverse,
            (Undo::Never, _) => return self.leave(draft, "the playbook says to leave it").await,
            (Undo::Automatic, None) => return self.leave(draft, "there is no way back").await,
        };
        match self.keep_hold(&mut draft).await? {
            Holding::Ours => {}
            Holding::ElsewhereUntil(until) => return Ok(Next::At(until)),
            Holding::No(reason) => return self.leave(draft, &reason).await,
        }
        let freezes = self.freezes.read().await;
        if let Freezes::NotNow(why) = &freezes
            && !self.is_late(&draft)
        {
            // Perhaps there is one that even an undo has to wait for.
            return Err(DriveError::NotUndoneYet(why.clone()));
        }
        if let Some(frozen) = freezes.on_undo(&draft.proposal().target, self.now()) {
            let again = frozen.look_again(self.now());
            draft.status.reason = format!("{}; not undone yet: {frozen}", found_ineffective(&draft));
            draft.status.not_before = Some(again);
            self.save(draft).await?;
            return Ok(Next::At(again));
        }
        let first = draft.phase() == Phase::Ineffective;
        if first {
            // Do the fields still hold our values? The tests of the patch say, without a change.
            if let Err(error) = self.send(&draft, &inverse, true).await {
                if error.is_transient() && !self.is_late(&draft) {
                    return Err(DriveError::NotUndoneYet(error.to_string()));
                }
                if error.is_stale() {
                    return self.leave(draft, &format!("somebody else has changed it since: {error}")).await;
                }
                draft.step(Step::BeginUndo, self.now(), "undoing")?;
                return self.failed(draft, format!("undoing was refused: {error}")).await;
            }
            let reason = found_ineffective(&draft);
            draft.step(Step::BeginUndo, self.now(), format!("undoing: {reason}"))?;
            draft = self.save(draft).await?;
        } else if let Probe::Done(why) = self.probe_undo(&inverse).await? {
            return self.undone(draft, &why).await;
        }
        // Sent again after a crash it changes nothing twice: it tests for our values, which it removes.
        match self.send(&draft, &inverse, false).await.map_err(|error| (error.outcome(), error)) {
            Ok(()) => self.undone(draft, "what was there before is back").await,
            // Lost, or refused for the moment. The next try looks for its effect first.
            Err((outcome, error))
                if !self.is_late(&draft) && (error.is_transient() || matches!(outcome, WriteOutcome::Unknown(_))) =>
            {
                Err(DriveError::NotUndoneYet(error.to_string()))
            }
            Err((WriteOutcome::Unknown(reason) | WriteOutcome::NotDone(reason), _)) => {
                match self.probe_undo(&inverse).await? {
                    Probe::Done(why) => self.undone(draft, &why).await,
                    Probe::NotDone(_) | Probe::Unknown(_) => self.failed(draft, reason).await,
                }
            }
        }
    }

    async fn probe_undo(&self, inverse: &ApiRequest) -> Result<Probe, DriveError> {
        let object = &inverse.object;
        self.within(|| format!("looking at {object}"), actions::probe(&self.reader, inverse)).await
    }

    async fn undone(&self, mut draft: Draft, why: &str) -> Result<Next, DriveError> {
        let target = draft.proposal().target.clone();
        draft.status.target_well = self.snapshot(&target).await.ok().and_then(|snapshot| snapshot.is_well());
        draft.step(Step::Undo, self.now(), format!("it did not help and was undone: {why}"))?;
        let draft = self.save(draft).await?;
        self.finish(draft).await
    }

    async fn failed(&self, mut draft: Draft, reason: String) -> Result<Next, DriveError> {
        draft.step(Step::FailUndo, self.now(), format!("it did not help and undoing failed: {reason}"))?;
        let draft = self.save(draft).await?;
        self.finish(draft).await
    }

    /// It stays as it is.
    async fn leave(&self, mut draft: Draft, why: &str) -> Result<Next, DriveError> {
        let reason = format!("{}; not undone: {why}", draft.status.reason);
        let step = if draft.phase() == Phase::Ineffective { Step::RefuseUndo } else { Step::FailUndo };
        draft.step(step, self.now(), reason)?;
        let draft = self.save(draft).await?;
        self.finish(draft).await
    }

    /// Whether it was tried for long enough: people have to see to it.
    fn is_late(&self, draft: &Draft) -> bool {
        let found = draft.status.history.iter().rev().find(|transition| transition.phase == Phase::Ineffective);
        // Nothing was tried while it was frozen.
        found.is_none_or(|found| self.now() - draft.status.not_before.unwrap_or(found.at).max(found.at) > TRY_FOR)
    }
}

/// Why it has to be undone.
fn found_ineffective(draft: &Draft) -> String {
    let found = draft.status.history.iter().rev().find(|transition| transition.phase == Phase::Ineffective);
    found.map_or_else(|| draft.status.reason.clone(), |found| found.reason.clone())
}

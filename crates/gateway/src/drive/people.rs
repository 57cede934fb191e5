//! Telling people, and waiting for them.

use evenkeel_model::{Action, Phase, Step};
use evenkeel_runtime::{redact, trace};
use tracing::Instrument as _;

use super::begin::{Weighed, next_look};
use crate::error::ApiError;
use crate::events::Say;
use crate::plane::{Draft, DriveError, Next, Plane};

impl Plane {
    /// Notify and escalate: an Event on the target and a line in the log. Nothing of the target is
    /// written, so no policy is asked, no root is claimed, and Audit mode changes nothing. The
    /// Event's name is fixed: said again, it is the same one.
    pub(super) async fn tell_people(&self, draft: Draft) -> Result<Next, DriveError> {
        let span = tracing::info_span!("gate.act", remediation = draft.name());
        trace::set_parent(&span, draft.proposal().traceparent.as_deref());
        let draft = self.told(draft).instrument(span).await?;
        self.finish(draft).await
    }

    async fn told(&self, mut draft: Draft) -> Result<Draft, DriveError> {
        let (now, name) = (self.now(), draft.name());
        let proposal = draft.proposal();
        // Late is better than never, but what nobody took up for an hour is no news any more.
        if proposal.expires_at <= now && draft.phase().is_waiting() {
            let reason = format!("its time ran out at {}", proposal.expires_at);
            draft.step(Step::Expire, now, reason)?;
            return self.save(draft).await;
        }
        let said = match &proposal.action {
            Action::Notify(notify) => notify.message.clone(),
            Action::Escalate(escalate) => {
                format!("A person is needed ({:?}): {}", escalate.severity, proposal.rationale)
            }
            _ => proposal.rationale.clone(),
        };
        let text = redact::text(&said);
        tracing::warn!(
            remediation = name,
            incident = proposal.incident,
            target = %proposal.target,
            action = %proposal.action.name(),
            signals = proposal.signals.join(", "),
            text,
            "people are told"
        );
        let said = self.events.say(&Say { remediation: &name, proposal, phase: Phase::Succeeded, note: text }).await;
        let reason = match said {
            Ok(()) => "people were told by an Event on the target and in the log".to_owned(),
            // No such namespace, or no right to it: the log has it.
            Err(error) if !error.is_transient() => {
                self.metrics.error("event");
                format!("people were told in the log; no Event could be recorded: {}", short(&error))
            }
            Err(error) => return Err(error.into()),
        };
        let steps = [
            (Phase::Deferred, Step::Reconsider, "looked at again"),
            (Phase::Proposed, Step::Authorize, "telling people needs no policy"),
            (Phase::Authorized, Step::Claim, "nothing is held for it"),
            (Phase::Claimed, Step::Begin, "telling people"),
            (Phase::Executing, Step::Act, "told"),
        ];
        for (from, step, why) in steps {
            if draft.phase() == from {
                draft.step(step, now, why)?;
            }
        }
        draft.status.acted_at = Some(now);
        draft.step(Step::Confirm, now, reason)?;
        self.save(draft).await
    }

    /// People decide. Whether they are needed is looked at meanwhile: pods that crash again and again are available
    /// for a moment, and what is not available can't be taken away. It is judged as any other is, so what is
    /// available whenever it is looked at waits to the end. What would be done is looked at, too: when it is not what
    /// people were asked to sign any more, they are asked anew.
    pub(super) async fn await_people(&self, mut draft: Draft) -> Result<Next, DriveError> {
        let (now, expires_at) = (self.now(), draft.proposal().expires_at);
        if now >= expires_at {
            let approval = draft.status.approval.as_ref();
            let had = approval.map_or_else(String::new, |it| format!(" ({} of {} did)", it.given.len(), it.approvers));
            let reason = format!("nobody approved it before {expires_at}{had}");
            return self.settle(draft, Step::Expire, reason, None).await;
        }
        let look = self.look(draft.proposal()).await?;
        match self.weigh_with_people(&mut draft, &look, false).await? {
            Weighed::Settle { step: Step::AskPeople, reason, .. } | Weighed::AskPeople { reason, .. } => {
                let asked = draft.status.history.iter().find(|entry| entry.phase == Phase::AwaitingApproval);
                let since = asked.map_or(now, |entry| entry.at);
                let before = draft.remediation().status.as_ref().and_then(|status| status.approval.as_ref());
                if before != draft.status.approval.as_ref() {
                    draft.status.reason = redact::text(&reason);
                    self.save(draft).await?;
                } else {
                    // Once more, for whom it was not told because a process died.
                    self.tell_chats(draft.remediation());
                }
                let again = next_look(since, now).min(now + self.config.retry.chrono());
                Ok(Next::At(again.min(expires_at)))
            }
            Weighed::NotIndicated { reason } => match self.patience_ends(&draft) {
                Some(again) => Ok(Next::At(again.min(expires_at))),
                None => self.settle(draft, Step::FindObsolete, reason, None).await,
            },
            Weighed::Settle { step: step @ (Step::FindObsolete | Step::Deny), reason, .. } => {
                self.settle(draft, step, reason, None).await
            }
            // Nothing new begins; it waits on, approved or not.
            Weighed::Go { .. } if self.recorder.is_behind().is_some() => {
                Ok(Next::At((now + self.config.retry.chrono()).min(expires_at)))
            }
            Weighed::Go { judgement, why } if judgement.approvers > 0 => {
                draft.step(Step::Reconsider, now, why)?;
                self.begin_on(draft, Some(look)).await
            }
            Weighed::Go { .. } | Weighed::Settle { .. } => {
                draft.step(Step::Reconsider, now, "looked at again: it need not wait for people any more")?;
                self.begin_on(draft, Some(look)).await
            }
        }
    }
}

fn short(error: &ApiError) -> String {
    error.to_string().chars().take(256).collect()
}

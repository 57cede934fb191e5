//! How a Remediation ended, told on the bus and on the target. Until that is noted on the object it
//! is told again: at least one Outcome, which its id makes one.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use evenkeel_bus::{Publish, Subject, TraceContext};
use evenkeel_model::{LedgerSpec, Outcome, Phase, Remediation};
use evenkeel_policy::ledger;
use evenkeel_runtime::trace;
use tracing::Instrument as _;

use crate::events::Say;
use crate::index;
use crate::plane::{Draft, DriveError, Next, Plane};

impl Plane {
    /// Gives up what a final Remediation held, tells how it ended, and notes that it did.
    pub(crate) async fn finish(&self, draft: Draft) -> Result<Next, DriveError> {
        if draft.status.outcome_published == Some(draft.phase()) {
            // Perhaps by another gateway, while this one held it on to verify: that it had ended was heard later.
            self.forget(&draft.name());
            if draft.proposal().action.name().is_mutating() && !draft.phase().needs_acknowledgement() {
                self.let_go(&draft).await?;
            }
            return self.free_when_acknowledged(&draft).await;
        }
        let span = tracing::info_span!("gate.outcome", remediation = draft.name(), phase = %draft.phase());
        trace::set_parent(&span, draft.proposal().traceparent.as_deref());
        self.tell(draft).instrument(span).await
    }

    async fn tell(&self, mut draft: Draft) -> Result<Next, DriveError> {
        self.forget(&draft.name());
        let (name, phase) = (draft.name(), draft.phase());
        let mutating = draft.proposal().action.name().is_mutating();
        let acted_at = draft.status.acted_at;
        if mutating && phase.needs_acknowledgement() {
            self.change_ledger(|spec| ledger::hold_for_person(&acted(spec, &name, acted_at), &name, self.now()))
                .await?;
        } else if mutating {
            self.let_go(&draft).await?;
        }
        self.recorder.note_phases(&draft);
        self.publish(&outcome(&draft)).await?;
        self.recorder.until_told(&name).await?;
        if mutating {
            let note = format!("{}: {}", draft.proposal().action.name(), draft.status.reason);
            self.events.try_say(&Say { remediation: &name, proposal: draft.proposal(), phase, note }).await;
        }
        draft.status.outcome_published = Some(phase);
        let saved = self.save(draft).await?;
        self.recorder.forget(&name);
        // Somebody may have looked before it could be told: no event comes for that any more.
        self.free_when_acknowledged(&saved).await
    }

    /// Its root is free. Without a claim nothing is written.
    async fn let_go(&self, draft: &Draft) -> Result<(), DriveError> {
        let (name, acted_at, refund) = (draft.name(), draft.status.acted_at, nothing_was_sent(draft.phase()));
        self.change_ledger(|spec| ledger::release(&acted(spec, &name, acted_at), &name, refund)).await
    }

    async fn free_when_acknowledged(&self, draft: &Draft) -> Result<Next, DriveError> {
        if let Some(seen) = draft.status.acknowledged.as_ref().filter(|_| draft.phase().needs_acknowledgement()) {
            let (name, by) = (draft.name(), &seen.by);
            tracing::info!(remediation = name, by, "acknowledged; its root is free");
            self.change_ledger(|spec| ledger::acknowledge(spec, &name)).await?;
        }
        Ok(Next::Done)
    }

    /// A change of the ledger that can't be refused.
    pub(crate) async fn change_ledger(&self, change: impl Fn(&LedgerSpec) -> LedgerSpec) -> Result<(), DriveError> {
        let seed = || self.ledger_seed();
        let changed = self.ledger.change(&seed, |spec| Ok::<_, std::convert::Infallible>((change(spec), ())));
        match changed.await? {
            Ok(()) => Ok(()),
            Err(never) => match never {},
        }
    }

    /// Puts an Outcome on the bus.
    pub(crate) async fn publish(&self, outcome: &Outcome) -> Result<(), DriveError> {
        let payload = serde_json::to_vec(outcome).map_err(|source| DriveError::Json { what: "an outcome", source })?;
        let message = Publish {
            subject: Subject::Outcome,
            id: outcome.id(),
            payload: Bytes::from(payload),
            trace: TraceContext { traceparent: trace::traceparent(&tracing::Span::current()) },
        };
        let published = self.bus.publish(message).await;
        published.map_err(|source| DriveError::Bus { what: "publishing an outcome", source })?;
        self.recorder.note_outcome(outcome);
        Ok(())
    }
}

/// The ledger, with what is known of when it was done.
pub(crate) fn acted(ledger: &LedgerSpec, remediation: &str, acted_at: Option<DateTime<Utc>>) -> LedgerSpec {
    match acted_at {
        Some(at) => ledger::acted(ledger, remediation, at),
        None => ledger.clone(),
    }
}

/// Whether a final phase means that no request has changed anything: what was debited is given back.
fn nothing_was_sent(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Denied | Phase::WouldExecute | Phase::Expired | Phase::Cancelled | Phase::Obsolete | Phase::Failed
    )
}

fn outcome(draft: &Draft) -> Outcome {
    let (proposal, status) = (draft.proposal(), &draft.status);
    let remediation: &Remediation = draft.remediation();
    Outcome {
        remediation: draft.name(),
        incident: proposal.incident.clone(),
        number: proposal.number,
        target: proposal.target.clone(),
        root: proposal.root.clone(),
        action: proposal.action.name(),
        playbook: proposal.playbook.clone(),
        phase: status.phase,
        reason: status.reason.clone(),
        target_well: status.target_well,
        ended_at: index::ended_at(remediation).unwrap_or(proposal.proposed_at),
    }
}

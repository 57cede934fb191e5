//! One Remediation, one step at a time. [`Plane::advance`] looks where it stands and does what
//! comes next; everything that must survive us is written by compare-and-set before the next thing
//! is done. Whatever it is called on, it may have been called before and cut off anywhere.
//!
//! # Why there is at most one effect
//!
//! A request that changes the target leaves in one place only ([`Plane::act`]), after these:
//!
//! 1. The ledger gave this process the root under an epoch: one compare-and-set on one object, so
//!    of two gateways one gets it, and the other only after the claim's end plus the time for which
//!    the API server goes on with a request it has begun (`serverRequestTimeout`).
//! 2. The request, with that epoch in its stamp, was written into the status by compare-and-set
//!    from Claimed to Executing. The lifecycle has no second way into Executing, so of two
//!    processes that got this far one fails and stops.
//! 3. More than our request timeout is left on the claim, and we wait no longer than that for an
//!    answer; so whatever we send has reached the API server before the claim ends, or never will
//!    through us.
//!
//! When the answer is lost, or the process dies anywhere after 2, the object is Executing and
//! nobody knows. Whoever finds it ([`Plane::resume`]) looks for the effect: a patch leaves its
//! stamp in the same request, a deleted object is gone by its uid. If it is there, it is recorded
//! and nothing is sent. If not, nothing is sent either until the claim's end plus
//! `serverRequestTimeout` have passed: by then the API server has finished with the earlier request
//! or given it up. Only then is a new epoch claimed, the effect looked for once more, and a request
//! made of what the object is now.
//!
//! Should the earlier request turn up even later (held by a proxy that keeps what nobody waits for
//! any more), it and the new one exclude each other by themselves. Every patch tests the uid and the
//! old value of each field it sets, and sets it to another: whichever is applied first changes what
//! the other tests, and the other is refused whole with 422. (Only an undo in between would let a
//! patch through again, minutes after any server has dropped it.) A delete or eviction carries the
//! uid, and an object goes only once. So the second of two is never an effect; if the earlier one
//! won, the refusal of ours is followed by a look at the stamp, which names this Remediation, under
//! whichever epoch, and that is recorded as done.
//!
//! A process that finds its own epoch Executing and knows that it has sent nothing under it (its
//! write of the intent was done but not answered) need not wait: nobody else acts under that epoch,
//! since the holder's name is another for every start of a process.
//!
//! The dry run comes between 2 and the request, and changes nothing. Any error up to and including
//! it means that nothing was done: Failed, and what was debited is given back.

mod act;
mod approve;
mod begin;
mod look;
mod ownership;
mod people;
mod undo;
mod verify;
mod watch;

use std::sync::Arc;

pub(crate) use approve::Content;
use evenkeel_model::{Phase, Remediation};

use crate::plane::{Draft, DriveError, Next, Plane};

impl Plane {
    /// Does what comes next for a Remediation, and says when it wants to be looked at again.
    ///
    /// # Errors
    /// When that could not be done now; it is to be tried again.
    pub(crate) async fn advance(&self, remediation: &Arc<Remediation>) -> Result<Next, DriveError> {
        self.ledger.compare_clocks().await?;
        let draft = Draft::of(remediation);
        let mutating = draft.proposal().action.name().is_mutating();
        match draft.phase() {
            Phase::Proposed | Phase::Deferred | Phase::Authorized | Phase::Claimed | Phase::Executing if !mutating => {
                self.tell_people(draft).await
            }
            Phase::Proposed | Phase::Deferred | Phase::Authorized | Phase::Claimed => self.begin(draft).await,
            Phase::AwaitingApproval => Box::pin(self.await_people(draft)).await,
            Phase::Executing => Box::pin(self.resume(draft)).await,
            Phase::Verifying => self.verify(draft).await,
            Phase::Ineffective | Phase::RollingBack => self.undo(draft).await,
            Phase::Denied
            | Phase::WouldExecute
            | Phase::Expired
            | Phase::Cancelled
            | Phase::Obsolete
            | Phase::Failed
            | Phase::Unknown
            | Phase::Succeeded
            | Phase::Unverified
            | Phase::RolledBack
            | Phase::RollbackFailed
            | Phase::NotUndoable
            | Phase::Regressed => self.finish(draft).await,
        }
    }
}

#[cfg(test)]
mod tests;

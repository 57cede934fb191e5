use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use chrono::{DateTime, Utc};
use evenkeel_bus::Bus;
use evenkeel_cluster::{AvailabilityLookup, ReadError};
use evenkeel_model::{
    Approval, Claim, Clock, Debit, LedgerClaim, LedgerSpec, NotPossible, Phase, Proposal, Remediation,
    RemediationStatus, Step,
};
use evenkeel_policy::Protected;
use evenkeel_policy::ledger::HELD_FOR_PERSON;
use evenkeel_runtime::redact;
use kube::{Client, ResourceExt as _};
use tokio::sync::{SetOnce, mpsc};

use crate::approvals::Approvals;
use crate::audit::Recorder;
use crate::chat::Telling;
use crate::config::Config;
use crate::drive::Content;
use crate::enforceable::Enforcement;
use crate::error::ApiError;
use crate::events::Events;
use crate::freeze::FreezeReader;
use crate::guard::Guard;
use crate::index::{self, Index};
use crate::ledger::LedgerKeeper;
use crate::metrics::Metrics;
use crate::playbooks::Playbooks;
use crate::policies::Policies;
use crate::prometheus::Prometheus;
use crate::refusals::Refusals;
use crate::remediations::{Read, Remediations, ReplaceError};
use crate::requests::{RequestIndex, RequestKeeper};

/// Everything the gateway's tasks share.
pub(crate) struct Plane {
    pub(crate) config: Config,
    pub(crate) cluster: String,
    /// This process, distinct for every start of it.
    pub(crate) holder: String,
    pub(crate) protected: Protected,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    /// Reads only.
    pub(crate) reader: Client,
    /// The one that may change the cluster; it never retries by itself.
    pub(crate) writer: Client,
    pub(crate) remediations: Remediations,
    pub(crate) ledger: LedgerKeeper,
    pub(crate) approvals: Approvals,
    /// What people are asked to sign, by Remediation, as it was when the target had the version it says.
    pub(crate) contents: Mutex<BTreeMap<String, Content>>,
    /// Where people are told in chats, when there are any.
    pub(crate) chat: OnceLock<Telling>,
    pub(crate) request_keeper: RequestKeeper,
    /// Whether admission answers for who made a Request.
    pub(crate) people_guard: Guard,
    pub(crate) policies: Policies,
    pub(crate) enforcement: Enforcement,
    pub(crate) freezes: FreezeReader,
    pub(crate) playbooks: Playbooks,
    pub(crate) prometheus: Option<Prometheus>,
    pub(crate) events: Events,
    pub(crate) records: Arc<dyn AvailabilityLookup>,
    /// What is told to the audit log.
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) index: Mutex<Index>,
    /// Names that want to be looked at.
    pub(crate) asks: mpsc::UnboundedSender<String>,
    /// Whether all Remediations have been listed once.
    pub(crate) listed: SetOnce<()>,
    /// The last epoch under which this process sent a request for a Remediation that is Executing.
    pub(crate) sent: Mutex<BTreeMap<String, u64>>,
    /// The version each Remediation under way had when we wrote it last.
    pub(crate) saved: Mutex<BTreeMap<String, Option<String>>>,
    /// Since when each target's looks have said that it does not need its action.
    pub(crate) unindicated: Mutex<BTreeMap<String, DateTime<Utc>>>,
    /// Open `gate.verify` spans by Remediation: one span lasts from the act to the conclusion.
    pub(crate) verifying: Mutex<BTreeMap<String, tracing::Span>>,
    #[cfg(feature = "mutation")]
    pub(crate) mutation: Option<crate::Mutation>,
    /// What people have asked for.
    pub(crate) requests: Mutex<RequestIndex>,
    /// Breakers that were open when last looked at, and were said to be.
    pub(crate) opened: Mutex<BTreeSet<String>>,
    /// Proposals that were refused, until they expire.
    pub(crate) refused: Mutex<Refusals>,
}

/// Why a step could not be taken; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    /// Somebody else wrote the Remediation: look at what it is now.
    #[error("{0} was changed by somebody else")]
    Conflict(String),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{what}: {source}")]
    Bus {
        what: &'static str,
        #[source]
        source: evenkeel_bus::BusError,
    },
    #[error("{what} could not be written as JSON: {source}")]
    Json {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("audit records of {0} are not on the bus yet")]
    Unrecorded(String),
    #[error("{0} notifications and escalations are open, as many as may be; the next waits")]
    Busy(usize),
    #[error("not undone yet: {0}")]
    NotUndoneYet(String),
    #[error(transparent)]
    Lifecycle(#[from] NotPossible),
}

impl From<ReplaceError> for DriveError {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::Conflict(name) => Self::Conflict(name),
            ReplaceError::Api(error) => Self::Api(error),
        }
    }
}

/// When a Remediation wants to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    At(DateTime<Utc>),
    Done,
}

/// A Remediation with changes that are not written yet.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    // Boxed: drafts are handed from future to future.
    remediation: Box<Remediation>,
    pub(crate) status: Box<RemediationStatus>,
    entered: Vec<Phase>,
    /// Answers of people that were read for it, and that the watch may not have told of yet.
    pub(crate) heard: Vec<Arc<Approval>>,
}

impl Draft {
    pub(crate) fn of(remediation: &Remediation) -> Self {
        let entered = if remediation.status.is_none() { vec![Phase::Proposed] } else { Vec::new() };
        Self {
            status: Box::new(index::status(remediation)),
            remediation: Box::new(remediation.clone()),
            entered,
            heard: Vec::new(),
        }
    }

    /// Takes a step of the lifecycle. The reason, which everybody may read who may read Remediations, is redacted: it
    /// may hold the API server's words, which quote objects.
    pub(crate) fn step(&mut self, step: Step, at: DateTime<Utc>, reason: impl Into<String>) -> Result<(), NotPossible> {
        self.status.advance(step, at, redact::text(&reason.into()))?;
        self.entered.push(self.status.phase);
        Ok(())
    }

    pub(crate) fn phase(&self) -> Phase {
        self.status.phase
    }

    pub(crate) fn name(&self) -> String {
        self.remediation.name_any()
    }

    pub(crate) fn remediation(&self) -> &Remediation {
        &self.remediation
    }

    pub(crate) fn proposal(&self) -> &Proposal {
        &self.remediation.spec.proposal
    }
}

impl Plane {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sent(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn saved(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn unindicated(&self) -> MutexGuard<'_, BTreeMap<String, DateTime<Utc>>> {
        self.unindicated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn verifying(&self) -> MutexGuard<'_, BTreeMap<String, tracing::Span>> {
        self.verifying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn contents(&self) -> MutexGuard<'_, BTreeMap<String, Content>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refused(&self) -> MutexGuard<'_, Refusals> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn requests(&self) -> MutexGuard<'_, RequestIndex> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn opened(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a Remediation beside what it says itself: nothing more is done for it.
    pub(crate) fn forget(&self, name: &str) {
        self.verifying().remove(name);
        self.sent().remove(name);
        self.unindicated().remove(name);
        self.contents().remove(name);
    }

    /// Writes a draft by compare-and-set, and goes on from what was written.
    pub(crate) async fn save(&self, mut draft: Draft) -> Result<Draft, DriveError> {
        let asked = draft.remediation.status.as_ref().and_then(|before| before.approval.as_ref());
        let is_news = !draft.entered.is_empty() || asked != draft.status.approval.as_ref();
        // What people said comes before what came of it: it is told by nobody once the status has it.
        let mut answers = std::mem::take(&mut draft.heard);
        answers.extend(self.approvals.known(&draft.name()));
        if self.recorder.note_answers(&draft, &answers, self.now()) {
            self.recorder.until_told(&draft.name()).await?;
        }
        draft.remediation.status = Some(*draft.status);
        let written = Box::new(self.remediations.replace_status(&draft.remediation).await?);
        let action = written.spec.proposal.action.name();
        let (name, status) = (written.name_any(), Box::new(index::status(&written)));
        for phase in &draft.entered {
            self.metrics.phase(*phase, action);
        }
        if !draft.entered.is_empty() {
            let (phase, reason, target) = (status.phase, &status.reason, &written.spec.proposal.target);
            tracing::info!(remediation = name, %phase, reason, %action, %target, "remediation");
        }
        if is_news {
            self.tell_chats(&written);
        }
        self.saved().insert(name, written.resource_version());
        let news = !draft.entered.is_empty();
        let draft = Draft { status, remediation: written, entered: Vec::new(), heard: Vec::new() };
        if news {
            self.recorder.note_phases(&draft);
        }
        self.index().apply(Arc::new((*draft.remediation).clone()));
        Ok(draft)
    }

    /// Reads a Remediation anew.
    pub(crate) async fn refresh(&self, name: &str) -> Result<(), ApiError> {
        let read = self.remediations.get(name).await?;
        self.take_in(name, read);
        Ok(())
    }

    /// Notes what an object is now. True when that is news.
    pub(crate) fn take_in(&self, name: &str, read: Option<Read>) -> bool {
        let mut index = self.index();
        let news = match read {
            Some(Read::Known(remediation)) => index.apply(Arc::new(*remediation)),
            Some(Read::Aside { name, reason }) => {
                if index.set_aside(&name, reason.clone()) {
                    self.metrics.error("remediation not understood");
                    tracing::warn!(remediation = name, reason, "not understood; left alone");
                }
                false
            }
            None => {
                index.remove(name);
                self.forget(name);
                self.saved().remove(name);
                false
            }
        };
        self.metrics.open.set(count(index.open().count()));
        self.metrics.aside.set(count(index.aside()));
        self.metrics.unacknowledged.set(count(index.unacknowledged().count()));
        news
    }

    /// What a ledger that is lost, or never was, has to remember: it is made anew of the
    /// Remediations, so that deleting it permits nothing.
    pub(crate) fn ledger_seed(&self) -> LedgerSpec {
        seed(&self.index(), &self.cluster, self.now())
    }
}

pub(crate) fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn seed(index: &Index, cluster: &str, now: DateTime<Utc>) -> LedgerSpec {
    let mut ledger = LedgerSpec::default();
    for remediation in index.iter() {
        let (name, proposal) = (remediation.name_any(), &remediation.spec.proposal);
        let Some(status) = &remediation.status else { continue };
        if let Some(claim) = &status.claim {
            ledger.epoch = ledger.epoch.max(claim.epoch);
            if status.phase.holds_claim() {
                let claim = ledger_claim(remediation, claim, claim.until);
                // One that waits for a person stays before it.
                ledger.claims.entry(proposal.root.key(cluster)).or_insert(claim);
            } else if index::awaits_person(remediation) {
                let claim = ledger_claim(remediation, claim, HELD_FOR_PERSON);
                ledger.claims.insert(proposal.root.key(cluster), claim);
            }
        }
        let counted = index::begun(remediation).zip(index::counted_until(remediation));
        if let Some((begun, forget_at)) = counted.filter(|(_, forget_at)| *forget_at > now) {
            ledger.debits.push(Debit {
                remediation: name,
                action: proposal.action.name(),
                target: proposal.target.key(cluster),
                namespace: proposal.target.namespace.clone(),
                playbook: Some(Debit::playbook_key(&proposal.playbook.name)),
                // Since when nothing of it can be under way any more is known with its end alone.
                at: status.acted_at.map_or(begun.at, |acted| acted.max(begun.at)),
                forget_at,
            });
        }
    }
    ledger.debits.sort_by(|a, b| (a.at, &a.remediation).cmp(&(b.at, &b.remediation)));
    ledger
}

fn ledger_claim(remediation: &Remediation, claim: &Claim, until: DateTime<Utc>) -> LedgerClaim {
    // Every policy that matched has said something to it.
    let rules = remediation.status.iter().filter_map(|status| status.verdict.as_ref()).flat_map(|it| &it.rules);
    let policies: BTreeSet<String> = rules.map(|rule| rule.policy.clone()).collect();
    LedgerClaim {
        remediation: remediation.name_any(),
        root: remediation.spec.proposal.root.clone(),
        epoch: claim.epoch,
        until,
        holder: claim.holder.clone(),
        policies: policies.into_iter().collect(),
        acted: remediation.status.as_ref().is_some_and(|status| status.acted_at.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{ActionName, Decision, ObjectRef, Span, Spoken, Verdict};
    use evenkeel_policy::ledger::{ClaimAsk, ClaimRefused, claim};
    use evenkeel_policy::{ConcurrentLimit, EffectiveRates};

    use super::*;
    use crate::testing::{at, remediation};

    fn claimed(number: u32, phase: Phase) -> Remediation {
        let mut remediation = remediation(number, phase);
        if let Some(status) = &mut remediation.status {
            status.claim = Some(Claim { epoch: 7, until: at(30), holder: "gateway-1".to_owned() });
            let rules = vec![Spoken { policy: "shop".to_owned(), said: "allowed".to_owned() }];
            status.verdict = Some(Verdict { decision: Decision::Deny {}, rules });
        }
        remediation
    }

    fn seeded(all: Vec<Remediation>) -> LedgerSpec {
        let mut index = Index::default();
        for remediation in all {
            index.apply(Arc::new(remediation));
        }
        seed(&index, "prod", at(60))
    }

    fn ask(ledger: &LedgerSpec, root: &ObjectRef) -> Result<(), ClaimRefused> {
        let ask = ClaimAsk {
            remediation: "r-another",
            root,
            target: root,
            action: ActionName::RollbackWorkload,
            playbook: "bad-rollout",
            rates: &EffectiveRates::default(),
            concurrent: &[ConcurrentLimit { policy: "shop".to_owned(), limit: 1 }],
            holder: "gateway-2",
            hold_for: Span::seconds(30),
            grace: Span::seconds(60),
            cluster: "prod",
        };
        claim(ledger, &ask, at(60)).map(drop)
    }

    #[test]
    fn a_ledger_made_anew_holds_what_waits_for_a_person() {
        let root = remediation(1, Phase::Unknown).spec.proposal.root;
        for phase in [Phase::Unknown, Phase::RollbackFailed] {
            let refused = ask(&seeded(vec![claimed(1, phase)]), &root);
            assert!(matches!(refused, Err(ClaimRefused::HeldForPerson { .. })), "{phase}: {refused:?}");
        }
        let mut seen = claimed(1, Phase::Unknown);
        seen.status.as_mut().unwrap().acknowledged = Some(crate::testing::acknowledged());
        assert_eq!(ask(&seeded(vec![seen]), &root), Ok(()));
    }

    #[test]
    fn a_ledger_made_anew_counts_what_is_under_way() {
        let other = ObjectRef { name: "other".to_owned(), ..remediation(1, Phase::Verifying).spec.proposal.root };
        let refused = ask(&seeded(vec![claimed(1, Phase::Verifying)]), &other);
        assert!(matches!(refused, Err(ClaimRefused::Concurrent { .. })), "{refused:?}");
        assert_eq!(ask(&seeded(vec![claimed(1, Phase::Succeeded)]), &other), Ok(()));
    }
}

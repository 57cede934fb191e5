//! What is told to the audit log. Phases are in a Remediation's status before they are told, so
//! nothing is lost with a process: whoever takes the Remediation up tells what nobody told, and its
//! end is not noted before all of it is on the bus. A record told twice has the same id.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use evenkeel_audit::{Kind, MessageKey, Record};
use evenkeel_bus::{ConsumerName, Publish, Stream, Subject, TraceContext};
use evenkeel_cluster::WriteError;
use evenkeel_model::{
    Answer, ApiRequest, Approval, Asked, Outcome, Phase, Proposal, Remediation, RemediationStatus, Request, Transition,
    short_digest,
};
use evenkeel_runtime::{Backoff, BoxError, HealthPart, Shutdown};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::answers::Answered;
use crate::freeze::FreezeNews;
use crate::plane::{Draft, DriveError, Plane};
use crate::sealing::Sealing;

/// How long is waited for the records of a Remediation before its end is noted; then it is tried again.
const TELLING: Duration = Duration::from_secs(5);
/// How often is looked how much is not sealed yet.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// First and longest wait while the bus is away.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Characters of a digest in an id.
const DIGEST: usize = 16;

/// What a gateway needs to record.
#[derive(Debug, Clone)]
pub struct Audit {
    /// What authenticates its records on the bus.
    pub key: MessageKey,
    /// With more records than this not sealed yet, no new action begins.
    pub unsealed_at_most: u64,
}

/// Records on their way to the bus. Does nothing where there is no audit log.
pub(crate) struct Recorder {
    audit: Option<Audit>,
    cluster: String,
    holder: String,
    state: Mutex<State>,
    queued: Notify,
    told: Notify,
    /// On the bus, and not sealed when last looked.
    unsealed: AtomicU64,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Record>,
    /// Ids of phases queued or told, by Remediation.
    noted: BTreeMap<String, BTreeSet<String>>,
    sealing: Sealing,
}

impl Recorder {
    pub(crate) fn new(audit: Option<Audit>, cluster: &str, holder: &str) -> Self {
        Self {
            audit,
            cluster: cluster.to_owned(),
            holder: holder.to_owned(),
            state: Mutex::default(),
            queued: Notify::new(),
            told: Notify::new(),
            unsealed: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_off(&self) -> bool {
        self.audit.is_none()
    }

    /// Takes what was noted as if it were on the bus by now.
    #[cfg(test)]
    pub(crate) fn take(&self) -> Vec<Record> {
        let records = self.state().queue.drain(..).collect();
        self.told.notify_waiters();
        records
    }

    fn note(&self, record: Record) {
        self.state().queue.push_back(record);
        self.queued.notify_one();
    }

    fn record(&self, id: String, at: DateTime<Utc>, kind: Kind, reason: &str, proposal: &Proposal) -> Record {
        let mut record = Record::new(id, at, &self.cluster, kind, reason);
        record.remediation = Some(proposal.name());
        record.incident = Some(proposal.incident.clone());
        record.action = Some(proposal.action.name());
        record.target = Some(proposal.target.clone());
        record
    }

    /// Notes the phases of a Remediation that were not noted yet.
    pub(crate) fn note_phases(&self, draft: &Draft) {
        if self.is_off() {
            return;
        }
        let (name, status) = (draft.name(), &draft.status);
        // What came before a published outcome was told before it.
        let told = status.history.iter().rposition(|it| Some(it.phase) == status.outcome_published);
        let mut records = Vec::new();
        {
            let mut state = self.state();
            let noted = state.noted.entry(name.clone()).or_default();
            for (place, transition) in status.history.iter().enumerate().skip(told.map_or(0, |told| told + 1)) {
                let id = id(&name, transition);
                if noted.insert(id.clone()) {
                    let kind = if place == 0 { Kind::Proposal } else { Kind::Phase };
                    let mut record = self.record(id, transition.at, kind, &transition.reason, draft.proposal());
                    record.phase = Some(transition.phase);
                    record.detail = match kind {
                        Kind::Proposal => as_json(&draft.remediation().spec),
                        _ => rests_on(transition.phase, status),
                    };
                    records.push(record);
                }
            }
        }
        records.into_iter().for_each(|record| self.note(record));
    }

    /// Notes a request that was answered, or not.
    pub(crate) fn note_request(
        &self,
        draft: &Draft,
        request: &ApiRequest,
        dry_run: bool,
        error: Option<&WriteError>,
        at: DateTime<Utc>,
    ) {
        if self.is_off() {
            return;
        }
        let (kind, what) = if dry_run { (Kind::DryRun, "dry-run") } else { (Kind::Request, "request") };
        let now = at.to_rfc3339_opts(SecondsFormat::Nanos, true);
        let verb = format!("{:?}", request.verb);
        let id = format!("{}/{what}/{}", draft.name(), short_digest([self.holder.as_str(), &now, &verb], DIGEST));
        let reason = error.map_or_else(|| "done".to_owned(), ToString::to_string);
        let mut record = self.record(id, at, kind, &reason, draft.proposal());
        record.phase = Some(draft.phase());
        record.by = Some(self.holder.clone());
        record.detail = json!({
            "verb": verb,
            "object": as_json(&request.object),
            "claim": as_json(&draft.status.claim),
            "sha256": evenkeel_model::digest(request).unwrap_or_default(),
        });
        self.note(record);
    }

    /// Notes a proposal that does not become a Remediation.
    pub(crate) fn note_refusal(&self, proposal: &Proposal, phase: Phase, reason: &str, at: DateTime<Utc>) {
        if self.is_off() {
            return;
        }
        let id = format!("{}/refused/{phase}", proposal.name());
        let mut record = self.record(id, at, Kind::Refusal, reason, proposal);
        record.phase = Some(phase);
        record.detail = json!({ "proposal": as_json(proposal) });
        self.note(record);
    }

    /// Notes how it ended, as it was told.
    pub(crate) fn note_outcome(&self, outcome: &Outcome) {
        if self.is_off() {
            return;
        }
        let id = format!("{}/outcome", outcome.id());
        let mut record = Record::new(id, outcome.ended_at, &self.cluster, Kind::Outcome, &outcome.reason);
        record.remediation = Some(outcome.remediation.clone());
        record.incident = Some(outcome.incident.clone());
        record.action = Some(outcome.action);
        record.target = Some(outcome.target.clone());
        record.phase = Some(outcome.phase);
        record.detail = json!({ "outcome": as_json(outcome) });
        self.note(record);
    }

    /// Notes the answers of people that the draft tells and what is written does not: those that count, and those that
    /// do not. True when there are any.
    pub(crate) fn note_answers(&self, draft: &Draft, approvals: &[Arc<Approval>], at: DateTime<Utc>) -> bool {
        let before = draft.remediation().status.as_ref().and_then(|status| status.approval.as_ref());
        let Some(asked) = draft.status.approval.as_ref().filter(|asked| !self.is_off() && before != Some(*asked))
        else {
            return false;
        };
        let records: Vec<Record> = said(before, asked)
            .map(|Said { name, by, counts, reason }| {
                let approval = approvals.iter().find(|it| it.name_any() == name);
                let uid = approval.and_then(|it| it.uid()).unwrap_or_default();
                let word = if counts { "counts" } else { "does not count" };
                let id = short_digest([name, uid.as_str(), word, reason], DIGEST);
                let id = format!("{}/approval/{id}", draft.name());
                let mut record = self.record(id, at, Kind::Person, &format!("{word}: {reason}"), draft.proposal());
                record.phase = Some(draft.phase());
                record.by = Some(by.to_owned());
                record.detail = json!({
                    "approval": name,
                    "uid": uid,
                    "counts": counts,
                    "asked": asked.digest,
                    "spec": as_json(&approval.map(|it| &it.spec)),
                });
                record
            })
            .collect();
        let any = !records.is_empty();
        records.into_iter().for_each(|record| self.note(record));
        any
    }

    /// Notes what a person asked for, and what they are answered. Gives the record's id.
    pub(crate) fn note_answer(
        &self,
        request: &Request,
        answered: &Answered,
        reason: &str,
        at: DateTime<Utc>,
    ) -> Option<String> {
        if self.is_off() {
            return None;
        }
        let word = if answered.answer == Answer::Done { "done" } else { "refused" };
        let id = format!("request/{}/{word}", request.uid().unwrap_or_else(|| request.name_any()));
        let mut record = Record::new(id.clone(), at, &self.cluster, Kind::Person, format!("{word}: {reason}"));
        record.by = Some(request.spec.by.clone());
        record.remediation.clone_from(&answered.remediation);
        record.detail = json!({
            "request": request.name_any(),
            "answer": as_json(&answered.answer),
            "asked": as_json(&request.metadata.creation_timestamp),
            "spec": as_json(&request.spec),
        });
        self.note(record);
        Some(id)
    }

    /// Notes that a freeze began or ended.
    pub(crate) fn note_freeze(&self, news: FreezeNews) {
        if self.is_off() {
            return;
        }
        let word = if news.begins { "begun" } else { "ended" };
        let id = format!("freeze/{}/{word}", news.uid);
        let mut record = Record::new(id, news.at, &self.cluster, Kind::Person, news.said);
        record.by = news.by;
        record.detail = json!({ "freeze": news.name, "spec": news.spec });
        self.note(record);
    }

    /// Waits until all that was noted about a Remediation is on the bus.
    ///
    /// # Errors
    /// [`DriveError::Unrecorded`] when that takes too long: to be tried again.
    pub(crate) async fn until_told(&self, remediation: &str) -> Result<(), DriveError> {
        self.until(remediation, |it| it.remediation.as_deref() == Some(remediation)).await
    }

    /// Waits until a record is on the bus.
    ///
    /// # Errors
    /// [`DriveError::Unrecorded`] when that takes too long: to be tried again.
    pub(crate) async fn until_told_id(&self, id: &str) -> Result<(), DriveError> {
        self.until(id, |it| it.id == id).await
    }

    async fn until(&self, what: &str, is_it: impl Fn(&Record) -> bool) -> Result<(), DriveError> {
        let is_told = || !self.state().queue.iter().any(&is_it);
        let told = async {
            loop {
                let mut more = std::pin::pin!(self.told.notified());
                more.as_mut().enable();
                if is_told() {
                    return;
                }
                more.await;
            }
        };
        let waited = tokio::time::timeout(TELLING, told).await;
        waited.map_err(|_| DriveError::Unrecorded(what.to_owned()))
    }

    /// Its end is noted: nothing of it is told again.
    pub(crate) fn forget(&self, remediation: &str) {
        self.state().noted.remove(remediation);
    }

    /// Forgets those that are gone.
    pub(crate) fn forget_all_but(&self, is_there: impl Fn(&str) -> bool) {
        let noted: Vec<String> = self.state().noted.keys().cloned().collect();
        for gone in noted.iter().filter(|name| !is_there(name)) {
            self.forget(gone);
        }
    }

    /// Why no new action may begin: too much is not sealed yet.
    pub(crate) fn is_behind(&self) -> Option<String> {
        let most = self.audit.as_ref()?.unsealed_at_most;
        let unsealed = self.unsealed.load(Ordering::Relaxed).saturating_add(self.state().queue.len() as u64);
        (unsealed > most)
            .then(|| format!("{unsealed} audit records are not sealed yet, more than the {most} there may be"))
    }
}

fn id(remediation: &str, transition: &Transition) -> String {
    let at = transition.at.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let digest = short_digest([at.as_str(), &transition.reason], DIGEST);
    format!("{remediation}/{}/{digest}", transition.phase)
}

/// What one person said, and what it is worth.
struct Said<'a> {
    name: &'a str,
    by: &'a str,
    counts: bool,
    reason: &'a str,
}

/// What is told now and was not before.
fn said<'a>(before: Option<&'a Asked>, now: &'a Asked) -> impl Iterator<Item = Said<'a>> {
    let had_given = move |name: &str| before.is_some_and(|it| it.given.iter().any(|given| given.name == name));
    let had_refused = move |refused: &_| before.is_some_and(|it| it.refused.contains(refused));
    let given = now.given.iter().filter(move |given| !had_given(&given.name));
    let refused = now.refused.iter().filter(move |refused| !had_refused(refused));
    let counts = given.map(|it| Said { name: &it.name, by: &it.approver, counts: true, reason: &it.reason });
    let falls = refused.map(|it| Said { name: &it.name, by: &it.approver, counts: false, reason: &it.reason });
    counts.chain(falls)
}

/// What a phase rests on, as far as the status still has it.
fn rests_on(phase: Phase, status: &RemediationStatus) -> Value {
    let mut detail = match phase {
        Phase::Denied | Phase::Deferred | Phase::AwaitingApproval | Phase::Authorized | Phase::WouldExecute => {
            json!({ "verdict": as_json(&status.verdict) })
        }
        Phase::Claimed => json!({ "claim": as_json(&status.claim) }),
        Phase::Executing => json!({ "claim": as_json(&status.claim), "plan": as_json(&status.plan) }),
        Phase::Succeeded | Phase::Ineffective | Phase::Unverified => {
            json!({ "verification": as_json(&status.verification), "targetWell": status.target_well })
        }
        Phase::RollingBack => json!({ "inverse": as_json(&status.plan.as_ref().map(|plan| &plan.inverse)) }),
        _ => Value::Null,
    };
    // What people were asked, and who said what.
    let of_people = matches!(
        phase,
        Phase::Denied | Phase::AwaitingApproval | Phase::Authorized | Phase::Executing | Phase::Expired
    );
    if let Some(asked) = status.approval.as_ref().filter(|_| of_people) {
        if detail.is_null() {
            detail = json!({});
        }
        if let Some(detail) = detail.as_object_mut() {
            detail.insert("approval".to_owned(), as_json(asked));
        }
    }
    detail
}

fn as_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|error| Value::String(format!("can't be written as JSON: {error}")))
}

impl Plane {
    /// Puts what was noted on the bus, in order, until shutdown and what is noted by then.
    pub(crate) async fn tell_records(self: Arc<Self>, health: HealthPart, shutdown: Shutdown) -> Result<(), BoxError> {
        health.ready();
        let mut backoff = Backoff::new(WAITS.0, WAITS.1, 4);
        loop {
            let next = self.recorder.state().queue.front().cloned();
            let Some(record) = next else {
                if shutdown.is_cancelled() {
                    return Ok(());
                }
                tokio::select! {
                    biased;
                    () = self.recorder.queued.notified() => {}
                    () = shutdown.cancelled() => {}
                }
                continue;
            };
            match self.tell_record(record).await {
                Ok(()) => {
                    self.recorder.state().queue.pop_front();
                    self.recorder.told.notify_waiters();
                    backoff.reset();
                    health.ready();
                }
                Err(error) => {
                    self.metrics.error("audit");
                    health.not_ready(error.to_string());
                    if shutdown.is_cancelled() {
                        // Another process tells it.
                        return Ok(());
                    }
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(backoff.next()) => {}
                    }
                }
            }
        }
    }

    async fn tell_record(&self, record: Record) -> Result<(), DriveError> {
        let Some(audit) = &self.recorder.audit else { return Ok(()) };
        let id = record.id.clone();
        let encoded: Bytes = match record.encode() {
            Ok(encoded) => encoded,
            Err(error) => {
                // Trying again would not help, and must not hold up all others.
                self.metrics.error("audit record");
                tracing::error!(id, %error, "an audit record is lost");
                return Ok(());
            }
        };
        let payload = audit.key.wrap(&encoded);
        let message = Publish { subject: Subject::Audit, id, payload, trace: TraceContext::default() };
        let published = self.bus.publish(message).await;
        published.map(drop).map_err(|source| DriveError::Bus { what: "publishing an audit record", source })
    }

    /// Those of what need not be kept for anything else whose records are sealed; the others are to be asked about
    /// again.
    pub(crate) async fn sealed(&self, expendable: Vec<Arc<Remediation>>) -> Vec<Arc<Remediation>> {
        if self.recorder.is_off() {
            return expendable;
        }
        // After `expendable` was made: what is known to be told lies before the end of the stream.
        let status = match self.bus.status().await {
            Ok(status) => status,
            Err(error) => {
                tracing::debug!(%error, "what is sealed can't be seen; nothing is deleted");
                return Vec::new();
            }
        };
        let (stream, sealer) = (status.stream(Stream::Audit), status.consumer(ConsumerName::GatewayAudit));
        let Some((stream, sealer)) = stream.zip(sealer) else { return Vec::new() };
        self.recorder.state().sealing.sealed(expendable, stream.last, sealer.settled)
    }

    /// Looks how much is not sealed yet, until shutdown.
    pub(crate) async fn watch_unsealed(
        self: Arc<Self>,
        health: HealthPart,
        shutdown: Shutdown,
    ) -> Result<(), BoxError> {
        health.ready();
        if self.recorder.is_off() {
            shutdown.cancelled().await;
            return Ok(());
        }
        loop {
            match self.bus.status().await {
                Ok(status) => {
                    let ours = status.consumer(ConsumerName::GatewayAudit);
                    let unsealed = ours.map_or(0, |it| it.pending.saturating_add(it.unacknowledged));
                    self.recorder.unsealed.store(unsealed, Ordering::Relaxed);
                    self.metrics.unsealed.set(i64::try_from(unsealed).unwrap_or(i64::MAX));
                    match self.recorder.is_behind() {
                        Some(reason) => health.not_ready(reason),
                        None => health.ready(),
                    }
                }
                // The bus' own part tells; what was seen last still counts.
                Err(error) => tracing::debug!(%error, "how much is not sealed can't be seen"),
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

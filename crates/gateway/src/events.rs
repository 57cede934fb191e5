//! Kubernetes Events on the target: what was done and why. Their names are fixed by Remediation and
//! phase, so that one said again is the same one.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use evenkeel_model::{ActionName, Approval, Clock, ObjectRef, Phase, Proposal};
use evenkeel_runtime::redact;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::{Api, Client, Resource as _, ResourceExt as _};

use crate::error::ApiError;
use crate::metrics::Metrics;

/// Where Events about cluster-scoped objects live.
const CLUSTER_SCOPED: &str = "default";
/// The API server's limit of a note, bytes.
const MAX_NOTE: usize = 1024;

pub(crate) struct Events {
    writer: Client,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    holder: String,
    metrics: Metrics,
}

/// One thing to say about a target.
#[derive(Debug, Clone)]
pub(crate) struct Say<'a> {
    pub(crate) remediation: &'a str,
    pub(crate) proposal: &'a Proposal,
    pub(crate) phase: Phase,
    pub(crate) note: String,
}

impl Events {
    pub(crate) fn new(
        writer: Client,
        clock: Arc<dyn Clock>,
        timeout: Duration,
        holder: String,
        metrics: Metrics,
    ) -> Self {
        Self { writer, clock, timeout, holder, metrics }
    }

    /// Says it, once.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub(crate) async fn say(&self, say: &Say<'_>) -> Result<(), ApiError> {
        let event = event(say, self.clock.now(), &self.holder);
        self.create(&event, &format!("creating an event on {}", say.proposal.target)).await
    }

    async fn create(&self, event: &Event, what: &str) -> Result<(), ApiError> {
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.writer.clone(), &namespace);
        let created = tokio::time::timeout(self.timeout, api.create(&crate::remediations::by_us(), event)).await;
        let created = match created {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.is_already_exists() => Ok(()),
            Ok(Err(error)) => Err(ApiError::of(what, error)),
            Err(_) => Err(ApiError::Late { what: what.to_owned(), limit: self.timeout }),
        };
        self.metrics.request("create event", if created.is_ok() { "ok" } else { "error" });
        created
    }

    /// Says of an Approval, once, why it does not count, if that can be said.
    pub(crate) async fn try_refuse(&self, approval: &Approval, reason: &str) {
        let event = refusal(approval, reason, self.clock.now(), &self.holder);
        if let Err(error) = self.create(&event, &format!("creating an event on {}", approval.name_any())).await {
            self.metrics.error("event");
            tracing::warn!(approval = approval.name_any(), reason, %error, "event not recorded");
        }
    }

    /// Says it if it can be said; that it could not is counted and logged.
    pub(crate) async fn try_say(&self, say: &Say<'_>) {
        if let Err(error) = self.say(say).await {
            self.metrics.error("event");
            tracing::warn!(remediation = say.remediation, %error, "event not recorded");
        }
    }
}

fn event(say: &Say<'_>, at: DateTime<Utc>, holder: &str) -> Event {
    let target = &say.proposal.target;
    let namespace = target.namespace.clone().unwrap_or_else(|| CLUSTER_SCOPED.to_owned());
    let at = k8s_openapi::jiff::Timestamp::from_microsecond(at.timestamp_micros()).unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", say.remediation, say.phase.to_string().to_ascii_lowercase())),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        action: Some(say.proposal.action.name().to_string()),
        event_time: Some(MicroTime(at)),
        note: Some(bounded(&redact::text(&say.note))),
        reason: Some(if calls(say) { "NeedsHuman".to_owned() } else { say.phase.to_string() }),
        regarding: Some(reference(target)),
        reporting_controller: Some("evenkeel.dev/gateway".to_owned()),
        reporting_instance: Some(holder.chars().take(128).collect()),
        type_: Some(if is_good(say.phase) && !calls(say) { "Normal" } else { "Warning" }.to_owned()),
        ..Event::default()
    }
}

fn refusal(approval: &Approval, reason: &str, at: DateTime<Utc>, holder: &str) -> Event {
    let about = |kind: &str, name: String, uid: Option<String>| ObjectReference {
        api_version: Some(Approval::api_version(&()).into_owned()),
        kind: Some(kind.to_owned()),
        namespace: approval.namespace(),
        name: Some(name),
        uid,
        ..ObjectReference::default()
    };
    let uid: String = approval.uid().unwrap_or_default().chars().take(36).collect();
    let name: String = approval.name_any().chars().take(200).collect();
    let at = k8s_openapi::jiff::Timestamp::from_microsecond(at.timestamp_micros()).unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.refused.{}", evenkeel_model::short_digest([uid.as_str(), reason], 8))),
            namespace: approval.namespace(),
            ..ObjectMeta::default()
        },
        action: Some("approve".to_owned()),
        event_time: Some(MicroTime(at)),
        note: Some(bounded(&redact::text(reason))),
        reason: Some("ApprovalRefused".to_owned()),
        regarding: Some(about("Approval", approval.name_any(), approval.uid())),
        related: Some(about("Remediation", approval.spec.remediation.clone(), None)),
        reporting_controller: Some("evenkeel.dev/gateway".to_owned()),
        reporting_instance: Some(holder.chars().take(128).collect()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    }
}

/// Whether people are called: that it was done is no good news.
fn calls(say: &Say<'_>) -> bool {
    say.proposal.action.name() == ActionName::Escalate
}

fn is_good(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Executing
            | Phase::Succeeded
            | Phase::WouldExecute
            | Phase::Obsolete
            | Phase::RolledBack
            | Phase::Cancelled
    )
}

fn reference(object: &ObjectRef) -> ObjectReference {
    ObjectReference {
        api_version: Some(object.kind.api_version()),
        kind: Some(object.kind.to_string()),
        namespace: object.namespace.clone(),
        name: Some(object.name.clone()),
        uid: object.uid.clone(),
        ..ObjectReference::default()
    }
}

fn bounded(note: &str) -> String {
    let mut end = note.len().min(MAX_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, proposal};

    #[test]
    fn an_event_says_what_was_done_and_why() {
        let proposal = proposal(1);
        let note = "rollbackWorkload: spec.template image web:2 → web:1. ImagePullBackOff".to_owned();
        let say = Say { remediation: "r-1", proposal: &proposal, phase: Phase::Executing, note };
        insta::assert_json_snapshot!(event(&say, at(0), "gateway-1"));
    }

    #[test]
    fn an_approval_that_does_not_count_is_told_why() {
        let approval = crate::testing::approval("r-1-x7k2p", "r-1", "jane", 0);
        insta::assert_json_snapshot!(refusal(&approval, "a ServiceAccount is no person", at(1), "gateway-1"));
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let note = "ä".repeat(1000);
        assert!(bounded(&note).len() <= MAX_NOTE);
    }
}

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use evenkeel_chat::{Answer, ClickDecision, Decide, Said};
use evenkeel_model::{Approval, ApprovalDecision, ApprovalSpec, Asked, Phase, Remediation, SLACK_APPROVER};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Resource as _, ResourceExt as _};

use crate::error::{ApiError, bounded};
use crate::plane::Plane;
use crate::remediations::{Read, by_us};

/// Makes Approvals of clicks. They are written under the gateway's own identity, which admission
/// lets say `slack:<user>` and nothing else; whether they count is decided where all are counted.
pub(super) struct Deciding(pub(super) Arc<Plane>);

/// Why a click is no Approval.
enum NotRecorded {
    Refused(String),
    Api(ApiError),
}

impl From<ApiError> for NotRecorded {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

#[async_trait]
impl Decide for Deciding {
    async fn decide(&self, said: Said) -> Answer {
        match self.record(&said).await {
            Ok(()) => Answer::Recorded,
            Err(NotRecorded::Refused(why)) => Answer::Refused(why),
            Err(NotRecorded::Api(error)) => {
                self.0.metrics.error("chat");
                tracing::warn!(remediation = said.remediation, %error, "a click could not be recorded");
                Answer::Refused(
                    "The API server could not be asked. Look whether it counted before you try again.".to_owned(),
                )
            }
        }
    }
}

impl Deciding {
    async fn record(&self, said: &Said) -> Result<(), NotRecorded> {
        let plane = &self.0;
        let Some(Read::Known(remediation)) = plane.remediations.get(&said.remediation).await? else {
            return Err(NotRecorded::Refused(format!("There is no {} any more.", said.remediation)));
        };
        let asked = asked(&remediation, said, plane.now()).map_err(NotRecorded::Refused)?;
        let approval = approval(&remediation, asked, said);
        let (spec, namespace) = (&approval.spec, approval.spec.namespace.as_deref());
        // Asked again when it is counted and when it is acted on; here, so that the person is told.
        plane.approvals.may(spec, asked.tier, namespace).await?.map_err(NotRecorded::Refused)?;
        let api: Api<Approval> = Api::namespaced(plane.writer.clone(), &remediation.namespace().unwrap_or_default());
        let what = || format!("creating an approval of {}", said.remediation);
        let made = bounded(plane.config.request_timeout.get(), what, api.create(&by_us(), &approval)).await;
        match made {
            Ok(_) => Ok(()),
            // It is there: an answer of ours was lost.
            Err(error) if error.is_already_there() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is asked, if the click is an answer to just that.
fn asked<'r>(remediation: &'r Remediation, said: &Said, now: DateTime<Utc>) -> Result<&'r Asked, String> {
    let name = &said.remediation;
    let status = remediation.status.as_ref();
    let Some(status) = status.filter(|status| status.phase == Phase::AwaitingApproval) else {
        let phase = status.map_or(Phase::Proposed, |status| status.phase);
        return Err(format!("Nobody is asked about {name} now: it is {phase}."));
    };
    let Some(asked) = &status.approval else { return Err(format!("Nobody is asked about {name} yet.")) };
    if asked.digest != said.digest {
        return Err("What would be done has changed since this was shown. Look at the message as it is now.".to_owned());
    }
    if now >= remediation.spec.proposal.expires_at {
        return Err(format!("{name} has expired."));
    }
    if let Some(trouble) = &asked.trouble {
        return Err(format!("No answer can be counted now: {trouble}"));
    }
    let (person, decision) = (&said.person.user, decision(said.decision));
    if decision == ApprovalDecision::Approve && remediation.spec.requested_by.as_ref() == Some(person) {
        return Err(format!("You ({person}) have asked for it, and nobody approves what they ask for."));
    }
    let before = asked.given.iter().find(|given| {
        given.approver.strip_prefix(SLACK_APPROVER).unwrap_or(&given.approver) == person && given.decision == decision
    });
    match before {
        Some(given) => Err(format!("You ({person}) have said so in {} already; a person counts once.", given.name)),
        None => Ok(asked),
    }
}

fn decision(clicked: ClickDecision) -> ApprovalDecision {
    match clicked {
        ClickDecision::Approve => ApprovalDecision::Approve,
        ClickDecision::Deny => ApprovalDecision::Deny,
    }
}

fn approval(remediation: &Remediation, asked: &Asked, said: &Said) -> Approval {
    let name = remediation.name_any();
    let (decision, at) = (decision(said.decision), said.at.to_rfc3339());
    let word = match decision {
        ApprovalDecision::Approve => "approve",
        ApprovalDecision::Deny => "deny",
    };
    // Of the click itself: the same click is the same object.
    let own = evenkeel_model::short_digest([&said.person.user, &said.slack_user, word, &asked.digest, &at], 10);
    let spec = ApprovalSpec {
        remediation: name.clone(),
        digest: asked.digest.clone(),
        decision,
        tier: asked.tier,
        namespace: remediation.spec.proposal.target.namespace.clone(),
        approver: format!("{SLACK_APPROVER}{}", said.person.user),
        groups: said.person.groups.clone(),
        reason: format!("clicked in Slack by {}", said.slack_user),
    };
    let mut approval = Approval::new(&format!("{name}-{own}"), spec);
    // It goes when what it is for goes.
    approval.metadata.owner_references = Some(vec![OwnerReference {
        api_version: Remediation::api_version(&()).into_owned(),
        kind: Remediation::kind(&()).into_owned(),
        name,
        uid: remediation.uid().unwrap_or_default(),
        ..OwnerReference::default()
    }]);
    approval
}

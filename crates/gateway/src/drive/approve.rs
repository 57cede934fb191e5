//! Asking people, and hearing what they say: what is signed, and whether enough have signed just that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_cluster::Stamp;
use evenkeel_model::{
    Approval, ApprovalDecision, Asked, GivenApproval, Kind, MAX_REFUSED_APPROVALS, RefusedApproval, Signed, Spoken,
    Tier,
};
use evenkeel_policy::Judgement;
use evenkeel_runtime::redact;
use kube::ResourceExt as _;
use serde_json::Value;

use super::begin::Weighed;
use super::look::Look;
use crate::approvals::created;
use crate::approvals::tally::{Poll, tally};
use crate::plane::{Draft, DriveError, Plane};

/// Under which no policy's rules speak: what they say holds numbers of the moment, and what follows is in the tier.
const BUILT_IN: &str = "built-in";
/// Refusals that are told by Events at a time; a flood of more is counted and logged alone.
const MOST_TOLD: usize = 20;
/// Persons whose answers are looked into; no policy asks for more than ten.
const MOST_PERSONS: usize = 32;

/// What would be done, as people are asked to sign it.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    /// The target's resourceVersion when this was made.
    version: Option<String>,
    /// Of what is written, of the values it replaces, and of the target's spec.
    digest: String,
    /// What changes, for people.
    changes: Vec<String>,
}

/// What people say.
enum People {
    /// Enough of them do approve: who.
    Approved(String),
    /// One does not.
    Denied(String),
    /// Not enough do yet: what is missing.
    Waiting(String),
    /// There is nothing to ask them: it can't be done.
    Impossible(String),
}

impl Plane {
    /// As [`Plane::weigh`], with people's say where policies ask for it. `live` also reads anew what was counted
    /// before: it is about to be acted on.
    pub(super) async fn weigh_with_people(
        &self,
        draft: &mut Draft,
        look: &Look,
        live: bool,
    ) -> Result<Weighed, DriveError> {
        match self.weigh(draft, look) {
            Weighed::AskPeople { judgement, why, reason } => {
                self.with_people(draft, look, judgement, why, reason, live).await
            }
            Weighed::Go { judgement, why } => {
                // Nobody need be asked any more; but who was asked and said no has said no.
                if draft.status.approval.is_some()
                    && let Some(denied) = self.denied(&draft.name())
                {
                    return Ok(Weighed::Settle { step: evenkeel_model::Step::Deny, reason: denied, not_before: None });
                }
                draft.status.approval = None;
                Ok(Weighed::Go { judgement, why })
            }
            weighed => Ok(weighed),
        }
    }

    /// Who denies it, and why, if somebody does. Whether they still may is not asked: nothing is done is the safe end.
    fn denied(&self, name: &str) -> Option<String> {
        let no = self
            .approvals
            .of(name)
            .into_iter()
            .find(|it| it.spec.decision == evenkeel_model::ApprovalDecision::Deny)?;
        Some(format!("denied by {}: {}", no.spec.approver, no.spec.reason))
    }

    async fn with_people(
        &self,
        draft: &mut Draft,
        look: &Look,
        judgement: Judgement,
        why: String,
        reason: String,
        live: bool,
    ) -> Result<Weighed, DriveError> {
        let settle = |step, reason| Weighed::Settle { step, reason, not_before: None };
        Ok(match Box::pin(self.people_say(draft, look, &judgement, live)).await? {
            People::Approved(by) => Weighed::Go { judgement, why: format!("{why}; approved by {by}") },
            People::Denied(said) => settle(evenkeel_model::Step::Deny, said),
            People::Waiting(missing) => settle(evenkeel_model::Step::AskPeople, format!("{missing}: {reason}")),
            People::Impossible(reason) => settle(evenkeel_model::Step::Deny, reason),
        })
    }

    /// Whether those who approved still do, and what they approved is still what would be done. `Err` says how it
    /// goes on otherwise.
    pub(super) async fn still_approved(
        &self,
        draft: &mut Draft,
        look: &Look,
        judgement: &Judgement,
    ) -> Result<Result<(), Weighed>, DriveError> {
        if judgement.approvers == 0 {
            return Ok(Ok(()));
        }
        let reason = "what was approved is not what would be done now".to_owned();
        Ok(match self.with_people(draft, look, judgement.clone(), String::new(), reason, true).await? {
            Weighed::Go { .. } => Ok(()),
            weighed => Err(weighed),
        })
    }

    /// Asks, where that was not done or what is asked has changed, and counts the answers.
    async fn people_say(
        &self,
        draft: &mut Draft,
        look: &Look,
        judgement: &Judgement,
        live: bool,
    ) -> Result<People, DriveError> {
        let name = draft.name();
        let approvals = self.approvals.of(&name);
        let content = match self.content(draft, look, live || !approvals.is_empty()).await? {
            Ok(content) => content,
            Err(reason) => return Ok(People::Impossible(reason)),
        };
        let digest = signed(draft, look, judgement, &content)
            .map_err(|source| DriveError::Json { what: "what people are asked to sign", source })?;
        let before = draft.status.approval.take();
        let asks_anew = before.as_ref().is_some_and(|before| before.digest != digest);
        let mut asked = before.filter(|before| before.digest == digest).unwrap_or_else(|| Asked {
            digest,
            since: self.now(),
            tier: judgement.tier,
            approvers: judgement.approvers,
            changes: content.changes.clone(),
            guard: None,
            trouble: None,
            given: Vec::new(),
            refused: Vec::new(),
        });
        if asked.guard.is_none() || !approvals.is_empty() {
            match self.approvals.guard().await? {
                Ok(guard) => {
                    // One of an earlier process is as good while nobody has touched the policy: it is older.
                    asked.guard = Some(asked.guard.filter(|known| known.version == guard.version).unwrap_or(guard));
                    asked.trouble = None;
                }
                Err(reason) => {
                    asked.guard = None;
                    asked.trouble = Some(redact::text(&reason));
                }
            }
        }
        let says = self.count(draft, &mut asked, &approvals, live).await?;
        draft.status.approval = Some(asked);
        Ok(match says {
            People::Waiting(missing) if asks_anew => People::Waiting(format!(
                "asked anew, since what would be done, the target or the rules changed; {missing}"
            )),
            says => says,
        })
    }

    /// Counts the answers to `asked`, and notes them there.
    async fn count(
        &self,
        draft: &Draft,
        asked: &mut Asked,
        approvals: &[Arc<Approval>],
        live: bool,
    ) -> Result<People, DriveError> {
        let proposal = draft.proposal();
        let namespace = proposal.target.namespace.as_deref();
        let (mut stands, mut falls) = (BTreeSet::new(), BTreeMap::new());
        let counted = loop {
            let poll = Poll {
                asked,
                namespace,
                requester: draft.remediation().spec.requested_by.as_deref(),
                expires_at: proposal.expires_at,
                tolerance: self.config.clock_tolerance.chrono(),
            };
            let counted = tally(&poll, approvals, &falls);
            // One that falls may have stood before another of the same person.
            let next = counted.denied.iter().chain(&counted.approved).find(|it| !stands.contains(&it.name_any()));
            let Some(next) = next.cloned().filter(|_| stands.len() < MOST_PERSONS) else { break counted };
            match self.stands(&next, asked.tier, namespace, live).await? {
                Ok(()) => {
                    stands.insert(next.name_any());
                }
                Err(reason) => {
                    falls.insert(next.name_any(), reason);
                }
            }
        };
        let mut told_now = 0;
        for (approval, reason) in &counted.refused {
            if self.approvals.is_first_refusal(approval, reason) {
                self.metrics.approval("refused");
                tracing::warn!(
                    remediation = draft.name(),
                    approval = approval.name_any(),
                    approver = approval.spec.approver,
                    reason,
                    "approval does not count"
                );
                told_now += 1;
                if told_now <= MOST_TOLD {
                    self.events.try_refuse(approval, reason).await;
                }
            }
        }
        for approval in counted.denied.iter().chain(&counted.approved).filter(|it| stands.contains(&it.name_any())) {
            if !asked.given.iter().any(|given| given.name == approval.name_any()) {
                self.metrics.approval("counted");
                let (name, approver, decision) = (approval.name_any(), &approval.spec.approver, approval.spec.decision);
                tracing::info!(remediation = draft.name(), approval = name, approver, ?decision, "approval counts");
            }
        }
        let refused = counted.refused.iter().rev().take(MAX_REFUSED_APPROVALS).rev();
        asked.refused = refused.map(|(approval, reason)| told(approval, reason)).collect();
        let counts = || counted.denied.iter().chain(&counted.approved).filter(|it| stands.contains(&it.name_any()));
        asked.given = counts().map(given).collect();
        if let Some(denied) = asked.given.iter().find(|given| given.decision == ApprovalDecision::Deny) {
            return Ok(People::Denied(format!("denied by {}: {}", denied.approver, denied.reason)));
        }
        if let Some(trouble) = &asked.trouble {
            return Ok(People::Waiting(format!("no approval can be counted: {trouble}")));
        }
        let (has, wants) = (asked.given.len(), usize::try_from(asked.approvers).unwrap_or(usize::MAX));
        if has < wants.max(1) {
            return Ok(People::Waiting(format!("{has} of {wants} approved")));
        }
        let who: Vec<&str> = asked.given.iter().map(|given| given.approver.as_str()).collect();
        Ok(People::Approved(who.join(", ")))
    }

    /// Whether an Approval is there and its author may approve, as far as the API server tells now.
    async fn stands(
        &self,
        approval: &Approval,
        tier: Tier,
        namespace: Option<&str>,
        live: bool,
    ) -> Result<Result<(), String>, DriveError> {
        if live && !self.approvals.is_there(approval).await? {
            return Ok(Err("it was withdrawn".to_owned()));
        }
        Ok(self.approvals.may(&approval.spec, tier, namespace).await?)
    }

    /// What would be done, of the target as it is. It is made anew when the target has changed, or `anew` says so.
    async fn content(&self, draft: &Draft, look: &Look, anew: bool) -> Result<Result<Content, String>, DriveError> {
        let version = look.snapshot.meta.as_ref().map(|meta| meta.resource_version.clone());
        let known = self.contents().get(&draft.name()).cloned();
        if let Some(known) = known.filter(|known| !anew && known.version.is_some() && known.version == version) {
            return Ok(Ok(known));
        }
        // Whatever the time and the claim will be: both are written, and neither is signed.
        let stamp = Stamp::new(draft.name(), 0);
        let plan = match self.plan_at(draft, look, &stamp, draft.proposal().proposed_at).await? {
            Ok(plan) => plan,
            Err(refused) => return Ok(Err(refused)),
        };
        let target = &look.snapshot.target;
        let live = evenkeel_cluster::live(&self.reader, target);
        let live = self.within(|| format!("reading {target}"), live).await?.unwrap_or_default();
        let digest = evenkeel_model::digest(&(&plan.request, read_of(target.kind, &live)))
            .map_err(|source| DriveError::Json { what: "what people are asked to sign", source })?;
        let content = Content { version, digest, changes: plan.changes };
        self.contents().insert(draft.name(), content.clone());
        Ok(Ok(content))
    }
}

/// What of the target is signed beside the values that are replaced: what it is meant to be. An autoscaler's replicas
/// are not, unless they are what is replaced; nor what a node is marked with from hour to hour.
fn read_of(kind: Kind, live: &Value) -> Value {
    let mut spec = match kind {
        Kind::Node => Value::Null,
        _ => live.get("spec").cloned().unwrap_or_default(),
    };
    if let Some(fields) = spec.as_object_mut().filter(|_| kind.is_workload()) {
        fields.remove("replicas");
    }
    spec
}

fn signed(draft: &Draft, look: &Look, judgement: &Judgement, content: &Content) -> Result<String, serde_json::Error> {
    let rules: Vec<&Spoken> = judgement.verdict.rules.iter().filter(|rule| rule.policy != BUILT_IN).collect();
    Signed {
        remediation: &draft.name(),
        uid: draft.remediation().metadata.uid.as_deref(),
        action: &draft.proposal().action,
        target: &look.snapshot.target,
        content: &content.digest,
        rules: &rules,
        tier: judgement.tier,
        approvers: judgement.approvers,
        expires_at: draft.proposal().expires_at,
    }
    .digest()
}

fn given(approval: &Arc<Approval>) -> GivenApproval {
    GivenApproval {
        name: approval.name_any(),
        approver: approval.spec.approver.clone(),
        decision: approval.spec.decision,
        reason: redact::text(&approval.spec.reason),
        at: created(approval),
    }
}

fn told(approval: &Approval, reason: &str) -> RefusedApproval {
    RefusedApproval {
        name: approval.name_any(),
        approver: approval.spec.approver.clone(),
        reason: redact::text(reason),
    }
}

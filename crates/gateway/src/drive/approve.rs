//! Asking people, and hearing what they say: what is signed, and whether enough have signed just that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_cluster::Stamp;
use evenkeel_model::{
    Approval, ApprovalDecision, Asked, GivenApproval, Kind, MAX_REFUSED_APPROVALS, Phase, RefusedApproval, Signed, Step,
};
use evenkeel_policy::Judgement;
use evenkeel_runtime::redact;
use kube::ResourceExt as _;
use serde_json::Value;

use super::begin::{Planned, Weighed};
use super::look::Look;
use crate::actions;
use crate::approvals::reviews::Reviews;
use crate::approvals::tally::{Poll, Tally, tally};
use crate::approvals::{Answers, created};
use crate::plane::{Draft, DriveError, Plane};

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

/// When people's answers are counted.
#[derive(Clone, Copy)]
enum Moment<'a> {
    /// It waits for them.
    Waiting,
    /// It is about to be acted on: what the watch has told is not enough.
    Acting,
    /// Just this is about to be sent.
    Sending(&'a Planned),
}

/// Answers, looked into.
struct Counted {
    tally: Tally,
    /// By name, those whose authors may.
    stands: BTreeSet<String>,
    /// Why there may be others that count.
    trouble: Option<String>,
}

impl Counted {
    /// Those that count, denials first.
    fn stand(&self) -> impl Iterator<Item = &Arc<Approval>> {
        self.tally.denied.iter().chain(&self.tally.approved).filter(|it| self.stands.contains(&it.name_any()))
    }
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
    /// As [`Plane::weigh`], with people's say where policies ask for it. When it is about to be acted on (`live`),
    /// their answers are read from the API server: the watch may be behind.
    pub(super) async fn weigh_with_people(
        &self,
        draft: &mut Draft,
        look: &Look,
        live: bool,
    ) -> Result<Weighed, DriveError> {
        match self.weigh(draft, look) {
            Weighed::AskPeople { judgement, why, reason } => {
                let moment = if live { Moment::Acting } else { Moment::Waiting };
                self.with_people(draft, look, judgement, why, reason, moment).await
            }
            Weighed::Go { judgement, why } => {
                if let Some(denied) = self.denied(draft, live).await? {
                    return Ok(denied);
                }
                draft.status.approval = None;
                Ok(Weighed::Go { judgement, why })
            }
            weighed => Ok(weighed),
        }
    }

    /// Nobody need be asked (any more); but who was asked and said no has said no. Whether they still may is not asked:
    /// nothing is done is the safe end. Nor what they saw; but it has to be for the target's namespace, in which admission
    /// has asked for their right.
    async fn denied(&self, draft: &Draft, live: bool) -> Result<Option<Weighed>, DriveError> {
        let mut phases = draft.status.history.iter().map(|entry| entry.phase);
        if draft.status.approval.is_none() && !phases.any(|phase| phase == Phase::AwaitingApproval) {
            return Ok(None);
        }
        let settle = |step, reason| Some(Weighed::Settle { step, reason, not_before: None });
        let Answers { approvals, trouble } = self.approvals.of(&draft.name(), live).await?;
        let is_no = |it: &Arc<Approval>| {
            it.spec.decision == ApprovalDecision::Deny && it.spec.namespace == draft.proposal().target.namespace
        };
        let no = approvals.into_iter().find(is_no);
        Ok(match (no, trouble) {
            (Some(no), _) => settle(Step::Deny, format!("denied by {}: {}", no.spec.approver, no.spec.reason)),
            (None, Some(trouble)) => {
                settle(Step::Defer, format!("whether somebody denies it can't be told: {trouble}"))
            }
            (None, None) => None,
        })
    }

    /// Who has said no since it was decided to go on; nothing was sent yet.
    pub(super) async fn denied_meanwhile(&self, draft: &Draft) -> Result<Option<String>, DriveError> {
        let Some(asked) = &draft.status.approval else {
            return Ok(self.denied(draft, true).await?.map(|weighed| weighed.into_settled().1));
        };
        let Answers { mut approvals, trouble } = self.approvals.of(&draft.name(), true).await?;
        approvals.retain(|it| it.spec.decision == ApprovalDecision::Deny);
        let counted = self.look_into(draft, asked, &approvals, BTreeMap::new()).await?;
        let no = counted.stand().next().map(|no| format!("denied by {}: {}", no.spec.approver, no.spec.reason));
        Ok(no.or(trouble).or(counted.trouble))
    }

    async fn with_people(
        &self,
        draft: &mut Draft,
        look: &Look,
        judgement: Judgement,
        why: String,
        reason: String,
        moment: Moment<'_>,
    ) -> Result<Weighed, DriveError> {
        let settle = |step, reason| Weighed::Settle { step, reason, not_before: None };
        Ok(match Box::pin(self.people_say(draft, look, &judgement, moment)).await? {
            People::Approved(by) => Weighed::Go { judgement, why: format!("{why}; approved by {by}") },
            People::Denied(said) => settle(Step::Deny, said),
            People::Waiting(missing) => settle(Step::AskPeople, format!("{missing}: {reason}")),
            People::Impossible(reason) => settle(Step::Deny, reason),
        })
    }

    /// Whether those who approved still do, and what they approved is just what is going to be sent. `Err` says how it
    /// goes on otherwise.
    pub(super) async fn still_approved(
        &self,
        draft: &mut Draft,
        look: &Look,
        judgement: &Judgement,
        planned: &Planned,
    ) -> Result<Result<(), Weighed>, DriveError> {
        if judgement.approvers == 0 {
            return Ok(self.denied(draft, true).await?.map_or(Ok(()), Err));
        }
        let (why, reason) = (String::new(), "what was approved is not what would be done now".to_owned());
        Ok(match self.with_people(draft, look, judgement.clone(), why, reason, Moment::Sending(planned)).await? {
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
        moment: Moment<'_>,
    ) -> Result<People, DriveError> {
        let live = !matches!(moment, Moment::Waiting);
        let answers = self.approvals.of(&draft.name(), live).await?;
        draft.heard.clone_from(&answers.approvals);
        let content = match moment {
            Moment::Sending(planned) => Ok(self.content_of(look, planned).await?),
            Moment::Waiting | Moment::Acting => {
                self.content(draft, look, live || !answers.approvals.is_empty()).await?
            }
        };
        let content = match content {
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
        asked.trouble = asked.trouble.filter(|_| asked.guard.is_none());
        if asked.guard.is_none() || !answers.approvals.is_empty() {
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
        if answers.trouble.is_some() {
            asked.trouble = answers.trouble.as_deref().map(redact::text);
        }
        let says = self.count(draft, &mut asked, answers.approvals).await?;
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
        mut approvals: Vec<Arc<Approval>>,
    ) -> Result<People, DriveError> {
        let mut falls = BTreeMap::new();
        let here: BTreeSet<String> = approvals.iter().map(|it| it.name_any()).collect();
        for gone in self.approvals.known(&draft.name()).into_iter().filter(|it| !here.contains(&it.name_any())) {
            falls.insert(gone.name_any(), "it was withdrawn".to_owned());
            approvals.push(gone);
        }
        let counted = self.look_into(draft, asked, &approvals, falls).await?;
        if counted.trouble.is_some() {
            asked.trouble.clone_from(&counted.trouble);
        }
        let mut told_now = 0;
        for (approval, reason) in &counted.tally.refused {
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
        for approval in counted.stand() {
            if !asked.given.iter().any(|given| given.name == approval.name_any()) {
                self.metrics.approval("counted");
                let (name, approver, decision) = (approval.name_any(), &approval.spec.approver, approval.spec.decision);
                tracing::info!(remediation = draft.name(), approval = name, approver, ?decision, "approval counts");
            }
        }
        let refused = counted.tally.refused.iter().rev().take(MAX_REFUSED_APPROVALS).rev();
        asked.refused = refused.map(|(approval, reason)| told(approval, reason)).collect();
        asked.given = counted.stand().map(given).collect();
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

    /// Which of the answers count, of those whose authors may; `falls` has those that are known not to, and why.
    async fn look_into(
        &self,
        draft: &Draft,
        asked: &Asked,
        approvals: &[Arc<Approval>],
        mut falls: BTreeMap<String, String>,
    ) -> Result<Counted, DriveError> {
        let proposal = draft.proposal();
        let namespace = proposal.target.namespace.as_deref();
        let poll = Poll {
            asked,
            namespace,
            requester: draft.remediation().spec.requested_by.as_deref(),
            expires_at: proposal.expires_at,
            tolerance: self.config.clock_tolerance.chrono(),
        };
        let (mut stands, mut reviews) = (BTreeSet::new(), Reviews::default());
        loop {
            let tally = tally(&poll, approvals, &falls);
            // One that falls may have stood before another of the same person.
            let next = tally.denied.iter().chain(&tally.approved).find(|it| !stands.contains(&it.name_any()));
            let Some(next) = next.cloned().filter(|_| stands.len() < MOST_PERSONS) else {
                return Ok(Counted { tally, stands, trouble: None });
            };
            match reviews.may(&self.approvals, &next.spec, asked.tier, namespace).await? {
                Some(Ok(())) => {
                    stands.insert(next.name_any());
                }
                Some(Err(_)) => {
                    let known = |it: &Arc<Approval>| Some((it.name_any(), reviews.known(&it.spec)?.err()?));
                    falls.extend(approvals.iter().filter_map(known));
                }
                None => {
                    let trouble = Some("more persons answer than can be asked about".to_owned());
                    return Ok(Counted { tally, stands, trouble });
                }
            }
        }
    }

    /// What would be done, of the target as it is. It is made anew when the target has changed, or `anew` says so.
    async fn content(&self, draft: &Draft, look: &Look, anew: bool) -> Result<Result<Content, String>, DriveError> {
        let version = look.snapshot.meta.as_ref().map(|meta| meta.resource_version.clone());
        let known = self.contents().get(&draft.name()).cloned();
        if let Some(known) = known.filter(|known| !anew && known.version.is_some() && known.version == version) {
            return Ok(Ok(known));
        }
        let planned = match self.plan_at(draft, look, Stamp::new(draft.name(), 0), draft.proposal().proposed_at).await?
        {
            Ok(planned) => planned,
            Err(refused) => return Ok(Err(refused)),
        };
        let content = self.content_of(look, &planned).await?;
        self.contents().insert(draft.name(), content.clone());
        Ok(Ok(content))
    }

    /// What people sign of a plan, with the target as it is: whatever the time and the claim are, neither is signed.
    async fn content_of(&self, look: &Look, planned: &Planned) -> Result<Content, DriveError> {
        let target = &look.snapshot.target;
        let live = evenkeel_cluster::live(&self.reader, target);
        let live = self.within(|| format!("reading {target}"), live).await?.unwrap_or_default();
        let request = actions::unmarked(&planned.plan.request, &planned.stamp, planned.at);
        let digest = evenkeel_model::digest(&(&request, read_of(target.kind, &live)))
            .map_err(|source| DriveError::Json { what: "what people are asked to sign", source })?;
        let version = look.snapshot.meta.as_ref().map(|meta| meta.resource_version.clone());
        Ok(Content { version, digest, changes: planned.plan.changes.clone() })
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
    Signed {
        remediation: &draft.name(),
        uid: draft.remediation().metadata.uid.as_deref(),
        action: &draft.proposal().action,
        target: &look.snapshot.target,
        content: &content.digest,
        rules: &judgement.said_by_policies(),
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

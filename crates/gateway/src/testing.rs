//! Values that tests share.

pub(crate) mod world;

use chrono::{DateTime, Duration, Utc};
use evenkeel_model::{
    Acknowledged, Action, Approval, ApprovalDecision, ApprovalSpec, Condition, Kind, Match, ObjectRef, Operator,
    Origin, Phase, PlaybookSpec, PlaybookStep, PlaybookStepSpec, Proposal, Remediation, RemediationSpec,
    RemediationStatus, RollbackTo, RollbackWorkload, Span, Tier, Transition, Undo, Verify,
};

/// Seconds after 2026-01-05 12:00:00.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    "2026-01-05T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + Duration::seconds(seconds)
}

pub(crate) fn playbook() -> PlaybookSpec {
    let well = Condition { fact: "target.well".to_owned(), op: Operator::Equals, value: Some(true.into()) };
    PlaybookSpec {
        summary: "A new revision will not become available.".to_owned(),
        priority: 100,
        matches: Match {
            signals: vec!["ImagePullBackOff".to_owned()],
            kinds: Some(vec![Kind::Deployment]),
            namespaces: None,
        },
        settle: Span::minutes(2),
        diagnose: Vec::new(),
        when: vec![Condition {
            fact: "target.unavailableReplicas".to_owned(),
            op: Operator::AtLeast,
            value: Some(1.into()),
        }],
        steps: vec![PlaybookStepSpec {
            name: "roll-back".to_owned(),
            action: Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable }),
            verify: Some(Verify { within: Span::minutes(10), hold: Span::minutes(3), that: vec![well] }),
            undo: Undo::Never,
            recur_within: Span::hours(24),
        }],
    }
}

/// The how-manieth proposal of one incident about deployment/shop/web.
pub(crate) fn proposal(number: u32) -> Proposal {
    let web = ObjectRef::namespaced(Kind::Deployment, "shop", "web");
    Proposal {
        incident: "i-1".to_owned(),
        number,
        cluster: "prod".to_owned(),
        target: web.clone(),
        root: web,
        action: Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable }),
        playbook: PlaybookStep {
            name: "bad-rollout".to_owned(),
            version: playbook().version().unwrap(),
            step: "roll-back".to_owned(),
        },
        origin: Origin::Playbook,
        signals: vec!["ImagePullBackOff".to_owned()],
        rationale: "The newest revision can't be pulled.".to_owned(),
        recurrence_of: None,
        proposed_at: at(0),
        expires_at: at(1800),
        traceparent: None,
    }
}

/// Somebody has looked.
pub(crate) fn acknowledged() -> Acknowledged {
    Acknowledged { by: "jane".to_owned(), request: "ack-1".to_owned(), reason: "seen".to_owned(), at: at(0) }
}

/// Its object, as it stands in `phase`.
pub(crate) fn remediation(number: u32, phase: Phase) -> Remediation {
    let proposal = proposal(number);
    let name = proposal.name();
    let mut remediation = Remediation::new(&name, RemediationSpec::new(proposal).with_step_of(&playbook()));
    remediation.metadata.namespace = Some("evenkeel".to_owned());
    remediation.metadata.uid = Some(format!("uid-{number}"));
    remediation.metadata.resource_version = Some("1".to_owned());
    let mut status = RemediationStatus::proposed(at(0));
    status.phase = phase;
    status.history.push(Transition { at: at(0), phase, reason: "in a test".to_owned() });
    remediation.status = Some(status);
    remediation
}

/// An Approval by `who`, made so many seconds after [`at`]'s beginning, of a digest of d's.
pub(crate) fn approval(name: &str, remediation: &str, who: &str, seconds: i64) -> Approval {
    let spec = ApprovalSpec {
        remediation: remediation.to_owned(),
        digest: "d".repeat(64),
        decision: ApprovalDecision::Approve,
        tier: Tier::Medium,
        namespace: Some("shop".to_owned()),
        approver: who.to_owned(),
        groups: vec!["sre".to_owned()],
        reason: "looked at it".to_owned(),
    };
    let mut approval = Approval::new(name, spec);
    approval.metadata.namespace = Some("evenkeel".to_owned());
    approval.metadata.uid = Some(format!("uid-of-{name}-{remediation}"));
    let created = k8s_openapi::jiff::Timestamp::from_second(at(seconds).timestamp()).unwrap();
    approval.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created));
    approval
}

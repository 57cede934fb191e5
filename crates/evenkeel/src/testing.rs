//! What tests of output show.

use chrono::{DateTime, Utc};
use evenkeel_model::{
    Action, ActionName, ApiRequest, Attempt, Check, Claim, Decided, Decision, FoldedSignal, Incident, Kind, Mode,
    ObjectRef, Origin, Phase, Plan, PlaybookStep, Proposal, RemediationSpec, RemediationStatus, RollbackTo,
    RollbackWorkload, Severity, Signal, SignalState, Source, Span, Spoken, Transition, Verb, Verdict, Verification,
};
use serde_json::{Value, json};

/// So many seconds after the beginning of the test's time.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_600_000 + seconds, 0).unwrap()
}

fn step() -> PlaybookStep {
    PlaybookStep { name: "bad-rollout".into(), version: "3f2a9c1b7d5e8f60".into(), step: "roll-back".into() }
}

pub(crate) fn proposal(name: &str) -> Proposal {
    let target = ObjectRef::namespaced(Kind::Deployment, "shop", name).with_uid("4b1d");
    Proposal {
        incident: "i-7c9e2f10".into(),
        number: 1,
        cluster: "prod".into(),
        root: target.clone(),
        target,
        action: Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable }),
        playbook: step(),
        origin: Origin::Playbook,
        signals: vec!["ImagePullBackOff".into(), "KubeDeploymentRolloutStuck".into()],
        rationale: "The pod template was changed 4m ago (image web:1 → web:2) and no new pod became available.".into(),
        recurrence_of: None,
        proposed_at: at(120),
        expires_at: at(120 + 1800),
        traceparent: None,
    }
}

pub(crate) fn signal(name: &str, seconds: i64) -> Signal {
    Signal {
        id: format!("{name}-{seconds}"),
        source: Source::Kubernetes,
        name: name.into(),
        state: SignalState::Firing,
        severity: Severity::Critical,
        cluster: "prod".into(),
        target: Some(ObjectRef::namespaced(Kind::Pod, "shop", "cart-5d9f7-x2x4z")),
        root: Some(ObjectRef::namespaced(Kind::Deployment, "shop", "cart")),
        causes: Vec::new(),
        labels: [].into(),
        summary: "container web restarted 5 times".into(),
        suppressed: None,
        holds_object: false,
        starts_at: at(seconds),
        ends_at: None,
        observed_at: at(seconds),
    }
}

pub(crate) fn incident(id: &str, name: &str) -> Incident {
    let root = ObjectRef::namespaced(Kind::Deployment, "shop", name);
    let folded = |name: &str| FoldedSignal {
        name: name.into(),
        source: Source::Kubernetes,
        state: SignalState::Firing,
        instances: Default::default(),
        instances_beyond: 0,
        severity: Severity::Critical,
        target: Some(root.clone()),
        starts_at: at(0),
        last_at: at(60),
        count: 2,
        summary: String::new(),
        suppressed: None,
        holds_object: false,
    };
    let proposal = proposal(name);
    Incident {
        id: id.into(),
        cluster: "prod".into(),
        root: Some(root.clone()),
        opened_at: at(0),
        closed_at: None,
        signals: [("a".into(), folded("ImagePullBackOff")), ("b".into(), folded("CrashLoopBackOff"))].into(),
        signals_beyond: 0,
        seen: Vec::new(),
        attempts: vec![Attempt {
            number: 1,
            remediation: proposal.name(),
            playbook: step(),
            action: ActionName::RollbackWorkload,
            target: root,
            proposed_at: at(120),
            expires_at: at(1920),
            proposal: None,
            signals: Vec::new(),
            recur_within: Span::hours(24),
            phase: None,
            reason: String::new(),
            ended_at: None,
        }],
        earlier: Vec::new(),
        parent: None,
        causes: Default::default(),
        members: [].into(),
        members_beyond: 0,
        wake_at: None,
        decided: Some(Decided { at: at(60), what: "WaitUntil".into(), reason: "settling for 2m".into() }),
        needs_human: None,
        called: None,
        traceparent: None,
    }
}

/// A Remediation as the API server has it, all the way to `phase`.
pub(crate) fn remediation(phase: Phase, reason: &str) -> Value {
    let proposal = proposal("cart");
    let name = proposal.name();
    let said = |seconds, phase, reason: &str| Transition { at: at(seconds), phase, reason: reason.into() };
    let check = |condition: &str, holds, found: &str| Check { condition: condition.into(), holds, found: found.into() };
    let status = RemediationStatus {
        phase,
        reason: reason.into(),
        history: vec![
            said(121, Phase::Proposed, "recorded"),
            said(121, Phase::Authorized, "low tier, automatic"),
            said(122, Phase::Claimed, "epoch 7"),
            said(122, Phase::Executing, "intent written"),
            said(123, Phase::Verifying, "the API server took it"),
            said(330, phase, reason),
        ],
        approval: None,
        verdict: Some(Verdict {
            decision: Decision::Allow { mode: Mode::Enforce },
            rules: vec![Spoken {
                policy: "shop-stateless".into(),
                said: "rollbackWorkload is Low for Deployments in shop; 0 of 1/1h used on the target".into(),
            }],
        }),
        not_before: None,
        claim: Some(Claim { epoch: 7, until: at(400), holder: "gateway-1".into() }),
        plan: Some(Plan {
            request: ApiRequest { verb: Verb::Patch, object: proposal.target.clone(), body: Some(json!([])) },
            inverse: Some(ApiRequest { verb: Verb::Patch, object: proposal.target.clone(), body: Some(json!([])) }),
            changes: vec!["spec.template.spec.containers[web].image: web:2 → web:1".into()],
            captured: vec!["cart-5d9f7-x2x4z: Back-off pulling image \"web:2\"".into()],
        }),
        acted_at: Some(at(123)),
        verification: Some(Verification {
            deadline: at(723),
            holding_since: Some(at(150)),
            checks: vec![
                check("target.well is true", Some(true), "true"),
                check("errors.value is at most 1", None, "Prometheus did not answer"),
            ],
        }),
        target_well: Some(true),
        acknowledged: None,
        outcome_published: Some(phase),
    };
    json!({
        "apiVersion": "evenkeel.dev/v1alpha1",
        "kind": "Remediation",
        "metadata": { "name": name, "namespace": "evenkeel", "creationTimestamp": at(121) },
        "spec": RemediationSpec::new(proposal),
        "status": status,
    })
}

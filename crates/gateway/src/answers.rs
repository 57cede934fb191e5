//! What is done about a person's request. Begun by several gateways, or begun again, it has one effect.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use evenkeel_model::{
    Acknowledged, Answer, Ask, OfRemediation, Origin, Phase, PlaybookStep, Proposal, Remediation, RemediationSpec,
    Request, RunStep, Step, short_digest,
};
use evenkeel_runtime::redact;
use kube::ResourceExt as _;

use crate::admission::Holds;
use crate::checks;
use crate::index;
use crate::plane::{Draft, DriveError, Plane};
use crate::playbooks::Found;
use crate::remediations::{Created, Read};

/// A step that a person asked for is begun within this time, or not at all.
const RUN_WITHIN: chrono::Duration = chrono::Duration::minutes(15);

/// What becomes of a request.
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) reason: String,
    pub(crate) remediation: Option<String>,
}

impl Answered {
    fn refused(reason: impl Into<String>) -> Self {
        Self { answer: Answer::Refused, reason: reason.into(), remediation: None }
    }

    fn done(reason: impl Into<String>, remediation: Option<&str>) -> Self {
        Self { answer: Answer::Done, reason: reason.into(), remediation: remediation.map(str::to_owned) }
    }
}

impl Plane {
    /// Does what is asked for, or says why not.
    pub(crate) async fn decide(&self, request: &Request) -> Result<Answered, DriveError> {
        let made_at = created_at(request);
        match self.admission.holds_for(&self.request_keeper, made_at, self.now()).await? {
            Holds::Yes => {}
            Holds::No(why) => return Ok(Answered::refused(why)),
        }
        // A name ends in the API server's path.
        let named = match &request.spec.ask {
            Ask::Run(run) => Some(&run.playbook),
            Ask::Cancel(of) | Ask::Ack(of) => Some(&of.remediation),
            Ask::Rearm(_) => None,
        };
        if let Some(name) = named.filter(|name| !checks::is_object_name(name)) {
            return Ok(Answered::refused(format!("{name:?} is no name of an object")));
        }
        match &request.spec.ask {
            Ask::Run(run) => self.run_for(request, run).await,
            Ask::Cancel(of) => self.cancel_for(request, of).await,
            Ask::Ack(of) => self.acknowledge_for(request, of).await,
            Ask::Rearm(_) => Ok(Answered::done("breakers are closed: what failed until now does not count", None)),
        }
    }

    /// A step of a playbook, by the same gate as any other.
    async fn run_for(&self, request: &Request, run: &RunStep) -> Result<Answered, DriveError> {
        let (now, by) = (self.now(), &request.spec.by);
        let playbook = match self.playbooks.find(&run.playbook).await? {
            Found::Playbook(playbook) => playbook,
            Found::Missing => return Ok(Answered::refused(format!("playbook {} does not exist", run.playbook))),
            Found::Broken(why) => {
                return Ok(Answered::refused(format!("playbook {} has faults: {why}", run.playbook)));
            }
        };
        let named = |name: &String| playbook.spec.steps.iter().find(|step| step.name == *name);
        let first = || playbook.spec.steps.iter().find(|step| step.action.name().is_mutating());
        let step = match &run.step {
            Some(name) => named(name),
            None => first(),
        };
        let Some(step) = step.filter(|step| step.action.name().is_mutating()) else {
            let which = run.step.as_ref().map(|name| format!("{name:?} ")).unwrap_or_default();
            return Ok(Answered::refused(format!(
                "playbook {} has no step {which}that changes something",
                run.playbook
            )));
        };
        let mut proposal = Proposal {
            incident: format!("run-{}", short_digest([request.uid().unwrap_or_default().as_str()], 20)),
            number: 1,
            cluster: self.cluster.clone(),
            target: run.target.clone(),
            root: run.target.clone(),
            action: step.action.clone(),
            playbook: PlaybookStep {
                name: playbook.name.clone(),
                version: playbook.version.clone(),
                step: step.name.clone(),
            },
            origin: Origin::Person,
            signals: Vec::new(),
            rationale: format!("{by} asks for it ({}): {}", request.name_any(), request.spec.reason)
                .chars()
                .take(512)
                .collect(),
            recurrence_of: None,
            proposed_at: now,
            expires_at: now + RUN_WITHIN,
            traceparent: None,
        };
        let name = proposal.name();
        let taken =
            |name: &str| Answered::done(format!("it is {name}; evenkeel describe remediation {name}"), Some(name));
        if self.remediations.get(&name).await?.is_some() {
            return Ok(taken(&name));
        }
        let found = Found::Playbook(playbook);
        let sound = checks::check_object_and_action(&proposal).and_then(|()| checks::check_step(&proposal, &found));
        let spec = match sound {
            Ok(playbook) => playbook.cloned(),
            Err(refused) => return Ok(Answered::refused(refused.reason)),
        };
        let Some((uid, root)) = self.root_now(&proposal).await? else {
            return Ok(Answered::refused(format!("{} does not exist", proposal.target)));
        };
        proposal.target.uid = Some(uid);
        proposal.root = root;
        if let Err(refused) = checks::check_room(&proposal, &self.index(), &self.config, now) {
            return Ok(Answered::refused(refused.reason));
        }
        let mut made = RemediationSpec::new(proposal);
        if let Some(playbook) = &spec {
            made = made.with_step_of(playbook);
        }
        made.requested_by = Some(by.clone());
        match self.remediations.create(&Remediation::new(&name, made)).await {
            Ok(Created::New(created)) => {
                self.take_in(&name, Some(Read::Known(created)));
                let _ = self.asks.send(name.clone());
                Ok(taken(&name))
            }
            Ok(Created::Existing) => Ok(taken(&name)),
            Err(error) if matches!(error.code(), Some(400 | 413 | 422)) => {
                Ok(Answered::refused(format!("the API server does not take it: {error}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes back what nothing has been sent of.
    async fn cancel_for(&self, request: &Request, of: &OfRemediation) -> Result<Answered, DriveError> {
        let Some(known) = self.known(&of.remediation).await? else { return Ok(unknown(of)) };
        let (name, phase, by) = (&of.remediation, index::phase(&known), &request.spec.by);
        let why = format!("cancelled by {by} ({}): {}", request.name_any(), request.spec.reason);
        let done = || Answered::done(format!("{name} is cancelled"), Some(name));
        if phase == Phase::Cancelled && index::status(&known).reason == redact::text(&why) {
            return Ok(done());
        }
        if !phase.is_waiting() {
            return Ok(Answered::refused(if phase.is_final() {
                format!("{name} has ended: {phase}")
            } else {
                format!(
                    "{name} is {phase}: what may have been sent can't be cancelled. Whether it is undone if it does not \
                     help, its playbook says"
                )
            }));
        }
        let mut draft = Draft::of(&known);
        draft.step(Step::Cancel, self.now(), why)?;
        let draft = self.save(draft).await?;
        // The loop tells how it ended.
        let _ = self.asks.send(draft.name());
        Ok(done())
    }

    /// Somebody has looked: the root is free.
    async fn acknowledge_for(&self, request: &Request, of: &OfRemediation) -> Result<Answered, DriveError> {
        let Some(known) = self.known(&of.remediation).await? else { return Ok(unknown(of)) };
        let (name, phase) = (&of.remediation, index::phase(&known));
        let done =
            || Answered::done(format!("{} is not held for {name} any more", known.spec.proposal.root), Some(name));
        if !phase.needs_acknowledgement() {
            return Ok(Answered::refused(format!("{name} is {phase}: nothing is held for it until somebody looks")));
        }
        let mut draft = Draft::of(&known);
        match &draft.status.acknowledged {
            Some(by) if by.request == request.name_any() => return Ok(done()),
            Some(by) => {
                return Ok(Answered::refused(format!("{} has acknowledged {name} already, at {}", by.by, by.at)));
            }
            None => {}
        }
        draft.status.acknowledged = Some(Acknowledged {
            by: request.spec.by.clone(),
            request: request.name_any(),
            reason: redact::text(&request.spec.reason),
            at: self.now(),
        });
        let draft = self.save(draft).await?;
        let _ = self.asks.send(draft.name());
        Ok(done())
    }

    /// A Remediation as it is now.
    async fn known(&self, name: &str) -> Result<Option<Arc<Remediation>>, DriveError> {
        self.refresh(name).await?;
        Ok(self.index().get(name))
    }
}

fn unknown(of: &OfRemediation) -> Answered {
    Answered::refused(format!("remediation {} does not exist, or is not understood", of.remediation))
}

fn created_at(request: &Request) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(request.creation_timestamp()?.0.as_second(), 0)
}

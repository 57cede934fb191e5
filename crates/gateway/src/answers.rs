//! What is done about a person's request. Begun by several gateways, or begun again, it has one effect.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use evenkeel_model::{
    Acknowledged, Answer, Ask, OfRemediation, Origin, Phase, PlaybookStep, Proposal, Rearm, Remediation,
    RemediationSpec, Request, RunStep, Step, short_digest,
};
use evenkeel_runtime::redact;
use kube::ResourceExt as _;

use crate::breakers::ALL;
use crate::checks;
use crate::index;
use crate::plane::{Draft, DriveError, Plane};
use crate::playbooks::Found;
use crate::remediations::{Created, Read};
use crate::requests::{MOST_OPEN, made_at};

/// What a person asked for is done within this time, or not at all: nobody thinks of it any more.
const WITHIN: chrono::Duration = chrono::Duration::minutes(15);

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
        // A name ends in the API server's path.
        let named = match &request.spec.ask {
            Ask::Run(run) => Some(&run.playbook),
            Ask::Cancel(of) | Ask::Ack(of) => Some(&of.remediation),
            Ask::Rearm(_) => None,
        };
        if let Some(name) = named.filter(|name| !checks::is_object_name(name)) {
            return Ok(Answered::refused(format!("{name:?} is no name of an object")));
        }
        // Before anything that may have changed since: what was done is done, also when its answer got lost.
        if let Some(done) = self.done_already(request).await? {
            return Ok(done);
        }
        let asked_at = match self.believed(request).await? {
            Ok(asked_at) => asked_at,
            Err(why) => return Ok(Answered::refused(why)),
        };
        match &request.spec.ask {
            Ask::Run(run) => self.run_for(request, run, asked_at).await,
            Ask::Cancel(of) => self.cancel_for(request, of).await,
            Ask::Ack(of) => self.acknowledge_for(request, of).await,
            Ask::Rearm(rearm) => Ok(self.rearm_for(rearm)),
        }
    }

    /// When it was asked for, if it is its sender's and its time has not passed; or why it is not done.
    async fn believed(&self, request: &Request) -> Result<Result<DateTime<Utc>, String>, DriveError> {
        let (now, by) = (self.now(), &request.spec.by);
        let Some(asked_at) = made_at(request) else {
            return Ok(Err("the API server does not say when it was made".to_owned()));
        };
        if now.signed_duration_since(asked_at) > WITHIN {
            return Ok(Err(format!(
                "it was asked for at {asked_at}, and could not be done within {} minutes; ask again if it is still \
                 wanted",
                WITHIN.num_minutes()
            )));
        }
        if self.requests().is_beyond(request) {
            return Ok(Err(format!("{MOST_OPEN} requests of {by} wait for an answer already; ask again later")));
        }
        let guard = match self.people_guard.check().await? {
            Ok(guard) => guard,
            Err(why) => return Ok(Err(format!("it can't be told who asks: {why}"))),
        };
        // Creation times are whole seconds, and API servers take a policy up one after the other.
        let settled = guard.since.checked_add_signed(self.config.clock_tolerance.chrono());
        if settled.is_none_or(|settled| asked_at <= settled) {
            return Ok(Err(format!(
                "it was made at {asked_at}, and admission is known to refuse forgeries since {}; ask again",
                guard.since
            )));
        }
        Ok(Ok(asked_at))
    }

    /// What it says when the effect of this very request is there.
    async fn done_already(&self, request: &Request) -> Result<Option<Answered>, DriveError> {
        Ok(match &request.spec.ask {
            Ask::Run(_) => {
                let name = Proposal::name_of(&self.cluster, &incident(request), 1);
                self.remediations.get(&name).await?.map(|_| taken(&name))
            }
            Ask::Cancel(of) => {
                let known = self.known(&of.remediation).await?;
                let why = redact::text(&cancelled_by(request));
                let is_ours = |known: &Arc<Remediation>| {
                    index::phase(known) == Phase::Cancelled && index::status(known).reason == why
                };
                known.filter(is_ours).map(|_| cancelled(&of.remediation))
            }
            Ask::Ack(of) => {
                let known = self.known(&of.remediation).await?;
                let seen = known.as_ref().and_then(|known| known.status.as_ref()?.acknowledged.as_ref());
                let is_ours = seen.is_some_and(|by| by.request == request.name_any() && by.by == request.spec.by);
                known.filter(|_| is_ours).map(|known| acknowledged(&known))
            }
            // Its effect is its answer.
            Ask::Rearm(_) => None,
        })
    }

    /// A step of a playbook, by the same gate as any other.
    async fn run_for(&self, request: &Request, run: &RunStep, asked_at: DateTime<Utc>) -> Result<Answered, DriveError> {
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
            incident: incident(request),
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
            proposed_at: asked_at,
            expires_at: asked_at + WITHIN,
            traceparent: None,
        };
        let name = proposal.name();
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
        let (name, phase) = (&of.remediation, index::phase(&known));
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
        draft.step(Step::Cancel, self.now(), cancelled_by(request))?;
        let draft = self.save(draft).await?;
        // The loop tells how it ended.
        let _ = self.asks.send(draft.name());
        Ok(cancelled(name))
    }

    /// Somebody has looked: the root is free.
    async fn acknowledge_for(&self, request: &Request, of: &OfRemediation) -> Result<Answered, DriveError> {
        let Some(known) = self.known(&of.remediation).await? else { return Ok(unknown(of)) };
        let (name, phase) = (&of.remediation, index::phase(&known));
        if !phase.needs_acknowledgement() {
            return Ok(Answered::refused(format!("{name} is {phase}: nothing is held for it until somebody looks")));
        }
        let mut draft = Draft::of(&known);
        if let Some(by) = &draft.status.acknowledged {
            return Ok(Answered::refused(format!("{} has acknowledged {name} already, at {}", by.by, by.at)));
        }
        draft.status.acknowledged = Some(Acknowledged {
            by: request.spec.by.clone(),
            request: request.name_any(),
            reason: redact::text(&request.spec.reason),
            at: self.now(),
        });
        let draft = self.save(draft).await?;
        let _ = self.asks.send(draft.name());
        Ok(acknowledged(&known))
    }

    /// Breakers count by the answer; of playbooks that have done nothing there is nothing to forget.
    fn rearm_for(&self, rearm: &Rearm) -> Answered {
        let index = self.index();
        let acted = |name: &str| index.iter().any(|it| it.spec.proposal.playbook.name == name);
        match rearm.playbooks.iter().find(|name| *name != ALL && !acted(name)) {
            Some(name) => Answered::refused(format!(
                "nothing is known to have been done by playbook {name}; evenkeel get breakers lists those that are \
                 suspended"
            )),
            None => Answered::done("breakers are closed: what failed until now does not count", None),
        }
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

/// What a run is known by: the same request is the same incident, whoever answers it.
fn incident(request: &Request) -> String {
    format!("run-{}", short_digest([request.uid().unwrap_or_default().as_str()], 20))
}

fn cancelled_by(request: &Request) -> String {
    format!("cancelled by {} ({}): {}", request.spec.by, request.name_any(), request.spec.reason)
}

fn taken(name: &str) -> Answered {
    Answered::done(format!("it is {name}; evenkeel describe remediation {name}"), Some(name))
}

fn cancelled(name: &str) -> Answered {
    Answered::done(format!("{name} is cancelled"), Some(name))
}

fn acknowledged(known: &Remediation) -> Answered {
    let name = known.name_any();
    Answered::done(format!("{} is not held for {name} any more", known.spec.proposal.root), Some(&name))
}

//! Takes proposals from the bus and makes Remediations of those that pass the checks. A message is
//! acknowledged only once its object exists, or the Outcome of its refusal is on the bus.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_bus::{ConsumerName, Delivery};
use evenkeel_model::{BUILT_IN_PLAYBOOK, Outcome, Phase, Proposal, Remediation, RemediationSpec, Step};
use evenkeel_runtime::{Backoff, BoxError, HealthPart, Shutdown, redact, trace};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::checks::{self, MAX_BYTES, Refused};
use crate::index;
use crate::plane::{Draft, DriveError, Plane};
use crate::playbooks::Found;
use crate::remediations::{Created, Read};

/// Messages fetched at a time.
const BATCH: usize = 16;
/// So many may wait to be taken up; beyond that none is fetched.
const MOST_WAITING: usize = 64;
/// How long a fetch waits for the first.
const FETCH_WAIT: Duration = Duration::from_secs(5);
/// The first and the longest wait while the API server or the bus is away; well below the bus'
/// acknowledgement time, since what is waited with is kept in progress.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A proposal that could not be taken up yet. It does not hold up those behind it.
struct Waiting {
    delivery: Delivery,
    backoff: Backoff,
    due: Instant,
}

/// What became of a proposal.
enum Became {
    Accepted,
    /// It is an object already.
    Known,
    Refused(Refused),
}

impl Plane {
    /// Consumes proposals until shutdown.
    pub(crate) async fn take_proposals(&self, health: HealthPart, shutdown: Shutdown) -> Result<(), BoxError> {
        // What is open is counted from the index: it has to be whole.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = self.listed.wait() => {}
        }
        let mut backoff = Backoff::new(WAITS.0, WAITS.1, 1);
        let mut consumer = None;
        let mut waiting: Vec<Waiting> = Vec::new();
        while !shutdown.is_cancelled() {
            let due = waiting.iter().map(|waiting| waiting.due).min();
            let wait = due.map_or(FETCH_WAIT, |due| due.saturating_duration_since(Instant::now()).min(FETCH_WAIT));
            let fetched = async {
                if consumer.is_none() {
                    consumer = Some(self.bus.consume(ConsumerName::GatewayProposals).await?);
                    health.ready();
                }
                match consumer.as_mut() {
                    Some(open) if waiting.len() < MOST_WAITING => open.fetch(BATCH, wait).await,
                    _ => {
                        tokio::time::sleep(wait).await;
                        Ok(Vec::new())
                    }
                }
            };
            let fetched = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                fetched = fetched => fetched,
            };
            match fetched {
                Ok(deliveries) => {
                    health.ready();
                    backoff.reset();
                    if !self.take_all(deliveries, &mut waiting, &shutdown).await {
                        waiting.clear();
                        consumer = None;
                    }
                }
                Err(error) => {
                    waiting.clear();
                    health.not_ready(error.to_string());
                    self.metrics.error("proposals");
                    consumer = None;
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(backoff.next()) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes what was fetched, and what waits and is due; what can't be taken yet waits. False when the bus is away: all
    /// of them come again.
    async fn take_all(&self, fetched: Vec<Delivery>, waiting: &mut Vec<Waiting>, shutdown: &Shutdown) -> bool {
        let fetched = fetched.into_iter().map(|delivery| Waiting {
            backoff: Backoff::new(WAITS.0, WAITS.1, delivery.sequence),
            due: Instant::now(),
            delivery,
        });
        let mut all: VecDeque<Waiting> = std::mem::take(waiting).into_iter().chain(fetched).collect();
        while let Some(mut next) = all.pop_front() {
            if shutdown.is_cancelled() {
                return true;
            }
            if next.due > Instant::now() {
                waiting.push(next);
                continue;
            }
            let Err(error) = self.take(&next.delivery).await else { continue };
            self.metrics.error("proposal");
            tracing::warn!(id = next.delivery.id, %error, "proposal not taken up yet");
            next.due = Instant::now() + next.backoff.next();
            waiting.push(next);
            // Not handed back: that would make it look like poison while only the API server is away.
            for other in waiting.iter().chain(&all) {
                if other.delivery.in_progress().await.is_err() {
                    return false;
                }
            }
        }
        true
    }

    async fn take(&self, delivery: &Delivery) -> Result<(), DriveError> {
        // Before anything of it is looked at: what kills its reader must not come back for ever.
        if delivery.delivered > self.config.max_deliveries {
            let reason = format!("handed out {} times without being dealt with", delivery.delivered);
            return self.bury(delivery, "poison", &reason).await;
        }
        let size = delivery.payload.len();
        if size > MAX_BYTES {
            let reason = format!("expected a proposal of at most {MAX_BYTES} bytes, found {size}");
            return self.bury(delivery, "unreadable", &reason).await;
        }
        let proposal: Proposal = match serde_json::from_slice(&delivery.payload) {
            Ok(proposal) => proposal,
            Err(error) => {
                return self.bury(delivery, "unreadable", &format!("expected a proposal: {error}")).await;
            }
        };
        let span = tracing::info_span!(
            "gate.receive",
            remediation = proposal.name(),
            incident = proposal.incident,
            action = %proposal.action.name(),
            target = %proposal.target,
        );
        trace::set_parent(&span, delivery.trace.traceparent.as_deref().or(proposal.traceparent.as_deref()));
        async {
            match self.accept(&proposal).await? {
                Became::Accepted => self.metrics.proposal("accepted"),
                Became::Known => self.metrics.proposal("known"),
                Became::Refused(refused) => self.refuse(&proposal, refused).await?,
            }
            delivery.ack().await.map_err(|source| DriveError::Bus { what: "acknowledging a proposal", source })
        }
        .instrument(span)
        .await
    }

    async fn bury(&self, delivery: &Delivery, became: &'static str, reason: &str) -> Result<(), DriveError> {
        let buried = delivery.dead(reason).await;
        buried.map_err(|source| DriveError::Bus { what: "moving a proposal to the dead stream", source })?;
        self.metrics.proposal(became);
        tracing::warn!(id = delivery.id, reason, "proposal moved to the dead stream");
        Ok(())
    }

    async fn accept(&self, proposal: &Proposal) -> Result<Became, DriveError> {
        let name = proposal.name();
        if self.index().contains(&name) {
            return Ok(Became::Known);
        }
        // Its Outcome may have been told, and its acknowledgement lost.
        if let Some(refused) = self.refused().get(&name, self.now()) {
            return Ok(Became::Refused(refused));
        }
        // Telling people is never refused for want of room: it waits until there is some.
        let telling = self.index().open().filter(|open| !open.spec.proposal.action.name().is_mutating()).count();
        if !proposal.action.name().is_mutating() && telling >= self.config.open_per_cluster {
            return Err(DriveError::Busy(telling));
        }
        let spec = match self.check(proposal).await? {
            Ok(spec) => spec,
            Err(refused) => {
                // The index may be behind, and another gateway ahead of us.
                return match self.remediations.get(&name).await? {
                    Some(_) => Ok(Became::Known),
                    None => Ok(Became::Refused(refused)),
                };
            }
        };
        match self.remediations.create(&Remediation::new(&name, spec)).await {
            Ok(Created::New(created)) => {
                self.take_in(&name, Some(Read::Known(created)));
                // The loop is there as long as the plane is; if it has ended, so has everything.
                let _ = self.asks.send(name);
                Ok(Became::Accepted)
            }
            Ok(Created::Existing) => {
                // By another gateway, or by us with the answer lost: the watch may be behind.
                self.refresh(&name).await?;
                let _ = self.asks.send(name);
                Ok(Became::Known)
            }
            Err(error) if matches!(error.code(), Some(400 | 413 | 422)) => {
                let reason = format!("the API server does not take it: {error}");
                Ok(Became::Refused(Refused { phase: Phase::Denied, reason }))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn check(&self, proposal: &Proposal) -> Result<Result<RemediationSpec, Refused>, DriveError> {
        // Ours may be the clock that is wrong: nothing is refused by it, and people are told in spite of it.
        self.ledger.compare_clocks().await?;
        let now = self.now();
        let first = checks::check_time(proposal, now).and_then(|()| checks::check_shape(proposal, &self.cluster));
        if let Err(refused) = first {
            return Ok(Err(refused));
        }
        let found = match proposal.playbook.name.as_str() {
            BUILT_IN_PLAYBOOK => Found::Missing,
            name => self.playbooks.find(name).await?,
        };
        let playbook = match checks::check_step(proposal, &found) {
            Ok(playbook) => playbook,
            Err(refused) => return Ok(Err(refused)),
        };
        // First of all what it says about an earlier one: that counts among the attempts.
        if let Some(earlier) = &proposal.recurrence_of {
            self.recur(proposal, earlier).await?;
        }
        let room = checks::check_room(proposal, &self.index(), &self.config, now);
        let spec = RemediationSpec::new(proposal.clone());
        Ok(room.map(|()| playbook.map_or(spec.clone(), |playbook| spec.with_step_of(playbook))))
    }

    /// Marks an earlier Remediation as Regressed, if it is what the proposal says. A proposal gains
    /// nothing by a false claim, so it is judged on its own merits either way.
    async fn recur(&self, proposal: &Proposal, earlier: &str) -> Result<(), DriveError> {
        self.refresh(earlier).await?;
        let Some(known) = self.index().get(earlier) else {
            tracing::info!(earlier, "recurrence of a remediation that is not known (any more)");
            return Ok(());
        };
        if index::phase(&known) == Phase::Regressed {
            return Ok(());
        }
        if let Err(reason) = checks::check_recurrence(proposal, &known) {
            self.metrics.error("recurrence");
            tracing::warn!(earlier, reason, "no recurrence; nothing is counted against it");
            return Ok(());
        }
        let mut draft = Draft::of(&known);
        // Not read now; that it is not well is what the proposal says.
        draft.status.target_well = None;
        let signals = proposal.signals.join(", ");
        draft.step(Step::Recur, self.now(), format!("it came again ({signals}): {}", proposal.incident))?;
        let name = self.save(draft).await?.name();
        let _ = self.asks.send(name);
        Ok(())
    }

    async fn refuse(&self, proposal: &Proposal, refused: Refused) -> Result<(), DriveError> {
        let Refused { phase, reason } = refused;
        let reason = redact::text(&reason);
        let remembered = Refused { phase, reason: reason.clone() };
        self.refused().note(&proposal.name(), &remembered, proposal.expires_at, self.now());
        tracing::warn!(remediation = proposal.name(), %phase, reason, "proposal refused");
        self.recorder.note_refusal(proposal, phase, &reason, self.now());
        let outcome = Outcome {
            remediation: proposal.name(),
            incident: proposal.incident.clone(),
            number: proposal.number,
            target: proposal.target.clone(),
            root: proposal.root.clone(),
            action: proposal.action.name(),
            playbook: proposal.playbook.clone(),
            phase,
            reason,
            target_well: None,
            ended_at: self.now(),
        };
        self.publish(&outcome).await?;
        self.recorder.until_told(&outcome.remediation).await?;
        self.metrics.proposal("refused");
        self.metrics.phase(phase, outcome.action);
        Ok(())
    }
}

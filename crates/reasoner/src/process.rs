use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_bus::{Key, Publish, Subject, TraceContext};
use evenkeel_model::{Incident, Proposal};
use evenkeel_planner::{Decision, Situation, apply, close_if_over, note_published, plan, said_before, wave};
use evenkeel_runtime::trace;
use tracing::Instrument as _;

use crate::core::Core;
use crate::incidents::ReadError;
use crate::metrics::DecisionLabels;

/// What is part of a wave looks so often whether the wave is still there.
const PART_OF_A_WAVE: chrono::Duration = chrono::Duration::minutes(5);

impl Core {
    /// Plans an incident in the background; what is lost when this process ends is taken up by the
    /// wake-up that was scheduled before.
    pub(crate) fn plan_soon(core: &Arc<Self>, key: Key) {
        let tracker = core.plans.clone();
        let core = Arc::clone(core);
        tracker.spawn(async move {
            let Ok(_permit) = core.planning.clone().acquire_owned().await else { return };
            if let Err(error) = core.plan(&key).await {
                tracing::warn!(%error, %key, "an incident could not be planned; its wake-up will try again");
            }
        });
    }

    /// Takes one incident up: asks for evidence as the planner wants it, decides, stores the
    /// decision by compare-and-set, schedules the next look, and only then publishes.
    pub(crate) async fn plan(&self, key: &Key) -> Result<(), ReadError> {
        let Some(found) = self.incidents.get(key).await? else { return Ok(()) };
        if found.incident.closed_at.is_some() {
            return Ok(());
        }
        let span = tracing::info_span!(
            "reason.plan",
            incident = found.incident.id,
            root = found.incident.root.as_ref().map(ToString::to_string),
            decision = tracing::field::Empty,
        );
        trace::set_parent(&span, found.incident.traceparent.as_deref());
        self.plan_one(key, found.incident).instrument(span).await
    }

    async fn plan_one(&self, key: &Key, incident: Incident) -> Result<(), ReadError> {
        let began = tokio::time::Instant::now();
        let incident = self.republish(key, incident).await?;
        let parent = self.parent_of(&incident).await?;
        let incident = Incident { parent: parent.clone(), ..incident };
        let (decision, evidence_for) = self.decide(&incident, parent.is_some()).await;
        tracing::Span::current().record("decision", decision.name());
        self.metrics.decisions.get_or_create(&DecisionLabels { decision: decision.name() }).inc();

        let now = self.clock.now();
        let mut accepted = false;
        let mut news = false;
        let written = self
            .incidents
            .change(
                key,
                || self.count_conflict(),
                |current| {
                    let mut next = current?.clone();
                    // Decided about another state than lies there now: its own wake-up decides anew.
                    accepted = same_ground(&next, &incident);
                    if !accepted {
                        return None;
                    }
                    next.parent.clone_from(&parent);
                    news = !said_before(&next, &decision);
                    apply(&mut next, &decision, now);
                    close_if_over(&mut next, now);
                    (next != *current?).then_some(next)
                },
            )
            .await?;
        self.metrics.decision_seconds.observe(began.elapsed().as_secs_f64());
        let Some(written) = written else {
            if !accepted && let Some(current) = self.incidents.get(key).await? {
                self.schedule(key, &current.incident).await?;
            }
            return Ok(());
        };
        self.schedule(key, &written.incident).await?;
        if written.incident.closed_at.is_some() {
            self.leave_causes(&written.incident).await?;
        }
        if news {
            tracing::info!(
                root = written.incident.root.as_ref().map(ToString::to_string),
                asked = evidence_for.join(","),
                "{}: {}",
                decision.name(),
                decision.reason(),
            );
        }
        if let Decision::Propose { proposal, .. } | Decision::Escalate { proposal, .. } = &decision {
            self.publish(key, proposal).await?;
        }
        Ok(())
    }

    /// Plans until the planner needs no further evidence. Each playbook is asked for once.
    async fn decide(&self, incident: &Incident, has_parent: bool) -> (Decision, Vec<String>) {
        if has_parent {
            let reason = "part of a wave: only the cause's incident proposes".to_owned();
            return (Decision::WaitUntil { at: self.clock.now() + PART_OF_A_WAVE, reason }, vec![]);
        }
        let playbooks = self.playbooks.borrow().clone();
        let limits = self.config.limits();
        let fallback = self.fallback();
        let mut evidence = BTreeMap::new();
        let mut asked = Vec::new();
        loop {
            let decision = plan(Situation {
                incident,
                playbooks: &playbooks,
                evidence: &evidence,
                fallback: &fallback,
                limits: &limits,
                now: self.clock.now(),
            });
            let Decision::NeedEvidence { playbook, target, .. } = &decision else { return (decision, asked) };
            let known = playbooks.get(playbook).filter(|_| !asked.contains(playbook));
            let Some(known) = known else {
                let at = self.clock.now() + limits.recheck.chrono();
                let reason = format!("what {playbook} asks for was not fresh any more");
                return (Decision::WaitUntil { at, reason }, asked);
            };
            let trace = TraceContext { traceparent: trace::traceparent(&tracing::Span::current()) };
            let timeout = self.config.evidence_timeout.get();
            let found = crate::evidence::fetch(self.bus.as_ref(), known, target, incident, trace, timeout).await;
            evidence.insert(playbook.clone(), found);
            asked.push(playbook.clone());
        }
    }

    /// The cause whose wave this incident is part of. One whose incident has closed or is gone holds nobody.
    async fn parent_of(&self, incident: &Incident) -> Result<Option<evenkeel_model::ObjectRef>, ReadError> {
        if let Some(parent) = &incident.parent {
            let key = Key::new(parent.key(&self.cluster)).map_err(ReadError::from)?;
            let found = self.incidents.get(&key).await?;
            if found.is_some_and(|found| found.incident.closed_at.is_none()) {
                return Ok(Some(parent.clone()));
            }
        }
        let now = self.clock.now();
        for cause in &incident.causes {
            let key = Key::new(cause.key(&self.cluster)).map_err(ReadError::from)?;
            if let Some(found) = self.incidents.get(&key).await?
                && found.incident.closed_at.is_none()
                && wave::is_wave(&found.incident, now)
            {
                return Ok(Some(cause.clone()));
            }
        }
        Ok(None)
    }

    /// Sends an open proposal that is not known to be on the bus: the process that decided it may have
    /// ended before it was published. The incident as it is then.
    async fn republish(&self, key: &Key, incident: Incident) -> Result<Incident, ReadError> {
        let unsent = incident.open_attempt().and_then(|attempt| attempt.proposal.as_ref());
        let unsent = unsent.filter(|proposal| proposal.expires_at > self.clock.now());
        let Some(proposal) = unsent else { return Ok(incident) };
        Ok(self.publish(key, proposal).await?.unwrap_or(incident))
    }

    /// Sends a proposal and notes that it is on the bus, which keeps it: it need not be sent again,
    /// whatever becomes of the incident. The incident with that note, if it was not known.
    async fn publish(&self, key: &Key, proposal: &Proposal) -> Result<Option<Incident>, ReadError> {
        let name = proposal.name();
        let span = tracing::info_span!("reason.propose", remediation = name, target = %proposal.target);
        trace::set_parent(&span, proposal.traceparent.as_deref());
        let payload =
            serde_json::to_vec(proposal).map_err(|source| ReadError::Malformed { key: name.clone(), source })?;
        let message = Publish {
            subject: Subject::Proposal,
            id: name.clone(),
            payload: payload.into(),
            trace: TraceContext { traceparent: trace::traceparent(&span).or_else(|| proposal.traceparent.clone()) },
        };
        self.bus.publish(message).instrument(span).await?;
        let noted = self.incidents.change(
            key,
            || self.count_conflict(),
            |current| {
                let mut next = current?.clone();
                note_published(&mut next, &name).then_some(next)
            },
        );
        Ok(noted.await?.map(|noted| noted.incident))
    }
}

/// Whether a decision about `decided_on` still fits `current`: nothing came or ended meanwhile.
fn same_ground(current: &Incident, decided_on: &Incident) -> bool {
    current.id == decided_on.id
        && current.closed_at == decided_on.closed_at
        && current.attempts == decided_on.attempts
        && current.signals == decided_on.signals
}

use std::sync::Arc;
use std::time::Duration;

use evenkeel_bus::{ConsumerName, Delivery, Key};
use evenkeel_model::Outcome;
use evenkeel_planner::{close_if_over, record};
use evenkeel_runtime::{BoxError, HealthPart, Shutdown, trace};
use tracing::Instrument as _;

use crate::core::Core;
use crate::incidents::ReadError;
use crate::metrics::ConsumerLabels;
use crate::run::{Fetcher, Patience, poison, suspects};

/// Notes in each incident how its proposals ended, and plans what comes next.
pub(crate) async fn follow(core: Arc<Core>, health: HealthPart, shutdown: Shutdown) -> Result<(), BoxError> {
    let mut fetcher = Fetcher::new(ConsumerName::ReasonerOutcomes, health, shutdown.clone());
    while let Some(mut batch) = fetcher.next(&core, core.config.batch).await {
        let suspects = suspects(&core, &mut batch);
        for delivery in batch.into_iter().chain(suspects) {
            take(&core, delivery, &shutdown).await;
        }
    }
    Ok(())
}

async fn take(core: &Arc<Core>, delivery: Delivery, shutdown: &Shutdown) {
    if poison(core, ConsumerName::ReasonerOutcomes, &delivery).await {
        return;
    }
    let outcome: Outcome = match serde_json::from_slice(&delivery.payload) {
        Ok(outcome) => outcome,
        Err(error) => {
            core.metrics.dead.get_or_create(&ConsumerLabels { consumer: "outcomes" }).inc();
            if let Err(error) = delivery.dead(&format!("not an outcome: {error}")).await {
                tracing::warn!(%error, id = delivery.id, "a message could not be moved to the dead stream");
            }
            return;
        }
    };
    let span = tracing::info_span!("reason.outcome", incident = %outcome.incident, phase = %outcome.phase);
    trace::set_parent(&span, delivery.trace.traceparent.as_deref());
    let kept = std::slice::from_ref(&delivery);
    let mut patience = Patience::new(ConsumerName::ReasonerOutcomes);
    let noted = loop {
        let noted = note(core, &outcome).instrument(span.clone()).await;
        if !patience.try_again(core, &noted, kept, shutdown).await {
            break noted;
        }
    };
    match noted {
        Ok(planned) => {
            if let Err(error) = delivery.ack().await {
                tracing::debug!(%error, id = delivery.id, "not acknowledged; it comes again and is known then");
            }
            if let Some(key) = planned {
                Core::plan_soon(core, key);
            }
        }
        Err(error) => {
            core.metrics.errors.get_or_create(&ConsumerLabels { consumer: "outcomes" }).inc();
            tracing::warn!(%error, remediation = outcome.remediation, "an outcome could not be noted; it comes again");
            let pause = Duration::from_secs(1 << delivery.delivered.min(5));
            if let Err(error) = delivery.nak(pause).await {
                tracing::debug!(%error, id = delivery.id, "not refused either; it comes again by itself");
            }
        }
    }
}

/// Writes the outcome into its incident. Returns the key to plan, when it is still open.
async fn note(core: &Core, outcome: &Outcome) -> Result<Option<Key>, ReadError> {
    let now = core.clock.now();
    let key = Key::new(outcome.root.key(&core.cluster)).map_err(ReadError::from)?;
    let written = core
        .incidents
        .change(
            &key,
            || core.count_conflict(),
            |current| {
                let mut next = current?.clone();
                if !record(&mut next, outcome, now) {
                    return None;
                }
                close_if_over(&mut next, now);
                Some(next)
            },
        )
        .await?;
    let Some(written) = written else {
        tracing::debug!(remediation = outcome.remediation, "outcome of no known attempt, or known already");
        return Ok(None);
    };
    tracing::info!(
        incident = written.incident.id,
        remediation = outcome.remediation,
        phase = %outcome.phase,
        reason = outcome.reason,
        "outcome"
    );
    core.schedule(&key, &written.incident).await?;
    if written.incident.closed_at.is_some() {
        core.leave_causes(&written.incident).await?;
    }
    Ok(written.incident.closed_at.is_none().then_some(key))
}

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_bus::{ConsumerName, Delivery, Key};
use evenkeel_model::{Incident, ObjectRef, Signal, SignalState};
use evenkeel_planner::{Arrival, close_if_over, fold, incident_key, wave};
use evenkeel_runtime::{BoxError, HealthPart, Shutdown, trace};
use tracing::Instrument as _;

use crate::core::Core;
use crate::incidents::ReadError;
use crate::metrics::ConsumerLabels;
use crate::run::{Fetcher, poison};

/// After folding, the incident is woken by the bus unless its planning, begun at once, has
/// decided otherwise by then: what a killed worker leaves behind is taken up after this.
const SAFETY: chrono::Duration = chrono::Duration::seconds(15);

/// Takes batches of signals, folds each root's into its incident with one write, and plans.
pub(crate) async fn follow(core: Arc<Core>, health: HealthPart, shutdown: Shutdown) -> Result<(), BoxError> {
    let mut fetcher = Fetcher::new(ConsumerName::ReasonerSignals, health, shutdown);
    while let Some(batch) = fetcher.next(&core, core.config.batch).await {
        let mut by_root: BTreeMap<String, Vec<(Delivery, Arrival)>> = BTreeMap::new();
        for delivery in batch {
            if poison(&core, ConsumerName::ReasonerSignals, &delivery).await {
                continue;
            }
            match serde_json::from_slice::<Signal>(&delivery.payload) {
                Ok(signal) => {
                    let traceparent = delivery.trace.traceparent.clone();
                    by_root.entry(incident_key(&signal)).or_default().push((delivery, Arrival { signal, traceparent }));
                }
                Err(error) => {
                    core.metrics.dead.get_or_create(&ConsumerLabels { consumer: "signals" }).inc();
                    if let Err(error) = delivery.dead(&format!("not a signal: {error}")).await {
                        tracing::warn!(%error, id = delivery.id, "a message could not be moved to the dead stream");
                    }
                }
            }
        }
        let roots = by_root.into_iter().map(|(key, group)| take(&core, key, group));
        futures::future::join_all(roots).await;
    }
    Ok(())
}

async fn take(core: &Arc<Core>, key: String, group: Vec<(Delivery, Arrival)>) {
    let (deliveries, arrivals): (Vec<Delivery>, Vec<Arrival>) = group.into_iter().unzip();
    let span = tracing::info_span!("reason.fold", incident = tracing::field::Empty, signals = arrivals.len());
    trace::set_parent(&span, arrivals.first().and_then(|arrival| arrival.traceparent.as_deref()));
    let folded = async {
        let key = Key::new(key).map_err(ReadError::from)?;
        let folded = fold_group(core, &key, &arrivals).await?;
        if let Some(incident) = &folded {
            tracing::Span::current().record("incident", incident.id.as_str());
            core.schedule(&key, incident).await?;
        }
        Ok::<_, ReadError>((key, folded))
    }
    .instrument(span)
    .await;
    match folded {
        Ok((key, folded)) => {
            for delivery in &deliveries {
                if let Err(error) = delivery.ack().await {
                    tracing::debug!(%error, id = delivery.id, "not acknowledged; it comes again and is known then");
                }
            }
            if folded.is_some_and(|incident| incident.closed_at.is_none()) {
                Core::plan_soon(core, key);
            }
        }
        Err(error) => {
            core.metrics.errors.get_or_create(&ConsumerLabels { consumer: "signals" }).inc();
            tracing::warn!(%error, "signals could not be folded; they come again");
            for delivery in &deliveries {
                let pause = Duration::from_secs(1 << delivery.delivered.min(5));
                if let Err(error) = delivery.nak(pause).await {
                    tracing::debug!(%error, id = delivery.id, "not refused either; it comes again by itself");
                }
            }
        }
    }
}

/// Writes one root's incident. Returns it when anything changed.
async fn fold_group(core: &Core, key: &Key, arrivals: &[Arrival]) -> Result<Option<Incident>, ReadError> {
    let now = core.clock.now();
    let written = core
        .incidents
        .change(
            key,
            || core.count_conflict(),
            |current| {
                let mut next = fold(current.cloned(), arrivals, now)?;
                if next.closed_at.is_none() && !close_if_over(&mut next, now) {
                    let soon = now + SAFETY;
                    next.wake_at = Some(next.wake_at.map_or(soon, |at| at.clamp(now, soon)));
                }
                Some(next)
            },
        )
        .await?;
    let total = u64::try_from(arrivals.len()).unwrap_or(u64::MAX);
    let Some(written) = written else {
        core.metrics.signals_repeated.inc_by(total);
        return Ok(None);
    };
    core.metrics.signals_folded.inc_by(total);
    note_causes(core, arrivals, &written.incident).await?;
    Ok(Some(written.incident))
}

/// Notes the incident's root with the causes its signals name, or takes it out again once it is closed.
async fn note_causes(core: &Core, arrivals: &[Arrival], incident: &Incident) -> Result<(), ReadError> {
    let Some(root) = &incident.root else { return Ok(()) };
    let now = core.clock.now();
    let mut causes: Vec<&ObjectRef> = arrivals.iter().flat_map(|arrival| &arrival.signal.causes).collect();
    causes.sort();
    causes.dedup();
    for cause in causes.into_iter().filter(|cause| !cause.is_same(root)) {
        let key = Key::new(cause.key(&core.cluster)).map_err(ReadError::from)?;
        let over = incident.closed_at.is_some();
        let fires = arrivals
            .iter()
            .any(|arrival| arrival.signal.state == SignalState::Firing && arrival.signal.causes.contains(cause));
        if !over && !fires {
            continue;
        }
        let changed = core
            .incidents
            .change(
                &key,
                || core.count_conflict(),
                |current| {
                    if over {
                        let mut next = current?.clone();
                        return wave::forget_member(&mut next, root, now).then_some(next);
                    }
                    wave::note_member(
                        current.cloned(),
                        cause,
                        &core.cluster,
                        root,
                        incident.traceparent.as_deref(),
                        now,
                    )
                },
            )
            .await?;
        if let Some(changed) = changed {
            core.schedule(&key, &changed.incident).await?;
        }
    }
    Ok(())
}

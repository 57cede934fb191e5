use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_bus::{ConsumerName, Delivery, Key};
use evenkeel_model::{Incident, Signal};
use evenkeel_planner::{Arrival, close_if_over, fold, incident_key};
use evenkeel_runtime::{BoxError, HealthPart, Shutdown, trace};
use tracing::Instrument as _;

use crate::core::Core;
use crate::incidents::ReadError;
use crate::metrics::ConsumerLabels;
use crate::run::{Fetcher, Patience, poison, suspects};

/// After folding, the incident is woken by the bus unless its planning, begun at once, has
/// decided otherwise by then: what a killed worker leaves behind is taken up after this.
const SAFETY: chrono::Duration = chrono::Duration::seconds(15);

/// Takes batches of signals, folds each root's into its incident with one write, and plans.
pub(crate) async fn follow(core: Arc<Core>, health: HealthPart, shutdown: Shutdown) -> Result<(), BoxError> {
    let mut fetcher = Fetcher::new(ConsumerName::ReasonerSignals, health, shutdown.clone());
    while let Some(mut batch) = fetcher.next(&core, core.config.batch).await {
        let suspects = suspects(&core, &mut batch);
        take_all(&core, batch, &shutdown).await;
        for suspect in suspects {
            take_all(&core, vec![suspect], &shutdown).await;
        }
    }
    Ok(())
}

async fn take_all(core: &Arc<Core>, batch: Vec<Delivery>, shutdown: &Shutdown) {
    let mut by_root: BTreeMap<String, Vec<(Delivery, Arrival)>> = BTreeMap::new();
    for delivery in batch {
        if poison(core, ConsumerName::ReasonerSignals, &delivery).await {
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
    let roots = by_root.into_iter().map(|(key, group)| take(core, key, group, shutdown));
    futures::future::join_all(roots).await;
}

async fn take(core: &Arc<Core>, key: String, group: Vec<(Delivery, Arrival)>, shutdown: &Shutdown) {
    let (deliveries, arrivals): (Vec<Delivery>, Vec<Arrival>) = group.into_iter().unzip();
    let span = tracing::info_span!("reason.fold", incident = tracing::field::Empty, signals = arrivals.len());
    trace::set_parent(&span, arrivals.first().and_then(|arrival| arrival.traceparent.as_deref()));
    let mut patience = Patience::new(ConsumerName::ReasonerSignals);
    let mut again = deliveries.iter().any(|delivery| delivery.delivered > 1);
    let folded = loop {
        let folded = async {
            let key = Key::new(key.as_str()).map_err(ReadError::from)?;
            let folded = fold_group(core, &key, &arrivals, again).await?;
            if let Some(incident) = &folded {
                tracing::Span::current().record("incident", incident.id.as_str());
                core.schedule(&key, incident).await?;
            }
            Ok::<_, ReadError>((key, folded))
        }
        .instrument(span.clone())
        .await;
        if !patience.try_again(core, &folded, &deliveries, shutdown).await {
            break folded;
        }
        again = true;
    };
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

/// Writes one root's incident. Returns it when anything changed. What follows from that may not have been
/// done yet when they are handled `again`.
async fn fold_group(core: &Core, key: &Key, arrivals: &[Arrival], again: bool) -> Result<Option<Incident>, ReadError> {
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
    let written = match written {
        Some(written) => {
            core.metrics.signals_folded.inc_by(total);
            written
        }
        None => {
            core.metrics.signals_repeated.inc_by(total);
            let known = if again { core.incidents.get(key).await? } else { None };
            let Some(known) = known else { return Ok(None) };
            known
        }
    };
    if written.incident.closed_at.is_some() {
        core.leave_causes(&written.incident).await?;
    } else {
        core.note_causes(arrivals, &written.incident).await?;
    }
    Ok(Some(written.incident))
}

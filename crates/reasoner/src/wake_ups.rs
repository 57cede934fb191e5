use std::sync::Arc;
use std::time::Duration;

use evenkeel_bus::{ConsumerName, Delivery, Key};
use evenkeel_runtime::{BoxError, HealthPart, Shutdown};

use crate::core::Core;
use crate::metrics::ConsumerLabels;
use crate::run::{Fetcher, Patience, poison, suspects};

/// Takes up incidents whose time has come.
pub(crate) async fn follow(core: Arc<Core>, health: HealthPart, shutdown: Shutdown) -> Result<(), BoxError> {
    let mut fetcher = Fetcher::new(ConsumerName::ReasonerWakeUps, health, shutdown.clone());
    while let Some(mut batch) = fetcher.next(&core, core.config.concurrency).await {
        let suspects = suspects(&core, &mut batch);
        futures::future::join_all(batch.into_iter().map(|delivery| take(&core, delivery, &shutdown))).await;
        for suspect in suspects {
            take(&core, suspect, &shutdown).await;
        }
    }
    Ok(())
}

async fn take(core: &Core, delivery: Delivery, shutdown: &Shutdown) {
    if poison(core, ConsumerName::ReasonerWakeUps, &delivery).await {
        return;
    }
    let key = std::str::from_utf8(&delivery.payload).ok().and_then(|key| Key::new(key).ok());
    let Some(key) = key else {
        core.metrics.dead.get_or_create(&ConsumerLabels { consumer: "wake-ups" }).inc();
        if let Err(error) = delivery.dead("not the key of an incident").await {
            tracing::warn!(%error, id = delivery.id, "a message could not be moved to the dead stream");
        }
        return;
    };
    let kept = std::slice::from_ref(&delivery);
    let mut patience = Patience::new(ConsumerName::ReasonerWakeUps);
    let planned = loop {
        let planned = core.plan(&key).await;
        if !patience.try_again(core, &planned, kept, shutdown).await {
            break planned;
        }
    };
    match planned {
        Ok(()) => {
            if let Err(error) = delivery.ack().await {
                tracing::debug!(%error, "wake-up not acknowledged; it comes again");
            }
        }
        Err(error) => {
            core.metrics.errors.get_or_create(&ConsumerLabels { consumer: "wake-ups" }).inc();
            tracing::warn!(%error, %key, "an incident could not be planned; it is tried again");
            let pause = Duration::from_secs(1 << delivery.delivered.min(5));
            if let Err(error) = delivery.nak(pause).await {
                tracing::debug!(%error, "not refused either; it comes again by itself");
            }
        }
    }
}

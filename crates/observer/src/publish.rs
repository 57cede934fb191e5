use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_bus::{Bus, BusError, Publish, Published, Subject, TraceContext};
use evenkeel_model::Signal;

use crate::metrics::Metrics;

/// Puts signals on the bus.
#[derive(Clone)]
pub(crate) struct Publisher {
    bus: Arc<dyn Bus>,
    metrics: Metrics,
    timeout: Duration,
    /// Names that metrics may carry.
    names: Arc<BTreeSet<Arc<str>>>,
    other: Arc<str>,
}

/// Why a signal was not stored, or is not known to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("the bus did not store the signal within {0:?}")]
    Late(Duration),
    #[error("signal {id} can't be written as JSON: {source}")]
    Encode {
        id: String,
        #[source]
        source: serde_json::Error,
    },
}

impl PublishError {
    /// Whether the same signal would fail again, whatever the bus does.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self, Self::Encode { .. } | Self::Bus(BusError::TooLarge { .. } | BusError::Name { .. }))
    }
}

impl Publisher {
    /// `names` are the signals' names that metrics tell apart.
    pub(crate) fn new<'n>(
        bus: Arc<dyn Bus>,
        metrics: Metrics,
        timeout: Duration,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        let names = names.into_iter().map(Arc::from).collect();
        Self { bus, metrics, timeout, names: Arc::new(names), other: Arc::from("other") }
    }

    /// Stores a signal. `traceparent` goes with it.
    pub(crate) async fn publish(
        &self,
        signal: &Signal,
        traceparent: Option<String>,
    ) -> Result<Published, PublishError> {
        let payload =
            serde_json::to_vec(signal).map_err(|source| PublishError::Encode { id: signal.id.clone(), source })?;
        let message = Publish {
            subject: Subject::Signal { source: signal.source.token() },
            id: signal.id.clone(),
            payload: Bytes::from(payload),
            trace: TraceContext { traceparent },
        };
        let begun = tokio::time::Instant::now();
        let published = tokio::time::timeout(self.timeout, self.bus.publish(message))
            .await
            .map_err(|_| PublishError::Late(self.timeout))??;
        self.metrics.published(begun.elapsed());
        if published.duplicate {
            self.metrics.duplicates.inc();
        } else {
            let name = self.names.get(signal.name.as_str()).unwrap_or(&self.other);
            self.metrics.signal(signal.source, name);
        }
        Ok(published)
    }
}

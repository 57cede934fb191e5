use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::Finding;
use evenkeel_runtime::http::{HttpError, Limits, Outbound, Server};

/// The largest answer taken, bytes: one value is asked for.
const MAX_ANSWER: usize = 1024 * 1024;

/// The gateway's own way to Prometheus: what verification believes comes from nobody else.
pub(crate) struct Prometheus {
    server: Server,
    timeout: Duration,
}

impl Prometheus {
    /// A client for a base URL.
    ///
    /// # Errors
    /// When the URL is none.
    pub(crate) fn new(outbound: Arc<dyn Outbound>, url: &str, timeout: Duration) -> Result<Self, HttpError> {
        let limits = Limits { timeout, max_bytes: MAX_ANSWER };
        Ok(Self { server: Server::new(outbound, url, None, limits)?, timeout })
    }

    /// The value of an instant query: none where the result is empty, unknown where it is more than one.
    pub(crate) async fn ask(&self, expression: &str) -> Finding {
        match self.server.instant_query(expression, self.timeout).await {
            Ok(body) => evenkeel_cluster::promql::value(&body),
            Err(error) => Finding::Unknown { reason: format!("Prometheus could not be asked: {error}") },
        }
    }
}

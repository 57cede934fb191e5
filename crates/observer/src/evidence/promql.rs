use bytes::Bytes;
use evenkeel_model::Finding;

use super::{Evidence, unknown};
use crate::poll::HttpError;

/// The longest expression asked.
const MAX_EXPRESSION_BYTES: usize = 16 * 1024;

impl Evidence {
    /// The value of an instant query.
    pub(super) async fn promql(&self, expression: &str) -> Finding {
        if expression.len() > MAX_EXPRESSION_BYTES {
            return unknown(format!("expected PromQL of at most {MAX_EXPRESSION_BYTES} bytes"));
        }
        match self.query(expression).await {
            Ok(body) => evenkeel_cluster::promql::value(&body),
            Err(error) => unknown(format!("Prometheus could not be asked: {error}")),
        }
    }

    async fn query(&self, expression: &str) -> Result<Bytes, HttpError> {
        let Some(server) = &self.prometheus else {
            return Err(HttpError::Request("none is configured (observer.prometheus.url)".to_owned()));
        };
        let _turn = self.queries.acquire().await.map_err(|error| HttpError::Request(error.to_string()))?;
        server.instant_query(expression, self.config.timeout.get()).await
    }
}

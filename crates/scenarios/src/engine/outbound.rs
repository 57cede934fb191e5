use bytes::Bytes;
use evenkeel_runtime::http::{HttpError, Limits, Outbound};
use evenkeel_simulator::Simulator;
use futures::future::BoxFuture;
use http::{Request, Response};

use super::process::Life;

/// Outbound HTTP of a process: the simulated Prometheus and Alertmanager, and no other server.
pub(crate) struct Simulated {
    pub(crate) simulator: Simulator,
    pub(crate) life: Life,
}

impl Outbound for Simulated {
    fn send(&self, request: Request<Bytes>, limits: Limits) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        Box::pin(self.life.fuse.guard(async move {
            let host = request.uri().host().unwrap_or_default().to_owned();
            let answer = crate::runner::monitoring::ask(&self.simulator, &request);
            let answer = answer.ok_or_else(|| HttpError::Request(format!("no server {host} is simulated")))?;
            if answer.body().len() > limits.max_bytes {
                return Err(HttpError::TooLarge { limit: limits.max_bytes });
            }
            Ok(answer)
        }))
    }
}

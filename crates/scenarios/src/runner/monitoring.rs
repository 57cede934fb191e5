//! The simulated Prometheus and Alertmanager, over HTTP.

use bytes::Bytes;
use evenkeel_simulator::Simulator;
use http::{Request, Response};

/// Answers a request to one of them; none for any other server.
pub(crate) async fn ask(_simulator: &Simulator, _request: Request<Bytes>) -> Option<Response<Bytes>> {
    None
}

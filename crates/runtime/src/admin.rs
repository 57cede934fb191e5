use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use crate::metrics::{Registry, encode};
use crate::{BoxError, Health, Shutdown};

/// The admin server: `/livez`, `/readyz`, `/metrics`. For kubelet and Prometheus; it has no
/// authentication and tells nothing secret.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

/// The admin server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the admin server can't listen on {address}: {source}; set `admin` in the configuration to a free address")]
pub struct AdminError {
    /// Where it was to listen.
    pub address: SocketAddr,
    /// Why it can't.
    pub source: std::io::Error,
}

impl Admin {
    /// Takes the address, so that a port in use is known before anything else is begun.
    ///
    /// # Errors
    /// When the address can't be had.
    pub async fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        let error = |source| AdminError { address, source };
        let listener = TcpListener::bind(address).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        Ok(Self { listener, address })
    }

    /// Where it listens; tells the port when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until shutdown. `registry` holds every plane's metrics by now.
    pub fn serve(
        self,
        health: Health,
        registry: Registry,
        shutdown: Shutdown,
    ) -> impl Future<Output = Result<(), BoxError>> + Send + 'static {
        let app = router(health, registry);
        async move {
            axum::serve(self.listener, app).with_graceful_shutdown(async move { shutdown.cancelled().await }).await?;
            Ok(())
        }
    }
}

fn router(health: Health, registry: Registry) -> Router {
    Router::new()
        // The process ends when a task of it does, so one that answers lives.
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(health))
        .route("/metrics", get(metrics).with_state(Arc::new(registry)))
}

/// 200, or 503 with a line for each part that is missing: `bus: connection refused`. As JSON where
/// the client asks for it; kubelet does not, and puts the text into its Event.
async fn readyz(State(health): State<Health>, headers: HeaderMap) -> Response {
    let missing = health.missing();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let wants_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    if wants_json {
        let missing: Vec<_> = missing.iter().map(|(part, why)| json!({ "part": part, "why": why })).collect();
        return (status, axum::Json(json!({ "ready": missing.is_empty(), "missing": missing }))).into_response();
    }
    if missing.is_empty() {
        return (status, "ready\n").into_response();
    }
    let mut text = String::new();
    for (part, why) in missing {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{part}: {why}");
    }
    (status, text).into_response()
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match encode(&registry) {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("a metric can't be written: {error}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(health: &Health, path: &str, accept: &str) -> (StatusCode, String) {
        let request = Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
        let app = router(health.clone(), crate::metrics::registry("gateway", "0.0.0"));
        let response = app.oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readyz_says_what_is_missing_and_why() {
        let health = Health::new();
        let bus = health.part("bus");
        health.part("watch pods").not_ready("403 Forbidden");
        let (status, body) = ask(&health, "/readyz", "*/*").await;
        assert_eq!((status.as_u16(), body.as_str()), (503, "bus: starting\nwatch pods: 403 Forbidden\n"));
        bus.ready();
        let (status, body) = ask(&health, "/readyz", "application/json").await;
        assert_eq!(status.as_u16(), 503);
        assert_eq!(body, r#"{"missing":[{"part":"watch pods","why":"403 Forbidden"}],"ready":false}"#);
    }

    #[tokio::test]
    async fn a_process_with_all_its_parts_is_ready() {
        let health = Health::new();
        health.part("bus").ready();
        assert_eq!(ask(&health, "/readyz", "*/*").await, (StatusCode::OK, "ready\n".to_owned()));
        assert_eq!(ask(&health, "/livez", "*/*").await, (StatusCode::OK, "ok\n".to_owned()));
        assert!(ask(&health, "/metrics", "*/*").await.1.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = Admin::bind(first.address()).await.unwrap_err().to_string();
        assert!(error.contains(&first.address().to_string()) && error.contains("set `admin`"), "{error}");
    }

    #[tokio::test]
    async fn it_ends_at_shutdown() {
        let shutdown = Shutdown::new();
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let served = admin.serve(Health::new(), crate::metrics::registry("gateway", "0"), shutdown.clone());
        shutdown.cancel();
        served.await.unwrap();
    }
}

//! A proxy between a plane and the API server that can hold a request back, or let it be carried
//! out and lose the reply. Credentials pass through: the API server sees the plane's own identity.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Notify;

/// What happens to the requests that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It never reaches the API server, and no answer comes.
    HoldBeforeSend,
    /// It is carried out, and no answer comes.
    HoldAfterCommit,
    /// It is carried out, and the connection breaks instead of an answer.
    LoseReply,
}

/// Which requests are troubled: real (not dry-run) ones of this method whose path contains this.
#[derive(Debug, Clone)]
pub struct Rule {
    /// `PATCH`, `DELETE`, …
    pub method: http::Method,
    /// Part of the path.
    pub path: String,
    /// How many of them are.
    pub times: u32,
    /// What happens.
    pub trouble: Trouble,
}

#[derive(Debug)]
struct Shared {
    rule: Mutex<Option<Rule>>,
    struck: Notify,
    upstream: String,
    client: reqwest::Client,
}

/// The proxy; it ends with the runtime it was started on.
#[derive(Debug, Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    /// Its address, `http://127.0.0.1:PORT`.
    pub url: String,
}

impl Proxy {
    /// Starts it on a free port of loopback before the API server at `upstream`.
    ///
    /// # Errors
    /// The certificate can't be read, or no port is free.
    pub async fn start(upstream: &str, ca: &Path) -> Result<Self> {
        let ca = std::fs::read(ca).with_context(|| format!("reading {}", ca.display()))?;
        let client =
            reqwest::Client::builder().tls_certs_only([reqwest::Certificate::from_pem(&ca)?]).no_proxy().build()?;
        let shared = Arc::new(Shared {
            rule: Mutex::new(None),
            struck: Notify::new(),
            upstream: upstream.trim_end_matches('/').to_owned(),
            client,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { shared, url })
    }

    /// Sets what happens from now on.
    pub fn trouble(&self, rule: Rule) {
        *self.shared.rule.lock().unwrap_or_else(PoisonError::into_inner) = Some(rule);
    }

    /// Waits until a request has been troubled: held back, or carried out with its reply withheld.
    pub async fn struck(&self) {
        self.shared.struck.notified().await;
    }
}

impl Shared {
    fn strikes(&self, method: &http::Method, uri: &http::Uri) -> Option<Trouble> {
        let mut rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
        let found = rule.as_mut()?;
        let dry = uri.query().is_some_and(|query| query.contains("dryRun"));
        if dry || found.times == 0 || found.method != *method || !uri.path().contains(&found.path) {
            return None;
        }
        found.times -= 1;
        Some(found.trouble)
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let trouble = shared.strikes(request.method(), request.uri());
    if trouble == Some(Trouble::HoldBeforeSend) {
        shared.struck.notify_one();
        return std::future::pending().await;
    }
    let answer = pass(&shared, request).await;
    match trouble {
        Some(Trouble::HoldAfterCommit) => {
            shared.struck.notify_one();
            std::future::pending().await
        }
        Some(Trouble::LoseReply) => {
            shared.struck.notify_one();
            // A body that fails before its first byte: the connection is closed without a reply.
            let broken = futures::stream::once(async { Err::<bytes::Bytes, _>(std::io::Error::other("lost")) });
            let mut response = Response::new(Body::from_stream(broken));
            response.headers_mut().insert(http::header::CONTENT_LENGTH, http::HeaderValue::from_static("100000"));
            response
        }
        _ => answer.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response()),
    }
}

async fn pass(shared: &Shared, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = parts.headers;
    headers.remove(http::header::HOST);
    headers.remove(http::header::CONNECTION);
    let body = axum::body::to_bytes(body, 16 * 1024 * 1024).await?;
    let answer = shared
        .client
        .request(parts.method, format!("{}{path}", shared.upstream))
        .headers(headers)
        .body(body)
        .send()
        .await?;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != http::header::TRANSFER_ENCODING && name != http::header::CONNECTION {
            response = response.header(name, value);
        }
    }
    Ok(response.body(Body::from_stream(answer.bytes_stream()))?)
}

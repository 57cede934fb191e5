//! Outbound HTTP: the servers that are asked (Prometheus, Alertmanager), with everything bounded.
//!
//! [`Outbound`] is the seam: [`Network`] is the real one; a simulation answers by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use reqwest::Url;

/// Of an error's body so many bytes are read.
const ERROR_BYTES: usize = 4096;
/// Of an error's body so many bytes are told.
const TOLD_BYTES: usize = 512;

/// What one exchange may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest it may take, from the first byte sent to the last received.
    pub timeout: Duration,
    /// The largest body taken of a success, bytes. Of an error the first words are enough.
    pub max_bytes: usize,
}

/// Whoever carries requests to other servers. Redirects are never followed.
pub trait Outbound: Send + Sync + 'static {
    /// Sends a request and reads the answer whole.
    ///
    /// # Errors
    /// [`HttpError::Request`] without an answer, [`HttpError::TooLarge`] with too much of one.
    fn send(&self, request: Request<Bytes>, limits: Limits) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>>;
}

/// Why a server's answer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is none.
    #[error("expected a base URL such as http://prometheus:9090, found {found:?}: {reason}")]
    Url {
        /// What was configured, redacted.
        found: String,
        /// Why it is none.
        reason: String,
    },
    /// The client can't be built.
    #[error("the HTTP client can't be built: {0}")]
    Client(String),
    /// The token can't be read.
    #[error("bearer token file {path}: {source}")]
    Token {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// No answer, or not all of it.
    #[error("{0}")]
    Request(String),
    /// Another status than 200.
    #[error("expected 200, found {status}: {body}")]
    Status {
        /// The status.
        status: u16,
        /// The first of what it said.
        body: String,
    },
    /// More than is taken.
    #[error("expected at most {limit} bytes, found more")]
    TooLarge {
        /// The limit, bytes.
        limit: usize,
    },
    /// Not what its API says.
    #[error("expected {expected}, found something else: {reason}")]
    Malformed {
        /// What belongs there.
        expected: &'static str,
        /// What the parser says.
        reason: String,
    },
}

/// The network.
#[derive(Debug, Clone)]
pub struct Network {
    client: reqwest::Client,
}

impl Network {
    /// A client for all servers.
    ///
    /// # Errors
    /// [`HttpError::Client`].
    pub fn new() -> Result<Self, HttpError> {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        Ok(Self { client: client.map_err(|error| HttpError::Client(error.to_string()))? })
    }

    async fn exchange(&self, request: Request<Bytes>, limits: Limits) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let url = Url::parse(&head.uri.to_string()).map_err(|error| HttpError::Request(error.to_string()))?;
        let request = self.client.request(head.method, url).headers(head.headers).body(body).timeout(limits.timeout);
        let mut response = request.send().await.map_err(|error| request_failed(&error))?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let limit = if status.is_success() { limits.max_bytes } else { ERROR_BYTES };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| request_failed(&error))? {
            if body.len() + chunk.len() > limit {
                if status.is_success() {
                    return Err(HttpError::TooLarge { limit });
                }
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

impl Outbound for Network {
    fn send(&self, request: Request<Bytes>, limits: Limits) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        Box::pin(self.exchange(request, limits))
    }
}

/// No server can be reached: where there is no network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nowhere;

impl Outbound for Nowhere {
    fn send(&self, _: Request<Bytes>, _: Limits) -> BoxFuture<'_, Result<Response<Bytes>, HttpError>> {
        Box::pin(std::future::ready(Err(HttpError::Request("there is no network".to_owned()))))
    }
}

/// A server that is asked over HTTP.
#[derive(Clone)]
pub struct Server {
    outbound: Arc<dyn Outbound>,
    base: Url,
    bearer_token_file: Option<PathBuf>,
    limits: Limits,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The base URL may hold a user and a password.
        f.debug_struct("Server")
            .field("host", &self.base.host_str())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server at a base URL.
    ///
    /// # Errors
    /// [`HttpError::Url`].
    pub fn new(
        outbound: Arc<dyn Outbound>,
        base: &str,
        bearer_token_file: Option<PathBuf>,
        limits: Limits,
    ) -> Result<Self, HttpError> {
        let bad = |reason: String| HttpError::Url { found: crate::redact::text(base), reason };
        // Joined paths go below the base's own path only when that ends with a slash.
        let slashed = format!("{}/", base.trim_end_matches('/'));
        let url = Url::parse(&slashed).map_err(|error| bad(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("another scheme than http or https".to_owned()));
        }
        Ok(Self { outbound, base: url, bearer_token_file, limits })
    }

    /// Gets a path below the base.
    ///
    /// # Errors
    /// [`HttpError`]: no answer, too much of one, or another status than 200.
    pub async fn get(&self, path: &str) -> Result<Bytes, HttpError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Asks for the value of a PromQL expression (`POST /api/v1/query`).
    ///
    /// # Errors
    /// As [`Server::get`].
    pub async fn instant_query(&self, expression: &str, timeout: Duration) -> Result<Bytes, HttpError> {
        let mut form = self.base.clone();
        let timeout = format!("{}ms", timeout.as_millis());
        form.query_pairs_mut().append_pair("query", expression).append_pair("timeout", &timeout);
        let body = Bytes::from(form.query().unwrap_or_default().to_owned());
        self.ask(Method::POST, "api/v1/query", body).await
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, HttpError> {
        let url = self.base.join(path).map_err(|error| HttpError::Request(error.to_string()))?;
        let mut request = Request::builder().method(method).uri(url.as_str());
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(authorization) = self.authorization().await? {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(body).map_err(|error| HttpError::Request(error.to_string()))?;
        let answer = self.outbound.send(request, self.limits).await?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let said = crate::redact::text(&String::from_utf8_lossy(answer.body()));
        let body = said.char_indices().take_while(|(at, _)| *at < TOLD_BYTES).map(|(_, letter)| letter).collect();
        Err(HttpError::Status { status: answer.status().as_u16(), body })
    }

    /// The Authorization header, when a token is configured. The file is read each time.
    async fn authorization(&self) -> Result<Option<HeaderValue>, HttpError> {
        let Some(path) = &self.bearer_token_file else { return Ok(None) };
        let token = tokio::fs::read_to_string(path).await;
        let token = token.map_err(|source| HttpError::Token { path: path.clone(), source })?;
        let header = HeaderValue::try_from(format!("Bearer {}", token.trim()));
        let mut header = header.map_err(|_| HttpError::Request(format!("{}: expected a token", path.display())))?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

fn request_failed(error: &reqwest::Error) -> HttpError {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    // The URL may hold a user and a password.
    HttpError::Request(crate::redact::text(&text))
}

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use reqwest::{Response, Url};

/// A server that is asked over HTTP, with everything bounded.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    client: reqwest::Client,
    base: Url,
    bearer_token_file: Option<PathBuf>,
    max_bytes: usize,
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

impl Server {
    /// A server at a base URL.
    ///
    /// # Errors
    /// [`HttpError::Url`] or [`HttpError::Client`].
    pub(crate) fn new(
        base: &str,
        bearer_token_file: Option<PathBuf>,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<Self, HttpError> {
        let bad = |reason: String| HttpError::Url { found: evenkeel_runtime::redact::text(base), reason };
        // Joined paths go below the base's own path only when that ends with a slash.
        let slashed = format!("{}/", base.trim_end_matches('/'));
        let url = Url::parse(&slashed).map_err(|error| bad(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("another scheme than http or https".to_owned()));
        }
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| HttpError::Client(error.to_string()))?;
        Ok(Self { client, base: url, bearer_token_file, max_bytes })
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// The Authorization header, when a token is configured. The file is read each time.
    pub(crate) async fn authorization(&self) -> Result<Option<HeaderValue>, HttpError> {
        let Some(path) = &self.bearer_token_file else { return Ok(None) };
        let token = tokio::fs::read_to_string(path).await;
        let token = token.map_err(|source| HttpError::Token { path: path.clone(), source })?;
        let header = HeaderValue::try_from(format!("Bearer {}", token.trim()));
        let mut header = header.map_err(|_| HttpError::Request(format!("{}: expected a token", path.display())))?;
        header.set_sensitive(true);
        Ok(Some(header))
    }

    /// Gets a path below the base.
    pub(crate) async fn get(&self, path: &str) -> Result<Vec<u8>, HttpError> {
        let url = self.base.join(path).map_err(|error| HttpError::Request(error.to_string()))?;
        let mut request = self.client.get(url);
        if let Some(authorization) = self.authorization().await? {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.body(request.send().await.map_err(|error| request_failed(&error))?).await
    }

    /// The body of a 200, when it is not too large.
    pub(crate) async fn body(&self, mut response: Response) -> Result<Vec<u8>, HttpError> {
        let status = response.status();
        // Of an error the first words are enough.
        let limit = if status.is_success() { self.max_bytes } else { 4096 };
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
        if status.is_success() {
            return Ok(body);
        }
        let said = evenkeel_runtime::redact::text(&String::from_utf8_lossy(&body));
        Err(HttpError::Status { status: status.as_u16(), body: crate::alert::bounded(&said, 512).into_owned() })
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
    HttpError::Request(evenkeel_runtime::redact::text(&text))
}

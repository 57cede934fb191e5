//! A proxy between planes and the API server that can hold a request back, or let it be carried out and lose the
//! reply, and that writes down what passes, for clusters whose audit log we can't read. Credentials pass through: the
//! API server sees the plane's own identity.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use kube::Client;
use tokio::sync::Notify;

use crate::audit::{self, Status, User};
use crate::{requests, world};

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

struct Shared {
    rule: Mutex<Option<Rule>>,
    struck: Notify,
    upstream: Client,
    /// Users by their tokens.
    users: Mutex<BTreeMap<String, String>>,
    record: Mutex<Vec<audit::Request>>,
}

/// What is kept here is whole after each change.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The proxy; it ends with the runtime it was started on.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    /// Its address, `http://127.0.0.1:PORT`.
    pub url: String,
}

impl Proxy {
    /// Starts it on a free port of loopback. `upstream` adds no credential of its own, see
    /// [`Access::nobody`](crate::access::Access::nobody).
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(upstream: Client) -> Result<Self> {
        let shared = Arc::new(Shared {
            rule: Mutex::new(None),
            struck: Notify::new(),
            upstream,
            users: Mutex::default(),
            record: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { shared, url })
    }

    /// Sets what happens from now on.
    pub fn trouble(&self, rule: Rule) {
        *held(&self.shared.rule) = Some(rule);
    }

    /// Says whose a token is; requests with tokens it was not told of are recorded under an empty name.
    pub fn admit(&self, token: &str, user: &str) {
        held(&self.shared.users).insert(format!("Bearer {token}"), user.to_owned());
    }

    /// What was sent on to the API server and answered, or given up, in that order. What was held back is not among it.
    pub fn record(&self) -> Vec<audit::Request> {
        held(&self.shared.record).clone()
    }

    /// Waits until a request has been troubled: held back, or carried out with its reply withheld.
    pub async fn struck(&self) {
        self.shared.struck.notified().await;
    }
}

impl Shared {
    fn strikes(&self, method: &http::Method, uri: &http::Uri) -> Option<Trouble> {
        let mut rule = held(&self.rule);
        let found = rule.as_mut()?;
        let dry = uri.query().is_some_and(|query| query.contains("dryRun"));
        if dry || found.times == 0 || found.method != *method || !uri.path().contains(&found.path) {
            return None;
        }
        found.times -= 1;
        Some(found.trouble)
    }

    fn user(&self, headers: &HeaderMap) -> User {
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let username = token.and_then(|token| held(&self.users).get(token).cloned()).unwrap_or_default();
        User { username }
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let trouble = shared.strikes(request.method(), request.uri());
    if trouble == Some(Trouble::HoldBeforeSend) {
        shared.struck.notify_one();
        return std::future::pending().await;
    }
    // On a task of its own: when the plane dies meanwhile, what the API server does still has to stand in the record.
    let passing = tokio::spawn(pass(Arc::clone(&shared), request));
    let answer = passing.await.unwrap_or_else(|panic| Err(panic.into()));
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
            response.headers_mut().insert(header::CONTENT_LENGTH, http::HeaderValue::from_static("100000"));
            response
        }
        _ => answer.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response()),
    }
}

/// Sends a request on and records it. The answer's body is not waited for: a watch's has no end.
async fn pass(shared: Arc<Shared>, request: Request) -> Result<Response> {
    let received = world::now();
    let (parts, body) = request.into_parts();
    let uri = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let body = axum::body::to_bytes(body, 16 * 1024 * 1024).await?;
    let (verb, object_ref) = requests::describe(&parts.method, &parts.uri, &body);
    let user = shared.user(&parts.headers);

    let mut onward = http::Request::builder().method(parts.method).uri(&uri).body(body.into())?;
    *onward.headers_mut() = parts.headers;
    onward.headers_mut().remove(header::HOST);
    onward.headers_mut().remove(header::CONNECTION);
    let answer = shared.upstream.send(onward).await;

    let response_status = answer.as_ref().ok().map(|answer| Status { code: answer.status().as_u16() });
    let answered = world::now();
    held(&shared.record).push(audit::Request { verb, uri, user, object_ref, response_status, received, answered });
    let (head, body) = answer?.into_parts();
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    response.headers_mut().remove(header::CONNECTION);
    Ok(response)
}

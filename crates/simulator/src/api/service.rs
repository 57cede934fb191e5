//! The tower service under the real client: requests that take a little virtual time, and their answers.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, USER_AGENT};
use http::{HeaderValue, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::client::Body;
use serde_json::Value;

use super::intercept::{Call, Decision, Fuse};
use super::serve::{Form, Reply, Request};
use super::uri::{Path, Query};
use crate::failure::Failure;
use crate::log::Entry;
use crate::simulator::Simulator;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// A client of the simulated cluster.
pub(crate) fn client(simulator: &Simulator, user: &str, fuse: Fuse) -> kube::Client {
    kube::Client::new(ApiServer { simulator: simulator.clone(), user: user.to_owned(), fuse }, "default")
}

/// The API server as one client has it.
#[derive(Debug, Clone)]
struct ApiServer {
    simulator: Simulator,
    user: String,
    fuse: Fuse,
}

impl tower::Service<http::Request<Body>> for ApiServer {
    type Response = Answer;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        let latency = self.simulator.latency();
        Box::pin(async move { server.answer(request, latency).await })
    }
}

impl ApiServer {
    async fn answer(self, request: http::Request<Body>, latency: Duration) -> Result<Answer, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        tokio::time::sleep(latency).await;
        if self.fuse.is_blown() {
            return never().await;
        }
        let request = read(&self.user, &parts, &body);
        if !self.simulator.count(|| request.line()) {
            return never().await;
        }
        let decision = match self.simulator.interceptor() {
            Some(interceptor) => interceptor.decide(&call(&request)),
            None => Decision::Pass,
        };
        match &decision {
            Decision::Pass | Decision::LoseReply | Decision::HoldReply => {}
            Decision::NeverSend => return never().await,
            Decision::BreakBefore => return Err(broken()),
            Decision::Answer { code, body } => {
                return Ok(self.write(*code, "application/json", body.to_string().into_bytes()));
            }
            Decision::Delay(by) => tokio::time::sleep(*by).await,
            Decision::Late(by) => {
                let by = *by;
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    // Nobody waits for the answer.
                    drop(self.carry_out(&request));
                });
                return never().await;
            }
        }
        // The client may have died while its request was on the way.
        if self.fuse.is_blown() {
            return never().await;
        }
        let reply = self.carry_out(&request);
        match decision {
            Decision::LoseReply => Err(broken()),
            Decision::HoldReply => never().await,
            _ => Ok(self.reply(&request, reply)),
        }
    }

    fn carry_out(&self, request: &Request) -> Result<Reply, Failure> {
        let mut state = self.simulator.state();
        if !request.is_mutating() {
            return state.serve(&self.simulator, request, &self.fuse);
        }
        let mut key = request.key();
        let revision = state.store.revision();
        let before = state.store.get(&key).cloned();
        let reply = state.serve(&self.simulator, request, &self.fuse);
        let code = match &reply {
            Ok(Reply::Object(code, object)) => {
                if key.name.is_empty() {
                    crate::value::name(object).clone_into(&mut key.name);
                }
                *code
            }
            Ok(Reply::Text(code, _)) => *code,
            Ok(Reply::List(..) | Reply::Watch(_)) => 200,
            Err(failure) => failure.code,
        };
        let entry = Entry {
            at: state.now(),
            user: request.user.clone(),
            verb: request.verb(),
            subresource: request.subresource().to_owned(),
            dry_run: request.is_dry_run(),
            code,
            body: Arc::clone(&request.body),
            before,
            after: state.store.get(&key).cloned(),
            key,
        };
        state.log.push(entry);
        let changed = state.store.revision() != revision;
        drop(state);
        if changed {
            self.simulator.wake();
        }
        reply
    }

    fn reply(&self, request: &Request, reply: Result<Reply, Failure>) -> Answer {
        const JSON: &str = "application/json";
        match reply {
            Ok(Reply::Object(code, object)) => {
                let mut body = Vec::with_capacity(2048);
                let is_status = object.get("kind").and_then(Value::as_str) == Some("Status");
                (if is_status { Form::Whole } else { request.form }).write(&object, &mut body);
                self.write(code, JSON, body)
            }
            Ok(Reply::List(kind, listed)) => {
                let (name, version) = match request.form {
                    Form::Whole => (format!("{}List", kind.kind), kind.api_version()),
                    Form::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
                };
                let mut body = format!(
                    "{{\"kind\":\"{name}\",\"apiVersion\":\"{version}\",\"metadata\":{},\"items\":[",
                    listed.metadata
                )
                .into_bytes();
                for (place, item) in listed.items.iter().enumerate() {
                    if place > 0 {
                        body.push(b',');
                    }
                    request.form.write(item, &mut body);
                }
                body.extend_from_slice(b"]}");
                self.write(200, JSON, body)
            }
            Ok(Reply::Text(code, text)) => self.write(code, "text/plain; charset=utf-8", text.into_bytes()),
            Ok(Reply::Watch(watch)) => {
                let lines = futures::stream::unfold(watch, |mut watch| async move {
                    let line = watch.next().await?;
                    Some((Ok(hyper::body::Frame::data(line)), watch))
                });
                self.head(200, JSON, UnsyncBoxBody::new(StreamBody::new(lines)))
            }
            Err(failure) => self.write(failure.code, JSON, failure.status.to_string().into_bytes()),
        }
    }

    fn write(&self, code: u16, content_type: &'static str, body: Vec<u8>) -> Answer {
        self.head(code, content_type, UnsyncBoxBody::new(Full::new(Bytes::from(body))))
    }

    fn head(&self, code: u16, content_type: &'static str, body: UnsyncBoxBody<Bytes, Infallible>) -> Answer {
        let mut answer = Response::new(body);
        *answer.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let date = self.simulator.clock().now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = HeaderValue::from_str(&date) {
            headers.insert(DATE, date);
        }
        answer
    }
}

/// What is not answered.
async fn never() -> Result<Answer, std::io::Error> {
    std::future::pending().await
}

fn broken() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset by peer")
}

fn call(request: &Request) -> Call {
    Call {
        user: request.user.clone(),
        verb: request.verb(),
        key: request.key(),
        subresource: request.subresource().to_owned(),
        dry_run: request.is_dry_run(),
        body: Arc::clone(&request.body),
    }
}

fn read(user: &str, parts: &http::request::Parts, body: &[u8]) -> Request {
    let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let agent = header(USER_AGENT).split('/').next().unwrap_or_default();
    let (body, unreadable) = match body {
        [] => (Value::Null, None),
        body => match serde_json::from_slice(body) {
            Ok(body) => (body, None),
            Err(error) => (Value::Null, Some(error.to_string())),
        },
    };
    let wants_metadata = header(ACCEPT).contains("as=PartialObjectMetadata");
    Request {
        user: user.to_owned(),
        method: parts.method.clone(),
        path: Path::parse(parts.uri.path()),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        content_type: header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned(),
        form: if wants_metadata { Form::Metadata } else { Form::Whole },
        agent: if agent.is_empty() { "unknown".to_owned() } else { agent.to_owned() },
        body: Arc::new(body),
        unreadable,
    }
}

//! A process' connection to the API server: goes through its fuse, and past the moments at which it may die.

use std::sync::Arc;

use evenkeel_simulator::VirtualClock;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;

use super::meter::Meter;
use super::process::Life;
use crate::file::On;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What one life of a process has of the API server.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) inner: Client,
    pub(crate) life: Life,
    pub(crate) clock: VirtualClock,
    pub(crate) meter: Arc<Meter>,
}

impl Line {
    /// Its client.
    pub(crate) fn client(self, namespace: &str) -> Client {
        Client::new(tower::service_fn(move |request: Request<Body>| exchange(self.clone(), request)), namespace)
    }
}

async fn exchange(line: Line, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let Line { inner, life, clock, meter } = line;
    if !meter.one_more(clock.now()) {
        std::future::pending::<()>().await;
    }
    let what = What::of(&request);
    if what == What::Act {
        life.pass(On::BeforeSend).await;
    }
    let described = (format!("{} {}", request.method(), request.uri().path()), request.method() != Method::GET);
    // A watch is a stream, not a call; what comes of it comes again.
    let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let lost = || Err(kube::Error::Service("connection reset by peer".into()));
    let answer = if is_watch {
        life.fuse.guard(inner.send(request)).await
    } else {
        life.call(|| described, inner.send(request), lost).await
    };
    let done = answer.as_ref().is_ok_and(|answer| answer.status().is_success());
    match what {
        What::Act if done => {
            life.pass(On::AfterAct).await;
            if life.loses_reply() {
                return Err("connection reset by peer".into());
            }
        }
        What::Record if done => life.pass(On::AfterRecord).await,
        What::Act | What::Record | What::Other => {}
    }
    answer.map_err(Into::into)
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// It changes the cluster.
    Act,
    /// It changes an object of ours.
    Record,
    /// A read, a dry-run, an Event.
    Other,
}

impl What {
    fn of(request: &Request<Body>) -> Self {
        let path = request.uri().path();
        let is_dry = request.uri().query().is_some_and(|query| query.contains("dryRun"));
        let is_read = request.method() == Method::GET;
        if is_read || is_dry || path.contains("/events") {
            Self::Other
        } else if path.starts_with("/apis/evenkeel.dev/") {
            Self::Record
        } else {
            Self::Act
        }
    }
}

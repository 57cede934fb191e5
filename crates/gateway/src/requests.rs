//! What people ask for: Requests, each answered once, in its status. What they ask for is done by the same means as
//! everything else, and decided by the same rules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{Answer, Ask, Request, RequestStatus};
use evenkeel_runtime::{BoxError, HealthPart, Shutdown, redact};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::Event;
use kube::{Api, Client};

use crate::error::ApiError;
use crate::follow::Follow;
use crate::plane::{DriveError, Plane};
use crate::remediations::by_us;

/// How often what could not be answered is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// Answered requests are kept for so long at least; breakers count by those that close them.
const KEEP: chrono::Duration = chrono::Duration::days(8);
/// Answered requests beyond so many go earlier, the oldest first; but not those that close breakers.
const KEEP_AT_MOST: usize = 1000;
/// Deletions at a time; the rest next time.
const TIDY_AT_MOST: usize = 100;

/// Requests as they are on the API server.
pub(crate) struct RequestKeeper {
    reader: Api<DynamicObject>,
    writer: Api<Request>,
    timeout: Duration,
}

impl RequestKeeper {
    pub(crate) fn new(reader: Client, writer: Client, namespace: &str, timeout: Duration) -> Self {
        let resource = ApiResource::erase::<Request>(&());
        Self {
            reader: Api::namespaced_with(reader, namespace, &resource),
            writer: Api::namespaced(writer, namespace),
            timeout,
        }
    }

    pub(crate) fn writer(&self) -> &Api<Request> {
        &self.writer
    }

    pub(crate) async fn bounded<T>(
        &self,
        what: impl Fn() -> String,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|error| ApiError::of(what(), error)),
            Err(_) => Err(ApiError::Late { what: what(), limit: self.timeout }),
        }
    }
}

impl Plane {
    /// Answers requests until shutdown.
    pub(crate) async fn take_requests(self: Arc<Self>, health: HealthPart, shutdown: Shutdown) -> Result<(), BoxError> {
        // What is asked for is decided by the index: it has to be whole.
        let mut listed = self.listed.subscribe();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            listed = listed.wait_for(|listed| *listed) => drop(listed?),
        }
        let reader = self.request_keeper.reader.clone();
        let mut watch = Follow::new("watch requests", reader, health, self.metrics.clone(), shutdown.clone());
        let mut listing = BTreeMap::new();
        loop {
            let waits = self.requests().values().any(|request| request.status.is_none());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                heard = watch.next() => match heard? {
                    Some(Event::Init) => listing = BTreeMap::new(),
                    Some(Event::InitApply(object)) => {
                        if let Some(request) = self.understood(object) {
                            listing.insert(request.name_any(), request);
                        }
                    }
                    Some(Event::InitDone) => {
                        *self.requests() = std::mem::take(&mut listing);
                        self.answer_all().await;
                    }
                    Some(Event::Apply(object)) => {
                        if let Some(request) = self.understood(object) {
                            self.requests().insert(request.name_any(), request);
                        }
                        self.answer_all().await;
                    }
                    Some(Event::Delete(object)) => {
                        self.requests().remove(&object.name_any());
                    }
                    None => return Ok(()),
                },
                () = tokio::time::sleep(AGAIN), if waits => self.answer_all().await,
            }
        }
    }

    fn understood(&self, object: DynamicObject) -> Option<Request> {
        let name = object.name_any();
        match object.try_parse::<Request>() {
            Ok(request) => Some(request),
            Err(error) => {
                self.metrics.error("request not understood");
                tracing::warn!(request = name, %error, "not understood; left alone");
                None
            }
        }
    }

    /// Answers what has no answer yet, oldest first. What can't be answered now is tried again.
    async fn answer_all(&self) {
        let mut open: Vec<Request> = self.requests().values().filter(|it| it.status.is_none()).cloned().collect();
        open.sort_by_key(|request| (request.creation_timestamp(), request.name_any()));
        for request in open {
            let name = request.name_any();
            match Box::pin(self.answer(&request)).await {
                Ok(answered) => {
                    self.requests().insert(name, answered);
                }
                Err(DriveError::Conflict(what)) => {
                    tracing::debug!(request = name, what, "somebody else was faster; looked at again");
                    if let Err(error) = self.refresh_request(&name).await {
                        tracing::debug!(request = name, %error, "could not be read again yet");
                    }
                }
                Err(error) => {
                    self.metrics.error("request");
                    tracing::warn!(request = name, %error, "not answered yet");
                }
            }
        }
    }

    async fn refresh_request(&self, name: &str) -> Result<(), ApiError> {
        let what = || format!("reading request {name}");
        let keeper = &self.request_keeper;
        match keeper.bounded(what, keeper.writer.get_opt(name)).await? {
            Some(request) => self.requests().insert(name.to_owned(), request),
            None => self.requests().remove(name),
        };
        Ok(())
    }

    /// Does what is asked for, or says why not, and writes that down. Begun by several gateways, or begun again, it has
    /// one effect.
    pub(crate) async fn answer(&self, request: &Request) -> Result<Request, DriveError> {
        let answered = self.decide(request).await?;
        let (name, spec) = (request.name_any(), &request.spec);
        let reason = redact::text(&answered.reason);
        let (verb, by) = (spec.ask.verb(), &spec.by);
        self.metrics.asked(verb, if answered.answer == Answer::Done { "done" } else { "refused" });
        tracing::info!(request = name, by, ask = %spec.ask, answer = ?answered.answer, reason, "a person asked");
        let mut answer = request.clone();
        answer.status =
            Some(RequestStatus { answer: answered.answer, reason, at: self.now(), remediation: answered.remediation });
        let what = || format!("answering request {name}");
        let keeper = &self.request_keeper;
        let written = keeper.bounded(what, keeper.writer.replace_status(&name, &by_us(), &answer)).await;
        self.metrics.request("replace request status", if written.is_ok() { "ok" } else { "error" });
        written.map_err(|error| match error.code() {
            Some(404 | 409) => DriveError::Conflict(name.clone()),
            _ => error.into(),
        })
    }

    /// Deletes answered requests that need not be kept.
    pub(crate) async fn tidy_requests(&self) {
        let mut answered: Vec<_> =
            self.requests().values().filter_map(|it| Some((it.status.as_ref()?.at, it.clone()))).collect();
        answered.sort_by_key(|(at, request)| (*at, request.name_any()));
        let (beyond, old) = (answered.len().saturating_sub(KEEP_AT_MOST), self.now() - KEEP);
        let expendable = answered
            .into_iter()
            .enumerate()
            .filter(|(place, (at, it))| *at < old || (*place < beyond && !matches!(it.spec.ask, Ask::Rearm(_))))
            .map(|(_, (_, request))| request);
        let keeper = &self.request_keeper;
        let expendable: Vec<Request> = expendable.take(TIDY_AT_MOST).collect();
        for request in expendable {
            let name = request.name_any();
            let preconditions = Preconditions { uid: request.uid(), resource_version: request.resource_version() };
            let params = DeleteParams::default().preconditions(preconditions);
            let deleted =
                keeper.bounded(|| format!("deleting request {name}"), keeper.writer.delete(&name, &params)).await;
            self.metrics.request("delete request", if deleted.is_ok() { "ok" } else { "error" });
            if let Err(error) = deleted
                && !matches!(error.code(), Some(404 | 409))
            {
                self.metrics.error("tidy");
                tracing::warn!(request = name, %error, "not deleted; tried again later");
                return;
            }
            self.requests().remove(&name);
        }
    }
}

//! What people ask for: Requests, each answered once, in its status. What they ask for is done by the same means as
//! everything else, and decided by the same rules.

mod index;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{Answer, Request, RequestStatus};
use evenkeel_runtime::{BoxError, HealthPart, Shutdown, redact};
use futures::FutureExt as _;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use tokio::time::Instant;

use self::index::Seen;
pub(crate) use self::index::{MOST_OPEN, RequestIndex, made_at};
use crate::error::{ApiError, bounded};
use crate::follow::Follow;
use crate::plane::{DriveError, Plane};
use crate::remediations::by_us;

/// How often what could not be answered is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// Answers and deletions at a time: what has come meanwhile is taken in between.
const AT_A_TIME: usize = 32;
/// What is taken in at a time.
const HEARD_AT_A_TIME: usize = 1000;
/// How often what need not be kept is looked for.
const TIDY_EVERY: Duration = Duration::from_secs(300);

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

    pub(crate) async fn bounded<T>(
        &self,
        what: impl Fn() -> String,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        bounded(self.timeout, what, answer).await
    }
}

impl Plane {
    /// Answers requests until shutdown.
    pub(crate) async fn take_requests(self: Arc<Self>, health: HealthPart, shutdown: Shutdown) -> Result<(), BoxError> {
        // What is asked for is decided by the index: it has to be whole.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = self.listed.wait() => {}
        }
        let reader = self.request_keeper.reader.clone();
        let mut watch = Follow::new("watch requests", reader, health, self.metrics.clone(), shutdown.clone());
        let mut is_listed = false;
        // What could not be answered, and when it is tried again.
        let mut again: BTreeMap<String, Instant> = BTreeMap::new();
        let mut tidy = tokio::time::interval(TIDY_EVERY);
        tidy.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Whether there is more to be tidied, and from when it may be.
        let (mut tidies, mut tidy_from) = (false, Instant::now());
        loop {
            let due = if tidies { Some(Instant::now()) } else { self.next_answer(&again) };
            let due = due.filter(|_| is_listed);
            let mut heard = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                heard = watch.next() => Some(heard),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
                _ = tidy.tick(), if is_listed => {
                    tidies = true;
                    None
                }
            };
            // What else has come by now, first: whoever asked last need not wait for all others.
            for _ in 0..HEARD_AT_A_TIME {
                let Some(came) = heard.take() else { break };
                let Some(event) = came? else { return Ok(()) };
                is_listed |= self.hear(event);
                heard = watch.next().now_or_never();
            }
            if is_listed {
                self.answer_some(&mut again, &shutdown).await;
            }
            tidies |= self.requests().is_crowded();
            if std::mem::take(&mut tidies) && is_listed && Instant::now() >= tidy_from {
                match self.tidy_requests().await {
                    Ok(more) => tidies = more,
                    Err(error) => {
                        self.metrics.error("tidy");
                        tracing::warn!(%error, "not deleted; tried again later");
                        tidy_from = Instant::now() + AGAIN;
                    }
                }
            }
            if self.requests().wants_list() {
                watch.list_anew();
            }
        }
    }

    /// Takes in what the watch says. True once it has listed everything.
    fn hear(&self, event: Event<DynamicObject>) -> bool {
        match event {
            Event::Init => self.requests().begin_list(),
            Event::InitApply(object) | Event::Apply(object) => self.take_in_request(object),
            Event::InitDone => {
                self.requests().end_list();
                return true;
            }
            Event::Delete(object) => self.requests().remove(&object.name_any()),
        }
        false
    }

    fn take_in_request(&self, object: DynamicObject) {
        let name = object.name_any();
        let seen = Seen { name: name.clone(), uid: object.uid(), resource_version: object.resource_version() };
        let made_at = object.creation_timestamp().and_then(|at| chrono::DateTime::from_timestamp(at.0.as_second(), 0));
        let has_room = match object.try_parse::<Request>() {
            Ok(request) => self.requests().apply(request),
            Err(error) => {
                self.metrics.error("request not understood");
                tracing::warn!(request = name, %error, "not understood; left alone");
                self.requests().set_aside(seen, made_at.unwrap_or_else(|| self.now()))
            }
        };
        if !has_room {
            self.metrics.error("request without room");
            tracing::warn!(request = name, "too many requests are there; it is looked at when there are fewer");
        }
    }

    /// When something is answered next.
    fn next_answer(&self, again: &BTreeMap<String, Instant>) -> Option<Instant> {
        let requests = self.requests();
        requests.open().map(|it| again.get(&it.name_any()).copied().unwrap_or_else(Instant::now)).min()
    }

    /// Answers some of what has no answer yet. What can't be answered now is tried again.
    async fn answer_some(&self, again: &mut BTreeMap<String, Instant>, shutdown: &Shutdown) {
        let now = Instant::now();
        again.retain(|name, due| *due > now && self.requests().is_open(name));
        let next = self.requests().next(AT_A_TIME, |name| again.contains_key(name));
        for request in next {
            if shutdown.is_cancelled() {
                return;
            }
            let name = request.name_any();
            match Box::pin(self.answer(&request)).await {
                Ok(answered) => {
                    self.requests().apply(answered);
                    continue;
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
            again.insert(name, Instant::now() + AGAIN);
        }
    }

    async fn refresh_request(&self, name: &str) -> Result<(), ApiError> {
        let what = || format!("reading request {name}");
        let keeper = &self.request_keeper;
        match keeper.bounded(what, keeper.writer.get_opt(name)).await? {
            Some(request) => drop(self.requests().apply(request)),
            None => self.requests().remove(name),
        }
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
        let at = self.now();
        // Once the status has it, nobody tells it any more.
        if let Some(id) = self.recorder.note_answer(request, &answered, &reason, at) {
            self.recorder.until_told_id(&id).await?;
        }
        let mut answer = request.clone();
        answer.status = Some(RequestStatus { answer: answered.answer, reason, at, remediation: answered.remediation });
        let what = || format!("answering request {name}");
        let keeper = &self.request_keeper;
        let written = keeper.bounded(what, keeper.writer.replace_status(&name, &by_us(), &answer)).await;
        self.metrics.request("replace request status", if written.is_ok() { "ok" } else { "error" });
        written.map_err(|error| match error.code() {
            Some(404 | 409) => DriveError::Conflict(name.clone()),
            _ => error.into(),
        })
    }

    /// Deletes some of what need not be kept. `Ok(true)` when there is more; an error means that it is tried later.
    async fn tidy_requests(&self) -> Result<bool, ApiError> {
        let mut expendable = self.requests().expendable(self.now());
        let more = expendable.len() > AT_A_TIME;
        expendable.truncate(AT_A_TIME);
        let keeper = &self.request_keeper;
        for Seen { name, uid, resource_version } in expendable {
            let preconditions = Preconditions { uid, resource_version };
            let params = DeleteParams::default().preconditions(preconditions);
            let deleted =
                keeper.bounded(|| format!("deleting request {name}"), keeper.writer.delete(&name, &params)).await;
            self.metrics.request("delete request", if deleted.is_ok() { "ok" } else { "error" });
            if let Err(error) = deleted
                && !matches!(error.code(), Some(404 | 409))
            {
                return Err(error);
            }
            self.requests().remove(&name);
        }
        Ok(more)
    }
}

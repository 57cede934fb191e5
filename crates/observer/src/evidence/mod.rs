//! Answers questions: a closed set, only those that a playbook in use asks, bounded in rows,
//! bytes and time, redacted. What can't be answered is Unknown with its reason, never an error.

mod changes;
mod events;
mod logs;
mod promql;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_bus::{Bus, EvidenceSubject, Request};
use evenkeel_model::{Clock, Finding, Kind, ObjectRef, Query};
use evenkeel_runtime::{Backoff, BoxError, HealthPart, Shutdown};
use futures::StreamExt as _;
use kube::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::availability::Records;
use crate::config;
use crate::metrics::Metrics;
use crate::playbooks::InUse;
use crate::poll::Server;
use crate::sight::Sight;

/// The largest answer sent; the bus takes twice as much.
const MAX_ANSWER_BYTES: usize = 512 * 1024;
/// The largest question taken.
const MAX_QUESTION_BYTES: usize = 64 * 1024;

/// What answering needs.
pub(crate) struct Evidence {
    pub(crate) config: config::Evidence,
    pub(crate) client: Client,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sight: Arc<Sight>,
    pub(crate) records: Records,
    pub(crate) in_use: InUse,
    pub(crate) prometheus: Option<Server>,
    /// Questions to Prometheus under way.
    pub(crate) queries: Semaphore,
    /// Questions under way.
    pub(crate) questions: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
}

/// Serves one kind of question until shutdown.
pub(crate) async fn serve(
    evidence: Arc<Evidence>,
    token: &'static str,
    health: HealthPart,
    shutdown: Shutdown,
) -> Result<(), BoxError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10), 6);
    let mut answering = JoinSet::new();
    loop {
        match evidence.bus.serve(EvidenceSubject(token)).await {
            Ok(mut requests) => {
                health.ready();
                backoff.reset();
                loop {
                    while answering.try_join_next().is_some() {}
                    let request = tokio::select! {
                        biased;
                        () = shutdown.cancelled() => break,
                        request = requests.next() => request,
                    };
                    let Some(request) = request else { break };
                    let permit = Arc::clone(&evidence.questions).acquire_owned().await?;
                    let evidence = Arc::clone(&evidence);
                    answering.spawn(async move {
                        let _permit = permit;
                        evidence.answer(token, request).await;
                    });
                }
            }
            Err(error) => {
                evidence.metrics.error("evidence");
                health.not_ready(format!("evidence.{token} can't be served: {error}"));
            }
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {
                while answering.join_next().await.is_some() {}
                return Ok(());
            }
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

impl Evidence {
    async fn answer(&self, token: &'static str, request: Request) {
        let span = tracing::info_span!("evidence", query = token);
        evenkeel_runtime::trace::set_parent(&span, request.trace.traceparent.as_deref());
        async {
            let finding = self.find(token, &request.payload).await;
            let outcome = if matches!(finding, Finding::Unknown { .. }) { "unknown" } else { "answered" };
            if let Finding::Unknown { reason } = &finding {
                tracing::debug!(reason, "question not answered");
            }
            self.metrics.question(token, outcome);
            if let Err(error) = request.reply(encode(&finding)).await {
                self.metrics.error("evidence");
                tracing::debug!(%error, "an answer could not be sent");
            }
        }
        .instrument(span)
        .await;
    }

    async fn find(&self, token: &'static str, payload: &[u8]) -> Finding {
        if payload.len() > MAX_QUESTION_BYTES {
            return unknown(format!(
                "expected a question of at most {MAX_QUESTION_BYTES} bytes, found {}",
                payload.len()
            ));
        }
        let query: Query = match serde_json::from_slice(payload) {
            Ok(query) => query,
            Err(error) => return unknown(format!("the question can't be read: {error}")),
        };
        if query.token() != token {
            return unknown(format!(
                "expected a question for evidence.{token}, found one for evidence.{}",
                query.token()
            ));
        }
        if !self.in_use.declare(&query) {
            return unknown("no playbook in use asks this question".to_owned());
        }
        let patience = self.config.timeout.get();
        tokio::time::timeout(patience, self.ask(query))
            .await
            .unwrap_or_else(|_| unknown(format!("no answer within {}", self.config.timeout)))
    }

    async fn ask(&self, query: Query) -> Finding {
        match query {
            Query::Object { object } | Query::Owners { object } | Query::Logs { object, .. }
                if matches!(object.kind, Kind::Secret | Kind::ConfigMap) =>
            {
                unknown(format!("{object}: contents of {}s are not read", object.kind))
            }
            Query::Object { object } => {
                match evenkeel_cluster::snapshot(&self.client, &object, &self.records, self.clock.now()).await {
                    Ok(mut snapshot) => {
                        snapshot.suppressed = self.suppressed(&object);
                        Finding::Object(Box::new(snapshot))
                    }
                    Err(error) => unknown(error.to_string()),
                }
            }
            Query::Owners { object } => match evenkeel_cluster::owners(&self.client, &object).await {
                Ok(owners) => Finding::Owners(owners),
                Err(error) => unknown(error.to_string()),
            },
            Query::Events { object, within } => {
                let since = self.clock.now() - within.chrono();
                self.events(&object, since).await.map_or_else(unknown, Finding::Events)
            }
            Query::Changes { object, within } => {
                let since = self.clock.now() - within.chrono();
                self.changes(&object, since).await.map_or_else(unknown, Finding::Changes)
            }
            Query::Promql { expression } => self.promql(&expression).await,
            Query::Logs { object, lines } => self.logs(&object, lines).await.map_or_else(unknown, Finding::Logs),
        }
    }

    /// Why no automatic action may follow now, for the object or its root.
    fn suppressed(&self, object: &ObjectRef) -> Option<String> {
        let world = crate::world::read(&self.sight.world);
        world.suppressed(Some(object), world.root(object).as_ref())
    }

    /// Names of the object's pods, worst first.
    fn pods_of(&self, object: &ObjectRef, most: usize) -> Vec<(String, String)> {
        let world = crate::world::read(&self.sight.world);
        let Some(namespace) = object.namespace.as_deref() else { return Vec::new() };
        if object.kind == Kind::Pod {
            return vec![(namespace.to_owned(), object.name.clone())];
        }
        let mut pods: Vec<_> = world
            .pods
            .within(namespace)
            .filter(|(name, _)| {
                let pod = ObjectRef::namespaced(Kind::Pod, namespace, *name);
                world.root(&pod).is_some_and(|root| root.is_same(object))
            })
            .collect();
        pods.sort_by_key(|(name, pod)| (pod.is_ready(), std::cmp::Reverse(pod.restarts()), *name));
        pods.into_iter().take(most).map(|(name, _)| (namespace.to_owned(), name.to_owned())).collect()
    }
}

fn unknown(reason: String) -> Finding {
    let reason = evenkeel_runtime::redact::text(&reason);
    Finding::Unknown { reason: crate::alert::bounded(&reason, 1024).into_owned() }
}

fn encode(finding: &Finding) -> Bytes {
    let too_large =
        |found: usize| unknown(format!("the answer has {found} bytes, more than the {MAX_ANSWER_BYTES} sent"));
    let failed = |error: serde_json::Error| unknown(format!("the answer can't be written as JSON: {error}"));
    let finding = match serde_json::to_vec(finding) {
        Ok(json) if json.len() <= MAX_ANSWER_BYTES => return Bytes::from(json),
        Ok(json) => too_large(json.len()),
        Err(error) => failed(error),
    };
    // A reason alone can always be written.
    Bytes::from(serde_json::to_vec(&finding).unwrap_or_default())
}

#[cfg(test)]
mod tests;

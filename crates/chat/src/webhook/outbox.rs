use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use evenkeel_model::Clock;
use evenkeel_runtime::http::{Limits, Outbound};
use http::header::CONTENT_TYPE;
use http::{HeaderName, Method, Request};
use serde::{Deserialize, Serialize};

use super::signature::sign;
use super::template::Template;
use crate::mailbox::{Destination, FirstWord, Undelivered, key};
use crate::secret;
use crate::slack::retry_after;
use crate::store::Store;
use crate::story::{Stage, Story};

/// Tells one webhook: when a person is needed, and how what was told ended.
pub(crate) struct WebhookOutbox {
    pub(crate) name: String,
    pub(crate) url_file: PathBuf,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) signing_secret_file: Option<PathBuf>,
    pub(crate) template: Template,
    pub(crate) announce: Vec<Stage>,
    pub(crate) progress: bool,
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) limits: Limits,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) first: FirstWord,
}

/// What was told last.
#[derive(Serialize, Deserialize)]
struct Told {
    stage: Stage,
    at: DateTime<Utc>,
}

#[async_trait]
impl Destination for WebhookOutbox {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, story: &Story) -> Result<bool, Undelivered> {
        let stage = story.stage();
        let key = key(&format!("webhook/{}", self.name), &story.remediation);
        let told = self.store.get(&key).await.map_err(Undelivered::later)?;
        let told: Option<Told> = told.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let due = match &told {
            None => self.announce.contains(&stage),
            Some(told) if told.stage == stage || told.at > story.at => false,
            Some(_) => self.progress || stage.event_action() != "acknowledge",
        };
        if !due {
            return Ok(false);
        }
        if told.is_none() {
            self.first.is_ours(&key).await?;
        }
        self.post(story, stage).await?;
        let told = serde_json::to_vec(&Told { stage, at: story.at });
        let told = told.map_err(|error| Undelivered::Never(error.to_string()))?;
        let kept = self.store.put(&key, Bytes::from(told)).await;
        kept.map_err(|error| Undelivered::Never(format!("told, and that it was could not be kept: {error}")))?;
        Ok(true)
    }
}

impl WebhookOutbox {
    async fn post(&self, story: &Story, stage: Stage) -> Result<(), Undelivered> {
        let file = |error: secret::SecretFileError| Undelivered::Later { after: None, reason: error.to_string() };
        let never = |reason: String| Undelivered::Never(reason);
        let url = secret::first(&self.url_file).await.map_err(file)?;
        let routing_key = match &self.key_file {
            Some(path) => secret::first(path).await.map_err(file)?,
            None => String::new(),
        };
        let body = self.template.render(story, &routing_key).map_err(|error| never(error.to_string()))?;
        let mut request =
            Request::builder().method(Method::POST).uri(&url).header(CONTENT_TYPE, "application/json; charset=utf-8");
        if let Some(path) = &self.signing_secret_file {
            let secrets = secret::lines(path).await.map_err(file)?;
            // The same for each attempt, so that a receiver knows what it has already.
            let id = format!("{}.{}", story.remediation, stage.as_str());
            let timestamp = self.clock.now().timestamp();
            let signature = sign(&secrets, &id, timestamp, body.as_bytes());
            let signature = signature.map_err(|error| file_later(path, &error))?;
            request = request
                .header(HeaderName::from_static("webhook-id"), id)
                .header(HeaderName::from_static("webhook-timestamp"), timestamp)
                .header(HeaderName::from_static("webhook-signature"), signature);
        }
        // The URL is a secret of many chats': neither error shows it.
        let request = request
            .body(Bytes::from(body))
            .map_err(|_| never(format!("expected a URL in {}, found none", self.url_file.display())))?;
        let answer = self.outbound.send(request, self.limits).await.map_err(|error| {
            tracing::debug!(to = self.name, "no answer");
            Undelivered::Later { after: None, reason: error.to_string().replace(&url, "the webhook") }
        })?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            429 => Err(Undelivered::Later {
                after: Some(retry_after(answer.headers())),
                reason: "expected 2xx, found 429".to_owned(),
            }),
            // A wrong key or URL may be put right in its file.
            status @ (401 | 403 | 404 | 408 | 425 | 500..=599) => {
                Err(Undelivered::Later { after: None, reason: format!("expected 2xx, found {status}") })
            }
            status => Err(never(format!("expected 2xx, found {status}"))),
        }
    }
}

fn file_later(path: &std::path::Path, error: &super::signature::BadSigningSecret) -> Undelivered {
    Undelivered::Later { after: None, reason: format!("{}: {error}", path.display()) }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;

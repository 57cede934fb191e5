use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::client::{Place, SlackApi, SlackError};
use super::render::{render, thread_line};
use crate::mailbox::{Destination, FirstWord, Undelivered, key};
use crate::store::Store;
use crate::story::{Stage, Story};

/// Tells a Slack channel: one message a remediation, edited in place, with a thread below it.
pub(crate) struct SlackOutbox {
    pub(crate) api: SlackApi,
    pub(crate) channel: String,
    pub(crate) announce: Vec<Stage>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) first: FirstWord,
}

/// What is remembered of a message.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    channel: String,
    ts: String,
    stage: Stage,
    /// Of when the story is. An older one, of a gateway that had to wait, is not told any more.
    at: DateTime<Utc>,
    /// Of the message as it was last sent, so that the same is not sent again after a restart.
    digest: String,
}

impl From<SlackError> for Undelivered {
    fn from(error: SlackError) -> Self {
        match &error {
            SlackError::RateLimited(after) => Self::Later { after: Some(*after), reason: error.to_string() },
            SlackError::Unavailable(_) | SlackError::Token(_) | SlackError::File(_) => {
                Self::Later { after: None, reason: error.to_string() }
            }
            SlackError::Gone(_) | SlackError::Refused(_) => Self::Never(error.to_string()),
        }
    }
}

#[async_trait]
impl Destination for SlackOutbox {
    fn name(&self) -> &str {
        "slack"
    }

    async fn deliver(&self, story: &Story) -> Result<bool, Undelivered> {
        let key = key("slack", &story.remediation);
        let stage = story.stage();
        let told = self.store.get(&key).await.map_err(Undelivered::later)?;
        let told: Option<Told> = told.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let message = render(story);
        let digest = evenkeel_model::digest(&message).map_err(|error| Undelivered::Never(error.to_string()))?;
        let place = match told {
            None if !self.announce.contains(&stage) => return Ok(false),
            None => {
                self.first.is_ours(&key).await?;
                self.api.post(&self.channel, &message, None).await?
            }
            Some(told) if told.digest == digest || told.at > story.at => return Ok(false),
            Some(told) => {
                let place = Place { channel: told.channel, ts: told.ts };
                match self.api.update(&place, &message).await {
                    Ok(()) => {}
                    // Somebody deleted it: people are asked again, and not told of what they need not do.
                    Err(SlackError::Gone(_)) if !self.announce.contains(&stage) => return Ok(false),
                    Err(SlackError::Gone(_)) => {
                        let place = self.api.post(&self.channel, &message, None).await?;
                        return self.remember(&key, place, story, digest).await;
                    }
                    Err(error) => return Err(error.into()),
                }
                if told.stage != stage {
                    self.api.post(&place.channel, &thread_line(story), Some(&place.ts)).await?;
                }
                place
            }
        };
        self.remember(&key, place, story, digest).await
    }
}

impl SlackOutbox {
    async fn remember(&self, key: &str, place: Place, story: &Story, digest: String) -> Result<bool, Undelivered> {
        let told = Told { channel: place.channel, ts: place.ts, stage: story.stage(), at: story.at, digest };
        let bytes = serde_json::to_vec(&told).map_err(|error| Undelivered::Never(error.to_string()))?;
        // Not Later: the message is out, and sending it again would not help the store.
        let kept = self.store.put(key, Bytes::from(bytes)).await;
        kept.map_err(|error| Undelivered::Never(format!("told, and where could not be kept: {error}")))?;
        Ok(true)
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;

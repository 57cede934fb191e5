use std::path::PathBuf;
use std::time::Duration;

use evenkeel_runtime::{Backoff, HealthPart, Shutdown};
use futures::{SinkExt as _, StreamExt as _};
use http::Uri;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_websockets::{ClientBuilder, Limits, Message};

use super::clicks::{ClickQueue, NotTaken};
use super::client::{SlackApi, SlackError};
use super::interaction::{self, Interaction};
use crate::metrics::Metrics;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(10);
/// Slack pings every few seconds: a connection that is silent for so long is dead.
const SILENCE: Duration = Duration::from_secs(90);
/// How long an acknowledgement may take to be sent.
const SEND: Duration = Duration::from_secs(5);
/// Between attempts.
const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(60);

/// Socket Mode: clicks come over a connection that we open, where there is no way in from outside.
/// TLS and the token in the connection's URL stand for the signature.
pub(crate) struct SocketMode {
    pub(crate) api: SlackApi,
    pub(crate) app_token_file: PathBuf,
    pub(crate) clicks: ClickQueue,
    pub(crate) max_message_bytes: usize,
    pub(crate) health: HealthPart,
    pub(crate) metrics: Metrics,
    pub(crate) seed: u64,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Api(#[from] SlackError),
    #[error("the connection could not be made: {0}")]
    Connect(String),
    #[error("the connection broke: {0}")]
    Broke(String),
    /// Slack asks to connect anew, as it does every few hours.
    #[error("Slack asks to connect again: {0}")]
    Refresh(String),
    #[error("Socket Mode is switched off in the app's settings")]
    Disabled,
}

/// <https://docs.slack.dev/apis/events-api/using-socket-mode>
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    envelope_id: Option<String>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    reason: Option<String>,
}

impl SocketMode {
    /// Until shutdown: connects, and connects again.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(FIRST, MOST, self.seed);
        loop {
            let ended = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                ended = self.connection(&mut backoff) => ended,
            };
            let wait = match &ended {
                Ended::Refresh(_) => Duration::ZERO,
                Ended::Api(SlackError::RateLimited(after)) => *after,
                Ended::Disabled => MOST,
                _ => backoff.next(),
            };
            if !matches!(ended, Ended::Refresh(_)) {
                self.health.not_ready(ended.to_string());
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One connection, from its opening to its end.
    async fn connection(&self, backoff: &mut Backoff) -> Ended {
        match self.converse(backoff).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn converse(&self, backoff: &mut Backoff) -> Result<std::convert::Infallible, Ended> {
        let url = self.api.open_connection(&self.app_token_file).await?;
        let uri = self.checked(&url)?;
        let client =
            ClientBuilder::from_uri(uri).limits(Limits::default().max_payload_len(Some(self.max_message_bytes)));
        // The URL holds a ticket: an error is told without it.
        let connected = tokio::time::timeout(CONNECT, client.connect()).await;
        let (mut stream, _) = connected
            .map_err(|_| Ended::Connect(format!("not within {CONNECT:?}")))?
            .map_err(|error| Ended::Connect(error.to_string()))?;
        loop {
            let message = tokio::time::timeout(SILENCE, stream.next())
                .await
                .map_err(|_| Ended::Broke(format!("silent for {SILENCE:?}")))?
                .ok_or_else(|| Ended::Broke("closed".to_owned()))?
                .map_err(|error| Ended::Broke(error.to_string()))?;
            let Some(text) = message.as_text() else { continue };
            let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(text) else {
                self.metrics.click("malformed");
                continue;
            };
            match envelope.kind {
                "hello" => {
                    backoff.reset();
                    self.health.ready();
                }
                "disconnect" => {
                    let reason = envelope.reason.unwrap_or_default();
                    return Err(if reason == "link_disabled" { Ended::Disabled } else { Ended::Refresh(reason) });
                }
                _ => {
                    let Some(id) = envelope.envelope_id else { continue };
                    if !self.take(&id, envelope.kind, envelope.payload).await {
                        // Not acknowledged: Slack tells the person that it failed, or sends it again.
                        continue;
                    }
                    let ack = serde_json::json!({ "envelope_id": id }).to_string();
                    tokio::time::timeout(SEND, stream.send(Message::text(ack)))
                        .await
                        .map_err(|_| Ended::Broke("an acknowledgement could not be sent".to_owned()))?
                        .map_err(|error| Ended::Broke(error.to_string()))?;
                }
            }
        }
    }

    /// Whether it may be acknowledged: what is taken, what was, and what will never be for us.
    async fn take(&self, envelope_id: &str, kind: &str, payload: Option<&RawValue>) -> bool {
        let (Some(payload), "interactive") = (payload, kind) else { return true };
        let seen_as = format!("click.{}", evenkeel_model::digest_parts(["socket", envelope_id]));
        let click = match interaction::parse(payload.get().as_bytes(), seen_as) {
            Ok(Interaction::Click(click)) => click,
            Ok(Interaction::NotOurs) => return true,
            Err(error) => {
                tracing::warn!(%error, "what came over Socket Mode is not what Slack documents");
                self.metrics.click("malformed");
                return true;
            }
        };
        match self.clicks.take(*click).await {
            Ok(()) => true,
            Err(NotTaken::Seen) => {
                self.metrics.click("replayed");
                true
            }
            Err(NotTaken::Full) => {
                self.metrics.click("busy");
                false
            }
            Err(NotTaken::Unknown(reason)) => {
                tracing::warn!(reason, "a click in Slack can't be taken");
                self.metrics.click("busy");
                false
            }
        }
    }

    fn checked(&self, url: &str) -> Result<Uri, Ended> {
        let uri: Uri = url.parse().map_err(|_| Ended::Connect("Slack named no URL".to_owned()))?;
        match uri.scheme_str() {
            Some("wss") => Ok(uri),
            Some("ws") if self.api.is_plain() => Ok(uri),
            _ => Err(Ended::Connect("expected a wss URL, found another".to_owned())),
        }
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;

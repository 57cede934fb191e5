use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_runtime::http::{HttpError, Limits, Outbound};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request};
use serde::Deserialize;
use serde_json::{Value, json};

use super::blocks::Message;
use super::{limits, text};
use crate::secret::{self, SecretFileError};

/// The largest answer taken.
const MAX_ANSWER: usize = 256 * 1024;
/// How long to wait where Slack says "slower" and not for how long.
const WAIT: Duration = Duration::from_secs(30);
/// Slack is not obeyed for longer than this.
const WAIT_AT_MOST: Duration = Duration::from_secs(3600);

/// Why Slack was not told.
#[derive(Debug, thiserror::Error)]
pub enum SlackError {
    /// Slack asks for patience.
    #[error("Slack takes no more for {0:?}")]
    RateLimited(Duration),
    /// Slack has trouble of its own, or could not be reached.
    #[error("Slack could not be asked: {0}")]
    Unavailable(String),
    /// The token is not, or not any more, good for it. Another one may be in its file soon.
    #[error("Slack does not take the token: {0}")]
    Token(String),
    /// The token's file is of no use.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The message to be changed is not there any more, or can't be changed.
    #[error("the message can't be changed: {0}")]
    Gone(String),
    /// Slack refuses it, and would again.
    #[error("Slack refuses: {0}")]
    Refused(String),
}

/// Where a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) channel: String,
    pub(crate) ts: String,
}

/// Slack's Web API, as far as it is used.
#[derive(Clone)]
pub(crate) struct SlackApi {
    outbound: Arc<dyn Outbound>,
    base: String,
    bot_token_file: PathBuf,
    limits: Limits,
}

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    error: Option<String>,
    channel: Option<String>,
    ts: Option<String>,
    url: Option<String>,
}

impl SlackApi {
    pub(crate) fn new(outbound: Arc<dyn Outbound>, base: &str, bot_token_file: PathBuf, timeout: Duration) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { outbound, base, bot_token_file, limits: Limits { timeout, max_bytes: MAX_ANSWER } }
    }

    /// Whether the API is asked without TLS, which only tests do.
    pub(super) fn is_plain(&self) -> bool {
        self.base.starts_with("http://")
    }

    /// Posts a message, into a thread if one is named.
    pub(crate) async fn post(
        &self,
        channel: &str,
        message: &Message,
        thread: Option<&str>,
    ) -> Result<Place, SlackError> {
        let mut body = checked(message)?;
        with(&mut body, "channel", channel.into());
        if let Some(ts) = thread {
            with(&mut body, "thread_ts", ts.into());
        }
        let answer = self.call("chat.postMessage", &self.bot_token_file, Some(&body)).await?;
        match (answer.channel, answer.ts) {
            (Some(channel), Some(ts)) => Ok(Place { channel, ts }),
            _ => Err(SlackError::Unavailable("an answer without channel and ts".to_owned())),
        }
    }

    /// Puts a message in the place of another.
    pub(crate) async fn update(&self, place: &Place, message: &Message) -> Result<(), SlackError> {
        let mut body = checked(message)?;
        with(&mut body, "channel", place.channel.as_str().into());
        with(&mut body, "ts", place.ts.as_str().into());
        self.call("chat.update", &self.bot_token_file, Some(&body)).await.map(|_| ())
    }

    /// Tells one person something in a channel that nobody else sees.
    pub(crate) async fn tell_one(&self, channel: &str, user: &str, why: &str) -> Result<(), SlackError> {
        let mut body = json!({ "channel": channel, "user": user, "text": text::prose(why, 1000) });
        unread(&mut body);
        self.call("chat.postEphemeral", &self.bot_token_file, Some(&body)).await.map(|_| ())
    }

    /// A URL for Socket Mode, good for one connection. It is a secret.
    pub(super) async fn open_connection(&self, app_token_file: &Path) -> Result<String, SlackError> {
        let answer = self.call("apps.connections.open", app_token_file, None).await?;
        answer.url.ok_or_else(|| SlackError::Unavailable("an answer without a URL".to_owned()))
    }

    async fn call(&self, method: &str, token_file: &Path, body: Option<&Value>) -> Result<Answer, SlackError> {
        // Read anew each time: a token rotated in its file is used with the next call.
        let token = secret::first(token_file).await?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| SlackError::Token("its file holds none".to_owned()))?;
        authorization.set_sensitive(true);
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let content_type =
            if body.is_some() { "application/json; charset=utf-8" } else { "application/x-www-form-urlencoded" };
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/{method}", self.base))
            .header(CONTENT_TYPE, content_type)
            .header(AUTHORIZATION, authorization)
            .body(bytes)
            .map_err(|error| SlackError::Refused(error.to_string()))?;
        let answer = self.outbound.send(request, self.limits).await;
        let answer = answer.map_err(|error: HttpError| SlackError::Unavailable(error.to_string()))?;
        match answer.status().as_u16() {
            200 => {}
            429 => return Err(SlackError::RateLimited(retry_after(answer.headers()))),
            status => return Err(SlackError::Unavailable(format!("{method}: status {status}"))),
        }
        let read: Answer = serde_json::from_slice(answer.body())
            .map_err(|_| SlackError::Unavailable(format!("{method}: an answer that is none of Slack's")))?;
        if read.ok { Ok(read) } else { Err(refused(read.error.as_deref().unwrap_or_default(), answer.headers())) }
    }
}

/// How long a server asks to wait, of `Retry-After` in seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds =
        headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
    seconds.map_or(WAIT, Duration::from_secs).min(WAIT_AT_MOST)
}

/// Slack's error codes, by what can be done about them (docs.slack.dev/reference/methods).
fn refused(code: &str, headers: &HeaderMap) -> SlackError {
    let said: String = code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
    match code {
        "ratelimited" | "rate_limited" => SlackError::RateLimited(retry_after(headers)),
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" | "team_added_to_org" => {
            SlackError::Unavailable(said)
        }
        "invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive" | "missing_scope" => {
            SlackError::Token(said)
        }
        "message_not_found" | "cant_update_message" | "edit_window_closed" => SlackError::Gone(said),
        _ => SlackError::Refused(said),
    }
}

fn checked(message: &Message) -> Result<Value, SlackError> {
    let problems = limits::problems(message);
    if !problems.is_empty() {
        return Err(SlackError::Refused(format!("beyond Slack's limits: {}", problems.join("; "))));
    }
    let mut body = serde_json::to_value(message).map_err(|error| SlackError::Refused(error.to_string()))?;
    unread(&mut body);
    Ok(body)
}

/// Nothing in the text is made a link or a mention, and nothing in it is fetched for a preview.
fn unread(body: &mut Value) {
    with(body, "parse", "none".into());
    for key in ["link_names", "mrkdwn", "unfurl_links", "unfurl_media"] {
        with(body, key, false.into());
    }
}

fn with(body: &mut Value, key: &str, value: Value) {
    if let Some(map) = body.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_bounded() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(of("7"), Duration::from_secs(7));
        assert_eq!(of("Wed, 21 Oct 2026 07:28:00 GMT"), WAIT);
        assert_eq!(of("99999999999"), WAIT_AT_MOST);
        assert_eq!(retry_after(&HeaderMap::new()), WAIT);
    }

    #[test]
    fn codes_are_told_without_what_does_not_belong_in_them() {
        let error = refused("bad\n<code>", &HeaderMap::new()).to_string();
        assert_eq!(error, "Slack refuses: badcode");
        assert!(matches!(refused("token_revoked", &HeaderMap::new()), SlackError::Token(_)));
        assert!(matches!(refused("message_not_found", &HeaderMap::new()), SlackError::Gone(_)));
    }
}

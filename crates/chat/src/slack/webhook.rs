//! `POST /webhooks/slack`: what people click. Signed by Slack, answered within three seconds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use evenkeel_model::Clock;
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use tokio::sync::Semaphore;

use super::clicks::{ClickQueue, NotTaken};
use super::interaction::{self, Interaction};
use super::signature::Claim;
use crate::metrics::Metrics;
use crate::secret;

/// Slack gives up after three seconds.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);
/// A body of one click is there at once, or not sent by Slack.
const BODY_WITHIN: Duration = Duration::from_millis(500);
/// So many requests are decided on at a time. Whoever has sent no body yet takes no place.
const AT_ONCE: usize = 16;

/// What the webhook needs.
pub(crate) struct Door {
    pub(crate) signing_secret_file: PathBuf,
    pub(crate) max_body_bytes: usize,
    pub(crate) clicks: ClickQueue,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
}

struct Shared {
    door: Door,
    requests: Semaphore,
}

/// The route.
pub(crate) fn router(door: Door) -> Router {
    let shared = Shared { door, requests: Semaphore::new(AT_ONCE) };
    Router::new().route("/webhooks/slack", post(receive)).with_state(Arc::new(shared))
}

/// What the sender is told. Nothing in it says which part was wrong, or what is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    NotSigned,
    TooLarge,
    Malformed,
    Replayed,
    Slow,
    Busy,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::NotSigned => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Replayed => StatusCode::CONFLICT,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::NotSigned => "not signed by Slack, or not lately\n",
            Self::TooLarge => "too large\n",
            Self::Malformed => "not an interaction\n",
            Self::Replayed => "taken before\n",
            Self::Slow => "too slow\n",
            Self::Busy => "try again\n",
        }
    }

    fn counted(self) -> &'static str {
        match self {
            Self::NotSigned => "not signed",
            Self::TooLarge => "too large",
            Self::Malformed => "malformed",
            Self::Replayed => "replayed",
            Self::Slow => "slow",
            Self::Busy => "busy",
        }
    }
}

async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let taken = tokio::time::timeout(ANSWER_WITHIN, shared.take(&head, body)).await;
    let refusal = match taken.unwrap_or(Err(Refusal::Slow)) {
        Ok(()) => return StatusCode::OK.into_response(),
        Err(refusal) => refusal,
    };
    shared.door.metrics.click(refusal.counted());
    let mut response = (refusal.status(), refusal.told()).into_response();
    if refusal == Refusal::Busy {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

impl Shared {
    async fn take(&self, head: &Parts, body: Body) -> Result<(), Refusal> {
        let door = &self.door;
        let claim = Claim::of(&head.headers, door.clock.now()).map_err(not_signed)?;
        let read = tokio::time::timeout(BODY_WITHIN, axum::body::to_bytes(body, door.max_body_bytes)).await;
        let body = read.map_err(|_| Refusal::Slow)?.map_err(|_| Refusal::TooLarge)?;
        let _turn = self.requests.try_acquire().map_err(|_| Refusal::Busy)?;
        let secrets = secret::lines(&door.signing_secret_file).await.map_err(|error| {
            tracing::warn!(%error, "clicks in Slack can't be taken");
            Refusal::Busy
        })?;
        claim.holds(&secrets, &body).map_err(not_signed)?;
        let payload = payload(&body).ok_or(Refusal::Malformed)?;
        let read = interaction::parse(payload.as_bytes(), claim.key()).map_err(|error| {
            tracing::warn!(%error, "a request that Slack signed is not what Slack documents");
            Refusal::Malformed
        })?;
        let Interaction::Click(click) = read else { return Ok(()) };
        door.clicks.take(*click).await.map_err(|why| match why {
            NotTaken::Seen => Refusal::Replayed,
            NotTaken::Full => Refusal::Busy,
            NotTaken::Unknown(reason) => {
                tracing::warn!(reason, "a click in Slack can't be taken");
                Refusal::Busy
            }
        })
    }
}

fn not_signed(why: super::NotSigned) -> Refusal {
    tracing::debug!(%why, "a request to the Slack webhook was refused");
    Refusal::NotSigned
}

/// The one field of the form.
fn payload(body: &[u8]) -> Option<String> {
    let mut fields = form_urlencoded::parse(body);
    let (name, value) = fields.next()?;
    (name == "payload" && fields.next().is_none()).then(|| value.into_owned())
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
